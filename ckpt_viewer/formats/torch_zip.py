"""The zip that torch.save writes since 1.6 (and 1.4 on request): ``data.pkl`` beside one record for each storage.

FORMATS sections 1.2 and 2.
"""

from __future__ import annotations

from collections.abc import Container

from ckpt_viewer.core.finding import GlobalUse, Note
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import Extent
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget
from ckpt_viewer.formats.base import Head, Inside, NestedOpener, Opened, ZipFormat
from ckpt_viewer.formats.zip_directory import INFLATE_BASE, Record, ZipDirectory
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled

PICKLE_LIMIT = 2 << 30
"""Bytes of the largest ``data.pkl`` that is read."""


class TorchZip(ZipFormat):
    """The zip container of torch.save."""

    def __init__(self, nested: NestedOpener | None = None) -> None:
        super().__init__("torch-zip", holds_data_pickle, lambda: self._read)
        self.nested = nested

    def matches(self, head: Head) -> bool:
        """Also a zip whose directory is broken: opening it says what is wrong."""
        return head.is_zip and (head.archive is None or self.holds(head.archive))

    def _read(self, archive: ZipDirectory, inside: Inside) -> Opened:
        pickle = archive.get("data.pkl")
        if pickle is None:
            raise Damaged("the archive has no data.pkl; copy or download the file again")
        home = Records(archive, inside.prefix)
        data = read_pickle_record(archive, pickle)
        reader = PickleReader(data, home, context=inside.context, depth=inside.depth, nested=self.nested,
                              justified=backing(archive.source))  # fmt: skip
        read = reader.read(0)
        notes = [*archive.notes, *check_storages(home, read, inside.context)]
        if read.end < len(data):
            notes.append(
                Note("warning", "trailing-bytes", None, f"{len(data) - read.end} bytes follow the pickle in data.pkl")
            )
        hidden, more = hidden_pickles(archive, (pickle.name,), inside.context)
        return Opened(read._replace(globals=(*read.globals, *more)), (*notes, *hidden))


def holds_data_pickle(archive: ZipDirectory) -> bool:
    """Whether an archive has the form of torch.save's; TorchScript's has ``constants.pkl`` too."""
    return archive.get("data.pkl") is not None and archive.get("constants.pkl") is None


def read_pickle_record(archive: ZipDirectory, record: Record) -> bytes:
    """Return the bytes of a pickle; raises OverBudget where they are too many, and as `ZipDirectory.read`."""
    if record.size > PICKLE_LIMIT:
        name = record.name.rpartition("/")[2]
        raise OverBudget(f"its {name} of {record.size} bytes is larger than any that torch writes")
    return archive.read(record)


class Records:
    """The storages of one archive: ``data/KEY``, or ``tensors/KEY`` from torch 1.4.

    Attributes:
        folder: what stands before a storage's key in the name of its record, the root folder included.
        suffix: what stands behind it.
    """

    def __init__(self, directory: ZipDirectory, prefix: str, folder: str | None = None, suffix: str = "") -> None:
        self.directory, self.prefix, self.suffix = directory, prefix, suffix
        self.big_endian = _big_endian(directory)
        base = f"{directory.root}/" if directory.root else ""
        if folder is None:
            new = any(name.startswith(f"{base}data/") for name in directory.records)
            old = not new and any(name.startswith(f"{base}tensors/") for name in directory.records)
            folder = "tensors/" if old else "data/"
        self.folder = base + folder

    def record(self, key: str) -> Record | None:
        """Return the record of a storage."""
        return self.directory.records.get(f"{self.folder}{key}{self.suffix}")

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


def hidden_pickles(
    directory: ZipDirectory, shown: Container[str], context: Context
) -> tuple[list[Note], tuple[GlobalUse, ...]]:
    """Look into every pickle of the archive that is not shown: torch ignores them, other programs may not.

    Args:
        shown: names of the records that are.
    """
    notes: list[Note] = []
    uses: dict[GlobalUse, None] = {}
    left = directory.source.size + INFLATE_BASE
    for record in stepped(directory.records.values(), context):
        if record.name in shown or not record.name.endswith(".pkl"):
            continue
        notes.append(
            Note("warning", "extra-pickle", None, f"the archive has a pickle beside data.pkl: {record.name!r}")
        )
        left -= record.size
        try:
            if left < 0:
                raise OverBudget("the archive has more pickles than are looked into")
            data, home = directory.read(record), Records(directory, "")
            read = PickleReader(data, home, context=context, justified=backing(directory.source)).read(0)
        except CheckpointError as error:
            notes.append(Note("info", "extra-pickle", None, f"{record.name!r} cannot be read: {error}"))
        else:
            uses.update(dict.fromkeys(read.globals))
    return notes, tuple(uses)


def check_storages(home: Records, read: Unpickled, context: Context) -> list[Note]:
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
