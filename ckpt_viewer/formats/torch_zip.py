"""The zip that torch.save writes since 1.6 (and 1.4 on request): ``data.pkl`` beside one record for each storage.

FORMATS sections 1.2 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from itertools import islice
from operator import attrgetter

from ckpt_viewer.core.finding import GlobalUse, Note, merged
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.core.text import bytes_text, shorten
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget
from ckpt_viewer.formats.base import Head, Inside, NestedOpener, Opened, Salvaged, Salvaging, ZipFormat
from ckpt_viewer.formats.zip_checks import check_archive, check_local
from ckpt_viewer.formats.zip_directory import INFLATE_BASE, Record, ZipDirectory
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled
from ckpt_viewer.unpickle.weights_only import OLD_FOLDER

PICKLE_LIMIT = 2 << 30
"""Bytes of the largest ``data.pkl`` that is read."""
TOGETHER = 512
"""Storages that are looked up at once."""
MOST_HIDDEN, MOST_TOLD = 5000, 50
"""Pickles beside the one that is shown that are looked into, and those with a finding of their own."""
_PICKLES = (".pkl", ".pickle")
_TEXTS = frozenset({"version", "byteorder", ".format_version", ".storage_alignment", "serialization_id"})
"""Records that torch.save writes beside pickle and storages."""
USUAL = ("data.pkl", "version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
"""The same and the pickle, by their paths."""


class TorchZip(ZipFormat):
    """The zip container of torch.save."""

    def __init__(self, nested: NestedOpener | None = None, others: Callable[[], Salvaging] | None = None) -> None:
        """`others` gives the function that salvages archives of other formats, whose directories are broken alike."""
        super().__init__("torch-zip", holds_data_pickle, lambda: self._read)
        self.nested, self.others = nested, others

    def matches(self, head: Head) -> bool:
        """Also a zip whose directory is broken: opening it says what is wrong."""
        return head.is_zip and (head.archive is None or self.holds(head.archive))

    def _read(self, archive: ZipDirectory, inside: Inside) -> Opened:
        pickle = archive.get("data.pkl")
        if pickle is None:
            raise Damaged("the archive has no data.pkl; copy or download the file again")
        home = Records(archive, inside.prefix)
        data = read_pickle_record(archive, pickle)
        justified = backing(archive.source)
        reader = PickleReader(data, home, context=inside.context, depth=inside.depth, nested=self.nested,
                              justified=justified, place="data.pkl")  # fmt: skip
        read = reader.read(0)
        notes = [*archive.notes, *check_archive(archive), *check_local(archive, pickle)]
        notes += [*check_storages(home, read, inside.context), *unreferenced(home, read)]
        uses = list(read.globals)
        if read.end < len(data):
            from ckpt_viewer.formats.behind import look_behind

            what = "the pickle in data.pkl"
            behind = look_behind(data, read.end, what, "data.pkl", inside.context, min(justified, len(data)))
            notes += behind[0]
            uses += behind[1]
        hidden, more = hidden_pickles(archive, (pickle.name,), home.folder, inside.context)
        read = read._replace(globals=merged((*uses, *more)))
        return Opened(read.but(OLD_FOLDER) if home.old else read, (*notes, *hidden))

    def salvage(self, source: Bytes, inside: Inside) -> Salvaged:
        """Rebuild the tree from local headers; raises CheckpointError."""
        from ckpt_viewer.formats.salvage_zip import salvage

        left = salvage(source, inside, self.nested)
        if left is None and self.others is not None:
            left = self.others()(source, inside)
        if left is None:
            raise Damaged("the archive has no readable data.pkl; copy or download the file again")
        return left


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
        suffix: what stands behind it. old: whether they lie where torch 1.4 put them.
    """

    def __init__(self, directory: ZipDirectory, prefix: str, folder: str | None = None, suffix: str = "") -> None:
        self.directory, self.prefix, self.suffix = directory, prefix, suffix
        self.big_endian = _big_endian(directory)
        base = f"{directory.root}/" if directory.root else ""
        self.old = False
        if folder is None:
            new = any(name.startswith(f"{base}data/") for name in directory.records)
            self.old = not new and any(name.startswith(f"{base}tensors/") for name in directory.records)
            folder = "tensors/" if self.old else "data/"
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
    directory: ZipDirectory, shown: Container[str], folder: str | tuple[str, ...], context: Context
) -> tuple[list[Note], tuple[GlobalUse, ...]]:
    """Look into every pickle of the archive that is not shown: torch ignores them, other programs may not.

    Args:
        shown: names of the records that are. folder: where storages lie, or several; of those, only those called
            pickles are.
    """
    notes: list[Note] = []
    uses: list[GlobalUse] = []
    left, count = directory.source.size + INFLATE_BASE, 0
    beside = [name for name in stepped(directory.records, context) if not name.startswith(folder)
              or name.endswith(_PICKLES)]  # fmt: skip
    for name in beside:
        if name in shown:
            continue
        record = directory.records[name]
        try:
            if not _is_pickle(directory, record):
                continue
            left -= record.size
            count += 1
            if left < 0 or count > MOST_HIDDEN:
                raise OverBudget("the archive has more pickles than are looked into")
            from ckpt_viewer.formats.behind import look_into

            found = look_into(name, directory.read(record), context, min(record.size, backing(directory.source)))
        except CheckpointError as error:
            notes.append(Note("warning", "extra-pickle", None, f"{shorten(name, 80)!r} cannot be looked into: {error}"))
        else:
            notes += found[0]
            uses += found[1]
    if len(notes) > MOST_TOLD:
        more = Note("warning", "extra-pickle", None, f"{len(notes) - MOST_TOLD} more pickles stand beside these")
        notes = [*sorted(notes, key=lambda note: note.severity != "error")[:MOST_TOLD], more]
    return notes, merged(uses)


