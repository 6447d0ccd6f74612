"""How single values are written: six digits in a table, every digit in a copy. No Qt, no numpy at import."""

from __future__ import annotations

import math
from typing import Any

from ckpt_viewer.core.text import grouped

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
        return _complex(value, _six)
    return _six(value)


def every_digit(value: Any) -> str:
    """Return a number for a copy: the shortest text that reads back as the same value, no grouping, ASCII minus.

    `value` is a Python number or a numpy scalar; of the latter the text is the shortest for its own type, so that a
    float32 0.1 is ``0.1`` and not ``0.10000000149011612``.
    """
    if value is None:
        return ""
    if type(value).__module__ == "numpy" and hasattr(value, "dtype") and value.dtype.kind in "fc":
        if value.dtype.kind == "c":
            return _complex(value, _full)
        return _full(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, complex):
        return _complex(value, _full)
    return _full(value) if isinstance(value, float) else str(value)


def is_special(value: Any) -> bool:
    """Whether a value is NaN or infinite, in either part if complex."""
    if isinstance(value, complex):
        return not (math.isfinite(value.real) and math.isfinite(value.imag))
    return isinstance(value, float) and not math.isfinite(value)


def _word(value: Any) -> str:
    if math.isnan(value):
        return "NaN"
    return "" if math.isfinite(value) else "Inf" if value > 0 else "-Inf"


def _six(value: float) -> str:
    return _word(value) or f"{value:.6g}"


def _full(value: Any) -> str:
    return _word(value) or (repr(value) if type(value) is float else str(value))


def _complex(value: Any, write: Any) -> str:
    real, imaginary = write(value.real), write(value.imag)
    sign = "" if imaginary.startswith("-") else "+"
    return f"{real}{sign}{imaginary}j"
