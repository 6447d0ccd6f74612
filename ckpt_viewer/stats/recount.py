"""Exact counts between any edges in one further pass, for a tensor whose values were counted in cells before.

Only values in cells that an edge runs through have to be compared with it. They are found by their high 16 bits, in a
table; all others are known from their cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor, inf
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.stats.cells import FINE, Cells, keys_of
from ckpt_viewer.stats.crew import Crew
from ckpt_viewer.stats.histogram import Histogram
from ckpt_viewer.stats.kernels import BLOCK
from ckpt_viewer.stats.reading import open_reading
from ckpt_viewer.stats.stores import PatternStore
from ckpt_viewer.stats.summary import profile_tensor

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.stats.profile import Profile

FLOAT64_BITS = 4
"""Bits of the significand among the high 16 bits of a float64; a float32 has 7."""
PART_BLOCKS = 4
LEAST_NORMAL = {"float32": 2.0**-126, "float64": 2.0**-1022}
WHOLE_LIMIT = 1 << 53
"""Whole numbers up to this are float64 numbers."""


def is_exact(profile: Profile) -> bool:
    """Whether every picture of these numbers has exactly the edges that were asked for."""
    low, high = profile.census.low, profile.census.high
    if low is None or high is None:
        return True
    return not profile.snapped and (isinstance(low, float) or max(abs(low), abs(high)) <= WHOLE_LIMIT)


def count_between(tensor: TensorSpec, profile: Profile, edges: Array, context: Context = SILENT) -> Histogram:
    """Return how many finite values lie between each two of the ascending float64 `edges`; the last bin is closed.

    Args:
        profile: of the whole tensor, with its cells. context: is told how many values were looked at.

    Raises:
        CheckpointError: the bytes cannot be read. Cancelled: by `context`.
    """
    reading = open_reading(tensor)
    if isinstance(reading.store, PatternStore) and profile.snapped:  # what a scan kept: too little
        profile = profile_tensor(tensor, context)
    if is_exact(profile):
        return Histogram.of(edges, profile.between(edges), 1)
    counter = EdgeCounter(profile.cells, edges, reading.dtype)

    def count(own: EdgeCounter, part: range) -> Iterator[int]:
        for block in reading.read(part):
            for start in range(0, block.size, BLOCK):
                own.add(block[start : start + BLOCK])
            yield block.size

    counters = Crew(reading.parts(PART_BLOCKS), counter.fresh, count, context, reading.numel).run()
    found = np.sum([each.counts for each in counters], axis=0) if counters else counter.counts
    return Histogram.of(edges, counter.known + found * reading.repeats, 1)


class EdgeCounter:
    """Counts the values of blocks that lie in the cells of edges.

    Args:
        cells: of all values. edges: ascending float64. dtype: of the blocks: float32, float64, an integer type.

    Attributes:
        known: int64, for each bin what is known without another look. counts: what was found in blocks.
    """

    def __init__(self, cells: Cells, edges: Array, dtype: np.dtype[np.generic]) -> None:
        self._by = dtype if dtype.kind == "f" else np.dtype(np.float64)
        cells = cells.coarse(FINE if self._by == np.float32 else FLOAT64_BITS)
        self._bins = edges.size - 1
        self.counts = np.zeros(self._bins, np.int64)
        unsure = np.unique(keys_of(edges, cells.bits))
        least = int(keys_of(np.array([LEAST_NORMAL[self._by.name]]), cells.bits)[0])
        self._look = self._table(cells.bits, unsure, least)
        self.known = self._known(cells, edges, unsure, least)
        self._starts, self._used = _starts(edges, dtype)

    def fresh(self) -> EdgeCounter:
        """Return a counter between the same edges that has counted nothing."""
        other = object.__new__(EdgeCounter)
        other.__dict__.update(self.__dict__)
        other.counts = np.zeros_like(self.counts)
        return other

    def _table(self, bits: int, unsure: Array, least: int) -> Array:
        """Return for each high 16 bits whether values with them have to be looked at."""
        patterns = np.arange(1 << 16, dtype=np.uint32)
        wide = patterns << 16 if self._by == np.float32 else patterns.astype(np.uint64) << np.uint64(48)
        with np.errstate(all="ignore"):
            values = wide.view(self._by).astype(np.float64)
        finite = np.isfinite(values)
        negative = (patterns >> 15).astype(bool)
        keys = keys_of(np.where(finite & (values != 0), values, 1.0), bits)
        table: Array = finite & (np.isin(keys, unsure) | (np.where(negative, -1 - keys, keys) < least) | (values == 0))
        return table

    def _known(self, cells: Cells, edges: Array, unsure: Array, least: int) -> Array:
        """Return what lies in cells that no edge runs through: they are wholly in a bin, or outside of all."""
        keys = cells.keys
        sure = ~np.isin(keys, unsure) & (np.where(keys < 0, -1 - keys, keys) >= least)
        bins = np.searchsorted(keys_of(edges, cells.bits), keys[sure], side="right") - 1
        inside = (bins >= 0) & (bins < self._bins)
        known = np.zeros(self._bins, np.int64)
        np.add.at(known, bins[inside], cells.counts[sure][inside])
        return known

    @np.errstate(all="ignore")
    def add(self, block: Array) -> None:
        """Count the values of a contiguous block that have to be looked at."""
        values = block if block.dtype == self._by else block.astype(self._by)
        halves = self._by.itemsize // 2
        high = values.view(np.uint16)[halves - 1 :: halves]
        picked = block[np.take(self._look, high)]
        if picked.size:
            places = np.searchsorted(self._starts, picked, side="right")
            found = np.bincount(places, minlength=self._bins + 2)
            self.counts[: self._used] += found[1 : self._used + 1]


def _starts(edges: Array, dtype: np.dtype[Any]) -> tuple[Array, int]:
    """Return the least value of `dtype` in each bin and behind the last one, and how many bins have such a value."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            starts = edges.astype(dtype)
            starts = np.where(starts < edges, np.nextafter(starts, np.asarray(inf, dtype)), starts)
            last = np.asarray(edges[-1]).astype(dtype)
            if last <= edges[-1]:
                last = np.nextafter(last, np.asarray(inf, dtype))
        starts[-1] = last
        return starts, edges.size - 1
    limits = np.iinfo(dtype)
    whole = [ceil(edge) for edge in edges.tolist()]
    whole[-1] = floor(edges[-1]) + 1
    fitting = [max(start, int(limits.min)) for start in whole if start <= limits.max]
    return np.array(fitting, dtype), min(len(fitting), edges.size - 1)
