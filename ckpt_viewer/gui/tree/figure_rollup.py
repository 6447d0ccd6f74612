"""Adds up what a scan found in everything that lies in a row of the tree, exactly. No Qt, no numpy; a worker's job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.gui.tree.table import EVERY
from ckpt_viewer.stats.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.stats.profile import Profile


class _Sum:
    """Of the values in a row: counts, exact sums as integers in the unit of `Moments`, extremes."""

    __slots__ = ("finite", "high", "inf", "low", "nan", "numel", "squares", "total", "zeros")

    def __init__(self) -> None:
        self.numel = self.zeros = self.nan = self.inf = self.finite = self.total = self.squares = 0
        self.low: float | int | None = None
        self.high: float | int | None = None

    def add(self, profile: Profile, sign: int = 1) -> None:
        """Add the values of a tensor, or take them off; extremes stay."""
        from ckpt_viewer.stats.moments import UNIT

        census, moments = profile.census, profile.moments.in_units(UNIT)
        self.numel += sign * profile.numel
        self.zeros += sign * census.zeros
        self.nan += sign * census.nan
        self.inf += sign * (census.posinf + census.neginf)
        self.finite += sign * moments.size
        self.total += sign * moments.total
        self.squares += sign * moments.squares
        if sign > 0:
            self.reach(census.low, census.high)

    def plus(self, other: _Sum) -> None:
        """Add what lies in a row below."""
        self.numel += other.numel
        self.zeros += other.zeros
        self.nan += other.nan
        self.inf += other.inf
        self.finite += other.finite
        self.total += other.total
        self.squares += other.squares
        self.reach(other.low, other.high)

    def reach(self, low: float | None, high: float | None) -> None:
        """Widen the extremes."""
        if low is not None and (self.low is None or low < self.low):
            self.low = low
        if high is not None and (self.high is None or high > self.high):
            self.high = high

    def figures(self) -> Figures:
        """Return what a row says."""
        from ckpt_viewer.stats.moments import Moments

        moments = Moments(self.finite, self.total, self.squares)
        mean, std = (moments.mean, moments.std) if self.finite else (None, None)
        return Figures(self.numel, self.zeros, self.nan, self.inf, self.low, self.high, mean, std)


def roll_up(index: TreeIndex, items: Sequence[int], outcomes: Sequence[object], context: Context) -> dict[int, Figures]:
    """Return the figures of each row that tensors lie in, what is reached several times below it once.

    Args:
        items: of each tensor of the tree in its order, its place in `outcomes`, or -1.
        outcomes: a Profile each, or anything else where there is none.

    Raises:
        Cancelled: by `context`.
    """
    from ckpt_viewer.stats.profile import Profile

    parents, ends, rows = index.parents, index.ends, index.totals.tensor_rows
    sums: dict[int, _Sum] = {}
    found: dict[int, Figures] = {}
    last: dict[int, int] = {}
    tensor = len(rows) - 1
    for row in range(len(index) - 1, -1, -1):
        if not row & (EVERY >> 2):
            context.step(len(index) - row, len(index))
        own = sums.pop(row, None)
        if tensor >= 0 and rows[tensor] == row:
            item, tensor = items[tensor], tensor - 1
            profile = outcomes[item] if item >= 0 else None
            if isinstance(profile, Profile) and row:
                sums.setdefault(parents[row], _Sum()).add(profile)
                again = last.get(item)
                last[item] = row
                if again is not None:
                    sums.setdefault(_common(parents, ends, row, again), _Sum()).add(profile, -1)
        elif own is not None:
            found[row] = own.figures()
            if row:
                sums.setdefault(parents[row], _Sum()).plus(own)
    return found


def _common(parents: Sequence[int], ends: Sequence[int], row: int, later: int) -> int:
    """Return the innermost row around two others."""
    while ends[row] <= later:
        row = parents[row]
    return row
