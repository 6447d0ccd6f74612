"""Tensor bytes -> numpy: whole tensors, slices, blocks for statistics, raw bytes for writers. Imported on first use.

Values are what torch shows: conjugation and negation applied, quantised numbers dequantised (float32), complex32 as
complex64, booleans true where a byte is not zero. A float4_e2m1fn_x2 tensor counts bytes in its shape but holds two
numbers in each, low bits first: its array is float32 and its last dimension twice as long. Opaque bits stay integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.filemap import mapped
from ckpt_viewer.core.numbers import Decoder, stored_dtype
from ckpt_viewer.core.stored import Stored, open_values, within_budget
from ckpt_viewer.core.strided import Array, Index, Pick, Pieces, View, gather
from ckpt_viewer.core.tensor import TensorExtra, TensorSpec, bottom
from ckpt_viewer.core.text import counted
from ckpt_viewer.errors import CheckpointError, OverBudget

if TYPE_CHECKING:
    from types import EllipsisType

    from ckpt_viewer.core.tensor import Bytes

BasicIndex: TypeAlias = "tuple[int | slice | EllipsisType, ...]"

BLOCK_BYTES = 1 << 20


def to_numpy(tensor: TensorSpec, copy: bool = False) -> Array:
    """Return the values as an array of the tensor's shape (see this module for float4).

    Without `copy` it is a read-only map of the file where layout and dtype allow; such an array dies with the file.

    Raises:
        CheckpointError: no dense values, too large to be made of so few bytes, or the bytes cannot be had.
    """
    stored = open_values(tensor)
    if not copy and stored.decoder.plain and not stored.view.swap and stored.view.numel:
        array = mapped(stored.view, stored_dtype(stored.decoder.row))
        if array is not None:
            return array
    values = _read(stored, tuple(Pick(0, n) for n in stored.view.shape))
    values.flags.writeable = copy
    return values


def _read(stored: Stored, picks: tuple[Pick, ...]) -> Array:
    """Read the values of some indices of the stored elements."""
    view, decoder = stored.view.take(picks), stored.decoder.take(picks)
    whole = decoder.shape(view.shape)
    within_budget(prod(whole) * decoder.result.itemsize, view)
    if prod(max(n, 1) for n in whole) >> 58:  # numpy counts the bytes of an empty array as if it were not empty
        raise OverBudget(f"numpy has no arrays of the shape {list(whole)}; choose a slice")
    if decoder.plain:
        return gather(view, decoder.result, BLOCK_BYTES)
    result = np.empty(whole, decoder.result)
    for index, array in Pieces(view, BLOCK_BYTES, stored_dtype(decoder.row)):
        result[decoder.place(index)] = decoder.values(array, index)
    return result


def read_slice(tensor: TensorSpec, index: BasicIndex | int | slice | EllipsisType) -> Array:
    """Return ``to_numpy(tensor)[index]`` for a basic index, reading only the rows that it needs.

    Raises:
        CheckpointError: as `to_numpy`, or the index does not fit the shape.
    """
    stored = open_values(tensor)
    parts = _full_index(index if isinstance(index, tuple) else (index,), stored.shape)
    picks, after, shape = [], [], []
    for part, size in zip(parts, stored.shape, strict=True):
        pick, flip = _pick(part, size)
        picks.append(pick)
        after.append(slice(None, None, -1) if flip else slice(None))
        shape += [pick.size] if isinstance(part, slice) else []
    cut: tuple[slice, ...] = ()
    if stored.decoder.per_stored > 1:  # a row of packed numbers is read whole and cut afterwards
        start, count, step = picks[-1]
        cut = (slice(start, start + count * step, step) if count else slice(0, 0),)
        picks[-1] = Pick(0, stored.view.shape[-1])
    values = _read(stored, tuple(picks))
    if cut:
        values = values[(slice(None),) * (values.ndim - 1) + cut]
    return values[tuple(after)].reshape(shape)


def _full_index(index: BasicIndex, shape: tuple[int, ...]) -> list[int | slice]:
    parts: list[int | slice] = []
    given = sum(part is not ... for part in index)
    if given > len(shape):
        parts_text, dimensions = counted(given, "part"), counted(len(shape), "dimension")
        raise CheckpointError(f"the slice has {parts_text} and the tensor {dimensions}; leave some out")
    for part in index if ... in index else (*index, ...):
        if isinstance(part, int | slice):
            parts.append(part)
        else:
            parts += [slice(None)] * (len(shape) - given)
    return parts


def _pick(part: int | slice, size: int) -> tuple[Pick, bool]:
    if isinstance(part, slice):
        start, stop, step = part.indices(size)
        count = len(range(start, stop, step))
        if step > 0:
            return Pick(start, count, step), False
        return Pick(start + (count - 1) * step if count else 0, count, -step), True
    if not -size <= part < size:
        raise CheckpointError(f"index {part} is outside a dimension of {size}; choose from 0 to {size - 1}")
    return Pick(part % size, 1), False


class Blocks:
    """A tensor's values in one-dimensional arrays, in no particular order; iterate to read them.

    Attributes:
        repeats: how often each value stands for itself (expanded dimensions are read once).
        numel: values that iterating gives; times `repeats` it is the tensor's number of values.
    """

    def __init__(self, view: View, repeats: int, decoder: Decoder | None, dtype: np.dtype[Any], nbytes: int) -> None:
        self.repeats, self._decoder = repeats, decoder
        self.numel = view.numel * (decoder.per_stored if decoder else 1)
        self._pieces, self._enough = Pieces(view, nbytes, dtype), nbytes // view.item

    def __iter__(self) -> Iterator[Array]:
        """Yield the values; each array is valid until the next is asked for. Raises SourceError."""
        return self.read(range(len(self._pieces)))

    def through(self, source: Bytes) -> None:
        """Read through `source`, which gives the bytes of the file that the values lie in."""
        view = self._pieces.view
        self._pieces.view = view._replace(source=source, start=bottom(view.source, view.start)[1])

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield byte position in the source and number of each piece, in the order of memory."""
        for number in range(len(self._pieces)):
            yield self._pieces.start(number), number

    def parts(self, blocks: int) -> list[range]:
        """Return what `read` takes, together all values: each part about `blocks` arrays, to be read on any thread."""
        pieces = self._pieces
        step = max(1, blocks * self._enough * len(pieces) // max(1, pieces.view.numel))
        return [range(start, min(start + step, len(pieces))) for start in range(0, len(pieces), step)]

    def read(self, part: range) -> Iterator[Array]:
        """Yield the values of a part as iterating does those of all."""
        waiting: list[Array] = []
        count = 0
        buffer = np.empty(self._pieces.buffer_bytes, np.uint8)
        for number in part:
            values = self._values(*self._pieces.read(number, buffer))
            if not waiting and values.size * 2 >= self._enough:
                yield values
                continue
            waiting.append(values.copy())
            count += values.size
            if count >= self._enough:
                yield np.concatenate(waiting)
                waiting, count = [], 0
        if waiting:
            yield np.concatenate(waiting)

    def sample(self, reads: int) -> Array:
        """Return the values of at most `reads` reads spread evenly over the tensor; raises SourceError."""
        total = len(self._pieces)
        chosen = range(total) if total <= reads else [total * (2 * k + 1) // (2 * reads) for k in range(reads)]
        buffer = np.empty(self._pieces.buffer_bytes, np.uint8)
        parts = [self._values(*self._pieces.read(number, buffer)).copy() for number in chosen]
        return np.concatenate(parts) if parts else np.empty(0, self._pieces.dtype)

    def _values(self, index: Index, array: Array) -> Array:
        return (self._decoder.values(array, index) if self._decoder else array).ravel(order="K")


def blocks(tensor: TensorSpec, block_bytes: int = BLOCK_BYTES, *, stored: bool = False) -> Blocks:
    """Return the values in no particular order, each once but for `Blocks.repeats`, in bounded memory.

    Args:
        block_bytes: bytes of the file to one array, about.
        stored: give the stored numbers as they are, without decoding them.

    Raises:
        CheckpointError: no dense values, or far more of them than bytes.
    """
    found = open_values(tensor)
    decoder = None if stored else found.decoder
    view, repeats = found.view.once(decoder.axis if decoder else None)
    if view.dense and (decoder is None or decoder.axis is None):
        view = view.flat()
    within_budget(view.numel * view.item, view)
    return Blocks(view, repeats, decoder, stored_dtype(found.decoder.row), block_bytes)


def element_bytes(
    tensor: TensorSpec, block_bytes: int = 4 * BLOCK_BYTES, *, resolve: bool = False
) -> Iterator[memoryview]:
    """Yield the stored elements in logical row-major order as little-endian bytes, in bounded memory.

    Args:
        block_bytes: bytes of each part, about; a part is valid until the next is asked for.
        resolve: apply conjugation and negation, for containers that cannot state them.

    Raises:
        CheckpointError: as `to_numpy`.
    """
    row = DTYPES.get(tensor.dtype)
    if row is not None and row.per_byte > 1 and tensor.shape is not None:  # bytes of packed numbers as they are
        data = TensorExtra(data=tensor.extra.data) if tensor.extra and tensor.extra.data is not None else None
        tensor = tensor.with_(dtype="uint8", shape=(tensor.nbytes,), stride=(1,), extra=data)
    found = open_values(tensor)
    view, dtype = found.view, stored_dtype(found.decoder.row)
    within_budget(view.numel * view.item, view)
    if view.contiguous:
        view = view.flat()
    for picks in _row_major(view, max(1, block_bytes // view.item)):
        array = gather(view.take(picks), dtype, block_bytes)
        yield (found.decoder.resolved(array) if resolve else array).reshape(-1).view(np.uint8).data


def _row_major(view: View, elements: int) -> Iterator[tuple[Pick, ...]]:
    """Cut a view into parts of at most `elements` that follow one another in row-major order."""
    if not view.numel:
        return
    inner = len(view.shape)
    while inner and prod(view.shape[inner - 1 :]) <= elements:
        inner -= 1
    whole = tuple(Pick(0, n) for n in view.shape[inner:])
    if not inner:
        yield whole
        return
    group = max(1, elements // prod(view.shape[inner:]))
    size, outer = view.shape[inner - 1], view.shape[: inner - 1]
    for number in range(prod(outer)):
        first: list[Pick] = []
        for n in reversed(outer):
            number, at = divmod(number, n)
            first.insert(0, Pick(at, 1))
        for start in range(0, size, group):
            yield (*first, Pick(start, min(group, size - start)), *whole)
