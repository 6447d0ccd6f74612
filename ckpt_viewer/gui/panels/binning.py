"""From the numbers of tensors to bins on one axis: at once from cells, or counted between exact edges. Uses numpy."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.gui.panels.axis import Axis
from ckpt_viewer.gui.panels.picture import AUTO, MEAN, QUANTILES, SPREAD, ZERO, Mark, Picture, Series, Wish
from ckpt_viewer.gui.panels.statistics import quantile_name
from ckpt_viewer.stats.cells import EXACT, edge_values, snapped
from ckpt_viewer.stats.histogram import equal_edges, symlog_edges
from ckpt_viewer.stats.recount import is_exact

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.stats.profile import Profile

AUTO_LEAST, AUTO_MOST = 10, 100
CONSTANT_BINS = 21
"""Bins around a single value: an odd number, so that it stands in the middle of one."""
WHOLE = ("int", "uint", "bool")
"""Kinds of dtypes whose values are whole numbers."""
WHOLE_LIMIT = 1 << 51
"""Up to this there is a float64 between two whole numbers."""
SMALL_SHARE = 0.001
"""Share of the values that a symmetric logarithmic axis may leave in its linear part."""
WIDEST = 1e-30
"""The least linear part relative to the largest value."""
UNIFORM = 1e-9
"""Share by which bins of equal width may differ by rounding."""
GREATEST = sys.float_info.max
SHOWN_QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")


def kind_of(dtype: str) -> str:
    """Return the kind of a dtype, ``""`` for none that is known."""
    return DTYPES[dtype].kind if dtype in DTYPES else ""


def axis_of(profiles: Sequence[Profile], wish: Wish, values: int) -> Axis:
    """Return the axis for all finite values of some tensors, of which the largest has so many `values`."""
    low, high = _ends(profiles)
    bins = wish.bins or max(AUTO_LEAST, min(AUTO_MOST, int(2 * values**0.4)))
    linear = _linear_part(profiles) if wish.symlog and low < high else None
    kinds = {kind_of(profile.dtype) for profile in profiles}
    if kinds <= set(WHOLE) and max(abs(low), abs(high)) < WHOLE_LIMIT and wish.bins == AUTO:
        step = math.ceil((high - low + 1) / bins)
        bins = math.ceil((high - low + 1) / step)
        names = ("False", "True") if kinds == {"bool"} else ()
        return Axis(low - 0.5, low - 0.5 + bins * step, bins, linear and max(1.0, linear), True, names)
    if low == high:
        half = max(0.5, abs(low) * 1e-3)
        bins = CONSTANT_BINS if wish.bins == AUTO else bins
        return Axis(max(-GREATEST, low - half), min(GREATEST, high + half), bins)
    return Axis(float(low), float(high), bins, linear)


def _ends(profiles: Sequence[Profile]) -> tuple[float | int, float | int]:
    lows = [each.census.low for each in profiles if each.census.low is not None]
    highs = [each.census.high for each in profiles if each.census.high is not None]
    return min(lows, default=0), max(highs, default=0)


def _linear_part(profiles: Sequence[Profile]) -> float:
    """Return the power of ten below which few of the magnitudes lie that are not zero; 1 where there are none."""
    sizes, counts = [np.empty(0)], [np.empty(0, np.int64)]
    for profile in profiles:
        keys = profile.cells.keys
        magnitudes = np.where(keys < 0, -1 - keys, keys)
        sizes.append(edge_values(magnitudes, profile.cells.bits)[magnitudes > 0])
        counts.append(profile.cells.counts[magnitudes > 0])
    size, count = np.concatenate(sizes), np.concatenate(counts)
    if not size.size:
        return 1.0
    order = np.argsort(size)
    ends = np.cumsum(count[order])
    least = float(size[order][np.searchsorted(ends, SMALL_SHARE * ends[-1])])
    power = math.floor(math.log10(max(least, float(size.max()) * WIDEST, 1e-300)))
    return float(f"1e{power}")


def edges_of(axis: Axis, wish: Wish) -> Array:
    """Return the edges of the bins that a wish asks for, ascending float64."""
    low = axis.low if wish.low is None else max(axis.low, wish.low)
    high = axis.high if wish.high is None else min(axis.high, wish.high)
    if axis.whole:
        return _whole_edges(axis, low, high)
    if axis.linear is not None:
        return symlog_edges(low, high, axis.bins, axis.linear)
    return np.maximum.accumulate(equal_edges(low, high, axis.bins))


def _whole_edges(axis: Axis, low: float, high: float) -> Array:
    """Return edges half-way between whole numbers, so that no bin has more of them than its neighbours."""
    first, last = math.floor(low + 0.5), max(math.floor(low + 0.5), math.ceil(high - 0.5))
    if axis.linear is not None:
        edges = symlog_edges(first - 0.5, last + 0.5, axis.bins, axis.linear)
        return np.unique(np.floor(edges + 0.5) - 0.5)
    step = math.ceil((last - first + 1) / axis.bins)
    count = math.ceil((last - first + 1) / step)
    return first - 0.5 + step * np.arange(count + 1, dtype=np.float64)


def at_once(profiles: Sequence[Profile], edges: Array) -> tuple[Array, list[Array], bool]:
    """Return edges, the counts of each tensor between them, and whether those edges are only near the `edges`."""
    if all(is_exact(profile) for profile in profiles):
        return edges, [profile.between(edges) for profile in profiles], False
    bits = min((profile.cells.bits for profile in profiles if profile.cells.keys.size), default=EXACT)
    keys = snapped(edges, bits)
    return edge_values(keys, bits), [profile.cells.coarse(bits).counts_between(keys) for profile in profiles], True


def picture_of(
    names: Sequence[str], profiles: Sequence[Profile], axis: Axis, wish: Wish, edges: Array, counts: Sequence[Array],
    *, snapped: bool, sample: bool,
) -> Picture:  # fmt: skip
    """Put together what is drawn."""
    ends: list[float] = (edges.clip(axis.low, axis.high) if snapped else edges).tolist()
    places = [axis.at(edge) for edge in ends]
    share = len(profiles) > 1
    series = []
    for name, profile, found in zip(names, profiles, counts, strict=True):
        finite = profile.census.finite
        heights = found * (100 / max(1, finite)) if share else found.astype(np.float64)
        heights = _even(heights, np.array(places)) if snapped or share else heights
        series.append(Series(name, found.tolist(), finite, heights.tolist()))
    marks = () if share else marks_of(profiles[0])
    return Picture(axis, label_of(profiles) + axis.suffix, wish, ends, places, tuple(series), marks, snapped, sample)


def _even(heights: Array, places: Array) -> Array:
    """Return what would be in bins of equal width, so that areas are right."""
    widths = np.diff(places)
    mean = (places[-1] - places[0]) / heights.size
    different = np.abs(widths - mean) > UNIFORM * mean
    if not mean > 0 or not different.any():
        return heights
    even: Array = np.where(different, heights * (mean / np.maximum(widths, mean * 1e-6)), heights)
    return even


def label_of(profiles: Sequence[Profile]) -> str:
    """Return what the x axis counts."""
    words = {"complex": "magnitude", "quantized": "dequantised value"}
    found = {words.get(kind_of(profile.dtype), "value") for profile in profiles}
    return found.pop() if len(found) == 1 else "value"


def marks_of(profile: Profile) -> tuple[Mark, ...]:
    """Return zero and the statistics that have a place on the axis of a tensor's values."""
    low, high, mean, std = profile.census.low, profile.census.high, profile.mean, profile.std
    if low is None or high is None or mean is None or std is None:
        return ()
    found = [Mark(ZERO, "0", 0.0), Mark(MEAN, "mean", mean)]
    found += [Mark(SPREAD, f"{sign}std", value) for sign, value in (("−", mean - std), ("+", mean + std)) if std]
    for share in SHOWN_QUANTILES:
        if profile.quantiles is not None and low < high:
            found.append(Mark(QUANTILES, quantile_name(share), float(profile.quantiles[share])))
    return tuple(mark for mark in found if low <= mark.value <= high)
