"""From a path to an open checkpoint: what is wrapped is unwrapped, what is broken says so, folders open as one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, Truncated
from ckpt_viewer.formats.base import PACKED, Head, Inside, Opened, contents, open_found
from ckpt_viewer.formats.registry import SAFETENSORS, SHARDED, detect_head, folder_formats, opener
from ckpt_viewer.sources import FileSource

if TYPE_CHECKING:
    from ckpt_viewer.formats.wrapped import Unwrapped


def open_checkpoint(
    path: str | os.PathLike[str],
    map_location: MapLocation = None,
    context: Context = SILENT,
    *,
    whole: bool = False,
    salvage: bool = False,
) -> Checkpoint:
    """Open a checkpoint, a file or a folder; see `ckpt_viewer.open_checkpoint`.

    Args:
        context: told about progress, and may cancel.
        whole: where the file is one of a sharded set whose index or other files are beside it, open the set.
        salvage: rebuild what can be trusted where the file is broken.

    Raises:
        CheckpointError: it cannot be read or is no checkpoint. For a broken file it says how much is missing, and
            `salvage` of the error what could be rebuilt.
        Cancelled: by `context`.
    """
    if os.path.isdir(path):  # noqa: PTH112  pathlib would cost every start 7 ms
        return _open_folder(path, map_location, context, salvage)
    if whole and "-of-" in os.path.basename(os.fspath(path)):  # noqa: PTH119
        from ckpt_viewer.formats.shard_set import open_whole

        opened = open_whole(os.fspath(path), context, opener(salvage=salvage))
        if opened is not None and opened.close is not None:
            made_of = contents(SHARDED, opened, opened.close, None)
            return Checkpoint(os.fspath(path), opened.size or 0, made_of, map_location)
    return _open_file(path, map_location, context, salvage)


def _open_file(path: str | os.PathLike[str], map_location: MapLocation, context: Context, salvage: bool) -> Checkpoint:
    source = FileSource(path)
    try:
        if _is_metadata(source):
            source.close()
            return _open_folder(os.path.dirname(path) or ".", map_location, context, salvage)  # noqa: PTH120
        inner = source if (packed := _unwrapped(source, context)) is None else packed.source
        name, opened = _open_alone(inner, context, salvage)
        if packed is not None:
            opened = _out_of(packed, opened, source, context, salvage)
        opened = opened._replace(notes=(*opened.notes, *_beside(source.name)))
        also = opened.close  # not all of it, which has every storage by its name

        def close() -> None:
            source.close()
            if also is not None:
                also()

        made_of = contents(name, opened, close, inner if opened.size is None else None)
        return Checkpoint(os.fspath(path), source.size if opened.size is None else opened.size, made_of, map_location)
    except BaseException:
        source.close()
        raise


def _is_metadata(source: FileSource) -> bool:
    """Whether a file is the index of the distributed checkpoint in its folder."""
    return source.name.endswith(".metadata") and source.size > 0 and source.read_at(0, 1) == b"\x80"


def open_or_salvage(source: Bytes, context: Context, salvage: bool) -> tuple[str, Opened]:
    """Return the name of a file's format and what it holds, or what is left of that; raises CheckpointError."""
    head = Head(source, context)
    found = detect_head(head)
    try:
        return found.name, open_found(found, head, Inside(context, salvage=salvage))
    except (Damaged, Truncated) as error:
        from ckpt_viewer.formats.broken import rebuild

        return rebuild(found, source, context, error, wanted=salvage)


def _open_alone(source: Bytes, context: Context, salvage: bool) -> tuple[str, Opened]:
    try:
        return open_or_salvage(source, context, salvage)
    except CheckpointError as error:
        if not source.name.endswith(".distcp"):
            raise
        from ckpt_viewer.formats.siblings import data_file

        raise NotACheckpoint(data_file(source.name)) from error


def _beside(path: str) -> tuple[Note, ...]:
    """Return a note where the name says that the file is one of several, or its folder's that it is of one rank."""
    name = os.path.basename(path)  # noqa: PTH119  pathlib would cost every start 7 ms
    if "-of-" in name:
        from ckpt_viewer.formats.shard_set import lone_part_note

        of_set = lone_part_note(path)
        if of_set is not None:
            return (of_set,)
    of_rank = "rank" in os.path.basename(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH119, PTH120
    if not of_rank and not any(word in name for word in ("rank", "shard", "part", "of", "state", ".distcp")):
        return ()
    from ckpt_viewer.formats.siblings import note_for

    note = note_for(path)
    return () if note is None else (note,)


def _unwrapped(source: Bytes, context: Context) -> Unwrapped | None:
    """Return what is inside a compressed file; None for any other."""
    if not source.read_at(0, min(source.size, 6)).startswith(PACKED):
        return None
    if SAFETENSORS.matches(Head(source)):
        return None
    from ckpt_viewer.formats.wrapped import unwrap

    return unwrap(source, context)


def _out_of(packed: Unwrapped, opened: Opened, source: Bytes, context: Context, salvage: bool) -> Opened:
    """Return what a compressed file holds with what is to be said of its packing; raises Truncated."""
    opened = opened._replace(notes=(*packed.notes, *opened.notes))
    if not packed.problem:
        return opened
    from ckpt_viewer.formats.broken import without_end

    return without_end(opened, packed.problem, source, context, wanted=salvage)


def _open_folder(
    path: str | os.PathLike[str], map_location: MapLocation, context: Context, salvage: bool
) -> Checkpoint:
    from ckpt_viewer.sources.folder import Folder

    folder = Folder(path)
    try:
        for each in folder_formats():
            if each.matches(folder):
                opened = each.open(folder, context, opener(salvage=salvage))
                made_of = contents(each.name, opened, folder.close, None)
                return Checkpoint(os.fspath(path), opened.size or 0, made_of, map_location)
    except BaseException:
        folder.close()
        raise
    folder.close()
    raise NotACheckpoint("this folder is empty; open a folder that a trainer wrote, or a file")
