"""torch.package: pickles under any name, their storages in ``.data``, and the source code of the classes.

FORMATS section 1.2. Source: torch/package/package_exporter.py, package_importer.py.
"""

from __future__ import annotations

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import stepped
from ckpt_viewer.core.tensor import StorageSpec
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, NotACheckpoint, OverBudget
from ckpt_viewer.formats.base import Inside, NestedOpener, Opened
from ckpt_viewer.formats.parts import Parts
from ckpt_viewer.formats.salvage_pickle import read_or_left
from ckpt_viewer.formats.torch_zip import Records, check_storages, hidden_pickles, read_pickle_record
from ckpt_viewer.formats.torchscript import note_program
from ckpt_viewer.formats.zip_directory import Record, ZipDirectory
from ckpt_viewer.formats.zip_members import Members
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.machine import Machine
from ckpt_viewer.unpickle.reader import PickleReader
from ckpt_viewer.unpickle.weights_only import PACKAGE

DATA = ".data/"
EXTERN = ".data/extern_modules"


def read(archive: ZipDirectory, inside: Inside, nested: NestedOpener | None) -> Opened:
    """Read every pickle of a package.

    Raises:
        CheckpointError: there is none in it, or none that can be read.
    """
    reader = _Reader(archive, inside, nested)
    root = reader.tree()
    if not reader.found:
        raise reader.parts.failure or NotACheckpoint("this torch.package archive holds source code and no pickle")
    reader.look_into_others()
    note_program(archive, reader.parts)
    return reader.parts.opened(root, PACKAGE)


class _Reader:
    """Walks the records.

    Attributes:
        storages: by key; the pickles of a package share them.
        found: how many pickles were read.
    """

    def __init__(self, archive: ZipDirectory, inside: Inside, nested: NestedOpener | None) -> None:
        self.archive, self.inside, self.nested = archive, inside, nested
        self.parts = Parts(backing(archive.source), archive.notes)
        self.files = Members(archive)
        self.home = Records(archive, inside.prefix, DATA, ".storage")
        self.storages: dict[str, StorageSpec] = {}
        self.found = 0

    def tree(self) -> Mapping:
        """Return a dict of record name, below the root folder -> what is in it."""
        root = Mapping()
        base = f"{self.archive.root}/" if self.archive.root else ""
        for record in stepped(self.archive.records.values(), self.inside.context):
            name = record.name.removeprefix(base)
            inner = name.startswith(DATA) and name != EXTERN
            if inner or name == "byteorder" or name.endswith("/"):
                continue
            root.pairs += (name, self._pickle(record) if name.endswith(".pkl") else self._file(record))
        return root

    def look_into_others(self) -> None:
        """List the names in pickles that are called something else: whoever has the package can load those too."""
        shown = [name for name in self.archive.records if name.endswith(".pkl")]
        notes, uses = hidden_pickles(self.archive, frozenset(shown), self.home.folder, self.inside.context)
        self.parts.use(uses)
        self.parts.notes += notes

    def _file(self, record: Record) -> Value:
        text = self.files.text(record)
        return text if text is not None else self.files.placeholder(record)

    def _pickle(self, record: Record) -> Value:
        try:
            if self.parts.full:
                raise OverBudget("the package holds more than is read at once")
            data = read_pickle_record(self.archive, record)
            reader = PickleReader(data, self.home, context=self.inside.context, depth=self.inside.depth,
                                  nested=self.nested, justified=backing(self.archive.source),
                                  place=record.name, refer=_reduced)  # fmt: skip
            reader.storages.update(self.storages)
            read = read_or_left(reader, self.inside)
        except CheckpointError as error:
            shown = self.files.placeholder(record)
            self.parts.failed(record.name, record.size, error, shown)
            return shown
        self.found += 1
        new = {key: storage for key, storage in read.storages.items() if key not in self.storages}
        self.storages = read.storages
        notes = check_storages(self.home, read._replace(storages=new), self.inside.context)
        if read.end < len(data):
            message = f"{len(data) - read.end} bytes follow the pickle in {record.name!r}"
            notes.append(Note("warning", "trailing-bytes", read.value, message))
        return self.parts.add(read, tuple(notes))


def _reduced(machine: Machine, pid: Value) -> Value | None:
    """An object that would be made by a call which the package names: (reduce_package, number, function, arguments)."""
    if type(pid) is not tuple or not pid or pid[0] != "reduce_package" or len(pid) not in (3, 4):
        return None
    return machine.call(pid[-2], pid[-1])
