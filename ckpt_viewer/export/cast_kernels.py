"""Casting blocks of floating-point numbers, bit for bit as ``tensor.to(dtype)`` of torch does on a CPU.

Rounding is to nearest, ties to even; what is too large becomes infinite, what is too small zero. torch goes through
float32 on the way from float64 to a narrower type, which rounds twice, and so does this. Numbers of at most 16 bits
are looked up in a table of all there are; wider ones are computed on their bits, since numpy's own cast to float16
takes twenty times as long where results are subnormal (measured).

NaN: torch keeps sign and leading bits on the way to float32 and float16. As bfloat16 it writes 0xffff for float32 and
float64 (0x7fc0 for the last few of float64, and where a layout keeps it from using vector instructions), 0x7fc0 for
anything else (ATen/cpu/vec, c10/util/BFloat16.h).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.numbers import stored_dtype
from ckpt_viewer.export.cargo import CastCounts

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array

Kernel: TypeAlias = "Callable[[Array], Array]"
"""Takes bit patterns of one type (unsigned, one-dimensional), returns those of another."""

TARGETS = ("float32", "float16", "bfloat16")
"""What numbers can be cast to."""

_INFINITY = {"float64": 0x7FF << 52, "float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}
_QUIET32, _NAN_BFLOAT16, _NAN_NARROWED = 0x400000, 0x7FC0, 0xFFFF
_NOTHING = CastCounts()


def kernel(source: str, target: str) -> Kernel:
    """Return what casts bit patterns of dtype `source` to `target`, one of `TARGETS`."""
    if DTYPES[source].itemsize <= 2:
        table = _table(source, target)
        return lambda bits: table.take(bits)
    if source == "float64":
        if target == "float32":
            return _float32_of_float64
        narrow = _float16_of_float32 if target == "float16" else _bfloat16_of_float32
        return lambda bits: narrow(_float32_of_float64(bits))
    return _float16_of_float32 if target == "float16" else _bfloat16_of_float32


def counts(source: str, target: str, before: Array, after: Array) -> CastCounts:
    """Say what casting a block did; most blocks take two looks at the largest pattern and one at zeros."""
    if DTYPES[source].itemsize == 1:
        before, source = _table(source, "float32").take(before), "float32"
    limit, after_limit = 2 * _INFINITY[source], 2 * _INFINITY[target]
    sizes, after_sizes = _without_sign(before), _without_sign(after)
    overflow = nan = 0
    if after_sizes.max(initial=0) >= after_limit:
        nan = int(np.count_nonzero(sizes > limit))
        overflow = int(np.count_nonzero(after_sizes == after_limit) - np.count_nonzero(sizes == limit))
    underflow = int(np.count_nonzero(sizes) - np.count_nonzero(after_sizes))
    return CastCounts(overflow, underflow, nan) if overflow or underflow or nan else _NOTHING


def _halves(bits: Array) -> Array:
    narrow: Array = bits.astype(np.uint16)
    return narrow


def _without_sign(bits: Array) -> Array:
    shifted: Array = bits << bits.dtype.type(1)
    return shifted


def _float32_of_float64(bits: Array) -> Array:
    with np.errstate(all="ignore"):
        result: Array = bits.view(np.float64).astype(np.float32).view(np.uint32)
    return result


def _float16_of_float32(bits: Array) -> Array:
    """Let an addition round: beside a power of two 2^13 times its own a number keeps 10 bits, and at least 2^-24."""
    size = bits & np.uint32(0x7FFFFFFF)
    power = np.maximum(size & np.uint32(0x7F800000), np.uint32(113 << 23))
    power += np.uint32(13 << 23)
    with np.errstate(all="ignore"):  # what is too large or NaN is replaced below
        rounded = (size.view(np.float32) + power.view(np.float32)).view(np.uint32)
    rounded -= power
    power -= np.uint32(126 << 23)
    power >>= np.uint32(13)
    rounded += power
    if size.max(initial=0) >= 0x477FF000:
        rounded[size >= np.uint32(0x477FF000)] = 0x7C00
        nan = size > np.uint32(0x7F800000)
        rounded[nan] = ((size[nan] >> np.uint32(13)) & np.uint32(0x3FF)) | np.uint32(0x7E00)
    rounded |= (bits >> np.uint32(16)) & np.uint32(0x8000)
    return _halves(rounded)


def _bfloat16_of_float32(bits: Array, nan: int = _NAN_NARROWED) -> Array:
    result = bits >> np.uint32(16)
    result &= np.uint32(1)
    result += np.uint32(0x7FFF)
    result += bits
    result >>= np.uint32(16)
    if _without_sign(bits).max(initial=0) > 2 * _INFINITY["float32"]:
        result[_without_sign(bits) > np.uint32(2 * _INFINITY["float32"])] = nan
    return _halves(result)


@cache
def _table(source: str, target: str) -> Array:
    """Return the patterns of `target` for all patterns of a type of at most 16 bits."""
    patterns = np.arange(1 << 8 * DTYPES[source].itemsize, dtype=f"u{DTYPES[source].itemsize}")
    bits = _as_float32(source, patterns)
    if target == "float32":
        return bits
    return _float16_of_float32(bits) if target == "float16" else _bfloat16_of_float32(bits, _NAN_BFLOAT16)


def _as_float32(source: str, patterns: Array) -> Array:
    """Return the same numbers as float32, which holds all of them, with torch's patterns of NaN."""
    wide = patterns.astype(np.uint32)
    if source == "bfloat16":
        bits: Array = wide << np.uint32(16)
        return bits
    with np.errstate(all="ignore"):
        bits = patterns.view(stored_dtype(DTYPES[source])).astype(np.float32).view(np.uint32)
    nan = _without_sign(bits) > np.uint32(2 * _INFINITY["float32"])
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
