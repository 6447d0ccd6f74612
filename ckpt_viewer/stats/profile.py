"""The numbers of one tensor or of several together, without the values: exact but for picture and quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ckpt_viewer.stats.cells import EXACT, NONE, Cells
from ckpt_viewer.stats.census import Census
from ckpt_viewer.stats.histogram import Histogram, equal_edges, symlog_edges
from ckpt_viewer.stats.moments import UNIT, Moments
from ckpt_viewer.stats.tally import RankedCells, quantiles

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.stats.stores import Counted


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of some values.

    Attributes:
        dtype: of the tensor, ``""`` of several. over: ``""``, or which of its values were counted.
        census: of all values. moments: exact sums of the finite ones, `Moments.lean`.
        quantiles: by their share as text; None where nothing is finite.
        cells: the finite values, to be drawn.
    """

    dtype: str
    over: str
    census: Census
    moments: Moments
    quantiles: dict[str, float | int] | None
    cells: Cells

    @staticmethod
    def of(dtype: str, over: str, counted: Counted, repeats: int = 1, entries: int = 0) -> Profile:
        """Return the profile of counted values that are there `repeats` times each, in at most `entries` cells if any.

        Without `entries` the picture is left out.
        """
        census, ranked = counted.census, counted.ranked
        shares, cells = None, NONE
        if census.low is not None and census.high is not None:
            shares = quantiles(ranked, census.finite, repeats, census.low, census.high)
            if entries:
                cells = ranked.cells.within(entries).times(repeats)
        return Profile(dtype, over, census.times(repeats), counted.moments.times(repeats).lean, shares, cells)

    def plus(self, other: Profile) -> Profile:
        """Return the profile of both: all numbers exact, quantiles to the width of a cell."""
        dtype = self.dtype if self.dtype == other.dtype else ""
        over = self.over if self.over == other.over else ""
        census, cells = self.census.plus(other.census), self.cells.plus(other.cells)
        shares = None
        if census.low is not None and census.high is not None:
            ranked = RankedCells(cells, zeros=census.zeros > 0)
            shares = quantiles(ranked, census.finite, 1, census.low, census.high)
        moments = self.moments.in_units(UNIT).plus(other.moments.in_units(UNIT)).lean
        return Profile(dtype, over, census, moments, shares, cells)

    @property
    def numel(self) -> int:
        """How many values there are."""
        return self.census.finite + self.census.nan + self.census.posinf + self.census.neginf

    @property
    def mean(self) -> float | None:
        """Of the finite values, rounded once."""
        return self.moments.mean if self.census.finite else None

    @property
    def std(self) -> float | None:
        """The population's standard deviation, rounded once."""
        return self.moments.std if self.census.finite else None

    @property
    def snapped(self) -> bool:
        """Whether the edges of pictures lie between cells, not exactly where they were asked for."""
        return self.cells.bits < EXACT

    def picture(
        self, bins: int, low: float | None = None, high: float | None = None, linear: float | None = None
    ) -> Histogram | None:
        """Return exact counts between about `bins` + 1 edges, at once; None where nothing is finite.

        Args:
            low, high: the range, that of the values without.
            linear: for edges that are equally far apart on a symmetric logarithmic axis, linear within plus and minus
                this; None for a linear axis.
        """
        first, last = self.census.low, self.census.high
        if first is None or last is None:
            return None
        start, stop = first if low is None else low, last if high is None else high
        edges = equal_edges(start, stop, bins) if linear is None else symlog_edges(start, stop, bins, linear)
        if self.snapped:
            at, counts = self.cells.between(edges)
            ends = at.clip(first, last) if low is None and high is None and first < last else at
            return Histogram.of(ends, counts, 1)
        return Histogram.of(edges, self.between(edges), 1)

    def between(self, edges: Array) -> Array:
        """Return the counts between edges of values that are all known; the last bin holds both its edges."""
        values, counts = self.cells.values, self.cells.counts
        below = np.concatenate(([0], np.cumsum(counts)))
        at = np.searchsorted(values, edges)
        at[-1] = np.searchsorted(values, edges[-1], side="right")  # the last bin holds both its edges
        return np.diff(below[at])
