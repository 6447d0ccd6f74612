"""What every container format provides, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from ckpt_viewer.core.checkpoint import Contents
from ckpt_viewer.core.finding import GlobalUse, Note, merge_into
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes, StorageSpec
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.unpickle.reader import Unpickled

if TYPE_CHECKING:
    from ckpt_viewer.sources.folder import Folder

HEAD_BYTES = 4096
SALVAGED = "salvaged"
"""Code of the note that a file is broken and this is what is left of it."""
ZIP_MAGIC = b"PK\x03\x04"
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""How files begin that gzip, bzip2, xz or zstd have packed; `wrapped` takes them off."""


class Head:
    """The beginning of a file, for detection by content.

    Attributes:
        source: the whole file. data: its first bytes, at most `HEAD_BYTES`. size: bytes of the whole file.
    """

    def __init__(self, source: Bytes, context: Context = SILENT) -> None:
        self.source, self.size, self._context = source, source.size, context
        self.data = source.read_at(0, min(source.size, HEAD_BYTES))

    @property
    def is_zip(self) -> bool:
        """Whether a zip's local header stands at the very start; torch does not tolerate bytes before it either."""
        return self.data[:4] == ZIP_MAGIC

    @property
    def is_tar(self) -> bool:
        """Whether a tar header stands at the very start: by its checksum, for the oldest have nothing else."""
        block = self.data[:512]
        stated = block[148:156].strip(b" \0")
        if len(block) < 512 or not stated or stated.strip(b"01234567"):
            return False
        return int(stated, 8) == sum(block[:148]) + 8 * 0x20 + sum(block[156:])

    @cached_property
    def archive(self) -> ZipDirectory | None:
        """The directory of a zip, read once for all formats that ask; None for other files and broken directories."""
        try:
            return ZipDirectory(self.source, self._context) if self.is_zip else None
        except CheckpointError:
            return None


class Format(Protocol):
    """One container. Formats are asked in the order of `FORMATS`; the first that matches opens the file."""

    name: str

    def matches(self, head: Head) -> bool:
        """Whether the content is of this format; never the file's name."""

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the tree.

        Args:
            depth: how many checkpoints this one is nested in. prefix: goes before the keys of its storages.

        Raises:
            CheckpointError: it is damaged, cut off, or of a kind that is not supported.
        """


class RareFormat:
    """A format whose reader is imported when a file of it is opened.

    Attributes:
        name: see `Format`. reader: gives the function that reads one; it imports the reader's module.
    """

    def __init__(self, name: str, matches: Callable[[Head], bool], reader: Callable[[], SourceReader]) -> None:
        self.name, self._matches, self.reader = name, matches, reader

    def matches(self, head: Head) -> bool:
        """By the first bytes."""
        return self._matches(head)

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the tree; raises CheckpointError."""
        return self.reader()(source, Inside(context, depth, prefix))


class SalvagedRareFormat(RareFormat):
    """The same of a format that can make something of a broken file."""

    def __init__(
        self,
        name: str,
        matches: Callable[[Head], bool],
        reader: Callable[[], SourceReader],
        salvager: Callable[[], Salvaging],
    ) -> None:
        super().__init__(name, matches, reader)
        self._salvager = salvager

    def salvage(self, source: Bytes, inside: Inside) -> Salvaged:
        """See `Salvager`."""
        return self._salvager()(source, inside)


