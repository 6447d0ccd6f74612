"""Counts of neighbouring values: any range drawn at once, sums of tensors of different types, little memory.

A cell is numbered by the sign, the exponent and the first bits of the significand of a float64, so that the numbers
ascend with the values. With 7 bits it is at most 1/128 wide relative to its values; with 52 it is one value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ckpt_viewer.core.strided import Array

EXACT = 52
"""Bits with which a cell is a single float64."""
FINE = 7
"""Bits of the cells that types of more than 16 bits are counted in."""


class Cells(NamedTuple):
    """Finite values, counted in cells.

    Attributes:
        bits: of the significand. keys: of the cells that are not empty, int64, ascending: m for the magnitudes
            from ``float(m << (52 - bits))`` up to the next cell, -1 - m for the same with a minus sign.
        counts: values in each, int64.
    """

    bits: int
    keys: Array
    counts: Array

    @staticmethod
    def of(values: Array, counts: Array | None = None, bits: int = EXACT) -> Cells:
        """Return the cells of finite float64 values in any order, the k-th taken `counts[k]` times; -0.0 is 0.0."""
        keys = keys_of(values, bits)
        return grouped_cells(bits, keys, np.ones(keys.size, np.int64) if counts is None else counts)

    @property
    def size(self) -> int:
        """Values in all cells."""
        return int(self.counts.sum())

    @property
    def values(self) -> Array:
        """The values, ascending; to be asked for only of cells of one value each."""
        assert self.bits == EXACT
        return np.where(self.keys < 0, -(-1 - self.keys).view(np.float64), self.keys.view(np.float64))

    def times(self, repeats: int) -> Cells:
        """Return the same values, each there `repeats` times; once where that would be 2**62 values or more."""
        return self if repeats == 1 or self.size * repeats >> 62 else self._replace(counts=self.counts * repeats)

    def coarse(self, bits: int) -> Cells:
        """Return the same values in cells of at most `bits`."""
        if bits >= self.bits:
            return self
        return grouped_cells(bits, self.keys >> (self.bits - bits), self.counts)

    def within(self, entries: int) -> Cells:
        """Return the same values in at most `entries` cells where 0 bits, a cell for each power of two, allow it."""
        if self.keys.size <= entries:
            return self
        bits = min(self.bits, FINE)
        keys = self.keys >> (self.bits - bits)
        apart = keys[1:] ^ keys[:-1]
        lengths = np.frexp(apart.astype(np.float64))[1]  # neighbours stay apart while fewer bits than this are dropped
        lengths[apart < 0] = EXACT  # below and above zero: always
        dropped = 0
        if lengths.size >= entries:
            dropped = int(np.partition(lengths, lengths.size - entries)[lengths.size - entries])
        return self.coarse(max(0, bits - dropped))

    def plus(self, other: Cells) -> Cells:
        """Return the values of both, in the wider cells of the two."""
        bits = min(self.bits, other.bits)
        one, two = self.coarse(bits), other.coarse(bits)
        return grouped_cells(bits, np.concatenate((one.keys, two.keys)), np.concatenate((one.counts, two.counts)))

    def bounds(self, key: int) -> tuple[float, float]:
        """Return the least and the greatest value that fit a cell."""
        shift, magnitude = EXACT - self.bits, key if key >= 0 else -1 - key
        ends = np.array([magnitude << shift, ((magnitude + 1) << shift) - 1], np.int64).view(np.float64).tolist()
        return (ends[0], ends[1]) if key >= 0 else (-ends[1], -ends[0])

    def between(self, edges: Array) -> tuple[Array, Array]:
        """Return edges near the ascending `edges` that lie between cells, and the exact counts between those."""
        at = snapped(edges, self.bits)
        return edge_values(at, self.bits), self.counts_between(at)

    def counts_between(self, keys: Array) -> Array:
        """Return how many values lie in the cells from each of the ascending `keys` up to the next."""
        below = np.concatenate(([0], np.cumsum(self.counts)))
        return np.diff(below[np.searchsorted(self.keys, keys)])


NONE = Cells(EXACT, np.empty(0, np.int64), np.empty(0, np.int64))
"""The cells of no values."""


def keys_of(values: Array, bits: int) -> Array:
    """Return the keys of the cells that finite float64 values fall into."""
    patterns = (values + 0.0).view(np.int64)
    keys = (patterns & ((1 << 63) - 1)) >> (EXACT - bits)
    placed: Array = np.where(patterns < 0, -1 - keys, keys)
    return placed


def snapped(edges: Array, bits: int) -> Array:
    """Return the cells at whose beginnings the nearest edges between cells lie.

    The first edge is moved down, the last one up, the others to the nearer side; those that fall together are one.
    """
    at = keys_of(edges, bits)
    first, last = at[0], at[-1] + 1
    down, up = edge_values(at, bits), edge_values(at + 1, bits)
    at += up - edges < edges - down
    at[0], at[-1] = first, last
    return np.unique(at)


def edge_values(keys: Array, bits: int) -> Array:
    """Return the value between each cell and the one before it; at most the greatest float64."""
    magnitudes = np.minimum(np.abs(keys) << (EXACT - bits), np.int64((0x7FF << 52) - 1)).view(np.float64)
    values: Array = np.where(keys < 0, -magnitudes, magnitudes)
    return values


def grouped_cells(bits: int, keys: Array, counts: Array) -> Cells:
    """Return cells with equal keys taken together."""
    if not keys.size:
        return Cells(bits, keys, counts)
    if (keys[1:] < keys[:-1]).any():
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
    firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    if firsts.size == keys.size:
        return Cells(bits, keys, counts)
    return Cells(bits, keys[firsts], np.add.reduceat(counts, firsts))
