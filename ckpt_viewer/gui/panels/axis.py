"""The x axis of a histogram: which value stands where. No Qt, no numpy.

Positions count bins, not values: so a picture is right for values near 1e308 as for a tensor whose values differ in
their last bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ckpt_viewer.gui.panels.ticks import Tick, nice_values

NARROW = 1e-7
"""Where values differ by less than this share of their size, marks count from the least of them."""


class Axis(NamedTuple):
    """Positions from 0 to `bins` stand for values from `low` to `high`.

    Attributes:
        low, high: the values at both ends. bins: where the axis ends: how many bins there are before one zooms.
        linear: None for equal distances; else distances are logarithms beyond plus and minus this.
        whole: values are whole numbers, so marks stand at those only. names: of the whole numbers from 0.
    """

    low: float
    high: float
    bins: int
    linear: float | None = None
    whole: bool = False
    names: tuple[str, ...] = ()

    @property
    def origin(self) -> float:
        """What marks are counted from: `low` where values differ in their last digits only, else 0."""
        largest = max(abs(self.low), abs(self.high))
        wide = self.high / 2 - self.low / 2
        return self.low if self.linear is None and 0 < wide < NARROW * largest else 0.0

    @property
    def suffix(self) -> str:
        """What has to be said beside the axis' label: ``, from 1e+20``."""
        if self.linear is not None:
            return f", logarithmic beyond ±{self.linear:g}"
        return f", from {self.low!r}" if self.origin else ""

    def value(self, at: float) -> float:
        """The value at a position."""
        share = min(max(at / self.bins, 0.0), 1.0)
        if share in (0.0, 1.0):
            return self.high if share else self.low
        if self.linear is None:
            return self.low * (1 - share) + self.high * share
        place = _bent(self.low, self.linear) * (1 - share) + _bent(self.high, self.linear) * share
        return min(max(math.copysign(math.expm1(abs(place)) * self.linear, place), self.low), self.high)

    def at(self, value: float) -> float:
        """The position of a value; the middle where the axis has no extent."""
        if self.linear is None:
            width, along = self.high / 2 - self.low / 2, value / 2 - self.low / 2
        else:
            first = _bent(self.low, self.linear)
            width, along = _bent(self.high, self.linear) - first, _bent(value, self.linear) - first
        return self.bins * (along / width) if width > 0 else self.bins / 2

    def ticks(self, first: float, last: float, wanted: int) -> list[Tick]:
        """Return about `wanted` marks at round values between two positions."""
        low, high = self.value(first), self.value(last)
        if self.whole:
            return self._whole_ticks(low, high, wanted)
        if self.origin:
            wide = self.high - self.low
            offsets = nice_values(max(0, first) / self.bins * wide, last / self.bins * wide, wanted)
            return [Tick(self.bins * offset / wide, f"+{text}") for offset, text in offsets]
        powers = self._powers(low, high, wanted) if self.linear is not None else []
        return powers or [Tick(self.at(value), text) for value, text in nice_values(low, high, wanted)]

    def _whole_ticks(self, low: float, high: float, wanted: int) -> list[Tick]:
        least, most = math.ceil(low), math.floor(high)
        if self.names:
            return [Tick(self.at(at), self.names[at]) for at in range(max(0, least), min(most + 1, len(self.names)))]
        powers = self._powers(low, high, wanted) if self.linear is not None else []
        marks = [(value, text) for value, text in nice_values(least, most, wanted) if value == round(value)]
        return powers or [Tick(self.at(value), text.removesuffix(".0")) for value, text in marks]

    def _powers(self, low: float, high: float, wanted: int) -> list[Tick]:
        """Return marks at zero and at powers of ten; none where there are fewer than three of them."""
        assert self.linear is not None
        start = math.ceil(math.log10(self.linear) - 1e-9)
        stop = math.floor(math.log10(max(abs(self.low), abs(self.high), self.linear)) + 1e-9)
        sides = [side for side, end in ((-1, -low), (1, high)) if end > 0]
        shown = [k for k in range(start, stop + 1) if any(low <= side * _ten(k) <= high for side in sides)]
        each = max(1, math.ceil(len(sides) * len(shown) / max(1, wanted - 1)))
        values = [side * _ten(k) for side in sides for k in shown if (k - stop) % each == 0]
        inside = sorted(value for value in (*values, 0.0) if low <= value <= high)
        return [Tick(self.at(value), _short(value)) for value in inside] if len(inside) > 2 else []


def _bent(value: float, linear: float) -> float:
    return math.copysign(math.log1p(abs(value) / linear), value)


def _ten(power: int) -> float:
    return float(f"1e{power}")


def _short(value: float) -> str:
    """Write a power of ten."""
    if not value:
        return "0"
    text = f"{value:g}"
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else mantissa
