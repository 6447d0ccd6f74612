"""New tags in a legacy stream. Only its fourth pickle changes; nothing in the file says where anything lies."""

from __future__ import annotations

from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import Damaged
from ckpt_viewer.export.parts import Parts
from ckpt_viewer.unpickle.origins import trace
from ckpt_viewer.unpickle.relocate import Retag, relocate

HEADER_BYTES = 4096
"""More than the magic number, the version and the system information together ever take."""

COUNT_BYTES = 8
"""Before each storage stands how many elements it has."""


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
    end = first_storage - COUNT_BYTES
    if end <= 0:
        raise Damaged("the file has no room for its pickles; open it again")
    data = source.read_at(0, end)
    at = 0
    for _ in range(3):
        at += trace(data[at : at + HEADER_BYTES]).end
    new = relocate(data[at:], retag, context)
    parts.write(data[:at])
    parts.write(new.data)
    parts.copy(end, source.size - end)
    return parts, new.references
