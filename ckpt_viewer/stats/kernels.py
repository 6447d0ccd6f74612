"""The loops over every value of a large tensor: in numpy here, as machine code in `native`, with identical results.

A kernel takes a block, adds to counters that the caller owns and keeps no state, so blocks of one tensor may be counted
by either. One call takes a few milliseconds at most.
"""

from __future__ import annotations

import threading
from typing import NamedTuple, Protocol

import numpy as np

from ckpt_viewer.core.strided import Array
from ckpt_viewer.stats.census import Census, census_of_floats, census_of_integers
from ckpt_viewer.stats.moments import Moments, moments_of_floats, moments_of_integers
from ckpt_viewer.stats.scratch import Scratch

BLOCK = 1 << 18
"""Elements in a block at most: with more, the packed sums of `Plain.float32` would no longer be exact."""
WIDE_BLOCK = 1 << 16
"""The same for types of 8 bytes, whose sums are exact up to `moments.BLOCK` elements."""
DEVICE_BLOCK, DEVICE_WIDE_BLOCK = 1 << 23, 1 << 22
"""The same where a block travels to a GPU: 32 MB; twice as many float32 values would be beyond `FLOAT32_LIMIT`."""
FLOAT32_CELLS = 1 << 16
"""A cell is the high half of a float32: sign, exponent and 7 bits of its significand."""
FLOAT32_ROWS = 1 << 8
"""Exponents of a float32."""
FLOAT32_COUNTERS = FLOAT32_CELLS + 2 * FLOAT32_ROWS
"""One for each cell, to which a value adds `COUNT` plus its bits, then two for each exponent.

The latter are the low 32 bits of a sum of squares of significands, and the rest, in two's complement. Numbers with one
exponent may be counted at others, in their units: row r counts in 2**(2 * (r - 150)), and subnormal numbers have r = 1.
"""
COUNT = 1 << 40
FLOAT32_LIMIT = (1 << 24) - (1 << 16)
"""Values that these can take before they have to be emptied: so many times `COUNT` and 32 bits fit 64 bits."""
CLOSE = 2.0**-22
"""Of a bin: how near to an edge the formula for a value's bin may be wrong."""
FLOAT64_CELLS = 1 << 19
"""The same bits of a float64; numbered by magnitude, the sign in the lowest bit."""
FLOAT64_SHIFT = 45
_PACK = 34


class Bins(NamedTuple):
    """How values are sorted into equal bins.

    Attributes:
        low, scale: a value's bin is about ``floor((value - low) * scale)``, in float64.
        starts: least value of each bin but the first, in the values' own type.
        trust: 2 if that formula is right for every value, 1 if at most one bin off, and that only where it gives
            numbers `CLOSE` to whole ones, 0 if of no use.
    """

    low: float
    scale: float
    starts: Array
    trust: int