def _is_pickle(directory: ZipDirectory, record: Record) -> bool:
    """Whether a record is called a pickle, or begins like one."""
    if record.name.endswith(_PICKLES):
        return True
    if record.size < 2 or record.method or record.name.rpartition("/")[2] in _TEXTS:
        return False
    first = directory.source.read_at(directory.data_offset(record), 2)
    return first[0] == 0x80 and first[1] <= 5


def check_storages(home: Records, read: Unpickled, context: Context) -> list[Note]:
    """Compare the sizes that the pickle claims with the directory; reads no data."""
    notes = []
    folder, suffix, keys, storages = home.folder, home.suffix, iter(read.storages), iter(read.storages.values())
    while some := [*islice(keys, TOGETHER)]:
        context.step(0, 0)
        sizes, wanted = home.directory.sizes(folder, some, suffix), [*islice(storages, TOGETHER)]
        if sizes == [*map(_NBYTES, wanted)]:
            continue
        for key, storage, size in zip(some, wanted, sizes, strict=True):
            if size is None:
                message = f"storage {key} has no record in the archive, so its tensors cannot be read"
                notes.append(Note("error", "missing-storage", storage, message))
            elif size != storage.nbytes:
                message = f"storage {key} has {size} bytes in the archive and {storage.nbytes} in the pickle"
                notes.append(Note("error", "storage-size", storage, message))
    return notes


_NBYTES = attrgetter("form.nbytes")


def unreferenced(home: Records, read: Unpickled) -> list[Note]:
    """Say how much lies among the storages that no tensor refers to."""
    records = home.directory.records
    base = f"{home.directory.root}/" if home.directory.root else ""
    usual = sum(f"{base}{name}" in records for name in USUAL)
    if len(records) == usual + len(read.storages):  # as in nearly every file; nothing is missing, or it was told
        return []
    start, end = len(home.folder), len(home.suffix)
    left = [records[name].size for name in records if name.startswith(home.folder)
            and name.endswith(home.suffix) and name[start : len(name) - end] not in read.storages]  # fmt: skip
    if not left:
        return []
    count, size = len(left), bytes_text(sum(left))
    message = f"{count} records with {size} belong to no storage of the pickle; an export leaves them out"
    return [Note("info", "unreferenced-records", None, message)]
