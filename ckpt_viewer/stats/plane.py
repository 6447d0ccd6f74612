"""A tensor as a plane of cells: a 2-D slice, or the slices at all indices of further dimensions side by side."""

from __future__ import annotations

from math import log, prod
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.slicing import Slicing, read_block
from ckpt_viewer.core.stored import open_values

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

ASPECT = 0.7
"""Height of a grid over its width that is aimed at."""


class Plane(NamedTuple):
    """What a picture is made of. Without `down` it is the slice.

    In a grid each tile is a slice: tiles follow `down` from top to bottom and `across` from left to right; where
    `wrap` is above 1, that many indices of `down` share a line of tiles.

    Attributes:
        tensor: with dense values. slicing: what a tile shows.
        down, across: dimensions that tiles follow; None for none. wrap: a divisor of the size of `down`.
    """

    tensor: TensorSpec
    slicing: Slicing
    down: int | None = None
    across: int | None = None
    wrap: int = 1

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.slicing.row_count, self.slicing.column_count

    @property
    def _abreast(self) -> int:
        return 1 if self.across is None else self.slicing.shape[self.across]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the plane."""
        rows, columns = self.tile
        if self.down is None:
            return rows, columns
        return self.slicing.shape[self.down] // self.wrap * rows, self.wrap * self._abreast * columns

    @property
    def row_major(self) -> bool:
        """Whether cells of a row lie closer together in the file than those of a column.

        Raises:
            CheckpointError: there are no dense values.
        """
        rows, columns, stride = self.slicing.rows, self.slicing.columns, open_values(self.tensor).view.stride
        if self.down is not None or rows is None or columns is None:
            return True
        return stride[rows] >= stride[columns]

    def place(self, row: int, column: int) -> tuple[int, ...]:
        """Return where in the tensor a cell lies."""
        if self.down is None:
            return self.slicing.cell(row, column)
        rows, columns = self.tile
        line, row = divmod(row, rows)
        place, column = divmod(column, columns)
        group, member = divmod(place, self._abreast)
        index = list(self.slicing.cell(row, column))
        index[self.down] = line * self.wrap + group
        if self.across is not None:
            index[self.across] = member
        return tuple(index)

    def read(self, rows: slice, columns: slice) -> Array:
        """Return a block of cells, rows down; steps are for slices only.

        Raises:
            CheckpointError: there are no values, or they cannot be read.
        """
        if self.down is None:
            return read_block(self.tensor, self.slicing, rows, columns)
        height, width = self.tile
        first, last = rows.start // height, -(-rows.stop // height)
        left, right = 0, self.wrap * self._abreast
        if self.wrap == 1:
            left, right = columns.start // width, -(-columns.stop // width)
        tiles = self._tiles(slice(first * self.wrap, last * self.wrap), slice(left, min(right, self._abreast)))
        lines = tiles.reshape(last - first, self.wrap, tiles.shape[1], height, width).transpose(0, 3, 1, 2, 4)
        block = lines.reshape((last - first) * height, (right - left) * width)
        top, left = first * height, left * width
        cells: Array = block[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        return cells

    def _tiles(self, down: slice, across: slice) -> Array:
        """Return tiles as an array of (down, across, rows, columns)."""
        from ckpt_viewer.core.decode import read_slice

        assert self.down is not None
        slicing, (height, width) = self.slicing, self.tile
        parts = list(slicing.block(slice(0, height), slice(0, width)))
        parts[self.down] = down
        order = [self.down]
        if self.across is not None:
            parts[self.across] = across
            order.append(self.across)
        order += [dim for dim in (slicing.rows, slicing.columns) if dim is not None]
        kept = [dim for dim, part in enumerate(parts) if isinstance(part, slice)]
        values = read_slice(self.tensor, tuple(parts)).transpose([kept.index(dim) for dim in order])
        tiles: Array = values.reshape(down.stop - down.start, across.stop - across.start, height, width)
        return tiles


def grid_of(tensor: TensorSpec, slicing: Slicing) -> Plane:
    """Return the grid of slices along the first two of the other dimensions that are longer than 1, the rest fixed."""
    long = [dim for dim in slicing.others if slicing.shape[dim] > 1][:2]
    down = long[0] if long else None
    plane = Plane(tensor, slicing, down, long[1] if len(long) > 1 else None)
    return plane if down is None else plane._replace(wrap=_fitting_wrap(plane))


def _fitting_wrap(plane: Plane) -> int:
    """Return the divisor of the tiles' lines that brings the grid closest to ASPECT."""
    (height, width), assumed = plane.shape, plane.down
    assert assumed is not None
    lines = plane.slicing.shape[assumed]
    choices = [wrap for wrap in range(1, min(lines, 4096) + 1) if lines % wrap == 0]
    return min(choices, key=lambda wrap: abs(log(max(1, height) / wrap / (max(1, width) * wrap) / ASPECT)))


def has_grid(slicing: Slicing) -> bool:
    """Whether there is more than one slice."""
    return prod(slicing.shape[dim] for dim in slicing.others) > 1


MOST_KERNEL = 32
"""Rows and columns up to which slices are taken for filters."""


def looks_like_filters(slicing: Slicing) -> bool:
    """Whether a grid says more than one slice does: many small ones, as a convolution has."""
    small = 1 < slicing.row_count <= MOST_KERNEL and 1 < slicing.column_count <= MOST_KERNEL
    return small and has_grid(slicing) and len(slicing.shape) > 2
