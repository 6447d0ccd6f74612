"""A plane of cells down-sampled block by block, so that a picture of any matrix shows its outliers."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.stats.crew import Crew

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.stats.plane import Plane

ELEMENTS = 1 << 20
"""Cells that are read at a time."""
SAMPLED = 256
"""Rows and columns of a sample at most."""
STRIDED = 16
"""Columns of a block up to which adding strided columns is faster than `reduceat` (measured)."""
MODES = ("|max|", "mean", "min", "max")
"""What stands for a block; the first is the value farthest from zero, with its sign."""


class Window(NamedTuple):
    """A rectangle of cells."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def cells(self) -> int:
        """How many."""
        return (self.bottom - self.top) * (self.right - self.left)


class Raster(NamedTuple):
    """Blocks of a window, each with what is in it.

    Attributes:
        window: what was read. down, across: rows and columns of a block; those at the end may be smaller.
        low, high: least and greatest finite value of each block, NaN where there is none; integers stay integers.
        mean: of the finite values (float64), NaN where there is none.
        nan, inf: how many of each (uint32); None where the whole window has none.
        sample: whether one cell of each block was looked at only.
    """

    window: Window
    down: int
    across: int
    low: Array
    high: Array
    mean: Array
    nan: Array | None
    inf: Array | None
    sample: bool = False

    @property
    def fine(self) -> bool:
        """Whether each block is one cell."""
        return self.down == self.across == 1

    def shown(self, mode: str) -> Array:
        """Return the value that stands for each block in one of MODES, as float64."""
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        if mode == "|max|":
            farthest: Array = np.where(np.abs(low) > np.abs(high), low, high)
            return farthest
        return {"min": low, "max": high}.get(mode, self.mean)


