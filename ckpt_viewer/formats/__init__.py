"""One file for each container. Content decides which it is, never the file's name; for a folder what is in it."""

from __future__ import annotations

import os
from functools import partial

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, Truncated
from ckpt_viewer.formats.base import (
    PACKED,
    FolderFormat,
    Format,
    Head,
    Inside,
    Opened,
    RareFormat,
    SourceReader,
    ZipFormat,
    ZipReader,
    contents,
    open_found,
)
from ckpt_viewer.formats.kinds import holds_export, holds_files, holds_package, holds_torchscript, is_torch_tar
from ckpt_viewer.formats.raw_pickle import RawPickle
from ckpt_viewer.formats.safetensors import Safetensors
from ckpt_viewer.formats.sharded import Sharded
from ckpt_viewer.formats.torch_legacy import TorchLegacy
from ckpt_viewer.formats.torch_zip import TorchZip
from ckpt_viewer.sources import FileSource, MemorySource
from ckpt_viewer.unpickle.reader import Unpickled


def _nested(data: bytes, depth: int, prefix: str) -> Unpickled | None:
    """Return what a checkpoint that lies inside a pickle as bytes describes; None if it is none."""
    head = Head(MemorySource(data, "a checkpoint inside the pickle"))
    for each in (NESTED_ZIP, NESTED_LEGACY):
        if each.matches(head):
            opened = open_found(each, head, Inside(SILENT, depth, prefix))
            return opened.unpickled._replace(notes=[*opened.unpickled.notes, *opened.notes])
    return None


def _inner(source: Bytes, inside: Inside) -> Opened | None:
    """Open a checkpoint that is a part of another file; None if it is none."""
    head = Head(source, inside.context)
    found = find_format(head)
    return open_found(found, head, inside) if found is not None else None


def _torchscript() -> ZipReader:
    from ckpt_viewer.formats.torchscript import read

    return partial(read, nested=_nested)


def _torch_package() -> ZipReader:
    from ckpt_viewer.formats.torch_package import read

    return partial(read, nested=_nested)


def _torch_export() -> ZipReader:
    from ckpt_viewer.formats.torch_export import read

    return partial(read, inner=_inner)


def _torch_tar() -> SourceReader:
    from ckpt_viewer.formats.torch_tar import read

    return partial(read, nested=_nested)


def _ordinary_zip() -> ZipReader:
    from ckpt_viewer.formats.ordinary_zip import read

    return partial(read, inner=_inner, nested=_nested)


def open_part(source: Bytes, context: Context, prefix: str) -> Opened:
    """Open one file of a folder or a set, whatever its format; raises CheckpointError."""
    opened = _open_source(source, Inside(context, 0, prefix))[1]
    file = os.path.basename(source.name)  # noqa: PTH119  pathlib would cost every start 7 ms
    read = opened.unpickled
    uses = tuple(use._replace(place=f"{file}, {use.place}") for use in read.globals)
    return opened._replace(unpickled=read._replace(globals=uses))


NESTED_ZIP, NESTED_LEGACY = TorchZip(_nested), TorchLegacy(_nested)
SAFETENSORS = Safetensors()
FORMATS: tuple[Format, ...] = (
    SAFETENSORS,
    NESTED_ZIP,
    ZipFormat("torchscript", holds_torchscript, _torchscript),
    ZipFormat("torch-export", holds_export, _torch_export),
    ZipFormat("torch-package", holds_package, _torch_package),
    ZipFormat("zip", holds_files, _ordinary_zip),
    RareFormat("torch-tar", is_torch_tar, _torch_tar),
    NESTED_LEGACY,
    RawPickle(_nested),
    Sharded(open_part),
)
"""Asked in this order; the first that matches opens the file. safetensors begins with any number, also with one whose
bytes are the magic number of another format, but no other has a brace behind it."""


def find_format(head: Head) -> Format | None:
    """Return the first format that says yes to a file; None if there is none."""
    return next((each for each in FORMATS if each.matches(head)), None)


def detect(source: Bytes, context: Context = SILENT) -> Format:
    """Return the format of a file by its content.

    Raises:
        CheckpointError: it is none that we read; the message names what it is instead.
    """
    return _detect(Head(source, context))


def _detect(head: Head) -> Format:
    found = find_format(head)
    if found is None:
        from ckpt_viewer.formats.hints import explain

        raise explain(head, head.source)
    if head.is_tar:
        _refuse_two_things(head)
    return found