class Kernels(Protocol):
    """What counts blocks, which are contiguous and aligned.

    Attributes:
        block, wide_block: elements that it takes at once, of types of up to 4 bytes and of 8.
    """

    block: int
    wide_block: int

    def patterns(self, block: Array, counts: Array) -> None:
        """Add each pattern of a uint8 or uint16 block to `counts` (int64, one for each pattern)."""

    def float32(self, block: Array, counters: Array) -> Census:
        """Add float32 values to `counters`, uint64[FLOAT32_COUNTERS], and return their census.

        What is added to cells of NaN and infinities, and to their exponent, is left open.
        """

    def float64(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """Add float64 values to `counts`, int64[FLOAT64_CELLS]; return their census and the finite ones' moments."""

    def integers(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """Add integers to `counts`, int64[FLOAT64_CELLS], as their nearest float64; return their census and moments."""

    def census(self, block: Array) -> Census:
        """Return the census of a block of float32 or float64."""

    def moments(self, block: Array) -> Moments:
        """Return the moments of a block of finite float64 values."""

    def bins(self, block: Array, bins: Bins, counts: Array) -> None:
        """Add finite values between the histogram's ends to `counts`, int64[number of bins]."""


class Plain:
    """The kernels in numpy. For one thread."""

    block, wide_block = BLOCK, WIDE_BLOCK

    def __init__(self) -> None:
        self._scratch = Scratch()

    def patterns(self, block: Array, counts: Array) -> None:
        """See `Kernels`."""
        counts += np.bincount(block, minlength=counts.size)

    def float32(self, block: Array, counters: Array) -> Census:
        """See `Kernels`."""
        census, block = census_of_floats(block)
        bits, size = block.view(np.uint32), block.size
        half, index = self._scratch.take("half", size, np.uint32), self._scratch.take("index", size, np.intp)
        low, square = self._scratch.take("low", size, np.float64), self._scratch.take("square", size, np.float64)
        np.right_shift(bits, 16, out=half)
        np.copyto(index, half, casting="unsafe")
        np.bitwise_and(bits, 0xFFFF, out=half)
        np.copyto(low, half.view(np.int32))
        np.multiply(low, low, out=square)
        low += float(1 << _PACK)  # count and sum in one number: 2**18 values of 2**34 are 52 bits, exact in a float64
        packed = np.bincount(index, low, minlength=FLOAT32_CELLS).astype(np.int64)
        used = np.flatnonzero(packed)
        counts, lows = packed[used] >> _PACK, packed[used] & ((1 << _PACK) - 1)
        squares = np.bincount(index, square, minlength=FLOAT32_CELLS)[used].astype(np.int64)
        counters[used] += (counts * (COUNT + (used << 16)) + lows).view(np.uint64)
        if used.size:
            _add_squares(used, counts, lows, squares, counters[FLOAT32_CELLS:].reshape(-1, 2))
        return census

    def float64(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        census, finite = census_of_floats(block)
        _count_cells(finite, counts, self._scratch)
        return census, moments_of_floats(finite, self._scratch)

    def census(self, block: Array) -> Census:
        """See `Kernels`."""
        return census_of_floats(block)[0]

    def moments(self, block: Array) -> Moments:
        """See `Kernels`."""
        return moments_of_floats(block, self._scratch)

    def integers(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        _count_cells(block.astype(np.float64), counts, self._scratch)
        return census_of_integers(block), moments_of_integers(block)

    def bins(self, block: Array, bins: Bins, counts: Array) -> None:
        """See `Kernels`."""
        last = counts.size - 1
        if bins.trust == 0:
            counts += np.bincount(np.searchsorted(bins.starts, block, side="right"), minlength=counts.size)
            return
        index = self._scratch.take("bins", block.size, np.int32)
        np.copyto(index, bin_places(block, bins.low, bins.scale, self._scratch), casting="unsafe")  # cuts towards 0
        if bins.trust == 1:
            np.clip(index, 0, last, out=index)
            padded = np.concatenate((bins.starts[:1], bins.starts, bins.starts[-1:]))
            index -= (block < padded[index]) & (index > 0)
            index += (block >= padded[index + 1]) & (index < last)
        found = np.bincount(index, minlength=counts.size)
        counts += found[: counts.size]
        counts[last] += found[counts.size :].sum()  # the greatest value itself belongs to the last bin


def _add_squares(cells: Array, counts: Array, lows: Array, squares: Array, rows: Array) -> None:
    """Add squares of significands to `rows`, from the counts of cells and the sums of low halves and their squares."""
    exponents = (cells >> 7) & 0xFF
    high = (cells & 0x7F) + np.where(exponents, 0x80, 0)  # with the implicit bit
    upper, middle = counts * high * high, high * lows  # a square: (high * 2**16 + low)**2, 2**18 of them at most
    sums = squares + ((middle & 0x7FFF) << 17), upper + (middle >> 15)
    exponents = np.maximum(exponents, 1)
    order = np.argsort(exponents, kind="stable")
    firsts = np.flatnonzero(np.diff(exponents[order], prepend=0))
    low, high = (np.add.reduceat(each[order], firsts) for each in sums)
    at = exponents[order][firsts]
    rows[at, 0] += (low & 0xFFFFFFFF).view(np.uint64)
    rows[at, 1] += (high + (low >> 32)).view(np.uint64)


def _count_cells(block: Array, counts: Array, scratch: Scratch) -> None:
    if not block.size:
        return
    bits = block.view(np.uint64)
    cells, sign = scratch.take("cells", block.size, np.int64), scratch.take("sign", block.size, np.uint64)
    magnitude = cells.view(np.uint64)
    np.left_shift(bits, np.uint64(1), out=magnitude)
    magnitude >>= np.uint64(FLOAT64_SHIFT + 1)
    magnitude <<= np.uint64(1)
    np.right_shift(bits, np.uint64(63), out=sign)
    magnitude |= sign
    first = int(cells.min())  # few exponents occur in a block: count in their range only
    cells -= first
    found = np.bincount(cells)
    counts[first : first + found.size] += found


def bin_places(values: Array, low: float, scale: float, scratch: Scratch) -> Array:
    """Return ``(value - low) * scale`` in a buffer of `scratch`, float64: it never decreases with the value."""
    place = scratch.take("low", values.size, np.float64)
    np.copyto(place, values, casting="unsafe")
    place -= low
    place *= scale
    return place


class _Own(threading.local):
    """One `Plain` for each thread."""

    def __init__(self) -> None:
        self.plain = Plain()


_own = _Own()
_fast: Kernels | None = None


def current() -> Kernels:
    """Return the fastest kernels at hand, to be used by the calling thread for one block."""
    return _fast or _own.plain


def plain() -> Plain:
    """Return the calling thread's kernels in numpy."""
    return _own.plain


def use(kernels: Kernels | None) -> None:
    """Count with these from the next block on, safe to be called from any thread; None: in numpy."""
    global _fast
    _fast = kernels
