"""From counters to answers: values at a rank, histograms of values that are all known."""

from __future__ import annotations

from functools import cached_property
from math import ceil, floor
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ckpt_viewer.stats.cells import Cells
from ckpt_viewer.stats.histogram import bin_starts

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array

SHARES = {"0.01": 1, "0.05": 5, "0.25": 25, "0.5": 50, "0.75": 75, "0.95": 95, "0.99": 99}
"""The quantiles of a summary: their share of the finite values as text -> in percent."""


class Ranked(Protocol):
    """Finite values in ascending order."""

    def at(self, ranks: list[int]) -> list[float] | list[int]:
        """Return the values at `ranks`, which count from 0."""

    @property
    def cells(self) -> Cells:
        """The values as cells, as narrow as they are known."""


def quantiles(ranked: Ranked, size: int, repeats: int, low: float | int, high: float | int) -> dict[str, float | int]:
    """Return the quantiles of nearest rank of `size` values from `low` to `high` there `repeats` times each."""
    ranks = [(-(-percent * size * repeats // 100) - 1) // repeats for percent in SHARES.values()]
    return {share: min(max(low, value), high) for share, value in zip(SHARES, ranked.at(ranks), strict=True)}


class Tally:
    """Distinct or repeated values with their counts: exact.

    Attributes:
        values: finite, ascending. counts: how often each is there.
    """

    def __init__(self, values: Array, counts: Array | None = None) -> None:
        self.values, self.counts = values, counts

    @cached_property
    def _ends(self) -> Array:
        return np.arange(1, self.values.size + 1) if self.counts is None else np.cumsum(self.counts)

    def at(self, ranks: list[int]) -> list[float] | list[int]:
        """Return the values at `ranks`, which count from 0."""
        places = ranks if self.counts is None else np.searchsorted(self._ends, ranks, side="right")
        found: list[float] = self.values[places].tolist()
        return [value + 0 for value in found]  # no zero is negative: which of them comes first depends on the order

    @property
    def cells(self) -> Cells:
        """Each value as a cell; integers of more than 53 bits as their nearest float64."""
        return Cells.of(self.values.astype(np.float64), self.counts)

    def histogram(self, edges: Array) -> Array:
        """Return the counts between edges that span these values."""
        low, high = self.values[0].item(), self.values[-1].item()
        if low == high:
            return constant_histogram(low, int(self._ends[-1]), edges)
        starts = bin_starts(low, high, edges, self.values.dtype)
        below = np.concatenate(([0], self._ends))[np.searchsorted(self.values, starts)]
        return np.diff(np.concatenate(([0], below, self._ends[-1:])))


def constant_histogram(value: float | int, count: int, edges: Array) -> Array:
    """Return the counts of `count` equal values between edges around them."""
    counts = np.zeros(edges.size - 1, np.int64)
    counts[min(int(np.searchsorted(edges, float(value), side="right")) - 1, counts.size - 1)] = count
    return counts


class RankedCells:
    """Values in cells: the value at a rank is right to the width of a cell, 1/128 of a normal number.

    Args:
        cells: the finite values.
        middle: gives the value of a cell whose values are all equal, another in it or None where they differ.
        zeros: whether there are zeros; they share the cell next to them with numbers too small to be normal.
        whole: whether only integers were counted.
    """

    def __init__(self, cells: Cells, middle: Middle | None = None, *, zeros: bool, whole: bool = False) -> None:
        self.cells = cells
        self._ends = np.cumsum(cells.counts)
        self._middle, self._zeros, self._whole = middle, zeros, whole

    def at(self, ranks: list[int]) -> list[float] | list[int]:
        """Return the values at `ranks`, from 0: exact where a cell holds one value, else mostly as if evenly spread."""
        return [self._at(rank) for rank in ranks]

    def _at(self, rank: int) -> float | int:
        cell = int(np.searchsorted(self._ends, rank, side="right"))
        key, count = int(self.cells.keys[cell]), int(self.cells.counts[cell])
        if key in (0, -1) and self._zeros:
            return 0 if self._whole else 0.0
        known = self._middle(key) if self._middle else None
        if known is not None:
            return known
        share = (rank - (int(self._ends[cell]) - count) + 0.5) / count
        low, high = self.cells.bounds(key)
        if self._whole:
            start, stop = ceil(low), floor(high)
            return start + int((stop - start) * share)
        return low + (high - low) * share


class Middle(Protocol):
    """A value in a cell, the one of all where those are equal; None where that is not known."""

    def __call__(self, key: int) -> float | None: ...
