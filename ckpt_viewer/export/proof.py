"""Proof by torch: another process loads the copy as its users will, and compares every tensor with the source.

Our own reader has compared the copy before, see `verify`; torch is the witness that does not share its mistakes. It
reads only files all of whose names are known to be harmless, and in the worker process, which limits itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import EVERY, Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.errors import CheckpointError, WriteFailed
from ckpt_viewer.export.blocks import StepBytes, swapped
from ckpt_viewer.export.claim import Claim, Script, Stretch, take_apart
from ckpt_viewer.export.pieces import reach, root_of
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.sources.shared import SharedMemory
from ckpt_viewer.worker import TIMEOUT, Worker

BLOCK = 16 << 20
"""Bytes that are compared at once."""
LINE = 64
"""Pieces of a block begin at multiples of this, which suits every dtype."""
BYTES_A_SECOND = 20_000_000
"""A slow disk, from which an answer that has to read the file is awaited."""


class Proven(NamedTuple):
    """What became of a proof.

    Attributes:
        by: ``"torch 2.13.0"``; ``""`` where it was not possible. why_not: the reason, as half a sentence.
    """

    by: str
    why_not: str = ""


class _CannotCheck(Exception):
    """The reason, as half a sentence."""


class Prover:
    """Proves copies; a context manager that ends the process it started.

    Args:
        worker: makes the process.
    """

    def __init__(self, worker: Callable[[], Worker] = Worker) -> None:
        self._make = worker
        self._worker: Worker | None = None

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def prove(self, path: Path, claim: Claim, step: StepBytes) -> Proven:
        """Let torch compare a file with what it should hold.

        Args:
            path: of the file. step: told of every byte that is compared.

        Raises:
            WriteFailed: torch refuses the file, or finds something else in it.
            SourceError, Damaged: the source cannot be read any more. Cancelled: by `step`.
        """
        try:
            mapped = claim.loader == "torch" and _look(path, _Stepping(step))
            script = take_apart(claim, _Stepping(step))
            if script.problem:
                raise _CannotCheck(script.problem)
            proven = Proven(self._compare(path, claim, mapped, script, step))
            script.discard(_Stepping(step))
            return proven
        except _CannotCheck as reason:
            return Proven("", str(reason))

    def _compare(self, path: Path, claim: Claim, mapped: bool, script: Script, step: StepBytes) -> str:
        self._worker = self._worker or self._make()
        try:
            shared = SharedMemory(BLOCK)
        except CheckpointError as error:
            raise _CannotCheck(str(error)) from error
        request = {
            "path": str(path.absolute()), "loader": claim.loader, "mapped": mapped, "source": claim.source,
            "rows": script.rows, "tensors": script.tensors, "block": shared.path, "nbytes": BLOCK,
        }  # fmt: skip
        verdict = self._ask("load_copy", request, step, path.stat().st_size)
        by = str(verdict["by"])
        if verdict["unable"]:
            raise _CannotCheck(verdict["unable"])
        if verdict["refused"]:
            said = verdict["refused"]
            raise WriteFailed(f"{by} does not load the copy, so it was removed; please report what it says: {said}")
        problem = verdict["differs"]
        for pieces, nbytes in _blocks(script, shared.view, step):
            problem = problem or self._ask("compare_blocks", {"pieces": pieces}, step, 0)
            if problem:
                break
            step(nbytes)
        if problem:
            raise WriteFailed(
                f"{by} finds that the copy differs from the source ({problem}), so it was removed; check the disk and "
                "try again"
            )
        return by

    def _ask(self, method: str, params: dict[str, Any], step: StepBytes, nbytes: int) -> Any:
        assert self._worker is not None
        timeout = TIMEOUT + nbytes / BYTES_A_SECOND
        try:
            return self._worker.request(method, params, timeout, waiting=lambda: step(0))
        except CheckpointError as error:
            said = str(error)
            raise _CannotCheck(said.rpartition("; ")[0] or said) from error


def _look(path: Path, context: Context) -> bool:
    """Raise _CannotCheck for a file that torch is not let near, or would refuse; return whether it can map it."""
    with open_checkpoint(path, context=context) as copy:
        contents = copy.contents
        unknown = [use.name for use in contents.globals if use.status != "known"]
        if unknown:
            raise _CannotCheck(f"its pickle names {unknown[0]}, which is not known to be harmless")
        if contents.weights_only:
            raise _CannotCheck(f"torch.load(weights_only=True) refuses it: {contents.weights_only}")
        source = contents.source
        # torch maps deflated records too, and takes what is packed for values
        mapped = copy.format == "torch-zip" and source is not None and not ZipDirectory(source, context).packed
        free = None if mapped else _free_memory()
        if free is not None and 2 * copy.size > free:
            raise _CannotCheck("it would be read into memory as a whole, and there is too little")
        copy.free(context)
        return mapped


def _free_memory() -> int | None:
    """Return bytes of memory that programs may still take; None where the system does not say."""
    if sys.platform != "linux":
        return None
    try:
        text = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return None
    _, found, rest = text.partition("MemAvailable:")
    return int(rest.split(maxsplit=1)[0]) * 1024 if found else None


class _Stepping:
    """Lets work that counts other things be cancelled."""

    def __init__(self, step: StepBytes) -> None:
        self._step = step

    def step(self, done: int, total: int) -> None:
        """Raises Cancelled."""
        del done, total
        self._step(0)


def _is_range(tensor: TensorSpec) -> bool:
    """Whether a tensor's elements are a range of its storage, in row-major order."""
    extra, stride = tensor.extra, 1
    if DTYPES[tensor.dtype].per_byte > 1 or (extra is not None and (extra.conj or extra.neg)):
        return False
    for size, step in zip(reversed(tensor.shape or ()), reversed(tensor.stride or ()), strict=True):
        if size != 1 and step != stride:
            return False
        stride *= size
    return True


