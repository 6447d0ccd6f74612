"""From counters to answers: values at a rank, histograms of values that are all known."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ckpt_viewer.stats.histogram import bin_starts

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array

SHARES = {"0.01": 1, "0.05": 5, "0.25": 25, "0.5": 50, "0.75": 75, "0.95": 95, "0.99": 99}
"""The quantiles of a summary: their share of the finite values as text -> in percent."""


class Ranked(Protocol):
    """Finite values in ascending order."""

    def at(self, rank: int) -> float | int:
        """Return the value at `rank`, from 0."""


def quantiles(ranked: Ranked, size: int, repeats: int, low: float | int, high: float | int) -> dict[str, float | int]:
    """Return the quantiles of nearest rank of `size` values from `low` to `high` there `repeats` times each."""
    ranks = {share: -(-percent * size * repeats // 100) - 1 for share, percent in SHARES.items()}
    return {share: min(max(low, ranked.at(rank // repeats)), high) for share, rank in ranks.items()}


class Tally:
    """Distinct or repeated values with their counts: exact.

    Attributes:
        values: finite, ascending. counts: how often each is there.
    """

    def __init__(self, values: Array, counts: Array | None = None) -> None:
        self.values, self.counts = values, counts
        self._ends = np.arange(1, values.size + 1) if counts is None else np.cumsum(counts)

    def at(self, rank: int) -> float | int:
        """Return the value at `rank`, from 0."""
        value: float | int = self.values[int(np.searchsorted(self._ends, rank, side="right"))].item()
        return value + 0  # makes a negative zero positive: which of them comes first depends on the order

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


class Cells:
    """Counts of neighbouring floats: the value at a rank is right to the width of a cell, 1/128 of a normal number.

    Args:
        negative, positive: counts by magnitude, both from 0 upwards.
        bounds: gives the least and greatest magnitude in a cell.
        exact: gives the value of a cell whose values are all equal, None where they may differ.
        zeros: whether there are zeros; they share the cell next to them with numbers too small to be normal.
        whole: whether only integers were counted.
    """

    def __init__(
        self,
        negative: Array,
        positive: Array,
        bounds: Bounds,
        exact: Exact | None = None,
        *,
        zeros: bool,
        whole: bool = False,
    ) -> None:
        self._ends = np.cumsum(np.concatenate((negative[::-1], positive)))
        self._bounds, self._exact, self._zeros, self._whole = bounds, exact, zeros, whole
        self._half = negative.size

    def at(self, rank: int) -> float | int:
        """Return the value at `rank`, from 0: exact where a cell holds one value, else as if evenly spread."""
        cell = int(np.searchsorted(self._ends, rank, side="right"))
        first = int(self._ends[cell - 1]) if cell else 0
        share = (rank - first + 0.5) / (int(self._ends[cell]) - first)
        minus = cell < self._half
        magnitude = self._half - 1 - cell if minus else cell - self._half
        if magnitude == 0 and self._zeros:
            return 0 if self._whole else 0.0
        known = self._exact(magnitude, minus) if self._exact else None
        if known is not None:
            return known
        low, high = self._bounds(magnitude)
        if minus:
            low, high = -high, -low
        if self._whole:
            start, stop = ceil(low), floor(high)
            return start + int((stop - start) * share)
        return low + (high - low) * share


class Bounds(Protocol):
    """Least and greatest magnitude in a cell."""

    def __call__(self, cell: int) -> tuple[float, float]: ...


class Exact(Protocol):
    """The one value in a cell, None where values may differ."""

    def __call__(self, cell: int, minus: bool) -> float | None: ...
