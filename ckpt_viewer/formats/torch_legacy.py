"""The stream that torch.save wrote before 1.6: five pickles, then every storage with its length before it.

FORMATS section 1.3.
"""

from __future__ import annotations

from ckpt_viewer.core.finding import Note, merged
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes, StorageHome, StorageSpec
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget, Truncated, Unsupported
from ckpt_viewer.formats.base import Head, Inside, NestedOpener, Opened, Salvaged
from ckpt_viewer.formats.legacy_tail import HEADER, Tail
from ckpt_viewer.sources import MemorySource, backing
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled

MAGIC = 0x1950A86A20F9469CFC6C
PREFIX = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""The magic number as a pickle of protocol 2, which is what torch.save writes."""
VERSION = 1001
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
            first = PickleReader(head.data[:64], Tail(MemorySource(b""), "")).read(0)
        except CheckpointError:
            return False
        return first.value == MAGIC and type(first.value) is int and not first.globals

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the five pickles; raises CheckpointError, Truncated also where a storage would end behind the file."""
        home = Tail(source, prefix)
        main, keys, refused = self._read(home, source, context, depth)
        storages = _in_order(keys, main)
        missing = set(main.storages) - {each.key for each in storages}
        if missing:
            raise Damaged(f"storage {min(missing)!r} is used by tensors but not in the file")
        end = home.place(storages, keys.end)
        if end > source.size:
            raise Truncated("the file", wanted=end, found=source.size, offset=0)
        notes: list[Note] = []
        if end < source.size:
            from ckpt_viewer.formats.behind import LOOK, look_behind, refuse_archive

            refuse_archive(source, end, "the last storage")
            data = source.read_at(end, min(source.size - end, LOOK))
            justified = min(len(data), backing(source))
            notes, uses = look_behind(data, 0, "the last storage", "behind the last storage", context, justified)
            main = main._replace(globals=merged((*main.globals, *uses)))
        return Opened(main, tuple(notes), refused=refused)

    def salvage(self, source: Bytes, inside: Inside) -> Salvaged:
        """Read the pickles, and place the storages that are there; the stream has no checksums to verify.

        Raises:
            CheckpointError: the pickles are damaged, or cut off before anything of the object is whole.
        """
        home = Tail(source, inside.prefix)
        try:
            main, keys, refused = self._read(home, source, inside.context, inside.depth)
        except _OnlyMain as cut:
            return Salvaged(Opened(cut.main), source.size + 1 + _bytes_of(cut.main), "about ")
        except _InMain as cut:
            from ckpt_viewer.formats.salvage_pickle import left_of  # few files need it

            left = left_of(cut.reader)
            if left is None:
                raise
            least = cut.offset + cut.wanted + _bytes_of(left)
            return Salvaged(Opened(left), max(least, source.size + 1), "at least ", open_end=True)
        wanted = home.place(_in_order(keys, main), keys.end)
        return Salvaged(Opened(main, refused=refused), wanted if wanted > source.size else None)

    def _read(self, home: StorageHome, source: Bytes, context: Context, depth: int) -> tuple[Unpickled, Unpickled, str]:
        """Read the five pickles from as much of the file as they need.

        Returns:
            The object, the storages' names, and why weights_only refuses the other pickles.
        """
        window, most = min(source.size, _WINDOW), min(source.size, _PICKLE_LIMIT)
        while True:
            try:
                return self._read_all(home, source.read_at(0, window), context, depth, backing(source))
            except Truncated:
                # the pickles may simply be longer than what was read so far
                if window == source.size:
                    raise
                if window == most:
                    raise OverBudget("its pickle is larger than any that torch writes") from None
                window = min(most, window * 8)

    def _read_all(
        self, home: StorageHome, data: bytes, context: Context, depth: int, justified: int
    ) -> tuple[Unpickled, Unpickled, str]:
        at, refused = 0, ""
        values: list[Value] = []
        for _ in range(3):
            read = PickleReader(data, home).read(at)
            if read.globals:
                raise Damaged("its header names classes, which no torch wrote; it is damaged or hostile")
            values.append(read.value)
            at, refused = read.end, refused or read.refused
        _check_header(values)
        reader = PickleReader(
            data, home, context=context, depth=depth, nested=self.nested, legacy=True,
            justified=min(len(data), justified),
        )  # fmt: skip
        try:
            main = reader.read(at)
        except Truncated as error:
            raise _InMain(error, reader) from error
        try:
            keys = PickleReader(data, home).read(main.end)
        except Truncated as error:
            raise _OnlyMain(error, main) from error
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


def _in_order(keys: Unpickled, main: Unpickled) -> list[StorageSpec]:
    """Return the storages in the order of the file; raises Damaged."""
    names = keys.value
    if keys.globals or not isinstance(names, list) or not all(map(_is_key, names)):
        raise Damaged("its list of storages is no list of names")
    storages = []
    for name in names:
        spec = main.storages.get(str(name))
        if spec is None:
            raise Damaged(f"storage {python_repr(name)} is in the file but no tensor uses it, so its size is unknown")
        storages.append(spec)
    return storages


def _bytes_of(main: Unpickled) -> int:
    return sum(HEADER + storage.nbytes for storage in main.storages.values())


class _OnlyMain(Truncated):
    """The stream ends within the list of storages, behind the object.

    Attributes:
        main: the object.
    """

    def __init__(self, error: Truncated, main: Unpickled) -> None:
        super().__init__("the list of storages", wanted=error.wanted, found=error.found, offset=error.offset)
        self.main = main


class _InMain(Truncated):
    """The stream ends within the object.

    Attributes:
        reader: has what was read of it.
    """

    def __init__(self, error: Truncated, reader: PickleReader) -> None:
        super().__init__("the object", wanted=error.wanted, found=error.found, offset=error.offset)
        self.reader = reader