# --- the bytes of the source --------------------------------------------------------------------------------------


def _blocks(script: Script, block: memoryview, step: StepBytes) -> Iterator[tuple[list[list[Any]], int]]:
    """Fill the block with bytes of the source again and again; yield what it holds now, and how many bytes that is.

    Raises:
        SourceError, Damaged: they cannot be read any more. _CannotCheck: nobody knows what they mean.
        Cancelled: by `step`.
    """
    pieces: list[list[Any]] = []
    end = nbytes = 0
    for kind, number, total, fill in _fillers(script):
        done = 0
        while done < total:
            at = -(-end // LINE) * LINE
            if at == len(block):
                yield pieces, nbytes
                pieces, end, nbytes, at = [], 0, 0, 0
            size = min(total - done, len(block) - at)
            fill(block[at : at + size])
            pieces.append([kind, number, done, size, at])
            if len(pieces) % EVERY == 0:  # a block has room for a hundred thousand small ones
                step(0)
            done, end, nbytes = done + size, at + size, nbytes + size
    yield pieces, nbytes


def _fillers(script: Script) -> Iterator[tuple[str, int, int, Callable[[memoryview], None]]]:
    """Yield kind, number and bytes of everything that is compared, with what gives its bytes one after another."""
    for number, stretch in enumerate(script.stretches):
        yield "stretch", number, stretch.nbytes, _of_stretch(stretch)
    for number, tensor in enumerate(script.streams):
        yield "stream", number, tensor.nbytes, _of_stream(tensor)


def _of_stretch(stretch: Stretch) -> Callable[[memoryview], None]:
    extent = stretch.storage.extent()
    if stretch.start + stretch.nbytes > extent.nbytes:
        raise _CannotCheck("a tensor of the source needs more bytes than its storage has")
    swap = stretch.swap if extent.big_endian else 1
    if not swap:
        raise _CannotCheck("big-endian numbers of several widths share their bytes")
    at = extent.offset + stretch.start

    def fill(view: memoryview) -> None:
        nonlocal at
        extent.source.read_into(at, view)
        if swap > 1:
            view[:] = swapped(view, swap)
        at += len(view)

    return fill


def _of_stream(tensor: TensorSpec) -> Callable[[memoryview], None]:
    if _is_range(tensor) and tensor.storage is not None:  # without numpy, which takes 20 MB
        row, (start, _) = DTYPES[tensor.dtype], reach(tensor)
        return _of_stretch(Stretch(root_of(tensor.storage)[0], start, tensor.nbytes, row.component))
    from ckpt_viewer.core.decode import element_bytes

    parts = element_bytes(tensor, resolve=True)
    left = memoryview(b"")

    def fill(view: memoryview) -> None:
        nonlocal left
        done = 0
        while done < len(view):
            left = left or next(parts)
            size = min(len(left), len(view) - done)
            view[done : done + size], left = left[:size], left[size:]
            done += size

    return fill
