"""What a histogram shows, ready to be drawn, and what is said about it. No Qt, no numpy."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from ckpt_viewer.gui.panels.axis import Axis
from ckpt_viewer.gui.panels.digits import every_digit, six_digits
from ckpt_viewer.gui.panels.facts import count_words

AUTO = 0
"""Bins as many as suit the tensor."""
MOST_BINS = 4096
ZERO, MEAN, SPREAD, QUANTILES = "zero", "mean", "spread", "quantiles"
"""Kinds of marks."""


class Wish(NamedTuple):
    """How a histogram shall be drawn.

    Attributes:
        bins: how many, AUTO to leave that open. symlog: whether the x axis is logarithmic on both sides of zero.
        low, high: the values between which it is counted; None for all there are.
    """

    bins: int = AUTO
    symlog: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def whole(self) -> Wish:
        """The same for all values."""
        return self._replace(low=None, high=None)

    @property
    def zoomed(self) -> bool:
        """Whether it shows a part of the values."""
        return self.low is not None


class Mark(NamedTuple):
    """A statistic on the x axis: its kind, what it is called, and the value."""

    kind: str
    text: str
    value: float


class Series(NamedTuple):
    """One of the tensors that are drawn.

    Attributes:
        name: as it is shown. counts: finite values in each bin. finite: all there are, in and outside the bins.
        heights: of the bars; see `Picture.shares`.
    """

    name: str
    counts: Sequence[int]
    finite: int
    heights: Sequence[float]


class Picture(NamedTuple):
    """Histograms over the same bins.

    Attributes:
        axis: of the values. label: what they are. wish: what this answers.
        edges: one more than there are bins, ascending. places: where they stand on the axis.
        series: at least one. marks: of the only one.
        snapped: whether the edges lie between cells, near those that were asked for.
        sample: whether some values were looked at only.
    """

    axis: Axis
    label: str
    wish: Wish
    edges: Sequence[float]
    places: Sequence[float]
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    snapped: bool = False
    sample: bool = False

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.edges) - 1

    @property
    def shares(self) -> bool:
        """Whether heights are shares in percent, so that tensors of different sizes compare; else counts."""
        return len(self.series) > 1

    @property
    def exact(self) -> bool:
        """Whether nothing is left to be counted."""
        return not self.snapped and not self.sample

    def bin_at(self, place: float) -> int:
        """Return the bin at a position, -1 outside."""
        at = bisect_right(self.places, place) - 1
        return at if 0 <= at < self.bins else -1


def range_text(picture: Picture, at: int) -> str:
    """Return the range of a bin; the numbers themselves where they are whole."""
    low, high = picture.edges[at], picture.edges[at + 1]
    axis = picture.axis
    if not axis.whole or low % 1 != 0.5 or high % 1 != 0.5:
        return f"{six_digits(low)} … {six_digits(high)}"
    first, last = int(low + 0.5), int(high - 0.5)
    if first == last:
        return axis.names[first] if axis.names else six_digits(first)
    return f"{six_digits(first)} … {six_digits(last)}"


def bin_text(picture: Picture, at: int) -> str:
    """Return a bin's range, and for each tensor what is in it; ``""`` where there is no such bin."""
    if not 0 <= at < picture.bins:
        return ""
    found = [(each.name, each.counts[at], 100 * each.counts[at] / max(1, each.finite)) for each in picture.series]
    if picture.shares:
        return f"{range_text(picture, at)}:  " + ",  ".join(f"{name} {share:.3g} %" for name, _, share in found)
    _, count, share = found[0]
    sampled = " of the sample" if picture.sample else ""
    return f"{range_text(picture, at)}:  {count_words(count, 'value')}{sampled}  ({share:.3g} %)"


def bins_rows(picture: Picture) -> list[list[str]]:
    """Return the bins as a heading and rows of low edge, high edge and counts, in full precision."""
    names = [each.name for each in picture.series] if picture.shares else ["count"]
    rows = [["low", "high", *names]]
    for at in range(picture.bins):
        ends = every_digit(picture.edges[at]), every_digit(picture.edges[at + 1])
        rows.append([*ends, *(str(int(each.counts[at])) for each in picture.series)])
    return rows
