"""A tensor whose parts lie in several places, as one row-major block of bytes that is read on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ckpt_viewer.core.regions import Box, boxes_of_range, common, row_major
from ckpt_viewer.errors import Truncated

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import View
    from ckpt_viewer.core.tensor import Bytes

BLOCK = 1 << 20
"""Bytes of a chunk that is not row-major itself are read in blocks of about this size."""


class Assembled:
    """Reads like a file that holds the whole tensor; takes no more memory than twice what is asked for.

    Attributes:
        name: of the tensor. shape: sizes in elements. item: bytes of an element. size: bytes of the whole.
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], item: int, boxes: Sequence[Box], view_of: Callable[[int], View]
    ) -> None:
        """Prepare to read.

        Args:
            boxes: parts of the tensor that make the whole of it. view_of: finds the elements of the part of a number
                where they lie; raises CheckpointError.
        """
        self.name, self.shape, self.item = name, shape, item
        self.size = prod(shape) * item
        self._stride, self._view_of = row_major(shape), view_of
        self._boxes = [(number, box) for number, box in enumerate(boxes) if prod(box.size)]

    def views(self) -> Iterator[tuple[Box, View]]:
        """Yield the parts and where their elements lie; raises CheckpointError."""
        for number, box in self._boxes:
            yield box, self._view_of(number)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises CheckpointError."""
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises CheckpointError."""
        end = offset + len(buffer)
        if offset < 0 or end > self.size:
            found = max(0, min(len(buffer), self.size - offset))
            raise Truncated("the tensor", wanted=len(buffer), found=found, offset=offset)
        first, behind = offset // self.item, -(-end // self.item)
        if (first * self.item, behind * self.item) == (offset, end):
            self._fill(first, behind - first, buffer)
        else:  # a reader that does not know where elements begin
            wide = bytearray((behind - first) * self.item)
            self._fill(first, behind - first, memoryview(wide))
            buffer[:] = wide[offset - first * self.item : end - first * self.item]

    def _fill(self, first: int, count: int, buffer: memoryview) -> None:
        for wanted in boxes_of_range(self.shape, first, count):
            for number, box in self._boxes:
                shared = common(wanted, box)
                if shared is not None:
                    self._copy(number, box, shared, first, buffer)

    def _copy(self, number: int, box: Box, shared: Box, first: int, buffer: memoryview) -> None:
        """Copy the elements `shared` of a part to where they belong in `buffer`, which begins at element `first`."""
        import numpy as np

        from ckpt_viewer.core.strided import Pick, gather

        picks = [Pick(at - low, n) for at, low, n in zip(shared.start, box.start, shared.size, strict=True)]
        view = self._view_of(number).take(tuple(picks))
        at = sum(index * step for index, step in zip(shared.start, self._stride, strict=True)) - first
        if view.contiguous and not view.swap and view._replace(stride=self._stride).contiguous:
            view.source.read_into(view.start, buffer[at * self.item : (at + view.numel) * self.item])
            return
        dtype = np.dtype(f"u{self.item}" if self.item in (1, 2, 4, 8) else f"V{self.item}")
        strides = [step * self.item for step in self._stride]
        target: Any = np.ndarray(shared.size, dtype, buffer, at * self.item, strides)
        target[...] = gather(view, dtype, BLOCK)


if TYPE_CHECKING:
    _: type[Bytes] = Assembled
