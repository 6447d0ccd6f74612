"""The work behind the histogram panel: which summary is made, of how many bins, how its numbers are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.panels.digits import every_digit, six_digits
from ckpt_viewer.gui.panels.facts import count_words
from ckpt_viewer.gui.panels.facts_table import Fact
from ckpt_viewer.gui.panels.ticks import Bins, BinScale

if TYPE_CHECKING:
    from ckpt_viewer.stats.summary import Summary

AUTO = 0
"""Bins as many as suit the tensor."""
AUTO_LEAST, AUTO_MOST = 10, 100
MOST_BINS = 4096
SPECIAL = ("float", "complex", "quantized")
"""Kinds of dtypes that can be NaN or infinite; quantised ones by their scale."""
COUNTING = "counting …"
SHARES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
"""Quantiles whose rows stay in place where there is no finite value."""
WHOLE = ("int", "uint", "bool")
"""Kinds of dtypes whose values are whole numbers."""
AT_ONCE = 1 << 20
"""Values that are counted without showing a sample first: it takes a few milliseconds."""


class Request(NamedTuple):
    """What the panel wants to see: a tensor and how many bins, AUTO to leave that open."""

    tensor: TensorSpec
    bins: int

    @property
    def first_bins(self) -> int:
        """The bins to begin with: about two for each doubling of the values, as many as a picture can show."""
        if self.bins != AUTO:
            return self.bins
        return max(AUTO_LEAST, min(AUTO_MOST, int(2 * self.tensor.numel**0.4)))


def first_look(request: Request, context: Context) -> Summary:
    """Return a summary for now: exact where that is quick, else of a sample.

    Raises:
        CheckpointError: there are no values, or they cannot be read.
        Cancelled: by `context`.
    """
    import ckpt_viewer.gui.panels.plot  # noqa: F401 - imports pyqtgraph, here on a worker thread
    from ckpt_viewer.stats.summary import preview

    if request.tensor.numel <= AT_ONCE:
        return exact(request, None, context)
    return preview(request.tensor, request.first_bins)


def exact(request: Request, sample: Summary | None, context: Context) -> Summary:
    """Return the summary of every value; `sample` helps to choose the bins. Raises as `first_look`."""
    from ckpt_viewer.stats.preparing import prepare
    from ckpt_viewer.stats.summary import summarize_tensor

    prepare(request.tensor.nbytes)
    bins = request.first_bins if sample is None else fitting_bins(request, sample)
    summary = summarize_tensor(request.tensor, bins, context)
    better = fitting_bins(request, summary)
    if better != bins and request.tensor.numel <= AT_ONCE:
        summary = summarize_tensor(request.tensor, better, context)
    return summary


def fitting_bins(request: Request, summary: Summary) -> int:
    """Return a bin for each whole number where that is less than was planned; a person's choice stays."""
    low, high = summary.min, summary.max
    if request.bins == AUTO and _kind(request.tensor.dtype) in WHOLE and low is not None and high is not None:
        return max(1, min(request.first_bins, int(high) - int(low) + 1))
    return request.first_bins


def statistics(summary: Summary) -> list[Fact]:
    """Return the rows of the statistics table, in the order in which one looks for them.

    Of a sample, counts are left open: they would be read as counts of the tensor.
    """
    counts = {
        "zeros": summary.zeros, "NaN": summary.nan, "+Inf": summary.posinf, "-Inf": summary.neginf,
        "finite": summary.finite,
    }  # fmt: skip
    sampled = summary.sample
    facts = [Fact("values", COUNTING) if sampled else _count("values", summary.numel)]
    facts += [_number(name, getattr(summary, name), sampled) for name in ("min", "max", "mean", "std")]
    facts += [Fact(name, COUNTING) if sampled else _count(name, count) for name, count in counts.items()]
    for share, value in (summary.quantiles or dict.fromkeys(SHARES)).items():
        facts.append(_number(quantile_name(share), value, sampled))
    return facts


