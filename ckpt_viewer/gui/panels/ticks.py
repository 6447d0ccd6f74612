"""Where the marks of an axis stand and what they say. No Qt, no numpy.

Values of a tensor reach from 5e-324 to 1.8e308 and lie as close as one unit in the last place, so nothing here may
overflow or divide by zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ckpt_viewer.core.text import count_text


class Tick(NamedTuple):
    """A mark: its position in the axis' own coordinate, and its text."""

    at: float
    text: str


def nice_values(low: float, high: float, wanted: int) -> list[tuple[float, str]]:
    """Return about `wanted` round values in low ... high with texts that tell them apart; one where no more fit."""
    if not low < high:
        return [(low, _text(low, 6))]
    step = _step(low, high, max(wanted, 1))
    if step <= 0 or math.isinf(step):
        return [(low, _text(low, 6))]
    largest = max(abs(low), abs(high))
    first, last = math.ceil(low / step), math.floor(high / step)
    values = [number * step for number in range(first, min(last, first + 4 * max(wanted, 1)) + 1)]
    values = [0.0 if abs(value) < step / 2 else value for value in values if low <= value <= high]
    if not values and wanted < 4:  # no multiple of a step that is nearly as long as the axis
        return nice_values(low, high, wanted + 1)
    return [(value, _written(value, step, largest)) for value in dict.fromkeys(values)]  # rounded, two may be one


def _step(low: float, high: float, wanted: int) -> float:
    """The smallest round step that has at most `wanted` multiples in low ... high."""
    least = (high / 2 - low / 2) / wanted * 2
    finer = [step for step in (_nice_step(least * share) for share in (0.4, 0.5)) if 0 < step < math.inf]
    return next((step for step in finer if math.floor(high / step) - math.ceil(low / step) < wanted), _nice_step(least))


def _written(value: float, step: float, largest: float) -> str:
    """Write a value with as many digits as tell neighbours apart."""
    if step >= 1e-4 and largest < 1e6:
        return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    return _text(value, min(max(math.ceil(math.log10(largest) - math.log10(step)) + 1, 1), 17))


def _nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    if not 0 < least < math.inf:
        return least
    power = 10.0 ** math.floor(math.log10(least))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= least * 0.999), 10 * power)


def _text(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    mantissa, exponent_mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent_mark else mantissa


def count_ticks(highest: int, wanted: int) -> list[Tick]:
    """Return marks for counts from 0 to `highest`, linear."""
    step = max(1, round(_step(0, highest, max(wanted, 1) + 1)))
    return [Tick(float(count), count_text(count)) for count in range(0, highest + 1, step)]


LOG_FLOOR = -0.3
"""Where bars stand in a logarithmic plot: a count of 1 has to have a height."""


def log_height(count: int) -> float:
    """Return the height of a count in a logarithmic plot; nothing stands on the floor."""
    return math.log10(count) if count > 0 else LOG_FLOOR


def log_ticks(highest: int, wanted: int) -> list[Tick]:
    """Return marks at powers of ten from 1 to `highest`."""
    decades = len(str(max(highest, 1)))
    every = max(1, math.ceil(decades / max(wanted, 1)))
    return [Tick(float(power), count_text(10**power)) for power in range(0, decades, every)]
