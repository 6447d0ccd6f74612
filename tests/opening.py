"""Open checkpoints from bytes in memory, look at all of them, and hold two readings against each other."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ckpt_viewer.analysis.listing import listing_json
from ckpt_viewer.analysis.loading import load_problems
from ckpt_viewer.analysis.tree_text import tree_lines
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, NdArray, Sequence
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats import detect, open_or_salvage
from ckpt_viewer.formats.base import contents
from ckpt_viewer.sources import MemorySource
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled


def open_bytes(data: bytes, map_location: Any = None, name: str = "x.pth") -> Checkpoint:
    """Open a checkpoint that lies in memory; raises CheckpointError."""
    source = MemorySource(data)
    found = detect(source)
    made_of = contents(found.name, found.open(source, SILENT), lambda: None, source)
    return Checkpoint(name, len(data), made_of, map_location)


def open_broken(data: bytes, *, salvage: bool = True) -> Checkpoint:
    """Open a checkpoint in memory as `open_checkpoint` opens a file; raises CheckpointError."""
    source = MemorySource(data)
    name, opened = open_or_salvage(source, SILENT, salvage)
    made_of = contents(name, opened, lambda: None, source)
    return Checkpoint("x.pth", len(data), made_of)


def look_at_all(checkpoint: Checkpoint) -> int:
    """List a checkpoint in every way that a person can; return the characters that came out."""
    count = sum(len(piece) for piece in listing_json(checkpoint))
    count += sum(len(line) for line in tree_lines(checkpoint))
    rows = len(checkpoint.outline)
    for row in {0, 1, 2, rows // 2, rows - 1} & set(range(rows)):
        count += len(checkpoint.node(checkpoint.outline.path(row)).pointer)
    return count + len(load_problems(checkpoint, ["cpu"]))


def read_all(checkpoint: Checkpoint, limit: int = 50) -> int:
    """Read the bytes of some tensors; return how many could be read (the others raise CheckpointError)."""
    read = 0
    for number, (_, tensor) in enumerate(checkpoint.outline.tensors()):
        if number == limit:
            break
        if tensor.numel > 100_000:
            continue
        try:
            checkpoint.node(()).__class__(checkpoint, tensor).numpy(copy=True)
        except CheckpointError:
            continue
        read += 1
    return read


def open_and_look(data: bytes) -> Checkpoint | None:
    """Open, list and read; None where that was refused with a CheckpointError. Anything else is a bug of ours."""
    try:
        checkpoint = open_bytes(data)
        look_at_all(checkpoint)
        read_all(checkpoint)
    except CheckpointError as error:
        said = str(error)
    else:
        return checkpoint
    if not said.strip() or "\n" in said:
        raise AssertionError(f"no sentence: {said!r}")
    return None


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail a test that takes more CPU time, instead of letting it hang; the clock tells how busy the machine is."""

    def late(signum: int, frame: Any) -> None:
        raise TimeoutError(f"not done within {seconds} s of CPU time")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Peak:
    """Bytes that Python allocated at most at the same time, once measuring has ended."""

    nbytes = 0


@contextmanager
def memory() -> Iterator[Peak]:
    """Measure the peak of what is allocated meanwhile."""
    peak = Peak()
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.nbytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


# --- the same reading twice ---------------------------------------------------------------------------------------


class Nowhere:
    """A home for storages whose bytes nobody asks for."""

    prefix = ""

    def extent(self, key: str) -> Any:
        raise CheckpointError("no bytes here")


def read_pickle(data: bytes, *, shortcut: bool = True, legacy: bool = False) -> Unpickled:
    """Read one pickle; raises CheckpointError."""
    reader = PickleReader(data, Nowhere(), legacy=legacy)
    reader.machine.shortcut = shortcut
    return reader.read(0)


def outcome(data: bytes, *, shortcut: bool, legacy: bool = False) -> Any:
    """Return everything that reading a pickle gives, in a form that can be compared; for errors their class."""
    try:
        read = read_pickle(data, shortcut=shortcut, legacy=legacy)
    except CheckpointError as error:
        return type(error)
    dump = Dump()
    value = dump.of(read.value)
    notes = [(note.severity, note.code, note.message, dump.of(note.value)) for note in read.notes]
    storages = [(key, dump.of(storage)) for key, storage in read.storages.items()]
    uses = [use._replace(value=dump.of(use.value)) for use in read.globals]
    return value, notes, storages, uses, read.protocol, read.refused, read.end


class Dump:
    """Writes neutral values as nested tuples; what is met again is written as its number."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.kept: list[Any] = []

    def of(self, value: Any) -> Any:
        """Return the form of one value."""
        if isinstance(value, tuple):
            return ("tuple", *map(self.of, value))
        if value is None or isinstance(value, str | int | float | complex | bytes):
            return (type(value).__name__, repr(value))
        if id(value) in self.numbers:
            return ("again", self.numbers[id(value)])
        self.numbers[id(value)] = len(self.numbers)
        self.kept.append(value)
        if isinstance(value, list):
            return ("list", *map(self.of, value))
        fields = _FIELDS[type(value)]
        return (type(value).__name__, *(self.of(getattr(value, field)) for field in fields))


_FIELDS: dict[type, tuple[str, ...]] = {
    Global: ("module", "name"),
    Mapping: ("type", "pairs", "state", "arguments"),
    Sequence: ("type", "kind", "items", "state"),
    Instance: ("callable", "arguments", "keywords", "state", "items", "pairs", "new"),
    Literal: ("kind", "type", "text", "inner"),
    NdArray: ("dtype", "shape", "data", "fortran", "type", "state"),
    StorageSpec: ("key", "location", "dtype", "numel"),
    TensorSpec: ("dtype", "shape", "stride", "offset", "requires_grad", "type", "storage"),
}
