"""The loops over every value of a large tensor, in numpy.

Every function takes a block of at most `BLOCK` (wide types: `WIDE_BLOCK`) elements, adds to counters that the caller
owns and keeps no state, so that another implementation (compiled, threaded) can stand in for this file. One call takes
a few milliseconds at most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ckpt_viewer.core.strided import Array
from ckpt_viewer.stats.census import Census, census_of_floats, census_of_integers
from ckpt_viewer.stats.moments import Moments, moments_of_floats, moments_of_integers
from ckpt_viewer.stats.scratch import Scratch

BLOCK = 1 << 18
"""Elements in a block at most: with more, the packed sums of `count_float32` would no longer be exact."""
WIDE_BLOCK = 1 << 16
FLOAT32_CELLS = 1 << 16
"""A cell is the high half of a float32: sign, exponent and 7 bits of its significand."""
FLOAT64_CELLS = 1 << 19
"""The same bits of a float64; numbered by magnitude, the sign in the lowest bit."""
_FLOAT64_SHIFT = 45
_PACK = 34


def count_patterns(block: Array, counts: Array) -> None:
    """Add each pattern of a uint8 or uint16 block to `counts` (int64, one for each pattern)."""
    counts += np.bincount(block, minlength=counts.size)


def count_float32(block: Array, cells: Array, scratch: Scratch) -> Census:
    """Add float32 values to `cells`, int64[3, FLOAT32_CELLS]: count, sum of low halves, sum of their squares.

    Returns:
        The census; only finite values are in cells.
    """
    census, block = census_of_floats(block)
    bits, size = block.view(np.uint32), block.size
    half, index = scratch.take("half", size, np.uint32), scratch.take("index", size, np.intp)
    low, square = scratch.take("low", size, np.float64), scratch.take("square", size, np.float64)
    np.right_shift(bits, 16, out=half)
    np.copyto(index, half, casting="unsafe")
    np.bitwise_and(bits, 0xFFFF, out=half)
    np.copyto(low, half.view(np.int32))
    np.multiply(low, low, out=square)
    low += float(1 << _PACK)  # count and sum in one number: 2**18 values of 2**34 are 52 bits, exact in a float64
    packed = np.bincount(index, low, minlength=FLOAT32_CELLS).astype(np.int64)
    cells[0] += packed >> _PACK
    packed &= (1 << _PACK) - 1
    cells[1] += packed
    cells[2] += np.bincount(index, square, minlength=FLOAT32_CELLS).astype(np.int64)
    return census


def count_float64(block: Array, counts: Array, scratch: Scratch) -> tuple[Census, Moments]:
    """Add float64 values to `counts`, int64[FLOAT64_CELLS]; return their census and the moments of the finite ones."""
    census, finite = census_of_floats(block)
    _count_cells(finite, counts, scratch)
    return census, moments_of_floats(finite, scratch)


def count_integers(block: Array, counts: Array, scratch: Scratch) -> tuple[Census, Moments]:
    """Add integers to `counts`, int64[FLOAT64_CELLS], as their nearest float64; return their census and moments."""
    _count_cells(block.astype(np.float64), counts, scratch)
    return census_of_integers(block), moments_of_integers(block)


def _count_cells(block: Array, counts: Array, scratch: Scratch) -> None:
    if not block.size:
        return
    bits = block.view(np.uint64)
    cells, sign = scratch.take("cells", block.size, np.int64), scratch.take("sign", block.size, np.uint64)
    magnitude = cells.view(np.uint64)
    np.left_shift(bits, np.uint64(1), out=magnitude)
    magnitude >>= np.uint64(_FLOAT64_SHIFT + 1)
    magnitude <<= np.uint64(1)
    np.right_shift(bits, np.uint64(63), out=sign)
    magnitude |= sign
    first = int(cells.min())  # few exponents occur in a block: count in their range only
    cells -= first
    found = np.bincount(cells)
    counts[first : first + found.size] += found


class Bins(NamedTuple):
    """How values are sorted into equal bins.

    Attributes:
        low, scale: a value's bin is about ``floor((value - low) * scale)``, in float64.
        starts: least value of each bin but the first, in the values' own type.
        trust: 2 if that formula is right for every value, 1 if at most one bin off, 0 if of no use.
    """

    low: float
    scale: float
    starts: Array
    trust: int


def count_bins(block: Array, bins: Bins, counts: Array, scratch: Scratch) -> None:
    """Add finite values between the histogram's ends to `counts`, int64[number of bins]."""
    last = counts.size - 1
    if bins.trust == 0:
        counts += np.bincount(np.searchsorted(bins.starts, block, side="right"), minlength=counts.size)
        return
    index = bin_numbers(block, bins.low, bins.scale, scratch)
    if bins.trust == 1:
        np.clip(index, 0, last, out=index)
        padded = np.concatenate((bins.starts[:1], bins.starts, bins.starts[-1:]))
        index -= (block < padded[index]) & (index > 0)
        index += (block >= padded[index + 1]) & (index < last)
    found = np.bincount(index, minlength=counts.size)
    counts += found[: counts.size]
    counts[last] += found[counts.size :].sum()  # the greatest value itself belongs to the last bin


def bin_numbers(block: Array, low: float, scale: float, scratch: Scratch) -> Array:
    """Return ``floor((value - low) * scale)`` as int32, computed in float64: never decreasing with the value."""
    place, index = scratch.take("low", block.size, np.float64), scratch.take("bins", block.size, np.int32)
    np.copyto(place, block, casting="unsafe")
    place -= low
    place *= scale
    np.copyto(index, place, casting="unsafe")  # cuts towards 0; a value is never below `low`
    return index
