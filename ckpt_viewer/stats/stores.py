"""Counters for each kind of values: small types by pattern, floats and integers in cells."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.census import Census, census_of_floats, census_of_integers
from ckpt_viewer.stats.moments import Moments, moments_of_floats, moments_of_integers, moments_of_table
from ckpt_viewer.stats.scratch import Scratch
from ckpt_viewer.stats.tally import Cells, Ranked, Tally

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array

_SPILL = 1 << 30
"""float32 values after which sums move from cells into big integers: squares of 2**30 low halves just fit an int64."""


class Counted(NamedTuple):
    """What a sketch knows of its values.

    Attributes:
        census, moments: exact. ranked: the finite values in order; a `Tally` where all of them are known.
    """

    census: Census
    moments: Moments
    ranked: Ranked


class Store(Protocol):
    """Counters of one kind of values."""

    def add(self, block: Array) -> None:
        """Count a block of any size."""

    def merge(self, other: Any) -> None:
        """Add the counters of another store of the same kind."""

    def counted(self) -> Counted:
        """Return what is known so far."""

    def count_all(self, values: Array) -> Counted:
        """Return what is known of a few values, all of them kept."""


def count_floats(values: Array) -> Counted:
    """Return what is known of a few floats, all of them kept."""
    census, finite = census_of_floats(values)
    finite = np.sort(finite)
    return Counted(census, moments_of_floats(finite.astype(np.float64)), Tally(finite))


def count_integers(values: Array) -> Counted:
    """Return what is known of a few integers, all of them kept."""
    return Counted(census_of_integers(values), moments_of_integers(values), Tally(np.sort(values)))


class PatternStore:
    """Types of at most 16 bits: every pattern is counted, so everything is exact.

    Args:
        values: what each pattern means, float64 or int64; several values to a pattern where it packs them.
        patterns: 256 or 65536. Blocks are uint8 or uint16.
    """

    def __init__(self, values: Array, patterns: int) -> None:
        self._values, self._patterns = values, patterns

    @cached_property
    def _counts(self) -> Array:
        return np.zeros(self._patterns, np.int64)

    def add(self, block: Array) -> None:
        """Count patterns."""
        for start in range(0, block.size, kernels.BLOCK):
            kernels.count_patterns(block[start : start + kernels.BLOCK], self._counts)

    def merge(self, other: PatternStore) -> None:
        """Add counts."""
        self._counts += other._counts

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few patterns."""
        found = self._values.reshape(self._patterns, -1)[values.astype(np.intp)].reshape(-1)
        return count_integers(found) if found.dtype.kind == "i" else count_floats(found)

    def counted(self) -> Counted:
        """Return everything."""
        counts = self._counts
        counts = np.repeat(counts, self._values.size // counts.size)
        values, counts = self._values[counts > 0], counts[counts > 0]
        good = np.isfinite(values)
        nan, posinf = (int(counts[mark].sum()) for mark in (np.isnan(values), values == np.inf))
        neginf = int(counts[values == -np.inf].sum())
        values, counts = values[good], counts[good]
        order = np.argsort(values, kind="stable")
        values, counts = values[order], counts[order]
        tally = Tally(values, counts)
        ends = (tally.at(0), tally.at(int(counts.sum()) - 1)) if values.size else (None, None)
        census = Census(int(counts.sum()), nan, posinf, neginf, int(counts[values == 0].sum()), *ends)
        return Counted(census, moments_of_table(values.astype(np.float64), counts), tally)


class Float32Store:
    """float32: a count, a sum and a sum of squares for each of 65,536 cells, as integers."""

    def __init__(self) -> None:
        self._census, self._moments, self._pending = Census(), Moments(), 0
        self._scratch = Scratch()

    @cached_property
    def _cells(self) -> Array:
        return np.zeros((3, kernels.FLOAT32_CELLS), np.int64)

    @cached_property
    def _counts(self) -> Array:
        return np.zeros(kernels.FLOAT32_CELLS, np.int64)

    def add(self, block: Array) -> None:
        """Count float32 values."""
        for start in range(0, block.size, kernels.BLOCK):
            part = block[start : start + kernels.BLOCK]
            self._make_room(part.size)
            self._census = self._census.plus(kernels.count_float32(part, self._cells, self._scratch))

    def merge(self, other: Float32Store) -> None:
        """Add counters."""
        self._make_room(other._pending)
        self._cells += other._cells
        self._counts += other._counts
        self._census, self._moments = self._census.plus(other._census), self._moments.plus(other._moments)

    def _make_room(self, size: int) -> None:
        if self._pending + size > _SPILL:
            self._moments = self._moments.plus(_moments_of_cells(self._cells))
            self._counts += self._cells[0]
            self._cells[:] = 0
            self._pending = 0
        self._pending += size

    def counted(self) -> Counted:
        """Return exact sums, and ranks to the width of a cell."""
        counts, half = self._counts + self._cells[0], kernels.FLOAT32_CELLS // 2
        ranked = Cells(counts[half:], counts[:half], _float32_bounds, self._exact, zeros=self._census.zeros > 0)
        return Counted(self._census, self._moments.plus(_moments_of_cells(self._cells)), ranked)

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few values."""
        return count_floats(values)

    def _exact(self, cell: int, minus: bool) -> float | None:
        number = cell + (kernels.FLOAT32_CELLS // 2 if minus else 0)
        count, low, square = (int(part[number]) for part in self._cells)
        if self._counts[number] or count * square != low * low:  # some are no longer in cells, or they differ
            return None
        return _float32(number << 16 | low // count) + 0.0


def _float32(bits: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", bits))[0]
    return value


def _float32_bounds(cell: int) -> tuple[float, float]:
    return _float32(cell << 16), _float32(cell << 16 | 0xFFFF)


def _moments_of_cells(cells: Array) -> Moments:
    """Return the moments of float32 cells, at most `_SPILL` values."""
    count, low, square = cells.reshape(3, 512, 128)
    high = np.arange(128) + np.where(np.arange(512) % 256 > 0, 128, 0)[:, None]  # with the implicit bit
    first = (count * high).sum(1).tolist(), low.sum(1).tolist()
    second = (count * high * high).sum(1).tolist(), (low * high).sum(1).tolist(), square.sum(1).tolist()
    total = squares = 0
    for row in np.flatnonzero(count.sum(1)).tolist():
        shift = max(row % 256, 1) - 150 + 1074
        value = (first[0][row] << 16) + first[1][row]
        total += (-value if row >= 256 else value) << shift
        squares += ((second[0][row] << 32) + (second[1][row] << 17) + second[2][row]) << (2 * shift)
    return Moments(int(count.sum()), total, squares)


class Float64Store:
    """float64: counts of 524,288 cells, and exact sums."""

    def __init__(self) -> None:
        self._census, self._moments, self._scratch = Census(), Moments(), Scratch()

    @cached_property
    def _counts(self) -> Array:
        return np.zeros(kernels.FLOAT64_CELLS, np.int64)

    def add(self, block: Array) -> None:
        """Count float64 values."""
        for start in range(0, block.size, kernels.WIDE_BLOCK):
            found = kernels.count_float64(block[start : start + kernels.WIDE_BLOCK], self._counts, self._scratch)
            self._census, self._moments = self._census.plus(found[0]), self._moments.plus(found[1])

    def merge(self, other: Float64Store) -> None:
        """Add counters."""
        self._counts += other._counts
        self._census, self._moments = self._census.plus(other._census), self._moments.plus(other._moments)

    def counted(self) -> Counted:
        """Return exact sums, and ranks to the width of a cell."""
        ranked = Cells(self._counts[1::2], self._counts[::2], _float64_bounds, zeros=self._census.zeros > 0)
        return Counted(self._census, self._moments, ranked)

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few values."""
        return count_floats(values)


def _float64_bounds(cell: int) -> tuple[float, float]:
    low, high = struct.unpack("<2d", struct.pack("<2Q", cell << 45, (cell << 45) | ((1 << 45) - 1)))
    return low, high


class IntegerStore:
    """Integers of more than 16 bits: counts of the cells that they fall into as float64, and exact sums."""

    def __init__(self) -> None:
        self._census, self._moments, self._scratch = Census(), Moments(bits=0), Scratch()

    @cached_property
    def _counts(self) -> Array:
        return np.zeros(kernels.FLOAT64_CELLS, np.int64)

    def add(self, block: Array) -> None:
        """Count integers."""
        for start in range(0, block.size, kernels.WIDE_BLOCK):
            found = kernels.count_integers(block[start : start + kernels.WIDE_BLOCK], self._counts, self._scratch)
            self._census, self._moments = self._census.plus(found[0]), self._moments.plus(found[1])

    def merge(self, other: IntegerStore) -> None:
        """Add counters."""
        self._counts += other._counts
        self._census, self._moments = self._census.plus(other._census), self._moments.plus(other._moments)

    def counted(self) -> Counted:
        """Return exact sums, and ranks to the width of a cell."""
        ranked = Cells(self._counts[1::2], self._counts[::2], _float64_bounds, zeros=False, whole=True)
        return Counted(self._census, self._moments, ranked)

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few values."""
        return count_integers(values)
