"""Where the dense values of a tensor lie and what makes numbers of them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.numbers import Decoder, decoder_of
from ckpt_viewer.core.strided import View
from ckpt_viewer.core.tensor import Extent, TensorSpec
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget, Truncated, Unsupported

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import Bytes

MATERIALISED = 1 << 30
"""Bytes that an array may take whatever the file holds; beyond it at most `AMPLIFIED` times the bytes it is made of."""
AMPLIFIED = 16
MAX_DIMS = 64 if int(np.__version__.split(".")[0]) >= 2 else 32


class Stored(NamedTuple):
    """A tensor with dense values, ready to be read.

    Attributes:
        view: its stored elements. decoder: makes values of them. shape: of the values.
    """

    view: View
    decoder: Decoder
    shape: tuple[int, ...]


def open_values(tensor: TensorSpec) -> Stored:
    """Find the bytes of a tensor and what makes numbers of them.

    Raises:
        CheckpointError: it has no dense values, or they are not where the file says.
    """
    problem = missing_values(tensor)
    if problem:
        raise CheckpointError(problem)
    decoder, extent, stride = decoder_of(tensor), _extent(tensor), tensor.stride
    shape = tensor.shape or ()
    if stride is None or len(stride) != len(shape):
        raise Unsupported(f"this {tensor.layout} tensor has no strides; look at its shape and dtype")
    if len(shape) > MAX_DIMS:
        raise Unsupported(f"numpy has no arrays of {len(shape)} dimensions; load it with torch")
    item, start, swap = decoder.row.itemsize, tensor.offset, 0
    if decoder.row.per_byte > 1:
        return _open_packed(tensor, decoder, extent)
    if decoder.per_stored > 1 and not shape:
        shape, stride = (1,), (1,)
    if extent.big_endian and decoder.row.component > 1:
        swap = decoder.row.component
    view = View(extent.source, extent.offset + start * item, shape, stride, item, swap)
    if view.numel and (start + view.span) * item > extent.nbytes:
        raise Damaged(f"the tensor needs {(start + view.span) * item} bytes of a storage of {extent.nbytes}")
    return Stored(view, decoder, decoder.shape(shape))


def _open_packed(tensor: TensorSpec, decoder: Decoder, extent: Extent) -> Stored:
    """Open a tensor with several numbers in a byte, one after another in row-major order, across the ends of rows."""
    shape, per = tensor.shape or (), decoder.row.per_byte
    numbers = View(extent.source, extent.offset, shape, tensor.stride or (), 1)
    if tensor.offset or not numbers.contiguous:
        raise Unsupported("only contiguous tensors of packed numbers can be read; load it with torch")
    needed = -(-numbers.numel // per)
    if needed > extent.nbytes:
        raise Damaged(f"the tensor needs {needed} bytes of a storage of {extent.nbytes}")
    if shape and shape[-1] % per == 0:  # each row starts at a byte
        sizes = (*shape[:-1], shape[-1] // per)
        strides = tuple(prod(sizes[d + 1 :]) for d in range(len(sizes)))
        return Stored(numbers._replace(shape=sizes, stride=strides), decoder, shape)
    within_budget(numbers.numel, numbers)
    unpacked = decoder.unpack(np.frombuffer(extent.source.read_at(extent.offset, needed), np.uint8))
    view = numbers._replace(source=_InPickle(unpacked[: numbers.numel].tobytes()), start=0)
    return Stored(view, decoder.unpacked(), shape)


def _extent(tensor: TensorSpec) -> Extent:
    if tensor.extra is not None and tensor.extra.data is not None:
        return Extent(_InPickle(tensor.extra.data), 0, len(tensor.extra.data))
    if not tensor.numel:
        return Extent(_InPickle(b""), 0, 0)
    assert tensor.storage is not None
    return tensor.storage.extent()


class _InPickle:
    """Bytes that lie in the pickle itself."""

    name = "the pickle"

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        data = self.data[offset : offset + size]
        if len(data) < size:
            raise Truncated(self.name, wanted=size, found=len(data), offset=offset)
        return data

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read_at(offset, len(buffer))


if TYPE_CHECKING:
    _: type[Bytes] = _InPickle


def within_budget(nbytes: int, view: View) -> None:
    """Raise OverBudget where `nbytes` are too many to be made of the bytes of `view`."""
    if nbytes > max(MATERIALISED, AMPLIFIED * view.span * view.item):
        raise OverBudget(
            f"the values would take {nbytes} bytes, made of {view.span * view.item} in the file; choose a slice"
        )
