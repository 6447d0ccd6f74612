"""One file for each container. Content decides which it is, never the file's name; for a folder what is in it."""

from __future__ import annotations

import os

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CheckpointError, NotACheckpoint
from ckpt_viewer.formats.base import HEAD_BYTES, PACKED, FolderFormat, Format, Head, Opened, contents
from ckpt_viewer.formats.raw_pickle import RawPickle
from ckpt_viewer.formats.safetensors import Safetensors
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
SAFETENSORS = Safetensors()
FORMATS: tuple[Format, ...] = (SAFETENSORS, NESTED_ZIP, NESTED_LEGACY, RawPickle(_nested))
"""Asked in this order; the first that matches opens the file. safetensors begins with any number, also with one whose
bytes are the magic number of another format, but no other has a brace behind it."""


def detect(source: Bytes) -> Format:
    """Return the format of a file by its content.

    Raises:
        CheckpointError: it is none that we read; the message names what it is instead.
    """
    head = Head(source.read_at(0, min(source.size, HEAD_BYTES)), source.size)
    for each in FORMATS:
        if each.matches(head):
            return each
    from ckpt_viewer.formats.hints import explain

    raise explain(head, source)


def folder_formats() -> tuple[FolderFormat, ...]:
    """Return the checkpoints that are folders, in the order in which they are asked; a single file needs none."""
    from ckpt_viewer.formats.plain_folder import PlainFolder

    return (PlainFolder(),)


def open_checkpoint(
    path: str | os.PathLike[str], map_location: MapLocation = None, context: Context = SILENT
) -> Checkpoint:
    """Open a checkpoint, a file or a folder; see `ckpt_viewer.open_checkpoint`.

    Args:
        context: told about progress, and may cancel.

    Raises:
        CheckpointError: it cannot be read or is no checkpoint.
        Cancelled: by `context`.
    """
    if os.path.isdir(path):  # noqa: PTH112  pathlib would cost every start 7 ms
        return _open_folder(path, map_location, context)
    source = FileSource(path)
    try:
        inner, wrapping = _unwrapped(source, context)
        found = detect(inner)
        opened = found.open(inner, context)
        opened = opened._replace(notes=(*wrapping, *opened.notes))

        def close() -> None:
            source.close()
            if opened.close is not None:
                opened.close()

        made_of = contents(found.name, opened, close, inner if opened.size is None else None)
        return Checkpoint(os.fspath(path), source.size if opened.size is None else opened.size, made_of, map_location)
    except BaseException:
        source.close()
        raise


def _unwrapped(source: Bytes, context: Context) -> tuple[Bytes, tuple[Note, ...]]:
    """Return what is inside a compressed file, and the note that says so; any other file as it is."""
    if not source.read_at(0, min(source.size, 6)).startswith(PACKED):
        return source, ()
    if SAFETENSORS.matches(Head(source.read_at(0, min(source.size, HEAD_BYTES)), source.size)):
        return source, ()
    from ckpt_viewer.formats.wrapped import unwrap

    inner, note = unwrap(source, context)
    return inner, (note,)


def _open_folder(path: str | os.PathLike[str], map_location: MapLocation, context: Context) -> Checkpoint:
    from ckpt_viewer.sources.folder import Folder

    folder = Folder(path)
    try:
        for each in folder_formats():
            if each.matches(folder):
                opened = each.open(folder, context, open_part)
                made_of = contents(each.name, opened, folder.close, None)
                return Checkpoint(os.fspath(path), opened.size or 0, made_of, map_location)
    except BaseException:
        folder.close()
        raise
    folder.close()
    raise NotACheckpoint("this folder is empty; open a folder that a trainer wrote, or a file")


def open_part(source: Bytes, context: Context, prefix: str) -> Opened:
    """Open one file of a folder, whatever its format; raises CheckpointError."""
    return detect(source).open(source, context, prefix=prefix)


__all__ = ["FORMATS", "CheckpointError", "detect", "folder_formats", "open_checkpoint", "open_part"]
