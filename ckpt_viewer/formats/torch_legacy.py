"""The stream that torch.save wrote before 1.6: five pickles, then every storage with its length before it.

FORMATS section 1.3.
"""

from __future__ import annotations

from itertools import accumulate

from ckpt_viewer.core.finding import Note, merged
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget, Truncated, Unsupported
from ckpt_viewer.formats.base import Head, NestedOpener, Opened
from ckpt_viewer.formats.behind import LOOK, look_behind, refuse_archive
from ckpt_viewer.sources import MemorySource, backing
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled

MAGIC = 0x1950A86A20F9469CFC6C
PREFIX = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""The magic number as a pickle of protocol 2, which is what torch.save writes."""
VERSION = 1001
_HEADER = 8
_WINDOW = 1 << 20
_PICKLE_LIMIT = 2 << 30


class TorchLegacy:
    """The legacy stream of torch.save."""

    name = "torch-legacy"

    def __init__(self, nested: NestedOpener | None = None) -> None:
        self.nested = nested

    def matches(self, head: Head) -> bool:
        """The magic number as the first pickle, in any protocol, and as a literal: nothing is computed."""
        if head.data.startswith(PREFIX):
            return True
        if not head.data or head.data[:1] not in b"\x80LI":
            return False
        try:
            first = PickleReader(head.data[:64], _Tail(MemorySource(b""), "")).read(0)
        except CheckpointError:
            return False
        return first.value == MAGIC and type(first.value) is int and not first.globals

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the five pickles; raises CheckpointError, Truncated also where a storage would end behind the file."""
        window, most = min(source.size, _WINDOW), min(source.size, _PICKLE_LIMIT)
        while True:
            home = _Tail(source, prefix)
            try:
                main, keys, refused = self._read(home, source.read_at(0, window), context, depth)
                break
            except Truncated:
                # the pickles may simply be longer than what was read so far
                if window == source.size:
                    raise
                if window == most:
                    raise OverBudget("its pickle is larger than any that torch writes") from None
                window = min(most, window * 8)
        end = home.place(keys, main)
        notes: list[Note] = []
        if end < source.size:
            refuse_archive(source, end, "the last storage")
            data = source.read_at(end, min(source.size - end, LOOK))
            justified = min(len(data), backing(source))
            notes, uses = look_behind(data, 0, "the last storage", "behind the last storage", context, justified)
            main = main._replace(globals=merged((*main.globals, *uses)))
        return Opened(main, tuple(notes), refused=refused)

    def _read(self, home: _Tail, data: bytes, context: Context, depth: int) -> tuple[Unpickled, Unpickled, str]:
        """Read the five pickles; return the object, the storages' names, and why weights_only refuses the others."""
        at, refused = 0, ""
        values: list[Value] = []
        for _ in range(3):
            read = PickleReader(data, home).read(at)
            if read.globals:
                raise Damaged("its header names classes, which no torch wrote; it is damaged or hostile")
            values.append(read.value)
            at, refused = read.end, refused or read.refused
        _check_header(values)
        main = PickleReader(
            data, home, context=context, depth=depth, nested=self.nested, legacy=True,
            justified=min(len(data), backing(home.source)),
        ).read(at)  # fmt: skip
        keys = PickleReader(data, home).read(main.end)
        return main, keys, refused or keys.refused or _untyped(main)


def _check_header(values: list[Value]) -> None:
    if values[0] != MAGIC:
        raise Damaged("its magic number is not torch's")
    if values[1] != VERSION:
        raise Unsupported(f"it has version {python_repr(values[1])} of the legacy format; only {VERSION} is known")
    if not isinstance(values[2], Mapping):
        raise Damaged("its system information is no dictionary")


def _untyped(main: Unpickled) -> str:
    """Say why torch reads the stream in no mode: it asks each storage's class for a dtype (2.13). ``""`` if it does."""
    is_untyped = any(not storage.dtype for storage in main.storages.values())
    return "torch reads no untyped storage from the older stream" if is_untyped else ""


def _is_key(name: Value) -> bool:
    return type(name) is str or (type(name) is int and name.bit_length() <= 64)


class _Tail:
    """The storages behind the pickles, each an eight-byte element count and its data."""

    def __init__(self, source: Bytes, prefix: str) -> None:
        self.source, self.prefix = source, prefix
        self.places: dict[str, tuple[int, int, int]] = {}

    def place(self, keys: Unpickled, main: Unpickled) -> int:
        """Compute where every storage lies, and return where the last ends; raises Damaged or Truncated."""
        names = keys.value
        if keys.globals or not isinstance(names, list) or not all(map(_is_key, names)):
            raise Damaged("its list of storages is no list of names")
        specs = [main.storages.get(str(name)) for name in names]
        for name, spec in zip(names, specs, strict=True):
            if spec is None:
                raise Damaged(
                    f"storage {python_repr(name)} is in the file but no tensor uses it, so its size is unknown"
                )
        sizes = [_HEADER + spec.nbytes for spec in specs if spec is not None]
        starts = accumulate(sizes, initial=keys.end)
        for spec, start in zip(specs, starts, strict=False):
            if spec is not None:
                self.places[spec.key] = (start, spec.numel, spec.nbytes)
        missing = set(main.storages) - set(self.places)
        if missing:
            raise Damaged(f"storage {min(missing)!r} is used by tensors but not in the file")
        end = keys.end + sum(sizes)
        if end > self.source.size:
            raise Truncated("the file", wanted=end, found=self.source.size, offset=0)
        return end

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie; raises Damaged if its own count says otherwise."""
        if key not in self.places:
            raise Damaged(f"storage {key!r} is not in the file")
        start, numel, nbytes = self.places[key]
        stated = int.from_bytes(self.source.read_at(start, _HEADER), "little", signed=True)
        # an untyped storage that shares memory with a tensor is counted in bytes
        if stated not in (numel, nbytes):
            raise Damaged(f"storage {key!r} says {stated} elements in its data and {numel} in the pickle")
        return Extent(self.source, start + _HEADER, nbytes)