def _refuse_two_things(head: Head) -> None:
    """Raise Damaged if a tar archive is another format too: torch asks tarfile before it looks for a pickle. H6."""
    others = [each.name for each in FORMATS if not each.name.endswith("tar") and each.matches(head)]
    if others:
        raise Damaged(
            f"the file is a tar archive and a {others[0]} file at once, so programs disagree about it; do not load it",
            code="polyglot",
        )


def _open_source(source: Bytes, inside: Inside) -> tuple[Format, Opened]:
    head = Head(source, inside.context)
    found = _detect(head)
    return found, open_found(found, head, inside)


def folder_formats() -> tuple[FolderFormat, ...]:
    """Return the checkpoints that are folders, in the order in which they are asked; a single file needs none."""
    from ckpt_viewer.formats.deepspeed import DeepSpeed
    from ckpt_viewer.formats.distributed import Distributed
    from ckpt_viewer.formats.plain_folder import PlainFolder

    distributed = Distributed()
    deepspeed = DeepSpeed((distributed,))
    return (distributed, deepspeed, PlainFolder((distributed, deepspeed)))


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
        return _open_folder(path, map_location, context)
    if whole and "-of-" in os.path.basename(os.fspath(path)):  # noqa: PTH119
        from ckpt_viewer.formats.shard_set import open_whole

        opened = open_whole(os.fspath(path), context, open_part)
        if opened is not None and opened.close is not None:
            made_of = contents(Sharded.name, opened, opened.close, None)
            return Checkpoint(os.fspath(path), opened.size or 0, made_of, map_location)
    return _open_file(path, map_location, context, salvage)


def _open_file(path: str | os.PathLike[str], map_location: MapLocation, context: Context, salvage: bool) -> Checkpoint:
    source = FileSource(path)
    try:
        if _is_metadata(source):
            source.close()
            return _open_folder(os.path.dirname(path) or ".", map_location, context)  # noqa: PTH120
        inner, wrapping = _unwrapped(source, context)
        found, opened, is_salvaged = _open_alone(inner, context, salvage)
        opened = opened._replace(notes=(*wrapping, *opened.notes, *_beside(source.name)))

        def close() -> None:
            source.close()
            if opened.close is not None:
                opened.close()

        made_of = contents(found.name, opened, close, inner if opened.size is None else None)
        made_of = made_of._replace(salvaged=is_salvaged)
        return Checkpoint(os.fspath(path), source.size if opened.size is None else opened.size, made_of, map_location)
    except BaseException:
        source.close()
        raise


def _is_metadata(source: FileSource) -> bool:
    """Whether a file is the index of the distributed checkpoint in its folder."""
    return source.name.endswith(".metadata") and source.size > 0 and source.read_at(0, 1) == b"\x80"


def open_or_salvage(source: Bytes, context: Context, salvage: bool) -> tuple[Format, Opened, bool]:
    """Return the format of a file, what it holds, and whether that had to be salvaged; raises CheckpointError."""
    head = Head(source, context)
    found = _detect(head)
    try:
        return found, open_found(found, head, Inside(context)), False
    except (Damaged, Truncated) as error:
        from ckpt_viewer.formats.broken import rebuild

        return found, rebuild(found, source, context, error, wanted=salvage), True


def _open_alone(source: Bytes, context: Context, salvage: bool) -> tuple[Format, Opened, bool]:
    try:
        return open_or_salvage(source, context, salvage)
    except CheckpointError as error:
        if not source.name.endswith(".distcp"):
            raise
        from ckpt_viewer.formats.siblings import data_file

        raise NotACheckpoint(data_file(source.name)) from error


def _beside(path: str) -> tuple[Note, ...]:
    """Return a note where the name says that the file is one of several; its folder's name says nothing."""
    name = os.path.basename(path)  # noqa: PTH119  pathlib would cost every start 7 ms
    if "-of-" in name:
        from ckpt_viewer.formats.shard_set import lone_part_note

        of_set = lone_part_note(path)
        if of_set is not None:
            return (of_set,)
    if not any(word in name for word in ("rank", "shard", "part", "of", "state", ".distcp")):
        return ()
    from ckpt_viewer.formats.siblings import note_for

    note = note_for(path)
    return () if note is None else (note,)


def _unwrapped(source: Bytes, context: Context) -> tuple[Bytes, tuple[Note, ...]]:
    """Return what is inside a compressed file, and the note that says so; any other file as it is."""
    if not source.read_at(0, min(source.size, 6)).startswith(PACKED):
        return source, ()
    if SAFETENSORS.matches(Head(source)):
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


__all__ = ["FORMATS", "CheckpointError", "detect", "folder_formats", "open_checkpoint", "open_or_salvage", "open_part"]