def _count(name: str, count: int) -> Fact:
    return Fact(name, grouped(count), str(count))


def _number(name: str, value: float | int | None, sampled: bool) -> Fact:
    if value is None:
        return Fact(name, "none")
    return Fact(name, ("≈ " if sampled else "") + six_digits(value), every_digit(value))


def quantile_name(share: str) -> str:
    """Return ``median`` or ``5 %``."""
    percent = float(share) * 100
    return "median" if percent == 50 else f"{percent:g} %"


def nothing_to_draw(summary: Summary) -> str:
    """Return in a sentence why there is no histogram; ``""`` if there is one."""
    if summary.numel == 0:
        return "This tensor is empty: it has no values."
    if summary.finite:
        return ""
    words = {"NaN": summary.nan, "+Inf": summary.posinf, "-Inf": summary.neginf}
    parts = [f"{grouped(count)} {word}" for word, count in words.items() if count]
    if summary.sample:
        return f"No finite value in the sample: {' and '.join(parts)}."
    one = len(parts) == 1
    head = "The only value is" if summary.numel == 1 else f"All {grouped(summary.numel)} values are"
    tail = next(word for word, count in words.items() if count) if one else "not finite: " + " and ".join(parts)
    return f"{head} {tail}; there is nothing to draw."


def bins_of(summary: Summary) -> Bins:
    """Return what is drawn of a summary; no bins where there is no finite value."""
    histogram = summary.histogram
    return Bins((0.0, 1.0), ()) if histogram is None else Bins(histogram.edges, histogram.counts)


def _kind(dtype: str) -> str:
    return DTYPES[dtype].kind if dtype in DTYPES else ""


def axis_label(summary: Summary) -> str:
    """Return what the x axis of the histogram counts."""
    word = {"complex": "magnitude", "quantized": "dequantised value"}.get(_kind(summary.dtype), "value")
    return word + scale_of(summary).suffix


def scale_of(summary: Summary) -> BinScale:
    """Return the x axis for a summary; whole numbers with a bin each stand below its middle."""
    edges, counts = bins_of(summary)
    low, high, bins, kind = summary.min, summary.max, len(counts), _kind(summary.dtype)
    if kind in WHOLE and low is not None and high is not None and bins == int(high) - int(low) + 1 > 1:
        return BinScale(float(low), float(high), bins, whole=True, names=("False", "True") if kind == "bool" else ())
    return BinScale(edges[0], edges[-1], bins)


def bin_text(summary: Summary, at: int) -> str:
    """Return a bin's range and count, and the count's share of the finite values; ``""`` where there is no such bin."""
    (edges, counts), scale = bins_of(summary), scale_of(summary)
    if not 0 <= at < len(counts):
        return ""
    where = f"{six_digits(edges[at])} … {six_digits(edges[at + 1])}"
    if scale.whole:
        where = scale.names[at] if scale.names else six_digits(int(summary.min or 0) + at)
    sampled = " of the sample" if summary.sample else ""
    share = 100 * counts[at] / max(1, summary.finite)
    return f"{where}:  {count_words(counts[at], 'value')}{sampled}  ({share:.3g} %)"


def caption(summary: Summary) -> str:
    """Return what was counted, for the line above the picture."""
    if summary.sample:
        return f"sample of {count_words(summary.numel, 'value')}"
    return f"exact, {summary.over} only" if summary.over else "exact"


def special_words(summary: Summary) -> str:
    """Return ``no NaN, no Inf``, or how many there are; ``""`` where it is not known or cannot be."""
    if summary.sample or _kind(summary.dtype) not in SPECIAL:
        return ""
    counts = {"NaN": summary.nan, "Inf": summary.posinf + summary.neginf}
    return ", ".join(f"{grouped(count) if count else 'no'} {word}" for word, count in counts.items())
