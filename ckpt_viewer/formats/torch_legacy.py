"""The stream that torch.save wrote before 1.6: five pickles, then every storage with its length before it.

FORMATS section 1.3.
"""

from __future__ import annotations

from itertools import accumulate

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget, Truncated, Unsupported
from ckpt_viewer.formats.base import Head, NestedOpener, Opened
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
            first = PickleReader(head.data[:64], _Tail(None, "")).read(0)
        except CheckpointError:
            return False
        return first.value == MAGIC and type(first.value) is int and not first.globals

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the five pickles; raises CheckpointError, Truncated also where a storage would end behind the file."""
        window = min(source.size, _WINDOW)
        while True:
            try:
                return self._read(source, source.read_at(0, window), context, depth, prefix)
            except Truncated:
                # the pickles may simply be longer than what was read so far
                if window == source.size:
                    raise
                if window >= _PICKLE_LIMIT:
                    raise OverBudget("its pickle is larger than any that torch writes") from None
                window = min(source.size, window * 8)

    def _read(self, source: Bytes, data: bytes, context: Context, depth: int, prefix: str) -> Opened:
        home = _Tail(source, prefix)
        at = 0
        values: list[Value] = []
        for _ in range(3):
            read = PickleReader(data, home).read(at)
            if read.globals:
                raise Damaged("its header names classes, which no torch wrote; it is damaged or hostile")
            values.append(read.value)
            at = read.end
        _check_header(values)
        main = PickleReader(data, home, context=context, depth=depth, nested=self.nested, legacy=True).read(at)
        keys = PickleReader(data, home).read(main.end)
        home.place(keys, main)
        return Opened(main)


def _check_header(values: list[Value]) -> None:
    if values[0] != MAGIC:
        raise Damaged("its magic number is not torch's")
    if values[1] != VERSION:
        raise Unsupported(f"it has version {values[1]!r} of the legacy format; only {VERSION} is known")
    if not isinstance(values[2], Mapping):
        raise Damaged("its system information is no dictionary")


class _Tail:
    """The storages behind the pickles, each an eight-byte element count and its data."""

    def __init__(self, source: Bytes | None, prefix: str) -> None:
        self.source, self.prefix = source, prefix
        self.places: dict[str, tuple[int, int, int]] = {}

    def place(self, keys: Unpickled, main: Unpickled) -> None:
        """Compute where every storage lies; raises Damaged or Truncated."""
        names = keys.value
        if keys.globals or not isinstance(names, list) or not all(type(name) in (str, int) for name in names):
            raise Damaged("its list of storages is no list of names")
        specs = [main.storages.get(str(name)) for name in names]
        for name, spec in zip(names, specs, strict=True):
            if spec is None:
                raise Damaged(f"storage {name!r} is in the file but no tensor uses it, so its size is unknown")
        sizes = [_HEADER + spec.nbytes for spec in specs if spec is not None]
        starts = accumulate(sizes, initial=keys.end)
        for spec, start in zip(specs, starts, strict=False):
            if spec is not None:
                self.places[spec.key] = (start, spec.numel, spec.nbytes)
        missing = set(main.storages) - set(self.places)
        if missing:
            raise Damaged(f"storage {min(missing)!r} is used by tensors but not in the file")
        end = keys.end + sum(sizes)
        if self.source is not None and end > self.source.size:
            raise Truncated("the file", wanted=end, found=self.source.size, offset=0)

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie; raises Damaged if its own count says otherwise."""
        if self.source is None or key not in self.places:
            raise Damaged(f"storage {key!r} is not in the file")
        start, numel, nbytes = self.places[key]
        stated = int.from_bytes(self.source.read_at(start, _HEADER), "little", signed=True)
        # an untyped storage that shares memory with a tensor is counted in bytes
        if stated not in (numel, nbytes):
            raise Damaged(f"storage {key!r} says {stated} elements in its data and {numel} in the pickle")
        return Extent(self.source, start + _HEADER, nbytes)
