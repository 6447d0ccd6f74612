"""The folder that torch.distributed.checkpoint writes: ``.metadata`` beside data files of many parts each.

FORMATS section 1.11. The metadata alone make the tree; a part of a tensor is looked for when its bytes are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.path import escape_token
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.regions import row_major
from ckpt_viewer.core.tensor import Extent, StorageSpec, TensorSpec
from ckpt_viewer.core.text import bytes_text, shorten
from ckpt_viewer.core.value import Literal, Value
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, OverBudget, Truncated
from ckpt_viewer.formats.base import SALVAGED, FileOpener, Opened, described
from ckpt_viewer.formats.distributed_entries import Described, Entry, Item, TensorEntry
from ckpt_viewer.formats.distributed_items import Chunks, DataFiles
from ckpt_viewer.formats.distributed_metadata import MetadataReader
from ckpt_viewer.formats.distributed_shards import SHARD, describe_shards
from ckpt_viewer.formats.nesting import nested
from ckpt_viewer.formats.parts import Parts
from ckpt_viewer.sources.folder import Folder
from ckpt_viewer.unpickle.metadata_pickle import MetadataBulk, MetadataPickle
from ckpt_viewer.unpickle.reader import PickleReader
from ckpt_viewer.unpickle.weights_only import Refusal

METADATA = re.compile(r"(?:__[0-9]+)?\.metadata")
"""One file for all ranks; or one for each, where ranks did not talk to each other (`FileSystemWriter.finish`)."""
DATA = re.compile(r"__[0-9]+_[0-9]+\.distcp")
METADATA_LIMIT = 2 << 30
MOST_OBJECTS = 4000
"""Objects that are no tensors and are opened with the checkpoint, about 0.3 ms each."""
JUSTIFYING = 1_000_000_000
"""Bytes of the folder that answer for what its objects cost; most of them are tensors."""
REFUSED = Refusal(
    "torch.load does not open a folder; torch.distributed.checkpoint unpickles its .metadata without restriction", ""
)


class Distributed:
    """A folder of torch.distributed.checkpoint."""

    name = "distributed"

    def matches(self, folder: Folder) -> bool:
        """It has the metadata, or data files that lack them, or shards that need none."""
        return any(METADATA.fullmatch(name) or DATA.fullmatch(name) or SHARD.fullmatch(name) for name in folder.files)

    def open(self, folder: Folder, context: Context, open_file: FileOpener, *, prefix: str = "") -> Opened:
        """Read the metadata and objects; raises CheckpointError."""
        reader, parts = MetadataReader(context), []
        for name in [name for name in folder.files if METADATA.fullmatch(name)]:
            part, bulk = _unpickle(folder, name, context)
            parts.append(part)
            if not reader.add(part.unpickled.value, bulk):
                return _unknown(folder, name, context)
        about = reader.finish() if parts else describe_shards(folder, open_file, context)
        if not about.files and not parts:
            raise _without_metadata(folder)
        tree = _Tree(folder, about, open_file, prefix, context)
        for part in parts:
            read = part.unpickled
            tree.objects.add(described(None)._replace(globals=read.globals, notes=read.notes, protocol=read.protocol))
        opened = tree.objects.opened(tree.root(), REFUSED)
        files = (*(name for name in folder.files if METADATA.fullmatch(name)), *about.files)
        return opened._replace(notes=(*opened.notes, *tree.notes()), size=tree.size, files=files)


def _unpickle(folder: Folder, name: str, context: Context) -> tuple[Opened, MetadataBulk]:
    file = folder.file(name)
    if file.size > METADATA_LIMIT:
        raise OverBudget(f"its {name} of {file.size} bytes are too large to be read")
    pickle = MetadataPickle(file, _Nowhere(), context=context, place=name)
    try:
        return Opened(pickle.read(0), size=file.size), pickle.bulk
    except Truncated as error:
        problem = f"its {name} is cut off after {file.size} bytes, and it is unknown how many are missing"
        raise Damaged(f"{problem}; copy it again, for nothing else says what the data files hold") from error


def _unknown(folder: Folder, name: str, context: Context) -> Opened:
    """Show what a pickle has instead of metadata, which can be anything: what it names is worth a look."""
    file = folder.file(name)
    read = PickleReader(file.read_at(0, file.size), _Nowhere(), context=context, place=name).read(0)
    message = f"{name} does not describe a distributed checkpoint; this is what it holds"
    return Opened(read, (Note("error", "bad-metadata", None, message),), size=file.size)


def _without_metadata(folder: Folder) -> NotACheckpoint:
    count = sum(DATA.fullmatch(name) is not None for name in folder.files)
    return NotACheckpoint(
        f"this is a distributed checkpoint ({count} data files) without its .metadata, which say what is in them; "
        "copy that file too, or wait until it is saved"
    )


class _Nowhere:
    """The metadata keep no storages."""

    prefix = ""

    def extent(self, key: str) -> Extent:
        """Always raises Damaged."""
        raise Damaged(f"the .metadata name a storage {shorten(key, 40)!a}, which they cannot have")


class _Tree:
    """Makes the tree of what the metadata describe.

    Attributes:
        objects: what was opened beside the metadata; all that is in the tree. size: bytes of the files that are there.
    """

    def __init__(self, folder: Folder, about: Described, open_file: FileOpener, prefix: str, context: Context) -> None:
        self.folder, self.about, self.prefix, self.context = folder, about, prefix, context
        self.data = DataFiles(folder, about.files, open_file)
        self._notes = list(about.notes)
        self._missing: dict[int, str] = {}
        self._sizes = [self._size(number) for number in range(len(about.files))]
        self._opened = self._closed = 0
        self.size = sum(self._sizes) + sum(folder.file(name).size for name in folder.files if METADATA.fullmatch(name))
        self.objects = Parts(min(self.size, JUSTIFYING), [])
        self._home = Chunks(self.data, about.entries, prefix)

    def _size(self, number: int) -> int:
        """Return the size of a data file, 0 where it cannot be had."""
        try:
            return self.data.file(number).size
        except CheckpointError as error:
            name = shorten(self.about.files[number], 100)
            self._notes.append(Note("error", "missing-shard", None, f"data file {name!a}: {error}"))
            self._missing[number] = str(error)
            return 0

    def root(self) -> Value:
        """Return the nested tree; raises Cancelled."""
        home, paths = self._home, self.about.paths
        values = stepped(self.about.entries.items(), self.context)
        placed = ((name, paths.get(name, (name,)), self._value(name, entry, home)) for name, entry in values)
        root, left = nested(placed)
        if left:
            message = f"the paths of {len(left)} entries lead nowhere, so they stand at the root: {_some(left)}"
            self._notes.append(Note("warning", "planner-path", None, message))
        if self._closed:
            message = f"{self._closed} objects that are no tensors were not opened; that would take too long"
            self._notes.append(Note("warning", "objects-not-opened", None, message))
        return root

    def _value(self, name: str, entry: Entry, home: Chunks) -> Value:
        value: Value
        if isinstance(entry, TensorEntry):
            shape = entry.grid.shape
            row = DTYPES[entry.dtype]
            numel = prod(shape) if row.per_byte == 1 else -(-prod(shape) // row.per_byte)
            storage = StorageSpec(name, None, entry.dtype, numel, home)
            value = TensorSpec(storage, entry.dtype, shape, row_major(shape), 0, entry.requires_grad)
            if entry.grid.problem is not None:
                code, problem = entry.grid.problem
                self._notes.append(Note("error", code, value, f"the tensor {problem}, so it cannot be read"))
        else:
            value = self._object(name, entry.places.get(0))
        if entry.places.missing:
            message = f"the metadata do not say where {entry.places.missing} of its {len(entry.places)} parts lie"
            self._notes.append(Note("error", "missing-storage", value, message))
        return value

    def _object(self, name: str, item: Item | None) -> Value:
        """Open something that is no tensor, within bounds."""
        if item is None:
            return Literal("object", "torch.save", "its place is not known")
        if self._opened >= MOST_OBJECTS or self.objects.full:
            self._closed += 1
            return Literal("object", "torch.save", f"{bytes_text(item.length)}, not opened")
        self._opened += 1
        try:
            opened = self.data.open(item, f"{self.prefix}{escape_token(name)}!")
        except CheckpointError as error:
            value = Literal("object", "torch.save", f"{bytes_text(item.length)}, cannot be read")
            self._notes.append(Note("error", "unreadable-item", value, f"{shorten(name, 100)!a}: {error}"))
            return value
        return self.objects.add(opened.unpickled, opened.notes)

    def notes(self) -> Iterator[Note]:
        """Yield everything that was noticed, once `root` has been made."""
        yield from self._notes
        yield from self._cut_off()
        mentioned = set(self.about.files)
        unused = [name for name in self.folder.files if DATA.fullmatch(name) and name not in mentioned]
        if unused:
            message = f"{len(unused)} data files are not mentioned in the metadata: {_some(unused)}"
            yield Note("warning", "unused-shard", None, message)

    def _cut_off(self) -> Iterator[Note]:
        """Compare the places with the sizes of the files, and note tensors of which parts are gone; reads no data."""
        cut: dict[int, int] = {}
        transformed: dict[str, int] = {}
        room = [*self._sizes, 0]  # the last for parts whose place is not known
        for name, entry in stepped(self.about.entries.items(), self.context):
            for file, count in entry.places.behind(room).items():
                cut[file] = cut.get(file, 0) + count
                if isinstance(entry, TensorEntry):
                    self._home.known_losses[name] = self._loss(file)
            for each in entry.places.transforms:
                transformed[each] = transformed.get(each, 0) + 1
        for file, count in cut.items():
            if file not in self._missing:
                name = shorten(self.about.files[file], 100)
                message = f"{count} parts lie behind the end of {name!a}, which has {self._sizes[file]} bytes"
                yield Note("error", "truncated-shard", None, message)
        for each, count in transformed.items():
            message = f"{count} parts are packed by the extension {each!a}, which this version does not read"
            yield Note("warning", "transformed", None, message)
        if self._home.known_losses:
            lost, count = len(self._home.known_losses), len(self._home.entries)
            message = f"data files are missing or cut off; this is what is left: {count - lost} of its {count} tensors"
            yield Note("warning", SALVAGED, None, message)

    def _loss(self, file: int) -> str:
        """Return why the parts of a tensor that lie in a file are not there."""
        name = shorten(self.about.files[file], 100)
        what = self._missing.get(file, "which is cut off before them; copy the folder again")
        return f"parts of it lie in {name!a}, {what}"


def _some(names: list[str]) -> str:
    shown = ", ".join(ascii(shorten(name, 60)) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
