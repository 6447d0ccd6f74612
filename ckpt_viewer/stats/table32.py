"""What is kept of float32 values: their cells with exact sums, only those that are not empty."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ckpt_viewer.core.strided import Array
from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.cells import FINE, Cells, edge_values
from ckpt_viewer.stats.moments import UNIT, Moments

_MINUS, _INFINITE = 1 << 15, 0x7F80
_SHIFT = 2 * (UNIT - 150)
"""Squares of row 0 are counted in 2**-300, moments in 2**(-2 * UNIT)."""
_EMPTY = np.empty(0, np.int64)


class Table32(NamedTuple):
    """Counters of finite float32 values. Tables add in any order.

    Attributes:
        cells_at: high halves of the values, ascending. counts: values in each. low: sums of their low halves.
        squares: sum of the squares of all, in units of 2**(-2 * UNIT).
    """

    cells_at: Array = _EMPTY
    counts: Array = _EMPTY
    low: Array = _EMPTY
    squares: int = 0

    @staticmethod
    def of(counters: Array) -> Table32:
        """Return what the counters of `Kernels.float32` hold."""
        cells, rows = counters[: kernels.FLOAT32_CELLS], counters[kernels.FLOAT32_CELLS :].view(np.int64)
        used = np.flatnonzero(cells)
        used = used[(used & ~_MINUS) < _INFINITE]
        counts, low = np.divmod(cells[used], (kernels.COUNT + (used << 16)).view(np.uint64))
        squares = 0
        for row, (lower, upper) in enumerate(rows.reshape(-1, 2)[:-1].tolist()):
            squares += (lower + (upper << 32)) << (2 * row)
        return Table32(used, counts.view(np.int64), low.view(np.int64), squares << _SHIFT)

    def plus(self, other: Table32) -> Table32:
        """Return the table of both."""
        if not other.cells_at.size:
            return self
        if not self.cells_at.size:
            return other
        places = np.concatenate((self.cells_at, other.cells_at))
        order = np.argsort(places, kind="stable")
        places = places[order]
        firsts = np.flatnonzero(np.concatenate(([True], np.diff(places) != 0)))
        counts, low = (
            np.add.reduceat(np.concatenate(pair)[order], firsts)
            for pair in ((self.counts, other.counts), (self.low, other.low))
        )
        return Table32(places[firsts], counts, low, self.squares + other.squares)

    @property
    def moments(self) -> Moments:
        """Exact sums over all values."""
        if not self.cells_at.size:
            return Moments()
        rows = self.cells_at >> 7  # sign and exponent
        firsts = np.flatnonzero(np.concatenate(([True], np.diff(rows) != 0)))
        high = (self.cells_at & 127) + np.where(rows & 0xFF, 128, 0)  # with the implicit bit
        sums = [np.add.reduceat(column, firsts).tolist() for column in (self.counts * high, self.low)]
        total = 0
        for row, first, low in zip(rows[firsts].tolist(), *sums, strict=True):
            value = (first << 16) + low
            total += (-value if row >= 256 else value) << (max(row & 0xFF, 1) - 150 + UNIT)
        return Moments(int(self.counts.sum()), total, self.squares)

    def cells(self, zeros: int) -> Cells:
        """Return the values as cells; `zeros` of them are 0."""
        counts = self.counts
        if (
            zeros
        ):  # they share two cells with the least numbers: as far as possible they are taken from the positive one
            counts = counts.copy()
            left = zeros
            for place in (0, _MINUS):
                at = int(np.searchsorted(self.cells_at, place))
                if left and at < counts.size and self.cells_at[at] == place:
                    taken = min(left, int(counts[at]))
                    counts[at] -= taken
                    left -= taken
        full = counts > 0
        middles = (self.cells_at[full] << 16 | 0x8000).astype(np.uint32).view(np.float32).astype(np.float64)
        found = Cells.of(middles, counts[full], FINE)
        return found.plus(Cells.of(np.zeros(1), np.array([zeros]), FINE)) if zeros else found

    def middle(self, key: int) -> float | None:
        """Return the mean of the values in a cell where that is a float32, as where they are equal; None elsewhere."""
        ends = edge_values(np.array([key, key + 1]), FINE)
        inner = np.float32(ends[0] if key >= 0 else ends[1])  # the end nearer to 0
        place = int(inner.view(np.uint32)) >> 16
        at = int(np.searchsorted(self.cells_at, place))
        if not place & 0x7F80 or at == self.cells_at.size or self.cells_at[at] != place:
            return None
        low, rest = divmod(int(self.low[at]), int(self.counts[at]))
        if rest:
            return None
        value: float = struct.unpack("<f", struct.pack("<I", place << 16 | low))[0]
        return value