def block_sizes(window: Window, most: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the blocks by which a window has at most `most` rows and columns of blocks."""
    height, width = window.bottom - window.top, window.right - window.left
    return max(1, -(-height // max(1, most[0]))), max(1, -(-width // max(1, most[1])))


def fitting(pixels: tuple[int, int], cells: int) -> tuple[int, int]:
    """Return rows and columns of blocks for an area of `pixels` (height, width), at most about `cells` in all."""
    height, width = max(1, pixels[0]), max(1, pixels[1])
    shrink = min(1.0, sqrt(cells / (height * width)))
    return max(1, int(height * shrink)), max(1, int(width * shrink))


def read_raster(plane: Plane, window: Window, most: tuple[int, int], context: Context = SILENT) -> Raster:
    """Read a window, in bounded memory, on all cores.

    Args:
        most: rows and columns of blocks. context: is told about cells.

    Raises:
        CheckpointError: there are no values, or they cannot be read. Cancelled: by `context`.
    """
    down, across = block_sizes(window, most)
    tasks = list(_tasks(plane, window, down, across))

    def work(canvas: _Canvas, task: Window) -> Iterator[int]:
        values = real(plane.read(slice(task.top, task.bottom), slice(task.left, task.right)))
        canvas.add(values, (task.top - window.top) // down, (task.left - window.left) // across)
        yield task.cells

    kind = real(plane.read(slice(0, 1), slice(0, 1))).dtype
    canvases = Crew(tasks, lambda: _Canvas(window, down, across, kind), work, context, window.cells).run()
    for other in canvases[1:]:
        canvases[0].merge(other)
    return canvases[0].raster()


def sample_raster(plane: Plane, window: Window) -> Raster:
    """Return a picture for now: of each block its first cell, at most `SAMPLED` squared of them.

    Raises:
        CheckpointError: as `read_raster`.
    """
    down, across = block_sizes(window, (SAMPLED, SAMPLED))
    values = real(plane.read(slice(window.top, window.bottom, down), slice(window.left, window.right, across)))
    whole = _Canvas(Window(0, values.shape[0], 0, values.shape[1]), 1, 1, values.dtype)
    whole.add(values, 0, 0)
    return whole.raster()._replace(window=window, down=down, across=across, sample=True)


def real(values: Array) -> Array:
    """Return values as a picture is made of them: magnitudes if complex, float32 for smaller floats, bool as 0/1."""
    if values.dtype.kind == "c":
        return np.abs(values.astype(np.complex128))
    if values.dtype.kind == "b":
        return values.view(np.uint8)
    return (
        values if values.dtype.kind in "iu" or values.dtype in (np.float32, np.float64) else values.astype(np.float32)
    )


def _tasks(plane: Plane, window: Window, down: int, across: int) -> Iterator[Window]:
    """Cut a window into parts of about ELEMENTS cells, in the order of the file; none reaches partly into a block."""
    height, width = window.bottom - window.top, window.right - window.left
    if plane.row_major:
        columns = min(width, ELEMENTS)
        rows = max(1, ELEMENTS // columns)
        if plane.down is not None:  # whole lines of tiles, so that none is read twice
            rows = max(rows // plane.tile[0], 1) * plane.tile[0]
    else:
        rows = min(height, ELEMENTS)
        columns = max(1, ELEMENTS // rows)
    lines, places = (
        list(_spans(window.top, window.bottom, down, rows)), list(_spans(window.left, window.right, across, columns)),
    )  # fmt: skip
    if plane.row_major:
        yield from (Window(*line, *place) for line in lines for place in places)
    else:
        yield from (Window(*line, *place) for place in places for line in lines)


def _spans(start: int, stop: int, block: int, most: int) -> Iterator[tuple[int, int]]:
    if most >= block:
        step = most // block * block
        yield from ((at, min(at + step, stop)) for at in range(start, stop, step))
        return
    for first in range(start, stop, block):
        end = min(first + block, stop)
        yield from ((at, min(at + most, end)) for at in range(first, end, most))


class _Canvas:
    """The blocks of a window while they are filled."""

    def __init__(self, window: Window, down: int, across: int, dtype: np.dtype[Any]) -> None:
        self.window, self.down, self.across, self.dtype = window, down, across, dtype
        self.shape = -(-(window.bottom - window.top) // down), -(-(window.right - window.left) // across)
        least, most = _ends(dtype)
        self.low, self.high = np.full(self.shape, most, dtype), np.full(self.shape, least, dtype)
        self.total = np.zeros(self.shape, np.float64)
        self.nan: Array | None = None
        self.inf: Array | None = None

    @np.errstate(all="ignore")
    def add(self, values: Array, row: int, column: int) -> None:
        """Take the values that begin at a block."""
        low, high = (self._fold(step, values) for step in (np.minimum, np.maximum))
        place = slice(row, row + low.shape[0]), slice(column, column + low.shape[1])
        if values.dtype.kind == "f" and not (np.isfinite(low).all() and np.isfinite(high).all()):
            values = self._set_apart(values, place)
            least, most = _ends(self.dtype)
            low = self._fold(np.minimum, np.where(np.isnan(values), most, values))
            high = self._fold(np.maximum, np.where(np.isnan(values), least, values))
            values = np.where(np.isnan(values), self.dtype.type(0), values)
        self.low[place] = np.minimum(self.low[place], low)
        self.high[place] = np.maximum(self.high[place], high)
        self.total[place] += self._fold(np.add, values, np.float64)

    def _set_apart(self, values: Array, place: tuple[slice, slice]) -> Array:
        """Count what is not finite, and return the values with NaN in its place."""
        nan, inf = np.isnan(values), np.isinf(values)
        if self.nan is None or self.inf is None:
            self.nan, self.inf = np.zeros(self.shape, np.uint32), np.zeros(self.shape, np.uint32)
        self.nan[place] += self._fold(np.add, nan, np.uint32)
        self.inf[place] += self._fold(np.add, inf, np.uint32)
        return np.where(inf, self.dtype.type(np.nan), values)

    def _fold(self, step: np.ufunc, values: Array, dtype: Any = None) -> Array:
        """Combine the values of each block."""
        values = _fold_rows(step, values, self.down, dtype)
        return _fold_columns(step, values, self.across, dtype)

    def merge(self, other: _Canvas) -> None:
        """Take what another canvas of the same blocks was given."""
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)
        self.total += other.total
        if other.nan is not None and other.inf is not None:
            self.nan = other.nan if self.nan is None else self.nan + other.nan
            self.inf = other.inf if self.inf is None else self.inf + other.inf

    @np.errstate(all="ignore")
    def raster(self) -> Raster:
        """Return what was found."""
        rows, columns = (
            np.minimum(size, span - size * np.arange(count))
            for size, span, count in (
                (self.down, self.window.bottom - self.window.top, self.shape[0]),
                (self.across, self.window.right - self.window.left, self.shape[1]),
            )
        )
        finite = np.multiply.outer(rows, columns)
        if self.nan is not None and self.inf is not None:
            finite = finite - self.nan - self.inf
            for part in (self.low, self.high):
                part[finite == 0] = np.nan
        return Raster(self.window, self.down, self.across, self.low, self.high, self.total / finite, self.nan, self.inf)


def _ends(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return dtype.type(-np.inf), dtype.type(np.inf)
    info = np.iinfo(dtype)
    return info.min, info.max


def _fold_rows(step: np.ufunc, values: Array, size: int, dtype: Any) -> Array:
    rows, columns = values.shape
    if size == 1:
        return values if dtype is None else values.astype(dtype)
    whole = rows // size * size
    parts: list[Array] = []
    if whole:
        parts.append(step.reduce(values[:whole].reshape(-1, size, columns), axis=1, dtype=dtype))
    if whole < rows:
        parts.append(step.reduce(values[whole:], axis=0, dtype=dtype, keepdims=True))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _fold_columns(step: np.ufunc, values: Array, size: int, dtype: Any) -> Array:
    if size == 1:
        return values
    columns = values.shape[1]
    if size > STRIDED or columns < size:
        folded: Array = step.reduceat(values, np.arange(0, columns, size), axis=1, dtype=dtype)
        return folded
    result = values[:, ::size].astype(dtype or values.dtype)  # a copy
    for shift in range(1, size):
        part = values[:, shift::size]
        step(result[:, : part.shape[1]], part, out=result[:, : part.shape[1]])
    return result
