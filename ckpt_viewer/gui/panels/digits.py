"""How single values are written: six digits in a table, every digit in a copy. No Qt, no numpy at import."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """Return a number for a copy: no grouping, ASCII minus, and reals so that a float64 of the text is the value.

    So a float32 0.1 is ``0.10000000149011612``, as in ``stats --json`` and as torch's ``item()`` has it.
    """
    if value is None:
        return ""
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


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "" if math.isfinite(value) else "Inf" if value > 0 else "-Inf"


def _six(value: float) -> str:
    return _word(value) or f"{value:.6g}"


def _full(value: float) -> str:
    return _word(value) or repr(value)


def _complex(value: complex, write: Callable[[float], str]) -> str:
    real, imaginary = write(value.real), write(value.imag)
    sign = "" if imaginary.startswith("-") else "+"
    return f"{real}{sign}{imaginary}j"
