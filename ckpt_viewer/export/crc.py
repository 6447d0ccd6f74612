"""CRC-32 of two stretches of bytes from those of each, so that several threads can share the work of a long one.

Source: zlib's crc32_combine (crc32.c). CRC-32 is a remainder of polynomials, so whatever follows a stretch multiplies
its own by a power of x.
"""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0xEDB88320
"""Of CRC-32 without its highest term; bits are reflected: the highest stands for 1."""
_ONE, _X = 1 << 31, 1 << 30


def joined(first: int, second: int, nbytes: int) -> int:
    """Return the CRC-32 of bytes that have `first` and of `nbytes` behind them that have `second` by themselves."""
    return _times(_behind(nbytes), first) ^ second


@lru_cache(maxsize=64)
def _behind(nbytes: int) -> int:
    """Return x to the power of as many bits."""
    power, square = _ONE, _X
    bits = 8 * nbytes
    while bits:
        if bits & 1:
            power = _times(square, power)
        square = _times(square, square)
        bits >>= 1
    return power


def _times(one: int, other: int) -> int:
    """Return the product modulo the polynomial."""
    product = 0
    while one:
        if one & _ONE:
            product ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product
