"""How single values are written in a table: with six digits. No Qt, no numpy at import."""

from __future__ import annotations

import math
from typing import Any

from ckpt_viewer.core.digits import complex_text, every_digit, special_word
from ckpt_viewer.core.text import grouped

__all__ = ["every_digit", "is_special", "six_digits"]

UNKNOWN = "none"
"""Stands where a statistic has no value."""


def six_digits(value: Any) -> str:
    """Return a number for a table: reals with six digits, integers in full, NaN and Inf as words."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return grouped(value)
    if isinstance(value, complex):
        return complex_text(value, _six)
    return _six(value)


def is_special(value: Any) -> bool:
    """Whether a value is NaN or infinite, in either part if complex."""
    if isinstance(value, complex):
        return not (math.isfinite(value.real) and math.isfinite(value.imag))
    return isinstance(value, float) and not math.isfinite(value)


def _six(value: float) -> str:
    return special_word(value) or f"{value:.6g}"
