"""What every container format provides, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ckpt_viewer.core.checkpoint import Contents
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.unpickle.reader import Unpickled


class Head(NamedTuple):
    """The beginning of a file, for detection by content.

    Attributes:
        data: its first bytes, at most `HEAD_BYTES`. size: bytes of the whole file.
    """

    data: bytes
    size: int


HEAD_BYTES = 4096


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
    """

    unpickled: Unpickled
    notes: tuple[Note, ...] = ()


NestedOpener = Callable[[bytes, int, str], "Unpickled | None"]


def contents(name: str, opened: Opened, close: Callable[[], None], source: Bytes) -> Contents:
    """Return what a checkpoint is made of."""
    read = opened.unpickled
    return Contents(
        format=name,
        root=read.value,
        globals=read.globals,
        notes=(*read.notes, *opened.notes),
        protocol=read.protocol,
        weights_only=read.refused,
        close=close,
        source=source,
    )
