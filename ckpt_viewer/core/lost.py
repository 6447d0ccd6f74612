"""Tensors of a salvaged file whose values it does not have any more."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import Extent, StorageSpec, TensorSpec
from ckpt_viewer.errors import Damaged, Truncated


class _Left(NamedTuple):
    """How many bytes of a storage can be read from its start, and why not more."""

    nbytes: int
    problem: str


class _Nothing:
    """What a storage without elements is read from, wherever the file ends."""

    name, size = "an empty storage", 0

    def read_at(self, offset: int, size: int) -> bytes:
        """Return nothing; raises Truncated where something is asked for."""
        self.read_into(offset, memoryview(bytearray(size)))
        return b""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill an empty buffer; raises Truncated for any other."""
        if offset or buffer:
            raise Truncated(self.name, wanted=len(buffer), found=0, offset=offset)


NO_BYTES = Extent(_Nothing(), 0, 0)
"""Where the bytes of a storage without elements lie."""


class Losses:
    """Answers for each tensor of a salvaged file whether its values are lost. Reads no data of tensors."""

    def __init__(self) -> None:
        self._left: dict[StorageSpec, _Left | None] = {}

    def of(self, tensor: TensorSpec) -> str:
        """Return why some of a tensor's values are lost, as a sentence; ``""`` if all of them are there."""
        if tensor.extra is not None and tensor.extra.parts:
            return next(filter(None, map(self.of, tensor.extra.parts.values())), "")
        storage = tensor.storage
        if storage is None or storage.home is None or not tensor.numel:
            return ""
        if storage not in self._left:
            self._left[storage] = _look(storage)
        left = self._left[storage]
        return "" if left is None or _needed(tensor, storage) <= left.nbytes else left.problem


def find_lost(outline: Outline, context: Context) -> dict[int, str]:
    """Return row -> sentence for every row whose tensor is lost; raises Cancelled."""
    losses = Losses()
    return {row: problem for row, tensor in stepped(outline.tensors(), context) if (problem := losses.of(tensor))}


def _look(storage: StorageSpec) -> _Left | None:
    """Return what is left of a storage that is not whole; None for one that is, or that fails for another reason."""
    known: dict[str, str] | None = getattr(storage.home, "known_losses", None)  # some know without looking
    if known is not None:
        return _Left(0, known[storage.key]) if storage.key in known else None
    try:
        extent = storage.extent()
    except Damaged as error:
        return _Left(0, str(error))
    trusted, problem = getattr(extent.source, "trusted", None), getattr(extent.source, "problem", "")
    if trusted is None or trusted >= extent.offset + storage.nbytes:
        return None
    return _Left(max(0, trusted - extent.offset), problem)


def _needed(tensor: TensorSpec, storage: StorageSpec) -> int:
    """Return the bytes from the start of its storage that a tensor reaches to; all of them where that is not plain."""
    row = DTYPES.get(tensor.dtype)
    if row is None or row.per_byte > 1 or tensor.shape is None or tensor.stride is None:
        return storage.nbytes
    span = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride, strict=False)) + 1
    return (tensor.offset + span) * row.itemsize
