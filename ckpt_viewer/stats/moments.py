"""Sums of values and of squares, exact, so that mean and std depend on no order, no blocks and no threads.

A float64 is an integer times 2**-1074, so sums are kept as Python integers in that unit and its square. Blocks are
summed exponent by exponent: the 53 bits of a significand are cut into limbs whose products float64 adds without
rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import NamedTuple

import numpy as np

from ckpt_viewer.core.strided import Array
from ckpt_viewer.stats.scratch import Scratch

UNIT = 1074
"""Floats are counted in 2**-UNIT, the smallest positive float64."""
BLOCK = 1 << 17
"""Elements that may be summed at once: products of limbs take 36 bits, 2**17 of them 53."""
LIMB = 18
"""Bits of a limb; a significand has three."""
ROWS = 1 << 12
"""Signs and exponents of a float64."""
_MASK = (1 << LIMB) - 1


class Moments(NamedTuple):
    """Exact sums over some finite values, each an integer times 2**-bits.

    Attributes:
        size: how many values. total: their sum in units of 2**-bits. squares: of their squares, in 2**(-2 bits).
        bits: 0 for integers, UNIT for floats, less where that was found to be enough.
    """

    size: int = 0
    total: int = 0
    squares: int = 0
    bits: int = UNIT

    def plus(self, other: Moments) -> Moments:
        """Return the sums over both sets of values, which have the same `bits`."""
        return Moments(self.size + other.size, self.total + other.total, self.squares + other.squares, self.bits)

    def times(self, repeats: int) -> Moments:
        """Return the sums over the same values, each there `repeats` times."""
        return Moments(self.size * repeats, self.total * repeats, self.squares * repeats, self.bits)

    def in_units(self, bits: int) -> Moments:
        """Return the same sums in other units, which are no larger."""
        shift = bits - self.bits
        return Moments(self.size, self.total << shift, self.squares << (2 * shift), bits)

    @property
    def lean(self) -> Moments:
        """The same sums in the largest units that they are multiples of: of weights, a fifth of the memory."""
        spare = min(_zeros(self.total), _zeros(self.squares) // 2, self.bits)
        return Moments(self.size, self.total >> spare, self.squares >> (2 * spare), self.bits - spare)

    @property
    def mean(self) -> float:
        """The mean, rounded once; there must be a value."""
        return self.total / (self.size << self.bits)

    @property
    def std(self) -> float:
        """The population's standard deviation, rounded once; there must be a value."""
        spread = self.size * self.squares - self.total * self.total
        extra = max(0, 128 - spread.bit_length() // 2)
        return isqrt(spread << (2 * extra)) / (self.size << (self.bits + extra))


def _zeros(number: int) -> int:
    """Return how many zero bits an integer ends in; more than matter for 0."""
    return (number & -number).bit_length() - 1 if number else 2 * UNIT


def moments_of_floats(values: Array, scratch: Scratch | None = None) -> Moments:
    """Return the moments of finite float64 values, any number of them."""
    result, scratch = Moments(), scratch or Scratch()
    for start in range(0, values.size, BLOCK):
        result = result.plus(_block_of_floats(values[start : start + BLOCK], scratch))
    return result


def _limbs(bits: Array, cells: Array, scratch: Scratch) -> list[Array]:
    """Return the significands, the implicit bit included, cut into three floats of `LIMB` bits each."""
    significand, part = (scratch.take(name, bits.size, np.uint64) for name in ("significand", "part"))
    np.bitwise_and(cells.view(np.uint64), np.uint64(0x7FF), out=part)
    np.minimum(part, np.uint64(1), out=part)  # 0 for zeros and subnormal numbers
    part <<= np.uint64(52)
    np.bitwise_and(bits, np.uint64((1 << 52) - 1), out=significand)
    significand |= part
    limbs = [scratch.take(f"limb{k}", bits.size, np.float64) for k in range(3)]
    for k, limb in enumerate(limbs):
        np.right_shift(significand, np.uint64(LIMB * k), out=part)
        part &= np.uint64(_MASK)
        np.copyto(limb, part.view(np.int64))
    return limbs


def _block_of_floats(values: Array, scratch: Scratch) -> Moments:
    bits, cells = values.view(np.uint64), scratch.take("exponents", values.size, np.int64)
    np.right_shift(bits, np.uint64(52), out=cells.view(np.uint64))  # sign and exponent
    limbs, product = _limbs(bits, cells, scratch), scratch.take("product", values.size, np.float64)
    sums = np.stack([np.bincount(cells, each, minlength=ROWS) for each in limb_columns(limbs, product)], axis=1)
    return moments_of_limbs(values.size, sums.astype(np.int64))


def limb_columns(limbs: list[Array], product: Array) -> Iterator[Array]:
    """Yield limbs, then their products pair by pair, as `moments_of_limbs` takes the sums of them."""
    yield from limbs
    for i, j in limb_pairs(3):
        yield np.multiply(limbs[i], limbs[j], out=product)


def moments_of_limbs(size: int, sums: Array) -> Moments:
    """Return the moments of `size` finite float64 values from sums of the limbs of their significands.

    Args:
        sums: int64[ROWS, 9], by sign and exponent: sums of the three limbs and of their products, `limb_pairs`.
    """
    shifts = [LIMB * (i + j) + (i != j) for i, j in limb_pairs(3)]  # a product of two different limbs counts twice
    used = np.flatnonzero(sums[:, :3].any(1))
    total = squares = 0
    for cell, (low, middle, high, *parts) in zip(used.tolist(), sums[used].tolist(), strict=True):
        exponent = max(cell & 0x7FF, 1) - 1
        value = low + (middle << LIMB) + (high << (2 * LIMB))
        total += (-value if cell >> 11 else value) << exponent
        square = sum([part << shift for part, shift in zip(parts, shifts, strict=True)])
        squares += square << (2 * exponent)
    return Moments(size, total, squares)


def moments_of_sums(size: int, sums: Array, used: Array) -> Moments:
    """Return the moments of `size` finite float64 values from sums over each sign and exponent.

    Args:
        sums: uint64[n, 4], by the top 12 bits, any number of such tables one after another: sum of the significands
            and of their squares, low words first.
        used: rows to be looked at, at least those that are not 0.
    """
    total = squares = 0
    for cell, (low, high, square_low, square_high) in zip(used.tolist(), sums[used].tolist(), strict=True):
        exponent, value = max(cell & 0x7FF, 1) - 1, (high << 64) + low
        total += (-value if cell >> 11 & 1 else value) << exponent
        squares += ((square_high << 64) + square_low) << (2 * exponent)
    return Moments(size, total, squares)


def moments_of_integers(values: Array) -> Moments:
    """Return the moments of integers of any numpy integer type, any number of them."""
    result = Moments(bits=0)
    for start in range(0, values.size, BLOCK):
        result = result.plus(_block_of_integers(values[start : start + BLOCK]))
    return result


def _block_of_integers(values: Array) -> Moments:
    limbs: list[Array] = []
    rest = values
    for _ in range(values.itemsize // 2 - 1):
        limbs.append((rest & 0xFFFF).astype(np.float64))
        rest = rest >> 16
    limbs.append(rest.astype(np.float64))  # the top limb carries the sign
    sums = [int(limb.sum()) for limb in limbs]
    return moments_of_integer_limbs(
        values.size, sums, [int((limbs[i] * limbs[j]).sum()) for i, j in limb_pairs(len(limbs))]
    )


def limb_pairs(limbs: int) -> list[tuple[int, int]]:
    """Return which of `limbs` limbs are multiplied: every pair once."""
    return [(i, j) for i in range(limbs) for j in range(i, limbs)]


def moments_of_integer_limbs(size: int, sums: list[int], products: list[int]) -> Moments:
    """Return the moments of `size` integers from the sums of their 16-bit limbs and of their products, `limb_pairs`.

    The top limb carries the sign.
    """
    total = sum(each << (16 * k) for k, each in enumerate(sums))
    squares = 0
    for (i, j), product in zip(limb_pairs(len(sums)), products, strict=True):
        squares += product << (16 * (i + j) + (i != j))  # a product of two different limbs counts twice
    return Moments(size, total, squares, 0)


def moments_of_integer_sums(size: int, sums: Array) -> Moments:
    """Return the moments of `size` integers: sums[0:2] in two's complement, sums[2:5] of squares; low words first."""
    low, high, *squares = sums.tolist()
    total = (high << 64) + low
    if high >> 63:
        total -= 1 << 128
    return Moments(size, total, sum(word << (64 * k) for k, word in enumerate(squares)), 0)


def moments_of_table(values: Array, counts: Array) -> Moments:
    """Return the moments of finite float64 values of at most 24 significant bits, the k-th taken `counts[k]` times.

    Every value is 0 or at least 2**-150 in magnitude, and there are fewer than 2**39 in all.
    """
    fraction, exponents = np.frexp(values)
    significand = np.ldexp(fraction, 24).astype(np.int64)
    high, low = significand >> 12, significand & 0xFFF
    total = squares = 0
    for exponent in np.unique(exponents[counts > 0]).tolist():
        here = exponents == exponent
        n, h, m = counts[here], high[here], low[here]
        shift = exponent - 24 + UNIT
        total += ((int((n * h).sum()) << 12) + int((n * m).sum())) << shift
        square = (int((n * h * h).sum()) << 24) + (int((n * h * m).sum()) << 13) + int((n * m * m).sum())
        squares += square << (2 * shift)
    return Moments(int(counts.sum()), total, squares)
