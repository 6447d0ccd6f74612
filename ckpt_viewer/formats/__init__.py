"""One file for each container. Content decides which it is, never the file's name."""

from __future__ import annotations

import os

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.base import HEAD_BYTES, Format, Head, contents
from ckpt_viewer.formats.hints import explain
from ckpt_viewer.formats.raw_pickle import RawPickle
from ckpt_viewer.formats.torch_legacy import TorchLegacy
from ckpt_viewer.formats.torch_zip import TorchZip
from ckpt_viewer.sources import FileSource, MemorySource
from ckpt_viewer.unpickle.reader import Unpickled


def _nested(data: bytes, depth: int, prefix: str) -> Unpickled | None:
    """Return what a checkpoint that lies inside a pickle as bytes describes; None if it is none."""
    source = MemorySource(data, "a checkpoint inside the pickle")
    head = Head(data[:HEAD_BYTES], len(data))
    for each in (NESTED_ZIP, NESTED_LEGACY):
        if each.matches(head):
            opened = each.open(source, SILENT, depth=depth, prefix=prefix)
            return opened.unpickled._replace(notes=[*opened.unpickled.notes, *opened.notes])
    return None


NESTED_ZIP, NESTED_LEGACY = TorchZip(_nested), TorchLegacy(_nested)
FORMATS: tuple[Format, ...] = (NESTED_ZIP, NESTED_LEGACY, RawPickle(_nested))
"""Asked in this order; the first that matches opens the file."""


def detect(source: Bytes) -> Format:
    """Return the format of a file by its content.

    Raises:
        CheckpointError: it is none that we read; the message names what it is instead.
    """
    head = Head(source.read_at(0, min(source.size, HEAD_BYTES)), source.size)
    for each in FORMATS:
        if each.matches(head):
            return each
    raise explain(head)


def open_checkpoint(
    path: str | os.PathLike[str], map_location: MapLocation = None, context: Context = SILENT
) -> Checkpoint:
    """Open a checkpoint file; see `ckpt_viewer.open_checkpoint`.

    Args:
        context: told about progress, and may cancel.

    Raises:
        CheckpointError: it cannot be read or is no checkpoint.
        Cancelled: by `context`.
    """
    source = FileSource(path)
    try:
        found = detect(source)
        opened = found.open(source, context)
        made_of = contents(found.name, opened, source.close, source)
        return Checkpoint(os.fspath(path), source.size, made_of, map_location)
    except BaseException:
        source.close()
        raise


__all__ = ["FORMATS", "CheckpointError", "detect", "open_checkpoint"]
