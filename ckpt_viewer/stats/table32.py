"""What is kept of float32 values: their cells with exact sums, only those that are not empty."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ckpt_viewer.core.strided import Array
from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.cells import FINE, Cells, edge_values
from ckpt_viewer.stats.moments import UNIT, Moments

_SPILL = 1 << 30
"""Values after which sums move into big integers: squares of 2**30 low halves just fit an int64."""
_MINUS, _INFINITE = 1 << 15, 0x7F80
_EMPTY, _NONE = np.empty(0, np.int64), Moments()


class Table32(NamedTuple):
    """Counters of finite float32 values. Tables add in any order.

    Attributes:
        cells_at: high halves of the values, ascending. counts: values in each.
        held: those of them whose sums are here. low, squares: sums of their low halves and of the squares, int64.
        before: moments of the others.
    """

    cells_at: Array = _EMPTY
    counts: Array = _EMPTY
    held: Array = _EMPTY
    low: Array = _EMPTY
    squares: Array = _EMPTY
    before: Moments = _NONE

    @staticmethod
    def of(pairs: Array) -> Table32:
        """Return what the counters of `Kernels.float32` hold."""
        used = np.flatnonzero(pairs[:, 0])
        used = used[(used & ~_MINUS) < _INFINITE]
        found = pairs[used].view(np.int64)
        counts, low = found[:, 0] >> kernels.PAIR_SHIFT, found[:, 0] & ((1 << kernels.PAIR_SHIFT) - 1)
        return Table32(used, counts, counts, low, found[:, 1])

    def plus(self, other: Table32) -> Table32:
        """Return the table of both."""
        if not other.cells_at.size:
            return self
        if not self.cells_at.size:
            return other
        fits = int(self.held.sum()) + int(other.held.sum()) <= _SPILL
        one, two = (self, other) if fits else (self._spilled(), other._spilled())
        places = np.concatenate((one.cells_at, two.cells_at))
        order = np.argsort(places, kind="stable")
        places = places[order]
        firsts = np.flatnonzero(np.concatenate(([True], np.diff(places) != 0)))
        counts, held, low, squares = (
            np.add.reduceat(np.concatenate(pair)[order], firsts) for pair in zip(one[1:5], two[1:5], strict=True)
        )
        return Table32(places[firsts], counts, held, low, squares, one.before.plus(two.before))

    def _spilled(self) -> Table32:
        nothing = np.zeros_like(self.counts)
        return self._replace(held=nothing, low=nothing, squares=nothing, before=self.moments)

    @property
    def moments(self) -> Moments:
        """Exact sums over all values."""
        size = int(self.held.sum())
        if not size:
            return self.before
        rows = self.cells_at >> 7  # sign and exponent
        firsts = np.flatnonzero(np.concatenate(([True], np.diff(rows) != 0)))
        high = (self.cells_at & 127) + np.where(rows & 0xFF, 128, 0)  # with the implicit bit
        weighted = self.held * high
        columns = weighted, self.low, weighted * high, self.low * high, self.squares
        sums = [np.add.reduceat(column, firsts).tolist() for column in columns]
        total = squares = 0
        for row, first, low, first2, cross, low2 in zip(rows[firsts].tolist(), *sums, strict=True):
            shift = max(row & 0xFF, 1) - 150 + UNIT
            value = (first << 16) + low
            total += (-value if row >= 256 else value) << shift
            squares += ((first2 << 32) + (cross << 17) + low2) << (2 * shift)
        return self.before.plus(Moments(size, total, squares))

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

    def exact(self, key: int) -> float | None:
        """Return the one value in a cell, None where values differ, are not known any more or are not normal."""
        ends = edge_values(np.array([key, key + 1]), FINE)
        inner = np.float32(ends[0] if key >= 0 else ends[1])  # the end nearer to 0
        place = int(inner.view(np.uint32)) >> 16
        at = int(np.searchsorted(self.cells_at, place))
        if not place & 0x7F80 or at == self.cells_at.size or self.cells_at[at] != place:
            return None
        count, low, square = (int(column[at]) for column in self[2:5])
        if count != self.counts[at] or count * square != low * low:
            return None
        value: float = struct.unpack("<f", struct.pack("<I", place << 16 | low // count))[0]
        return value
