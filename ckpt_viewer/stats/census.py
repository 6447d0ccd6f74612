"""How many values are finite, zero, NaN or infinite, and the least and greatest of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ckpt_viewer.core.strided import Array


class Census(NamedTuple):
    """How many values are of each kind, and the extremes of the finite ones.

    Attributes:
        finite, nan, posinf, neginf, zeros: counts.
        low, high: least and greatest finite value, None where there is none.
    """

    finite: int = 0
    nan: int = 0
    posinf: int = 0
    neginf: int = 0
    zeros: int = 0
    low: float | int | None = None
    high: float | int | None = None

    def plus(self, other: Census) -> Census:
        """Return the census of both."""
        low, high = self.low, self.high
        if low is None or high is None:
            low, high = other.low, other.high
        elif other.low is not None and other.high is not None:
            low, high = min(low, other.low), max(high, other.high)
        return Census(
            self.finite + other.finite,
            self.nan + other.nan,
            self.posinf + other.posinf,
            self.neginf + other.neginf,
            self.zeros + other.zeros,
            low,
            high,
        )

    def times(self, repeats: int) -> Census:
        """Return the census of the same values, each there `repeats` times."""
        if repeats == 1:
            return self
        finite, nan, posinf, neginf, zeros = (count * repeats for count in self[:5])
        return Census(finite, nan, posinf, neginf, zeros, self.low, self.high)


def census_of_floats(block: Array) -> tuple[Census, Array]:
    """Return the census of a block of floats and its finite values, the block itself where all are."""
    if not block.size:
        return Census(), block
    zeros = int(np.count_nonzero(block == 0))
    low, high = float(block.min()) + 0.0, float(block.max()) + 0.0  # + 0.0: which zero is found depends on the order
    if low - low == 0 == high - high:  # false for NaN and infinities
        return Census(block.size, zeros=zeros, low=low, high=high), block
    nan = int(np.count_nonzero(block != block))
    posinf, neginf = int(np.count_nonzero(block == np.inf)), int(np.count_nonzero(block == -np.inf))
    finite = block[np.isfinite(block)]
    ends = (float(finite.min()) + 0.0, float(finite.max()) + 0.0) if finite.size else (None, None)
    return Census(finite.size, nan, posinf, neginf, zeros, *ends), finite


def census_of_integers(block: Array) -> Census:
    """Return the census of a block of integers."""
    if not block.size:
        return Census()
    zeros = int(np.count_nonzero(block == 0))
    return Census(block.size, zeros=zeros, low=int(block.min()), high=int(block.max()))
