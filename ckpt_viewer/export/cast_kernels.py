"""Casting blocks of floating-point numbers, bit for bit as ``tensor.to(dtype)`` of torch does on a CPU.

Rounding is to nearest, ties to even; what is too large becomes infinite, what is too small zero. torch goes through
float32 on the way from float64 to a narrower type, which rounds twice, and so does this. Numbers of at most 16 bits
are looked up in a table of all there are. float16 is computed on the bits of wider ones, since numpy's own cast takes
twenty times as long where results are subnormal (measured).

NaN: torch keeps sign and leading bits on the way to float32 and float16. As bfloat16 it writes 0xffff for float32 and
float64 (0x7fc0 for the last few of float64, and where a layout keeps it from using vector instructions), 0x7fc0 for
anything else (ATen/cpu/vec, c10/util/BFloat16.h).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.numbers import stored_dtype
from ckpt_viewer.export.cargo import CastCounts

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array

BLOCK = 1 << 18
"""Numbers that are cast at once: enough to make numpy's calls cheap, few enough to stay in the cache."""

_INFINITY = {"float64": 0x7FF << 52, "float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}
_QUIET32, _NAN_BFLOAT16, _NAN_NARROWED = 0x400000, 0x7FC0, 0xFFFF
_NOTHING = CastCounts()


class Caster:
    """Casts blocks in arrays that it uses again and again: new ones would cost more in page faults than the arithmetic.

    For one thread.

    Attributes:
        block: numbers that it takes at once.
    """

    block = BLOCK

    def __init__(self, source: str, target: str) -> None:
        """Prepare to cast from dtype `source` to `target`: float32, float16 or bfloat16."""
        self._source, self._target = source, target
        self._before: Array = np.empty(BLOCK, f"u{DTYPES[source].itemsize}")
        self._sizes: Array = np.empty(BLOCK, f"u{DTYPES[target].itemsize}")
        self._scratch = [np.empty(BLOCK, np.uint32) for _ in range(3 if DTYPES[source].itemsize > 2 else 0)]

    def room(self, count: int) -> memoryview:
        """Return where `count` numbers are to be put before they are cast."""
        room: memoryview = self._before[:count].view(np.uint8).data
        return room

    def cast(self, after: memoryview, swap: int = 1) -> CastCounts:
        """Fill `after` with what that many of the numbers become; return what that did to the values.

        Args:
            swap: their width if they are big-endian, else 1.
        """
        numbers = np.frombuffer(after, self._sizes.dtype)
        before = self._before[: len(numbers)]
        if swap > 1:
            before.byteswap(inplace=True)
        return self._cast(before, numbers)

    def _cast(self, before: Array, after: Array) -> CastCounts:
        bits = None
        if DTYPES[self._source].itemsize <= 2:
            np.take(_table(self._source, self._target), before, out=after, mode="clip")
        else:
            bits = self._narrow(before, after)
        sizes = np.left_shift(after, after.dtype.type(1), out=self._sizes[: len(after)])
        special = sizes.max(initial=0) >= 2 * _INFINITY[self._target]
        if special and bits is not None and self._target == "bfloat16":
            _set_nan(bits, after, _NAN_NARROWED)
        return self._counts(before, sizes, special=special)

    def _narrow(self, before: Array, after: Array) -> Array:
        """Fill `after`, NaN of bfloat16 apart; return the patterns of float32 that were rounded."""
        bits = before
        if self._source == "float64":
            bits = after if self._target == "float32" else self._scratch[2][: len(before)]
            with np.errstate(all="ignore"):
                np.copyto(bits.view(np.float32), before.view(np.float64), casting="same_kind")
        if self._target == "float16":
            _to_float16(bits, after, self._scratch[0][: len(bits)], self._scratch[1][: len(bits)])
        elif self._target == "bfloat16":
            _to_bfloat16(bits, after)
        return bits

    def _counts(self, before: Array, sizes: Array, *, special: bool) -> CastCounts:
        """Say what a cast did; after most of them two looks at the result show that it did nothing.

        Args:
            sizes: the result without its signs, doubled. special: whether there are infinities or NaN among them.
        """
        limit, zeros = 2 * _INFINITY[self._target], len(sizes) - int(np.count_nonzero(sizes))
        if not special and not zeros:
            return _NOTHING
        source = self._source
        if DTYPES[source].itemsize == 1:
            before, source = _table(source, "float32").take(before), "float32"
        given = before << before.dtype.type(1)
        underflow = int(np.count_nonzero(given)) - (len(sizes) - zeros)
        if not special:
            return CastCounts(underflow=underflow)
        infinite = int(np.count_nonzero(given == 2 * _INFINITY[source]))
        nan = int(np.count_nonzero(given > 2 * _INFINITY[source]))
        return CastCounts(int(np.count_nonzero(sizes == limit)) - infinite, underflow, nan)


def _to_float16(bits: Array, after: Array, size: Array, power: Array) -> None:
    """Let an addition round: beside a power of two 2^13 times its own a number keeps 10 bits, and at least 2^-24.

    Args:
        size, power: arrays to work in.
    """
    np.bitwise_and(bits, np.uint32(0x7FFFFFFF), out=size)
    large = size.max(initial=0) >= 0x477FF000
    np.bitwise_and(size, np.uint32(0x7F800000), out=power)
    np.maximum(power, np.uint32(113 << 23), out=power)
    power += np.uint32(13 << 23)
    with np.errstate(all="ignore"):  # what is too large or NaN is replaced below
        np.add(size.view(np.float32), power.view(np.float32), out=size.view(np.float32))
    size -= power
    power -= np.uint32(126 << 23)
    power >>= np.uint32(13)
    size += power
    if large:
        given = bits & np.uint32(0x7FFFFFFF)
        size[given >= np.uint32(0x477FF000)] = 0x7C00
        nan = given > np.uint32(0x7F800000)
        size[nan] = ((given[nan] >> np.uint32(13)) & np.uint32(0x3FF)) | np.uint32(0x7E00)
    np.right_shift(bits, np.uint32(16), out=power)
    power &= np.uint32(0x8000)
    np.bitwise_or(size, power, out=after, casting="unsafe")


def _to_bfloat16(bits: Array, after: Array) -> None:
    """Round; NaN stays NaN, of some pattern."""
    with np.errstate(all="ignore"):
        np.copyto(after.view(stored_dtype(DTYPES["bfloat16"])), bits.view(np.float32), casting="unsafe")


def _set_nan(bits: Array, after: Array, nan: int) -> None:
    """Write every NaN as torch does."""
    after[np.isnan(bits.view(np.float32))] = nan


@cache
def _table(source: str, target: str) -> Array:
    """Return the patterns of `target` for all patterns of a type of at most 16 bits."""
    patterns = np.arange(1 << 8 * DTYPES[source].itemsize, dtype=f"u{DTYPES[source].itemsize}")
    bits = _as_float32(source, patterns)
    if target == "float32":
        return bits
    after: Array = np.empty(len(bits), np.uint16)
    if target == "float16":
        _to_float16(bits, after, np.empty_like(bits), np.empty_like(bits))
    else:
        _to_bfloat16(bits, after)
        _set_nan(bits, after, _NAN_BFLOAT16)
    return after


def _as_float32(source: str, patterns: Array) -> Array:
    """Return the same numbers as float32, which holds all of them, with torch's patterns of NaN."""
    wide = patterns.astype(np.uint32)
    if source == "bfloat16":
        bits: Array = wide << np.uint32(16)
        return bits
    with np.errstate(all="ignore"):
        bits = patterns.view(stored_dtype(DTYPES[source])).astype(np.float32).view(np.uint32)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(_INFINITY["float32"])
    if source == "float16":
        bits[nan] |= np.uint32(_QUIET32)
    elif source in _NAN8:
        shift, quiet = _NAN8[source]
        sign, rest = (wide & np.uint32(0x80)) << np.uint32(24), (wide & np.uint32(0x7F)) << np.uint32(shift)
        bits[nan] = (sign | np.uint32(0x7F800000 | quiet) | rest & np.uint32(0x7FFFFF))[nan]
    else:
        bits[nan] = 0x7F800001
    return bits


_NAN8 = {"float8_e4m3fn": (20, 0), "float8_e5m2": (21, _QUIET32)}
"""The 8-bit types whose NaN keeps its bits: by how much they are shifted, and what is set besides."""
