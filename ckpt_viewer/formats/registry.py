"""The formats, in the order in which they are asked, and how a file finds its own: by content, never by its name."""

from __future__ import annotations

import os
from functools import partial

from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import Damaged
from ckpt_viewer.formats.base import (
    FileOpener,
    FolderFormat,
    Format,
    Head,
    Inside,
    Opened,
    RareFormat,
    Salvaged,
    SalvagedRareFormat,
    Salvaging,
    SourceReader,
    ZipFormat,
    ZipReader,
    open_found,
)
from ckpt_viewer.formats.kinds import (
    holds_export,
    holds_files,
    holds_package,
    holds_torchscript,
    is_shard_index,
    is_torch_tar,
)
from ckpt_viewer.formats.raw_pickle import RawPickle
from ckpt_viewer.formats.safetensors import Safetensors
from ckpt_viewer.formats.torch_legacy import TorchLegacy
from ckpt_viewer.formats.torch_zip import TorchZip
from ckpt_viewer.sources import MemorySource
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
    if found is None or not inside.salvage:
        return open_found(found, head, inside) if found is not None else None
    from ckpt_viewer.formats.broken import open_left

    return open_left(found, head, inside)


def _salvaging() -> Salvaging:
    from ckpt_viewer.formats.salvage_archive import salvage

    return partial(salvage, formats={each.name: each for each in FORMATS if isinstance(each, ZipFormat)})


class _Archive(ZipFormat):
    """An archive whose parts come before what describes them."""

    def salvage(self, source: Bytes, inside: Inside) -> Salvaged:
        """Rebuild it from local headers; raises CheckpointError."""
        return _salvaging()(source, inside)


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


def _tar_left() -> Salvaging:
    from ckpt_viewer.formats.salvage_tar import salvage

    return partial(salvage, nested=_nested)


def _sharded() -> SourceReader:
    from ckpt_viewer.formats.shard_set import open_index

    return lambda source, inside: open_index(source, inside, opener(salvage=inside.salvage))


def _ordinary_zip() -> ZipReader:
    from ckpt_viewer.formats.ordinary_zip import read

    return partial(read, inner=_inner, nested=_nested)


def open_part(source: Bytes, context: Context, prefix: str, *, salvage: bool = False) -> Opened:
    """Open one file of a folder or a set, whatever its format; raises CheckpointError."""
    head, inside = Head(source, context), Inside(context, 0, prefix, salvage)
    if salvage:
        from ckpt_viewer.formats.broken import open_left

        opened = open_left(detect_head(head), head, inside)
    else:
        opened = open_found(detect_head(head), head, inside)
    file = os.path.basename(source.name)  # noqa: PTH119  pathlib would cost every start 7 ms
    read = opened.unpickled
    uses = tuple(use._replace(place=f"{file}, {use.place}") for use in read.globals)
    return opened._replace(unpickled=read._replace(globals=uses))


def opener(*, salvage: bool) -> FileOpener:
    """Return what opens the files of a folder or a set: `open_part`, which may salvage those that are broken."""
    return partial(open_part, salvage=True) if salvage else open_part


SHARDED = "sharded"
NESTED_ZIP, NESTED_LEGACY = TorchZip(_nested, _salvaging), TorchLegacy(_nested)
SAFETENSORS = Safetensors()
FORMATS: tuple[Format, ...] = (
    SAFETENSORS,
    NESTED_ZIP,
    _Archive("torchscript", holds_torchscript, _torchscript),
    _Archive("torch-export", holds_export, _torch_export),
    _Archive("torch-package", holds_package, _torch_package),
    _Archive("zip", holds_files, _ordinary_zip),
    SalvagedRareFormat("torch-tar", is_torch_tar, _torch_tar, _tar_left),
    NESTED_LEGACY,
    RawPickle(_nested),
    RareFormat(SHARDED, is_shard_index, _sharded),
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
    return detect_head(Head(source, context))


def detect_head(head: Head) -> Format:
    """Return the format of a file whose beginning was read already; raises as `detect`."""
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


def folder_formats() -> tuple[FolderFormat, ...]:
    """Return the checkpoints that are folders, in the order in which they are asked; a single file needs none."""
    from ckpt_viewer.formats.deepspeed import DeepSpeed
    from ckpt_viewer.formats.distributed import Distributed
    from ckpt_viewer.formats.plain_folder import PlainFolder

    distributed = Distributed()
    deepspeed = DeepSpeed((distributed,))
    return (distributed, deepspeed, PlainFolder((distributed, deepspeed)))
