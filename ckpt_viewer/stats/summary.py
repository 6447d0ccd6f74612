"""A tensor's exact statistics and histogram: what `stats --json` prints and the window's panel shows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError, DeviceFailed
from ckpt_viewer.stats.cells import EXACT
from ckpt_viewer.stats.crew import Crew
from ckpt_viewer.stats.histogram import MAX_BINS, BinCounter, Histogram, equal_edges
from ckpt_viewer.stats.kernels import BLOCK
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.reading import Reading, open_reading
from ckpt_viewer.stats.sampling import ENTRIES
from ckpt_viewer.stats.sketch import Sketch
from ckpt_viewer.stats.stores import Counted, PatternStore
from ckpt_viewer.stats.tally import RankedCells, Tally, constant_histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.stats.census import Census
    from ckpt_viewer.stats.kernels import Kernels

T = TypeVar("T")
_log = logging.getLogger(__name__)
PART_BLOCKS = 4
"""Blocks of a task: few, so that all threads end at the same time."""
ALONE = 1 << 21
"""Values up to which one thread counts."""
WORTH_A_DEVICE = ALONE
"""Values from which a GPU counts: fewer are counted before the first operator has started there."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of a tensor. All but the counts are over its finite values, and None where there is none.

    Attributes:
        dtype: of the tensor. over: ``""`` for all values, else what was counted (``"stored values"``).
        numel: values that were counted: finite ones, nan, posinf and neginf.
        zeros: of the finite ones. min, max: ints for integers and booleans.
        mean, std: the population's, rounded once from exact sums.
        quantiles: of nearest rank, by their share as text (``"0.05"``).
        histogram: equal bins between min and max.
        sample: whether only some values were looked at; then numel says how many.
    """

    dtype: str
    over: str
    numel: int
    finite: int
    nan: int
    posinf: int
    neginf: int
    zeros: int
    min: float | int | None
    max: float | int | None
    mean: float | None
    std: float | None
    quantiles: dict[str, float | int] | None
    histogram: Histogram | None
    sample: bool = False


def summarize_tensor(
    tensor: TensorSpec,
    bins: int = 256,
    context: Context = SILENT,
    known: Profile | None = None,
    using: Kernels | None = None,
) -> Summary:
    """Return exact statistics and a histogram of `bins` equal bins, in bounded memory.

    Args:
        context: is told how many values were looked at, of all values times the passes over them.
        known: what a scan found, so that only the histogram has to be counted.
        using: what counts, on a GPU; None for the fastest at hand. The numbers are the same.

    Raises:
        CheckpointError: the tensor has no values, or its bytes cannot be read. Cancelled: by `context`.
    """
    check_bins(bins)
    return _on_device(using, lambda found: _summarize(tensor, bins, context, known, found))


def _on_device(using: Kernels | None, count: Callable[[Kernels | None], T]) -> T:
    """Count with `using`, and where the device fails, from the beginning without it."""
    if using is not None:
        try:
            return count(using)
        except DeviceFailed as error:
            _log.info("counting here: %s", error)
    return count(None)


def _summarize(
    tensor: TensorSpec, bins: int, context: Context, known: Profile | None, using: Kernels | None
) -> Summary:
    reading = open_reading(tensor, using=using)
    counted = _recalled(known, reading) if known is not None else None
    if counted is None:
        counted = _first_pass(reading, context, using)
        known = Profile.of(reading.tensor_dtype, reading.over, counted, reading.repeats)
    assert known is not None
    histogram = _known_histogram(counted, bins, reading.repeats)
    if histogram is None and counted.census.finite:
        histogram = _second_pass(reading, counted.census, bins, context, using)
    total = reading.numel * reading.passes
    context.step(total, total)
    return summary_of(known, histogram)


def _recalled(known: Profile, reading: Reading) -> Counted | None:
    """Return what a first pass over the values would tell, as far as the histogram needs it; None where it is lost."""
    cells, low, high = known.cells, known.census.low, known.census.high
    if reading.repeats != 1:
        return None
    if low is None or high is None:
        return Counted(known.census, known.moments, Tally(np.empty(0)))
    if cells.bits == EXACT and max(abs(low), abs(high)) <= 1 << 53:
        whole = isinstance(low, int)
        return Counted(
            known.census, known.moments, Tally(cells.values.astype(np.int64 if whole else np.float64), cells.counts)
        )
    if isinstance(reading.store, PatternStore):
        return None
    return Counted(known.census, known.moments, RankedCells(cells, zeros=False))


def _first_pass(reading: Reading, context: Context, using: Kernels | None) -> Counted:
    def count(sketch: Sketch, part: range) -> Iterator[int]:
        for block in reading.read(part):
            sketch.add(block)
            yield block.size

    total = reading.numel * reading.passes
    sketches = Crew(_parts(reading), lambda: Sketch(reading.store.fresh(), using), count, context, total).run()
    for other in sketches[1:]:
        sketches[0].merge(other)
    return sketches[0].counted()


def _parts(reading: Reading) -> list[range]:
    """Cut a reading into tasks for a crew; one task, and so one thread, where more would not be worth their start."""
    return reading.parts(PART_BLOCKS if reading.numel > ALONE else -(-reading.numel // BLOCK) + 1)


def _known_histogram(counted: Counted, bins: int, repeats: int) -> Histogram | None:
    """Return the histogram where it does not take another look at the values, else None."""
    low, high = counted.census.low, counted.census.high
    if low is None or high is None:
        return None
    edges = equal_edges(low, high, bins)
    if isinstance(counted.ranked, Tally):
        return Histogram.of(edges, counted.ranked.histogram(edges), repeats)
    if low == high:
        return Histogram.of(edges, constant_histogram(low, counted.census.finite, edges), repeats)
    return None


def _second_pass(reading: Reading, census: Census, bins: int, context: Context, using: Kernels | None) -> Histogram:
    assert census.low is not None
    assert census.high is not None
    edges = equal_edges(census.low, census.high, bins)
    counter = BinCounter(census.low, census.high, edges, reading.dtype, using)

    def count(own: BinCounter, part: range) -> Iterator[int]:
        for block in reading.read(part):
            own.add(block if census.finite == reading.numel else block[np.isfinite(block)])
            yield block.size

    total = 2 * reading.numel
    counters = Crew(_parts(reading), counter.fresh, count, context, total, done=reading.numel).run()
    return Histogram.of(edges, np.sum([each.counts for each in counters], axis=0), reading.repeats)


def profile_tensor(tensor: TensorSpec, context: Context = SILENT, using: Kernels | None = None) -> Profile:
    """Return the exact numbers of a tensor with its cells, from one pass over its values; raises as `summarize_tensor`.

    Args:
        context: is told how many values were looked at. using: what counts, on a GPU; None for the fastest at hand.
    """

    def count(found: Kernels | None) -> Profile:
        reading = open_reading(tensor, using=found)
        reading.passes = 1
        counted = _first_pass(reading, context, found)
        return Profile.of(reading.tensor_dtype, reading.over, counted, reading.repeats, ENTRIES)

    return _on_device(using, count)


def check_bins(bins: int) -> None:
    """Raise CheckpointError for a number of bins that no histogram can have."""
    if not 1 <= bins <= MAX_BINS:
        raise CheckpointError(f"a histogram cannot have {bins} bins; choose from 1 to {MAX_BINS}")


def summary_of(profile: Profile, histogram: Histogram | None = None, *, sample: bool = False) -> Summary:
    """Return the numbers of a profile with a histogram, if there is one."""
    census = profile.census
    return Summary(
        dtype=profile.dtype,
        over=profile.over,
        numel=profile.numel,
        finite=census.finite,
        nan=census.nan,
        posinf=census.posinf,
        neginf=census.neginf,
        zeros=census.zeros,
        min=census.low,
        max=census.high,
        mean=profile.mean,
        std=profile.std,
        quantiles=profile.quantiles,
        histogram=histogram,
        sample=sample,
    )


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return a summary as an entry of `stats --json`, without its path; every number in it is finite."""
    entry: dict[str, Any] = {
        name: getattr(summary, name)
        for name in ("dtype", "numel", "finite", "nan", "posinf", "neginf", "zeros", "min", "max", "mean", "std")
    }
    entry["quantiles"] = summary.quantiles
    histogram = summary.histogram
    entry["histogram"] = histogram and {"edges": list(histogram.edges), "counts": list(histogram.counts)}
    if summary.over:
        entry["over"] = summary.over
    if summary.sample:
        entry["sample"] = True
    return entry
