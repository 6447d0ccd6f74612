"""What every container format provides, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ckpt_viewer.core.checkpoint import Contents
from ckpt_viewer.core.finding import GlobalUse, Note
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes, StorageSpec
from ckpt_viewer.core.value import Value
from ckpt_viewer.unpickle.reader import Unpickled

if TYPE_CHECKING:
    from ckpt_viewer.sources.folder import Folder


class Head(NamedTuple):
    """The beginning of a file, for detection by content.

    Attributes:
        data: its first bytes, at most `HEAD_BYTES`. size: bytes of the whole file.
    """

    data: bytes
    size: int


HEAD_BYTES = 4096
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""How files begin that gzip, bzip2, xz or zstd have packed; `wrapped` takes them off."""


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


class Opened(NamedTuple):
    """What opening a container gave.

    Attributes:
        unpickled: its tree, globals and storages. notes: what else was noticed.
        size: bytes of all files together, where there are several; None for a single file.
        close: gives further files back; None where there are none.
        state_dict: whether the container can hold nothing but one state_dict.
        refused: why weights_only would refuse the container, whatever is in the pickle; ``""`` if it would not.
    """

    unpickled: Unpickled
    notes: tuple[Note, ...] = ()
    size: int | None = None
    close: Callable[[], None] | None = None
    state_dict: bool = False
    refused: str = ""


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


def described(value: Value, storages: dict[str, StorageSpec] | None = None) -> Unpickled:
    """Return the description of a container that has no pickle: nothing is named, nothing could run."""
    return Unpickled(value, [], (), -1, "", storages or {}, 0)


def merged(value: Value, parts: Iterable[Opened]) -> Opened:
    """Return several containers as one with the root `value`: globals, notes and storages together."""
    notes: list[Note] = []
    uses: dict[GlobalUse, None] = {}
    storages: dict[str, StorageSpec] = {}
    protocol = -1
    for part in parts:
        read = part.unpickled
        notes += (*read.notes, *part.notes)
        uses.update(dict.fromkeys(read.globals))
        storages.update({storage.unique_key: storage for storage in read.storages.values()})
        protocol = max(protocol, read.protocol)
    return Opened(described(value, storages)._replace(globals=tuple(uses), protocol=protocol), tuple(notes))


NestedOpener = Callable[[bytes, int, str], "Unpickled | None"]


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
        close=close,
        source=source,
        state_dict=opened.state_dict,
    )
