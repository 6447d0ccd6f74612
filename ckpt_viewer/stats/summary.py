"""A tensor's exact statistics and histogram: what `stats --json` prints and the window's panel shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.stats.histogram import MAX_BINS, BinCounter, Histogram, equal_edges
from ckpt_viewer.stats.reading import Reading, open_reading
from ckpt_viewer.stats.sketch import Sketch
from ckpt_viewer.stats.tally import Tally, constant_histogram, quantiles

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.stats.census import Census
    from ckpt_viewer.stats.stores import Counted

SAMPLE_READS = 32
SAMPLE_ELEMENTS = 512


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


def summarize_tensor(tensor: TensorSpec, bins: int = 256, context: Context = SILENT) -> Summary:
    """Return exact statistics and a histogram of `bins` equal bins, in bounded memory.

    Args:
        context: is told how many values were looked at, of all values times the passes over them.

    Raises:
        CheckpointError: the tensor has no values, or its bytes cannot be read. Cancelled: by `context`.
    """
    check_bins(bins)
    reading = open_reading(tensor)
    sketch, total, done = Sketch(reading.store), reading.numel * reading.passes, 0
    for block in reading:
        sketch.add(block)
        done += block.size
        context.step(min(done, total), total)
    counted = sketch.counted()
    histogram = _known_histogram(counted, bins, reading.repeats)
    if histogram is None and counted.census.finite:
        histogram = _second_pass(reading, counted.census, bins, context)
    context.step(total, total)
    return _summary(reading, counted, histogram)


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


def _second_pass(reading: Reading, census: Census, bins: int, context: Context) -> Histogram:
    assert census.low is not None
    assert census.high is not None
    edges = equal_edges(census.low, census.high, bins)
    counter = BinCounter(census.low, census.high, edges, reading.dtype)
    done, total = reading.numel, 2 * reading.numel
    for block in reading:
        counter.add(block if census.finite == reading.numel else block[np.isfinite(block)])
        done += block.size
        context.step(min(done, total), total)
    return Histogram.of(edges, counter.counts, reading.repeats)


def preview(tensor: TensorSpec, bins: int = 256) -> Summary:
    """Return the summary of a sample: a few reads spread over the tensor, quick whatever its size.

    Of a small tensor the sample is everything, and the summary exact.

    Raises:
        CheckpointError: as `summarize_tensor`.
    """
    check_bins(bins)
    reading = open_reading(tensor, elements=SAMPLE_ELEMENTS)
    sketch = Sketch(reading.store)
    values = reading.sample(SAMPLE_READS)
    sketch.add(values)
    sample = values.size < reading.numel
    counted = sketch.counted()
    return _summary(reading, counted, _known_histogram(counted, bins, 1 if sample else reading.repeats), sample=sample)


def check_bins(bins: int) -> None:
    """Raise CheckpointError for a number of bins that no histogram can have."""
    if not 1 <= bins <= MAX_BINS:
        raise CheckpointError(f"a histogram cannot have {bins} bins; choose from 1 to {MAX_BINS}")


def _summary(reading: Reading, counted: Counted, histogram: Histogram | None, *, sample: bool = False) -> Summary:
    census, moments, low, high = counted.census, counted.moments, counted.census.low, counted.census.high
    times = 1 if sample else reading.repeats
    numel = census.finite + census.nan + census.posinf + census.neginf
    shares = None
    if low is not None and high is not None:
        shares = quantiles(counted.ranked, census.finite, times, low, high)
    return Summary(
        dtype=reading.tensor_dtype,
        over=reading.over,
        numel=numel * times,
        finite=census.finite * times,
        nan=census.nan * times,
        posinf=census.posinf * times,
        neginf=census.neginf * times,
        zeros=census.zeros * times,
        min=low,
        max=high,
        mean=moments.mean if census.finite else None,
        std=moments.std if census.finite else None,
        quantiles=shares,
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
