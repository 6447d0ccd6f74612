"""The rows of the statistics table. No Qt, no numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.gui.panels.digits import every_digit, six_digits
from ckpt_viewer.gui.panels.facts_table import Fact

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.stats.profile import Profile

SPECIAL = ("float", "complex", "quantized")
"""Kinds of dtypes that can be NaN or infinite; quantised ones by their scale."""
COUNTING = "counting …"
SHARES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
"""Quantiles whose rows stay in place where there is no finite value."""
EXACT_BITS = 52
"""Bits of cells that hold one value each."""


def statistics(profile: Profile, sampled: bool, tensor: TensorSpec | None = None) -> list[Fact]:
    """Return the rows of the statistics table, in the order in which one looks for them.

    Of a sample, counts are left open: they would be read as counts of the tensor.

    Args:
        tensor: whose numbers these are, for its size in bytes; None for several.
    """
    census = profile.census
    facts = [Fact("values", COUNTING) if sampled else _count("values", profile.numel)]
    if tensor is not None:
        facts.append(Fact("size", bytes_text(tensor.nbytes), f"{tensor.nbytes} B"))
    low, high = census.low, census.high
    largest = None if low is None or high is None else max(abs(low), abs(high))
    numbers = {"min": low, "max": high, "|max|": largest, "mean": profile.mean, "std": profile.std}
    facts += [_number(name, value, sampled) for name, value in numbers.items()]
    facts.append(Fact("zeros", COUNTING) if sampled else _count("zeros", census.zeros))
    facts.append(_share(census.zeros, profile.numel, sampled))
    counts = {"NaN": census.nan, "+Inf": census.posinf, "-Inf": census.neginf, "finite": census.finite}
    facts += [Fact(name, COUNTING) if sampled else _count(name, count) for name, count in counts.items()]
    facts += _distinct(profile, sampled)
    for share, value in (profile.quantiles or dict.fromkeys(SHARES)).items():
        facts.append(_number(quantile_name(share), value, sampled))
    return facts


def side_by_side(tables: list[list[Fact]]) -> list[Fact]:
    """Return the rows of several tensors in one table, a column each; a row that one of them lacks is empty there."""
    by_name = [{fact.name: fact for fact in facts} for facts in tables]
    names = list(dict.fromkeys(fact.name for facts in tables for fact in facts))
    rows = []
    for name in names:
        first, *others = [facts.get(name, Fact(name, "")) for facts in by_name]
        rows.append(first._replace(more=tuple((fact.shown, fact.copied) for fact in others)))
    return rows


def _count(name: str, count: int) -> Fact:
    return Fact(name, grouped(count), str(count))


def _number(name: str, value: float | int | None, sampled: bool) -> Fact:
    if value is None:
        return Fact(name, "none")
    return Fact(name, ("≈ " if sampled else "") + six_digits(value), every_digit(value))


def _share(count: int, total: int, sampled: bool) -> Fact:
    """Return the row of a share; a share of a sample is one of the tensor, about."""
    if not total:
        return Fact("zeros %", "none")
    percent = 100 * count / total
    shown = f"{percent:.6g} %"
    if count and count < total and shown in ("0 %", "100 %"):
        shown = "> 0 %" if count * 2 < total else "< 100 %"
    return Fact("zeros %", ("≈ " if sampled else "") + shown, every_digit(percent))


def _distinct(profile: Profile, sampled: bool) -> list[Fact]:
    """Return the row of the number of different finite values, where each of them is known."""
    low, high, narrow = profile.census.low, profile.census.high, _narrow(profile.dtype)
    if sampled:
        return [Fact("distinct", COUNTING)] if narrow else []
    if low is None or high is None:
        return [Fact("distinct", "0")] if narrow else []
    whole = isinstance(low, int) and max(abs(low), abs(high)) > 1 << 53
    if profile.cells.bits != EXACT_BITS or whole or profile.cells.size != profile.census.finite:
        return []
    return [_count("distinct", int(profile.cells.keys.size))]


def _narrow(dtype: str) -> bool:
    return dtype in DTYPES and DTYPES[dtype].itemsize <= 2


def quantile_name(share: str) -> str:
    """Return ``median`` or ``5 %``."""
    percent = float(share) * 100
    return "median" if percent == 50 else f"{percent:g} %"


def special_words(profile: Profile, sampled: bool) -> str:
    """Return ``no NaN, no Inf``, or how many there are; ``""`` where it is not known or cannot be."""
    kind = DTYPES[profile.dtype].kind if profile.dtype in DTYPES else ""
    if sampled or (profile.dtype and kind not in SPECIAL):
        return ""
    census = profile.census
    counts = {"NaN": census.nan, "Inf": census.posinf + census.neginf}
    return ", ".join(f"{grouped(count) if count else 'no'} {word}" for word, count in counts.items())
