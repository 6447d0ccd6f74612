"""New tags in a legacy stream. Only its fourth pickle changes; nothing in the file says where anything lies.

Where entries are left out, the fifth changes too: it lists the storages, in the order in which they follow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.errors import Damaged
from ckpt_viewer.export.parts import Parts
from ckpt_viewer.export.pickler import Pickler
from ckpt_viewer.formats.legacy_tail import HEADER, Tail
from ckpt_viewer.unpickle.cut import cut
from ckpt_viewer.unpickle.origins import storage_keys, trace
from ckpt_viewer.unpickle.reader import PickleReader
from ckpt_viewer.unpickle.relocate import Retag, relocate

HEADER_BYTES = 4096
"""More than the magic number, the version and the system information together ever take."""


def remap_legacy(
    source: Bytes, first_storage: int | None, retag: Retag, context: Context = SILENT
) -> tuple[Parts, int]:
    """Return the new stream, and how many references to storages have a new tag.

    Args:
        first_storage: where the data of the first storage starts, in bytes from the start of the file; None if there
            is none, so that there is nothing to rewrite.

    Raises:
        CheckpointError: the source is damaged, or its tags cannot be rewritten.
        Cancelled: by `context`.
    """
    parts = Parts(source)
    if first_storage is None:
        parts.copy(0, source.size)
        return parts, 0
    data, at = _pickles(source, first_storage)
    behind, head, body = len(data), data[:at], data[at:]
    del data  # of 100,000 tensors it is 14 MB
    new = relocate(body, retag, context)
    if not new.references:
        parts.copy(0, source.size)
        return parts, 0
    parts.write(head)
    parts.write(new.data)
    parts.copy(behind, source.size - behind)
    return parts, new.references


def slim_legacy(
    source: Bytes,
    first_storage: int | None,
    place: Callable[[str], Extent],
    drop: Collection[str],
    retag: Retag,
    context: Context = SILENT,
) -> tuple[Parts, int]:
    """Do the same without some entries of the outermost dict, and without the storages that nothing else refers to.

    Args:
        first_storage: see `remap_legacy`. place: says where the data of a storage lies. drop: keys of the entries.

    Raises:
        CheckpointError, Cancelled: as `remap_legacy`.
    """
    data, at = _pickles(source, first_storage)
    size, head, body = len(data), data[:at], data[at:]
    del data  # of 100,000 tensors it is 14 MB
    left = cut(body, drop, context)  # with the list of names behind it
    del body
    origins = trace(left, context)
    used, middle = storage_keys(origins, context), origins.end
    del origins
    listed = PickleReader(left, Tail(source, "")).read(middle)
    new = relocate(left[:middle], retag, context)
    names = listed.value if isinstance(listed.value, list) else []
    kept = [name for name in stepped(names, context) if str(name) in used]
    parts = Parts(source)
    parts.write(head)
    parts.write(new.data)
    parts.write(_list_of(kept))
    begin = end = behind = size - (len(left) - listed.end)
    for name in stepped(names, context):
        extent = place(str(name))
        behind = extent.offset + extent.nbytes
        if str(name) not in used:
            continue
        if extent.offset - HEADER != end:
            parts.copy(begin, end - begin)
            begin = extent.offset - HEADER
        end = behind
    parts.copy(begin, end - begin)
    parts.copy(behind, source.size - behind)
    return parts, new.references


def _pickles(source: Bytes, first_storage: int | None) -> tuple[bytes, int]:
    """Return all bytes before the first storage, and where in them the fourth pickle begins; raises CheckpointError."""
    end = source.size if first_storage is None else first_storage - HEADER
    if end <= 0:
        raise Damaged("the file has no room for its pickles; open it again")
    data, at = source.read_at(0, end), 0
    for _ in range(3):
        at += trace(data[at : at + HEADER_BYTES]).end
    return data, at


def _list_of(names: Sequence[object]) -> bytes:
    """Return a pickle of names of storages, which old writers had as integers too."""
    out = Pickler()
    out.op(b"](")
    for name in names:
        if isinstance(name, int):
            out.integer(name)
        else:
            out.text(str(name), once=True)
    out.op(b"e.")
    return bytes(out.data)