class ZipFormat:
    """A format that is told by the records of a zip archive.

    Attributes:
        name: see `Format`.
        holds: whether an archive is of this format.
        reader: gives the function that reads one. It imports the reader's module, which few files need.
    """

    def __init__(self, name: str, holds: Callable[[ZipDirectory], bool], reader: Callable[[], ZipReader]) -> None:
        self.name, self.holds, self.reader = name, holds, reader

    def matches(self, head: Head) -> bool:
        """By the names of the archive's records."""
        return head.archive is not None and self.holds(head.archive)

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the tree; raises CheckpointError."""
        return self.read(ZipDirectory(source, context), Inside(context, depth, prefix))

    def read(self, archive: ZipDirectory, inside: Inside) -> Opened:
        """Read the tree of an archive whose directory has been read already; raises CheckpointError."""
        return self.reader()(archive, inside)


class Inside(NamedTuple):
    """Where a container lies, for its reader.

    Attributes:
        context: told about progress, and may cancel.
        depth: how many checkpoints it is nested in. prefix: goes before the keys of its storages.
        salvage: whether what lies inside is to be salvaged where it is broken.
        verify: whether salvaging compares with checksums where there are some, which reads everything.
    """

    context: Context = SILENT
    depth: int = 0
    prefix: str = ""
    salvage: bool = False
    verify: bool = True

    def member(self, name: str) -> Inside:
        """Return the place of a checkpoint that lies inside this one under a name."""
        return self._replace(depth=self.depth + 1, prefix=f"{self.prefix}{name}!")


class Opened(NamedTuple):
    """What opening a container gave.

    Attributes:
        unpickled: its tree, globals and storages. notes: what else was noticed.
        size: bytes of all files together, where there are several; None for a single file.
        close: gives further files back; None where there are none.
        state_dict: whether the container can hold nothing but one state_dict.
        files: names of the files that it is made of, where they are several.
        refused: why weights_only would refuse the container, whatever is in the pickle; ``""`` if it would not.
        says: the same in torch's own words.
    """

    unpickled: Unpickled
    notes: tuple[Note, ...] = ()
    size: int | None = None
    close: Callable[[], None] | None = None
    state_dict: bool = False
    files: tuple[str, ...] = ()
    refused: str = ""
    says: str = ""


class Salvaged(NamedTuple):
    """What could be rebuilt of a broken file.

    Attributes:
        opened: its tree; storages that are not whole raise Lost where they are read.
        wanted: bytes that the file should have; None where it is not cut off.
        about: how sure that is, as a word before the number: ``""``, ``"about "`` or ``"at least "``.
        format: the container's name, where what is left tells another than the first look did; ``""`` if not.
        nameless: whether only the bytes of storages are left, and nothing says which tensors they belong to.
        open_end: whether there was more, of which nothing tells how much.
        padded: whether all data are there, so that zeros at its end are padding and not data that was never written.
    """

    opened: Opened
    wanted: int | None
    about: str = ""
    format: str = ""
    nameless: bool = False
    open_end: bool = False
    padded: bool = False


@runtime_checkable
class Salvager(Protocol):
    """What a Format also is that can make something of a broken file."""

    def salvage(self, source: Bytes, inside: Inside) -> Salvaged:
        """Rebuild what can be trusted.

        Raises:
            CheckpointError: nothing can. Cancelled: by the context.
        """


FileOpener = Callable[[Bytes, Context, str], Opened]
"""Opens one file of a folder, whatever its format: its bytes, a context, and a prefix for the names of its storages."""


class FolderFormat(Protocol):
    """A checkpoint that is a folder. Asked in the order of `FOLDER_FORMATS`; the first that matches opens it."""

    name: str

    def matches(self, folder: Folder) -> bool:
        """Whether the names in the folder are those of this format."""

    def open(self, folder: Folder, context: Context, open_file: FileOpener, *, prefix: str = "") -> Opened:
        """Read the tree. Who asked closes the folder.

        Args:
            open_file: for files in containers of their own. prefix: goes before the keys of its storages.

        Raises:
            CheckpointError: it is damaged, or there is no checkpoint in it.
        """


def was_salvaged(opened: Opened) -> bool:
    """Whether something was broken, and this is what is left."""
    return any(note.code == SALVAGED for note in (*opened.unpickled.notes, *opened.notes))


def described(value: Value, storages: dict[str, StorageSpec] | None = None) -> Unpickled:
    """Return the description of a container that has no pickle: nothing is named, nothing could run."""
    return Unpickled(value, [], (), -1, "", storages or {}, 0)


def merged(value: Value, parts: Iterable[Opened]) -> Opened:
    """Return several containers as one with the root `value`: globals, notes and storages together."""
    notes: list[Note] = []
    uses: dict[str, GlobalUse] = {}
    storages: dict[str, StorageSpec] = {}
    protocol = -1
    for part in parts:
        read = part.unpickled
        notes += (*read.notes, *part.notes)
        merge_into(uses, read.globals)
        storages.update({storage.unique_key: storage for storage in read.storages.values()})
        protocol = max(protocol, read.protocol)
    return Opened(described(value, storages)._replace(globals=tuple(uses.values()), protocol=protocol), tuple(notes))


SourceReader = Callable[[Bytes, Inside], Opened]
Salvaging: TypeAlias = Callable[[Bytes, Inside], Salvaged]
"""Rebuilds what can be trusted of a broken file; raises CheckpointError."""
ZipReader = Callable[[ZipDirectory, Inside], Opened]
NestedOpener = Callable[[bytes, int, str], "Unpickled | None"]
InnerOpener = Callable[[Bytes, Inside], "Opened | None"]
"""Opens a checkpoint that is a part of another file; None if it is none."""


def open_found(found: Format, head: Head, inside: Inside) -> Opened:
    """Open a file with the format that was found for it, without reading a zip's directory twice.

    Raises:
        CheckpointError: see `Format.open`.
    """
    if isinstance(found, ZipFormat) and head.archive is not None:
        return found.read(head.archive, inside)
    if isinstance(found, RareFormat):
        return found.reader()(head.source, inside)
    return found.open(head.source, inside.context, depth=inside.depth, prefix=inside.prefix)


def contents(name: str, opened: Opened, close: Callable[[], None], source: Bytes | None) -> Contents:
    """Return what a checkpoint is made of.

    Args:
        source: the whole file; None where the checkpoint is several.
    """
    read = opened.unpickled
    return Contents(
        format=name,
        root=read.value,
        globals=read.globals,
        notes=(*read.notes, *opened.notes),
        protocol=read.protocol,
        weights_only=read.refused or opened.refused,
        weights_only_says=read.says if read.refused else opened.says,
        close=close,
        source=source,
        state_dict=opened.state_dict,
        files=opened.files,
        salvaged=was_salvaged(opened),
    )
