"""Numbers as text with every digit: for copies, CSV and the command line. No numpy at import."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def every_digit(value: Any) -> str:
    """Return a number for a copy: no grouping, ASCII minus, and reals so that a float64 of the text is the value.

    So a float32 0.1 is ``0.10000000149011612``, as in ``stats --json`` and as torch's ``item()`` has it.
    """
    if value is None:
        return ""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, complex):
        return complex_text(value, _full)
    return _full(value) if isinstance(value, float) else str(value)


def special_word(value: float) -> str:
    """Return ``NaN``, ``Inf`` or ``-Inf``; ``""`` for a finite number."""
    if math.isnan(value):
        return "NaN"
    return "" if math.isfinite(value) else "Inf" if value > 0 else "-Inf"


def _full(value: float) -> str:
    return special_word(value) or repr(value)


def complex_text(value: complex, write: Callable[[float], str]) -> str:
    """Return ``1+2j``, each part by `write`."""
    real, imaginary = write(value.real), write(value.imag)
    sign = "" if imaginary.startswith("-") else "+"
    return f"{real}{sign}{imaginary}j"
