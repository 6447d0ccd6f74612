"""Counters for each kind of values: small types by pattern, floats and integers in cells."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.cells import FINE, Cells
from ckpt_viewer.stats.census import Census, census_of_integers
from ckpt_viewer.stats.moments import Moments, moments_of_integers, moments_of_table
from ckpt_viewer.stats.table32 import Table32
from ckpt_viewer.stats.tally import Ranked, RankedCells, Tally

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.stats.kernels import Kernels


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

    def fresh(self) -> Any:
        """Return an empty store of the same kind."""

    def add(self, block: Array, using: Kernels) -> None:
        """Count a block of any size."""

    def merge(self, other: Any) -> None:
        """Add the counters of another store of the same kind."""

    def counted(self) -> Counted:
        """Return what is known so far."""

    def count_all(self, values: Array) -> Counted:
        """Return what is known of a few values, all of them kept."""


def count_floats(values: Array) -> Counted:
    """Return what is known of a few floats, all of them kept."""
    using = kernels.current()
    census = using.census(values)
    finite = np.sort(values if census.finite == values.size else values[np.isfinite(values)])
    return Counted(census, using.moments(finite.astype(np.float64)), Tally(finite))


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

    def fresh(self) -> PatternStore:
        """Return an empty store for the same patterns."""
        return PatternStore(self._values, self._patterns)

    @cached_property
    def _counts(self) -> Array:
        return np.zeros(self._patterns, np.int64)

    def add(self, block: Array, using: Kernels) -> None:
        """Count patterns."""
        for start in range(0, block.size, using.block):
            using.patterns(block[start : start + using.block], self._counts)

    def merge(self, other: PatternStore) -> None:
        """Add counts."""
        self._counts += other._counts

    def meant(self, patterns: Array) -> Array:
        """Return what patterns stand for: float64, all of them float32 numbers, or int64."""
        found: Array = self._values.reshape(self._patterns, -1)[patterns.astype(np.intp)].reshape(-1)
        return found

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few patterns."""
        found = self.meant(values)
        return count_integers(found) if found.dtype.kind == "i" else count_floats(found)

    def counted(self) -> Counted:
        """Return everything."""
        counts = self._counts
        used = np.flatnonzero(counts)
        packed = self._values.size // counts.size
        values = self._values.reshape(counts.size, packed)[used].reshape(-1)
        counts = np.repeat(counts[used], packed)
        good = np.isfinite(values)
        nan, posinf = (int(counts[mark].sum()) for mark in (np.isnan(values), values == np.inf))
        neginf = int(counts[values == -np.inf].sum())
        values, counts = values[good], counts[good]
        order = np.argsort(values, kind="stable")
        values, counts = values[order], counts[order]
        tally = Tally(values, counts)
        ends = tally.at([0, int(counts.sum()) - 1]) if values.size else (None, None)
        census = Census(int(counts.sum()), nan, posinf, neginf, int(counts[values == 0].sum()), *ends)
        return Counted(census, moments_of_table(values.astype(np.float64), counts), tally)


class Float32Store:
    """float32: a count and a sum for each of 65,536 cells, sums of squares for each exponent, as integers."""

    def __init__(self) -> None:
        self._census, self._pending = Census(), 0
        self._table = Table32()

    def fresh(self) -> Float32Store:
        """Return an empty store."""
        return Float32Store()

    @cached_property
    def _counters(self) -> Array:
        return np.zeros(kernels.FLOAT32_COUNTERS, np.uint64)

    def add(self, block: Array, using: Kernels) -> None:
        """Count float32 values."""
        for start in range(0, block.size, using.block):
            part = block[start : start + using.block]
            if self._pending + part.size > kernels.FLOAT32_LIMIT:
                self._settle()
            self._pending += part.size
            self._census = self._census.plus(using.float32(part, self._counters))

    def _settle(self) -> None:
        """Empty the counters into the table."""
        if self._pending:
            self._table = self._table.plus(Table32.of(self._counters))
            self._counters.fill(0)
            self._pending = 0

    def merge(self, other: Float32Store) -> None:
        """Add counters."""
        self._settle()
        other._settle()
        self._table = self._table.plus(other._table)
        self._census = self._census.plus(other._census)

    def counted(self) -> Counted:
        """Return exact sums, and ranks to the width of a cell."""
        self._settle()
        zeros = self._census.zeros
        return Counted(
            self._census,
            self._table.moments,
            RankedCells(self._table.cells(zeros), self._table.middle, zeros=zeros > 0),
        )

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few values."""
        return count_floats(values)


class _WideStore:
    """Types of up to 64 bits: counts of 524,288 cells, and exact sums."""

    def __init__(self, moments: Moments) -> None:
        self._census, self._moments = Census(), moments

    @cached_property
    def _counts(self) -> Array:
        return np.zeros(kernels.FLOAT64_CELLS, np.int64)

    def _count(self, part: Array, using: Kernels) -> tuple[Census, Moments]:
        raise NotImplementedError

    def add(self, block: Array, using: Kernels) -> None:
        """Count values."""
        for start in range(0, block.size, using.wide_block):
            census, moments = self._count(block[start : start + using.wide_block], using)
            self._census, self._moments = self._census.plus(census), self._moments.plus(moments)

    def merge(self, other: _WideStore) -> None:
        """Add counters."""
        self._counts += other._counts
        self._census, self._moments = self._census.plus(other._census), self._moments.plus(other._moments)

    def _cells(self) -> Cells:
        used = np.flatnonzero(self._counts)
        keys = np.where(used & 1, -1 - (used >> 1), used >> 1)
        order = np.argsort(keys)
        return Cells(FINE, keys[order], self._counts[used][order])


class Float64Store(_WideStore):
    """float64."""

    def __init__(self) -> None:
        super().__init__(Moments())

    def fresh(self) -> Float64Store:
        """Return an empty store."""
        return Float64Store()

    def _count(self, part: Array, using: Kernels) -> tuple[Census, Moments]:
        return using.float64(part, self._counts)

    def counted(self) -> Counted:
        """Return exact sums, and ranks to the width of a cell."""
        return Counted(self._census, self._moments, RankedCells(self._cells(), zeros=self._census.zeros > 0))

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few values."""
        return count_floats(values)


class IntegerStore(_WideStore):
    """Integers of more than 16 bits, in the cells that they fall into as float64."""

    def __init__(self) -> None:
        super().__init__(Moments(bits=0))

    def fresh(self) -> IntegerStore:
        """Return an empty store."""
        return IntegerStore()

    def _count(self, part: Array, using: Kernels) -> tuple[Census, Moments]:
        return using.integers(part, self._counts)

    def counted(self) -> Counted:
        """Return exact sums, and ranks to the width of a cell."""
        return Counted(self._census, self._moments, RankedCells(self._cells(), zeros=False, whole=True))

    def count_all(self, values: Array) -> Counted:
        """Return everything about a few values."""
        return count_integers(values)
