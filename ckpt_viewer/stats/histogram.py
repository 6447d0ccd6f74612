"""Equal bins between the least and the greatest value, counted exactly."""

from __future__ import annotations

from copy import copy
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.scratch import Scratch

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array

MAX_BINS = 1_000_000


class Histogram(NamedTuple):
    """Counts of values between edges.

    Attributes:
        edges: one more than counts, ascending. A bin holds its lower edge, the last one both.
        counts: finite values in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @staticmethod
    def of(edges: Array, counts: Array, repeats: int) -> Histogram:
        """Return a histogram of values that are there `repeats` times each."""
        whole: list[int] = counts.tolist()
        return Histogram(tuple(edges.tolist()), tuple(whole if repeats == 1 else [n * repeats for n in whole]))


def equal_edges(low: float | int, high: float | int, bins: int) -> Array:
    """Return the `bins` + 1 edges between the least and greatest value; a constant c gets c - 0.5 ... c + 0.5."""
    if low == high:
        return np.linspace(float(low) - 0.5, float(high) + 0.5, bins + 1)
    if isinstance(low, int) and isinstance(high, int):
        return np.array([(low * bins + k * (high - low)) / bins for k in range(bins + 1)])
    with np.errstate(over="ignore"):
        if isfinite(float(high) - float(low)):
            return np.clip(np.linspace(low, high, bins + 1), low, high)
        return np.linspace(low / 2, high / 2, bins + 1) * 2


def symlog_edges(low: float, high: float, bins: int, linear: float) -> Array:
    """Return `bins` + 1 edges from `low` to `high`, equally far apart on an axis that is linear to +-`linear`.

    Beyond that the axis is logarithmic.
    """
    if low == high:
        return equal_edges(low, high, bins)
    ends = np.array([low, high], np.float64)
    places = np.sign(ends) * np.log1p(np.abs(ends) / linear)
    steps = np.linspace(places[0], places[1], bins + 1)
    edges: Array = np.sign(steps) * np.expm1(np.abs(steps)) * linear
    edges[0], edges[-1] = low, high
    return np.maximum.accumulate(edges.clip(low, high))


def bin_starts(low: float | int, high: float | int, edges: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return the least value of `dtype` in each bin but the first.

    Bins of integers lie between exact fractions, of which `edges` are the nearest floats.
    """
    bins = edges.size - 1
    if isinstance(low, int) and isinstance(high, int):
        return np.array([low - (-k * (high - low) // bins) for k in range(1, bins)], dtype)
    inner = edges[1:-1]
    starts = inner.astype(dtype)
    return np.where(starts < inner, np.nextafter(starts, np.asarray(inf, dtype)), starts)


class BinCounter:
    """Counts values into equal bins, block by block. Counters of the same bins add up in any order.

    Args:
        low, high: least and greatest value of all, not equal. dtype: of the blocks: float32, float64, an integer type.
        using: what counts; None for the fastest at hand.
    """

    def __init__(
        self,
        low: float | int,
        high: float | int,
        edges: Array,
        dtype: np.dtype[np.generic],
        using: kernels.Kernels | None = None,
    ) -> None:
        self._using = using
        self.counts = np.zeros(edges.size - 1, np.int64)
        starts = bin_starts(low, high, edges, dtype)
        self._bins = self._trusted(float(low), float(high), starts, np.array([low, high], dtype))

    def fresh(self) -> BinCounter:
        """Return a counter of the same bins that has counted nothing."""
        other = copy(self)
        other.counts = np.zeros_like(self.counts)
        return other

    def _trusted(self, low: float, high: float, starts: Array, ends: Array) -> kernels.Bins:
        """Try the formula on both sides of each edge: it never decreases, so it is right wherever it is right there."""
        with np.errstate(all="ignore"):
            scale = float(np.float64(self.counts.size) / (np.float64(high) - np.float64(low)))
            if not 0 < scale < inf or not starts.size:
                return kernels.Bins(low, scale, starts, 0)
            below = starts - 1 if starts.dtype.kind in "iu" else np.nextafter(starts, np.asarray(-inf, starts.dtype))
            number = np.arange(1, starts.size + 1)
            at, before, ends_at = (kernels.bin_places(each, low, scale, Scratch()) for each in (starts, below, ends))
        span = ends_at[0] == 0 and ends_at[1] < self.counts.size + 1
        if span and (at >= number).all() and (before < number).all():
            return kernels.Bins(low, scale, starts, 2)
        close = span and (at > number - kernels.CLOSE).all() and (before < number + kernels.CLOSE).all()
        return kernels.Bins(low, scale, starts, 1 if close else 0)

    @np.errstate(all="ignore")
    def add(self, block: Array) -> None:
        """Count finite values of a block."""
        using = self._using or kernels.current()
        for start in range(0, block.size, using.block):
            using.bins(block[start : start + using.block], self._bins, self.counts)
