"""Strided views of a block of bytes, read piece by piece in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ckpt_viewer.core.regions import row_major
from ckpt_viewer.core.tensor import Bytes

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Index: TypeAlias = "tuple[slice, ...]"

GAP_BYTES = 32 * 1024
"""A gap in memory up to this is read through; beyond it a separate read is cheaper (measured on a cached file)."""


class Pick(NamedTuple):
    """Some indices of one dimension: `size` of them from `start` in steps of `step` (at least 1)."""

    start: int
    size: int
    step: int = 1


class View(NamedTuple):
    """Elements of a source by position.

    Attributes:
        source: what to read from. start: bytes from its start to the element at index 0, 0, ...
        shape: sizes. stride: elements, at least 0. item: bytes of an element.
        swap: bytes of each component whose order has to be turned round, 0 for none.
    """

    source: Bytes
    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    item: int
    swap: int = 0

    @property
    def numel(self) -> int:
        """Elements by index, repeated ones included."""
        return prod(self.shape)

    @property
    def span(self) -> int:
        """Elements of memory from the first to the last, both included."""
        return _span(self.shape, self.stride) if self.numel else 0

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in memory in row-major order without gaps."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return not self.numel
            expected *= size
        return True

    @property
    def row_major(self) -> tuple[int, ...]:
        """The strides that a contiguous tensor of this shape has."""
        return row_major([max(size, 1) for size in self.shape])

    @property
    def dense(self) -> bool:
        """Whether the elements fill a range of memory, each once, in some order of the dimensions."""
        if self.contiguous:  # the usual case, and twice as quick to see
            return True
        expected = 1
        for stride, size in sorted((s, n) for n, s in zip(self.shape, self.stride, strict=True) if n != 1):
            if stride != expected:
                return not self.numel
            expected *= size
        return True

    def flat(self) -> View:
        """Return the memory of a dense view as one dimension."""
        return self._replace(shape=(self.numel,), stride=(1,))

    def take(self, picks: tuple[Pick, ...]) -> View:
        """Return the view of the picked indices, one pick for each dimension."""
        start = sum(pick.start * stride for pick, stride in zip(picks, self.stride, strict=True) if pick.size)
        return self._replace(
            start=self.start + start * self.item,
            shape=tuple(pick.size for pick in picks),
            stride=tuple(pick.step * stride for pick, stride in zip(picks, self.stride, strict=True)),
        )

    def once(self, keep: int | None = None) -> tuple[View, int]:
        """Return the view with expanded dimensions cut to one index, and how often each element stands for itself.

        Args:
            keep: a dimension that is left as it is.
        """
        expanded = [s == 0 and i != keep and self.numel > 0 for i, s in enumerate(self.stride)]
        repeats = prod(n for n, cut in zip(self.shape, expanded, strict=True) if cut)
        shape = tuple(1 if cut else n for n, cut in zip(self.shape, expanded, strict=True))
        return self._replace(shape=shape), repeats


def _span(shape: tuple[int, ...] | list[int], stride: tuple[int, ...] | list[int]) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))


class Pieces:
    """A view cut into parts that each take one read of at most about `limit` bytes, in the order of memory.

    ``len()`` says how many; ``read(k, buffer)`` gives the k-th as (index of the view, array). Arrays share `buffer`.
    """

    def __init__(self, view: View, limit: int, dtype: np.dtype[Any]) -> None:
        self.view, self.dtype = view, dtype
        elements = max(1, limit // view.item)
        order = sorted((d for d, n in enumerate(view.shape) if n > 1), key=lambda d: -view.stride[d])
        count = span = 1
        while order:  # take whole dimensions, innermost first, while they fit
            size, stride = view.shape[order[-1]], view.stride[order[-1]]
            fits = max(count * size, span + (size - 1) * stride) <= elements
            if not fits or self._too_far(stride, span):
                break
            order.pop()
            count, span = count * size, span + (size - 1) * stride
        self._prefix, self._group = order, 1
        if order:
            size, stride = view.shape[order[-1]], view.stride[order[-1]]
            if not self._too_far(stride, span):
                by_span = (elements - span) // stride + 1 if stride else size
                self._group = max(1, min(size, by_span, elements // count))
        self._counts = [view.shape[d] for d in order]
        if order:
            self._counts[-1] = -(-self._counts[-1] // self._group)
        self.buffer_bytes = (span + (self._group - 1) * (view.stride[order[-1]] if order else 0)) * view.item

    def _too_far(self, stride: int, span: int) -> bool:
        return (stride - span) * self.view.item > GAP_BYTES

    def __len__(self) -> int:
        return prod(self._counts) if self.view.numel else 0

    def start(self, number: int) -> int:
        """Return where piece `number` starts, in bytes from the start of the source."""
        at = 0
        for position in range(len(self._prefix) - 1, -1, -1):
            number, place = divmod(number, self._counts[position])
            group = self._group if position == len(self._prefix) - 1 else 1
            at += place * group * self.view.stride[self._prefix[position]]
        return self.view.start + at * self.view.item

    def read(self, number: int, buffer: Array) -> tuple[Index, Array]:
        """Read piece `number` into `buffer` (uint8, at least `buffer_bytes` long); raises SourceError."""
        view = self.view
        index = [slice(0, n) for n in view.shape]
        for position in range(len(self._prefix) - 1, -1, -1):
            number, at = divmod(number, self._counts[position])
            d, group = self._prefix[position], self._group if position == len(self._prefix) - 1 else 1
            index[d] = slice(at * group, min(view.shape[d], (at + 1) * group))
        shape = [part.stop - part.start for part in index]
        first = sum(part.start * stride for part, stride in zip(index, view.stride, strict=True))
        memory = buffer[: _span(shape, view.stride) * view.item]
        view.source.read_into(view.start + first * view.item, memory.data)
        if view.swap:
            memory.view(f"u{view.swap}").byteswap(inplace=True)
        strides = [stride * view.item if n > 1 else 0 for n, stride in zip(shape, view.stride, strict=True)]
        return tuple(index), np.ndarray(shape, self.dtype, memory, 0, strides)

    def __iter__(self) -> Iterator[tuple[Index, Array]]:
        buffer = np.empty(self.buffer_bytes, np.uint8)
        for number in range(len(self)):
            yield self.read(number, buffer)


def gather(view: View, dtype: np.dtype[Any], block_bytes: int) -> Array:
    """Return the elements of `view` as a new row-major array of stored values.

    Raises:
        SourceError: the bytes cannot be had.
    """
    out = np.empty(view.shape, dtype)
    if not view.numel:
        return out
    if view.contiguous:
        memory = out.reshape(-1).view(np.uint8)
        view.source.read_into(view.start, memory.data)
        if view.swap:
            memory.view(f"u{view.swap}").byteswap(inplace=True)
        return out
    for index, array in Pieces(view, block_bytes, dtype):
        out[index] = array
    return out
