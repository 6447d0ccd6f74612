"""The loop over float32 values, written for numba as those of `native_source`: cells, exact sums of squares, extremes.

Values are taken in parts that stay in the nearest cache and are looked at three times there: for the extremes, which
tell how far apart the exponents lie, for the squares, and to be put into cells. The first two are vector instructions.

How squares are summed up. A square of a float32 has at most 48 bits, so float64 holds it. To add 1.5 * 2**52 units to a
number below 2**51 units rounds it to whole units, which are then the last bits of the sum: as integers they add up in
any order. What rounding left, exact as well, goes the same way in units 2**50 times smaller, and a third time where
exponents lie far apart. Units are those of rows of counters: row r counts in 2**(2 * (r - 150)), which is the unit of
the squares of numbers with the exponent r.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

U32, I32, U64, I64 = np.uint32, np.int32, np.uint64, np.int64
ONE, LOW_32 = U64(1), U64(0xFFFFFFFF)
S1, S32, S51, S52 = (U64(n) for n in (1, 32, 51, 52))
MAGNITUDE, INFINITE = U32(0x7FFFFFFF), U32(0x7F800000)
FRACTION, HIDDEN, EXPONENT = U32(0x7FFFFF), U32(0x800000), U64(0xFF)
PART = U64(1 << 12)
"""Values: 16 KB. Not more: a sum of so many rounded numbers just fits 64 bits."""
NONE = U32(0xFFFFFFFF)
COUNT_BIT = U64(1 << 40)
FIRST, SECOND, THIRD = U64(1), U64(26), U64(51)
"""Rows below the greatest exponent at which the three roundings count."""
ROUNDING = U64(1023 + 52 - 300)
"""Exponent of 2**52 units of row 0, as it is stored."""

inlined = numba.njit(inline="always")
"""Marks what becomes a part of the kernels that call it: their machine code calls nothing."""


@inlined
def _rounding(row: Any) -> Any:
    """Return the bits of 1.5 * 2**52 units of a row."""
    return ((row << S1) + ROUNDING) << S52 | ONE << S51


@inlined
def _put(squares: Any, row: Any, total: Any) -> None:
    """Add a sum of units, in two's complement, to a row: its low half and its high half."""
    squares[row << S1] += total & LOW_32
    squares[(row << S1) + ONE] += U64(I64(total) >> I64(32))


@inlined
def _squares(bits: Any, start: Any, stop: Any, top: Any, squares: Any) -> None:
    """Add the squares of values whose greatest exponent is `top`, up to what two roundings leave."""
    first, second = _rounding(top - FIRST), _rounding(top - SECOND)
    to_first, to_second = U64(first).view(np.float64), U64(second).view(np.float64)
    upper, lower = U64(0), U64(0)
    for i in range(start, stop):
        value = np.float64(U32(bits[i]).view(np.float32))
        square = value * value
        rounded = square + to_first
        left = square - (rounded - to_first)
        upper += np.float64(rounded).view(np.uint64)
        lower += np.float64(left + to_second).view(np.uint64)
    _put(squares, top - FIRST, upper - (stop - start) * first)
    _put(squares, top - SECOND, lower - (stop - start) * second)


@inlined
def _leftovers(bits: Any, start: Any, stop: Any, top: Any, squares: Any) -> None:
    """Add what two roundings left of the squares."""
    last = _rounding(top - THIRD)
    to_first, to_second = _rounding(top - FIRST), _rounding(top - SECOND)
    to_first, to_second = U64(to_first).view(np.float64), U64(to_second).view(np.float64)
    to_last, sum_ = U64(last).view(np.float64), U64(0)
    for i in range(start, stop):
        value = np.float64(U32(bits[i]).view(np.float32))
        left = value * value
        left -= (left + to_first) - to_first
        left -= (left + to_second) - to_second
        sum_ += np.float64(left + to_last).view(np.uint64)
    _put(squares, top - THIRD, sum_ - (stop - start) * last)


