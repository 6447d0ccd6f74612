"""How the figures of a row are written in the tree's columns, and what a sort goes by. No Qt, no numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.text import grouped

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.stats.figures import Figures

TITLES = ("Min", "Max", "|Max|", "Mean", "Std", "Zeros", "NaN", "Inf")
HISTOGRAM = "Histogram"
"""The column behind those."""
SAMPLE = "-1.23e-45"
"""As wide as a number gets."""

_VALUES: dict[str, Callable[[Figures], float | int | None]] = {
    "Min": lambda figures: figures.low,
    "Max": lambda figures: figures.high,
    "|Max|": lambda figures: figures.greatest,
    "Mean": lambda figures: figures.mean,
    "Std": lambda figures: figures.std,
    "Zeros": lambda figures: figures.zero_share,
    "NaN": lambda figures: figures.nan,
    "Inf": lambda figures: figures.inf,
}


def value_of(figures: Figures, title: str) -> float | int | None:
    """Return the number in a column; None where there is none."""
    return _VALUES[title](figures)


def figure_text(figures: Figures | None, title: str) -> str:
    """Return the text of a cell, numbers with three digits; ``""`` where nothing is known."""
    value = None if figures is None else _VALUES[title](figures)
    if value is None:
        return ""
    if title == "Zeros":
        return _percent(float(value))
    if isinstance(value, int):
        return grouped(value) if abs(value) < 1_000_000 else f"{float(value):.3g}"
    return f"{value:.3g}"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < share < 1 else f"{share * 100:.3g} %"


def figure_tip(figures: Figures | None, title: str) -> list[str]:
    """Return the lines of a tool tip: the number in full, and what it is of."""
    value = None if figures is None else _VALUES[title](figures)
    if figures is None or value is None:
        return []
    if title == "Zeros":
        return [f"{grouped(figures.zeros)} of {grouped(figures.numel)} values are 0"]
    if title in ("NaN", "Inf"):
        return [f"{grouped(int(value))} of {grouped(figures.numel)} values"]
    return [f"{value!r}"]


def unsound_words(figures: Figures | None) -> str:
    """Return ``3 NaN, 1 Inf``; ``""`` where all is finite or nothing known."""
    if figures is None or figures.is_sound:
        return ""
    counts = {"NaN": figures.nan, "Inf": figures.inf}
    return ", ".join(f"{grouped(count)} {word}" for word, count in counts.items() if count)
