"""Small histograms for the tree: made on a worker thread, where numpy may be imported. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckpt_viewer.stats.profile import Profile

BARS, LEVELS = 24, 9
"""Bars of one, and heights that they have: a digit each, 0 only where there is nothing."""


def spark(profile: Profile) -> str:
    """Return the heights of a profile's bars between its least and greatest value; ``""`` where nothing is finite."""
    import numpy as np

    census = profile.census
    if census.low is None or census.high is None:
        return ""
    low, high = float(census.low), float(census.high)
    if not high > low:
        return "0" * (BARS // 2) + str(LEVELS) + "0" * (BARS - BARS // 2 - 1)
    cells = profile.cells
    if not cells.keys.size:
        return ""
    from ckpt_viewer.stats.cells import edge_values

    with np.errstate(all="ignore"):
        middles = (edge_values(cells.keys, cells.bits) + edge_values(cells.keys + 1, cells.bits)) / 2
        shares = (middles.clip(low, high) / 2 - low / 2) / (high / 2 - low / 2)  # halves: the range may overflow
        places = (shares * BARS).clip(0, BARS - 1).astype(np.int64)
    counts = np.bincount(places, cells.counts, BARS)
    heights = np.ceil(counts / counts.max() * LEVELS).astype(int)
    return "".join(map(str, heights.tolist()))
