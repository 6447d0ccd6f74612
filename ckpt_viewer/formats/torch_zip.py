"""The zip that torch.save writes since 1.6 (and 1.4 on request): ``data.pkl`` beside one record for each storage.

FORMATS sections 1.2 and 2.
"""

from __future__ import annotations

from ckpt_viewer.core.finding import GlobalUse, Note
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, OverBudget, Unsupported
from ckpt_viewer.formats.base import Head, NestedOpener, Opened
from ckpt_viewer.formats.zip_directory import INFLATE_BASE, Record, ZipDirectory
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled

PICKLE_LIMIT = 2 << 30
"""Bytes of the largest ``data.pkl`` that is read."""


class TorchZip:
    """The zip container of torch.save."""

    name = "torch-zip"

    def __init__(self, nested: NestedOpener | None = None) -> None:
        self.nested = nested

    def matches(self, head: Head) -> bool:
        """A local header at the very start; torch does not tolerate bytes before it either."""
        return head.data[:4] == b"PK\x03\x04"

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read directory and ``data.pkl``; raises CheckpointError."""
        directory = ZipDirectory(source, context)
        pickle = _find_pickle(directory)
        if pickle.size > PICKLE_LIMIT:
            raise OverBudget(f"its data.pkl of {pickle.size} bytes is larger than any that torch writes")
        home = _Records(directory, prefix)
        data = directory.read(pickle)
        reader = PickleReader(data, home, context=context, depth=depth, nested=self.nested, justified=source.size)
        read = reader.read(0)
        notes = [*directory.notes, *_check_storages(home, read, context)]
        if read.end < len(data):
            notes.append(
                Note("warning", "trailing-bytes", None, f"{len(data) - read.end} bytes follow the pickle in data.pkl")
            )
        hidden, more = _hidden_pickles(directory, pickle, context)
        return Opened(read._replace(globals=(*read.globals, *more)), (*notes, *hidden))


class _Records:
    """The storages of one archive: ``data/KEY``, or ``tensors/KEY`` from torch 1.4."""

    def __init__(self, directory: ZipDirectory, prefix: str) -> None:
        self.directory, self.prefix = directory, prefix
        self.big_endian = _big_endian(directory)
        base = f"{directory.root}/" if directory.root else ""
        old = f"{base}tensors/"
        new = any(name.startswith(f"{base}data/") for name in directory.records)
        self.folder = f"{base}data/" if new or not any(n.startswith(old) for n in directory.records) else old

    def record(self, key: str) -> Record | None:
        """Return the record of a storage."""
        return self.directory.records.get(self.folder + key)

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie; raises Damaged, Truncated, Unsupported."""
        record = self.record(key)
        if record is None:
            raise Damaged(f"the archive has no record for storage {key!r}; copy or download the file again")
        return self.directory.extent(record, big_endian=self.big_endian)


def _big_endian(directory: ZipDirectory) -> bool:
    record = directory.get("byteorder")
    if record is None or record.size > 64:
        return False
    order = directory.read(record)
    if order not in (b"little", b"big"):
        raise Damaged(f"the archive states the byte order {order!r}, which torch refuses too")
    return order == b"big"


def _find_pickle(directory: ZipDirectory) -> Record:
    pickle = directory.get("data.pkl")
    if pickle is not None and directory.get("constants.pkl") is None:
        return pickle
    raise _other_archive(directory)


def _other_archive(directory: ZipDirectory) -> NotACheckpoint | Unsupported:
    """Say what a zip is that torch.save did not write."""
    names = directory.records
    if directory.get("constants.pkl") is not None:
        return Unsupported("this is a TorchScript archive (torch.jit.save), which this version does not read")
    if directory.get("archive_format") is not None or "serialized_exported_program.json" in names:
        return Unsupported("this is a torch.export program (.pt2), which this version does not read")
    if directory.get(".data/extern_modules") is not None or directory.get(".data/version") is not None:
        return Unsupported("this is a torch.package archive, which this version does not read")
    if names and all(name.endswith(".npy") for name in names):
        return NotACheckpoint("this is a numpy .npz archive, no checkpoint; open it with numpy.load")
    return NotACheckpoint("this is an ordinary zip archive without a data.pkl; unpack it and open what is inside")


def _hidden_pickles(
    directory: ZipDirectory, main: Record, context: Context
) -> tuple[list[Note], tuple[GlobalUse, ...]]:
    """Look into every other pickle of the archive: torch ignores them, other programs may not."""
    notes: list[Note] = []
    uses: dict[GlobalUse, None] = {}
    left = directory.source.size + INFLATE_BASE
    for record in stepped(directory.records.values(), context):
        if record is main or not record.name.endswith(".pkl"):
            continue
        notes.append(
            Note("warning", "extra-pickle", None, f"the archive has a pickle beside data.pkl: {record.name!r}")
        )
        left -= record.size
        try:
            if left < 0:
                raise OverBudget("the archive has more pickles than are looked into")
            data, home = directory.read(record), _Records(directory, "")
            read = PickleReader(data, home, context=context, justified=directory.source.size).read(0)
        except CheckpointError as error:
            notes.append(Note("info", "extra-pickle", None, f"{record.name!r} cannot be read: {error}"))
        else:
            uses.update(dict.fromkeys(read.globals))
    return notes, tuple(uses)


def _check_storages(home: _Records, read: Unpickled, context: Context) -> list[Note]:
    """Compare the sizes that the pickle claims with the directory; reads no data."""
    notes = []
    for key, storage in stepped(read.storages.items(), context):
        record = home.record(key)
        if record is None:
            message = f"storage {key} has no record in the archive, so its tensors cannot be read"
            notes.append(Note("error", "missing-storage", storage, message))
        elif record.size != storage.nbytes:
            message = f"storage {key} has {record.size} bytes in the archive and {storage.nbytes} in the pickle"
            notes.append(Note("error", "storage-size", storage, message))
    return notes
