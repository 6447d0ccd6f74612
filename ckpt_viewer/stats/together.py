"""The numbers of many tensors together, put together at once: pair by pair the cells would be sorted over and over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.stats.cells import EXACT, NONE, Cells, grouped_cells
from ckpt_viewer.stats.census import Census
from ckpt_viewer.stats.moments import UNIT, Moments
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.tally import RankedCells, quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt_viewer.core.progress import Context

CHUNK = 1 << 18
"""Cells that are sorted at once."""
EVERY = 8


def together(profiles: Sequence[Profile], context: Context = SILENT) -> Profile:
    """Return the profile of the values of all: what `Profile.plus` gives, one after another, in any order.

    Raises:
        Cancelled: by `context`.
    """
    census, moments = Census(), Moments()
    for number, each in enumerate(profiles):
        if number % EVERY == 0:
            context.step(number, len(profiles))
        census = census.plus(each.census)
        moments = moments.plus(each.moments.in_units(UNIT))
    cells = _cells([each.cells for each in profiles if each.cells.keys.size], context)
    shares = None
    if census.low is not None and census.high is not None:
        ranked = RankedCells(cells, zeros=census.zeros > 0)
        shares = quantiles(ranked, census.finite, 1, census.low, census.high)
    dtypes, overs = {each.dtype for each in profiles}, {each.over for each in profiles}
    return Profile(_only(dtypes), _only(overs), census, moments.lean, shares, cells)


def _only(names: set[str]) -> str:
    return next(iter(names)) if len(names) == 1 else ""


def _cells(found: list[Cells], context: Context) -> Cells:
    if not found:
        return NONE
    bits = min((each.bits for each in found), default=EXACT)
    waiting: list[Cells] = []
    size = 0
    for number, each in enumerate(found):
        waiting.append(each.coarse(bits))
        size += each.keys.size
        if size >= CHUNK or number == len(found) - 1:
            context.step(number, len(found))
            keys = np.concatenate([cells.keys for cells in waiting])
            whole = grouped_cells(bits, keys, np.concatenate([cells.counts for cells in waiting]))
            waiting, size = [whole], 0
    return waiting[0]