@inlined
def _squares_apart(bits: Any, start: Any, stop: Any, squares: Any) -> None:
    """Add the squares of the finite values to the rows of their own exponents."""
    for i in range(start, stop):
        b = bits[i]
        row = U64((b & MAGNITUDE) >> U32(23))
        if row < EXPONENT:
            significand = U64(b & FRACTION)
            if row == U64(0):
                row = ONE
            else:
                significand = U64((b & FRACTION) | HIDDEN)
            square = significand * significand
            squares[row << S1] += square & LOW_32
            squares[(row << S1) + ONE] += square >> S32


@inlined
def _census(bits: Any, start: Any, stop: Any, out: Any) -> None:
    zeros = nan = posinf = neginf = 0
    low, high = I32(0x7FFFFFFF), I32(-0x80000000)
    for i in range(start, stop):
        b = bits[i]
        magnitude = b & MAGNITUDE
        zeros += magnitude == U32(0)
        nan += magnitude > INFINITE
        posinf += b == INFINITE
        neginf += b == U32(0xFF800000)
        order = I32(b)
        order = I32(order ^ I32((order >> 31) & 0x7FFFFFFF))
        if magnitude < INFINITE:
            low = min(low, order)
            high = max(high, order)
    out[0] += zeros
    out[1] += nan
    out[2] += posinf
    out[3] += neginf
    out[4] = min(out[4], low)
    out[5] = max(out[5], high)


def float32_census(bits: Any, n: Any, out: Any) -> None:
    """Add zeros, NaN, +Inf and -Inf to out[0:4]; narrow out[4], out[5] to the finite extremes, as ordered integers."""
    _census(bits, U64(0), n, out)


def float32_cells(bits: Any, n: Any, cells: Any, squares: Any, out: Any) -> None:
    """Add values to `cells`, 2**40 plus its bits for each, and to `squares`; `out` is that of `float32_census`.

    What is added to cells of NaN and infinities has no meaning.
    """
    start = U64(0)
    while start < n:
        stop = min(n, start + PART)
        # In the order of integers: as signed ones the positive numbers are above the negative ones, as unsigned ones
        # below them, and the larger of two numbers with a sign is the one farther from zero.
        above, most, fewest, least, zeros = I32(-0x80000000), U32(0), NONE, NONE, U32(0)
        for i in range(start, stop):
            b = bits[i]
            above = max(above, I32(b))
            most = max(most, b)
            fewest = min(fewest, b)
            least = min(least, U32((b & MAGNITUDE) - U32(1)))  # zeros are the greatest of all
            zeros += (b & MAGNITUDE) == U32(0)
        greatest = U32(max(I32(0), above)) if most <= MAGNITUDE else max(U32(max(I32(0), above)), most & MAGNITUDE)
        top, bottom = U64(greatest >> U32(23)), max(U64(U32(least + U32(1)) >> U32(23)), ONE)
        if greatest >= INFINITE:
            _census(bits, start, stop, out)
            _squares_apart(bits, start, stop, squares)
        else:
            out[0] += zeros
            out[4] = min(out[4], I32(most) ^ I32(0x7FFFFFFF) if most > MAGNITUDE else I32(fewest))
            out[5] = max(out[5], above if above >= I32(0) else I32(fewest) ^ I32(0x7FFFFFFF))
            if least != NONE:
                if top > SECOND and bottom + SECOND >= top:
                    _squares(bits, start, stop, top, squares)
                elif top > THIRD and bottom + THIRD >= top:
                    _squares(bits, start, stop, top, squares)
                    _leftovers(bits, start, stop, top, squares)
                else:
                    _squares_apart(bits, start, stop, squares)
        for i in range(start, stop):
            b = bits[i]
            cells[U64(b >> U32(16))] += U64(b) + COUNT_BIT
        start = stop
