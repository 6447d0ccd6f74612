"""Norm, mean, std and extremes of each channel of a tensor, in one pass over it.

A channel is everything at one index of a dimension: the rows of a matrix, the filters of a convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.numbers import stored_dtype
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.stored import open_values
from ckpt_viewer.core.strided import Pieces
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.stats.crew import Crew, cores

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.stored import Stored
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

BLOCK_BYTES = 1 << 20
MOST_CHANNELS = 1 << 21
"""Channels that are told apart; each takes 64 bytes and a point of a plot."""


@dataclass(frozen=True, slots=True)
class Channels:
    """What is known of each channel of a dimension; all but the counts are over finite values, NaN where there is none.

    Attributes:
        axis: the dimension. each: values in a channel. finite: how many of them are finite (int64).
        mean, std: the population's, float64. low, high: extremes, float64. norm: Euclidean. peak: greatest |value|.
    """

    axis: int
    each: int
    finite: Array
    mean: Array
    std: Array
    low: Array
    high: Array
    norm: Array
    peak: Array

    @property
    def zero(self) -> Array:
        """Indices of channels that are zero throughout."""
        return np.flatnonzero((self.finite == self.each) & (self.low == 0) & (self.high == 0))

    @property
    def constant(self) -> Array:
        """Indices of channels of several values that are all the same, but not zero."""
        same = (self.finite == self.each) & (self.low == self.high) & (self.low != 0)
        return np.flatnonzero(same) if self.each > 1 else np.empty(0, np.int64)

    @property
    def special(self) -> Array:
        """Indices of channels with NaN or infinities."""
        return np.flatnonzero(self.finite < self.each)


def count_channels(tensor: TensorSpec, axis: int, context: Context = SILENT) -> Channels:
    """Return the numbers of each channel along a dimension, on all cores, in memory bounded by the channels.

    Complex numbers count by magnitude. Deviations are summed from the first value of each channel in float64, so that
    mean and std are right to some 1e-12 also where the mean is far from zero.

    Args:
        context: is told about values.

    Raises:
        CheckpointError: there are no dense values, they cannot be read, or there are too many channels.
        Cancelled: by `context`.
    """
    stored = open_values(tensor)
    count = stored.shape[axis]
    if count > MOST_CHANNELS:
        raise CheckpointError(f"dimension {axis} has {count} channels, too many to tell apart; choose another one")
    counter = _Counter(stored, axis)
    hands = Crew(counter.tasks(), counter.hand, _Hand.add, context, stored.view.numel).run()
    for other in hands[1:]:
        hands[0].merge(other)
    return hands[0].channels()


class _Counter:
    """What all threads share: the pieces, and which channels they lie in."""

    def __init__(self, stored: Stored, axis: int) -> None:
        self.decoder, self.shape, self.axis = stored.decoder, stored.shape, axis
        self.pieces = Pieces(stored.view, BLOCK_BYTES, stored_dtype(self.decoder.row))
        self.base = np.zeros(self.shape[axis])
        if stored.view.numel:
            self._find_base(stored)

    def _find_base(self, stored: Stored) -> None:
        """Take the first value of each channel as what its deviations are counted from."""
        from ckpt_viewer.core.strided import Pick

        picks = tuple(
            Pick(0, n if d in (self.axis, len(stored.view.shape) - 1) else min(n, 1))
            for d, n in enumerate(stored.view.shape)
        )
        if self.decoder.per_stored == 1:
            picks = tuple(Pick(0, n if d == self.axis else min(n, 1)) for d, n in enumerate(stored.view.shape))
        view = stored.view.take(picks)
        first = np.zeros(self.shape[self.axis])
        decoder = self.decoder.take(picks)
        for index, array in Pieces(view, BLOCK_BYTES, stored_dtype(decoder.row)):
            values = _real(decoder.values(array, index))
            place = decoder.place(index)[self.axis]
            moved = np.moveaxis(values, self.axis, 0)
            first[place] = moved.reshape(moved.shape[0], -1)[:, 0]
        self.base = np.where(np.isfinite(first), first, 0.0)

    def tasks(self) -> list[range]:
        """Return numbers of pieces that one thread takes at a time."""
        count = len(self.pieces)
        step = max(1, min(16, count // (4 * cores()) or 1))
        return [range(start, min(start + step, count)) for start in range(0, count, step)]

    def hand(self) -> _Hand:
        """Return what a thread has of its own."""
        return _Hand(self)


class _Hand:
    """Sums over the pieces that one thread has seen."""

    def __init__(self, counter: _Counter) -> None:
        self.counter = counter
        count = counter.shape[counter.axis]
        self.finite = np.zeros(count, np.int64)
        self.total, self.squares = np.zeros(count), np.zeros(count)
        self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
        self._buffer = np.empty(counter.pieces.buffer_bytes, np.uint8)

    def add(self, task: range) -> Iterator[int]:
        """Take some pieces."""
        counter = self.counter
        for number in task:
            index, array = counter.pieces.read(number, self._buffer)
            values = counter.decoder.values(array, index)
            self._count(_real(values), counter.decoder.place(index)[counter.axis])
            yield array.size

    @np.errstate(all="ignore")
    def _count(self, values: Array, place: slice) -> None:
        axis = self.counter.axis
        others = tuple(d for d in range(values.ndim) if d != axis)
        low, high = values.min(others), values.max(others)
        each = values.size // max(1, values.shape[axis])
        base = self.counter.base[place]
        aligned = base.reshape([-1 if d == axis else 1 for d in range(values.ndim)])
        deviations = np.subtract(values, aligned, dtype=np.float64)
        finite: Any = each
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            good = np.isfinite(values)
            finite = good.sum(others)
            low, high = np.where(good, values, np.inf).min(others), np.where(good, values, -np.inf).max(others)
            deviations = np.where(good, deviations, 0.0)
        self.finite[place] += finite
        self.total[place] += deviations.sum(others)
        self.squares[place] += _squares(deviations, axis)
        self.low[place] = np.minimum(self.low[place], low)
        self.high[place] = np.maximum(self.high[place], high)

    def merge(self, other: _Hand) -> None:
        """Take what another thread has seen."""
        self.finite += other.finite
        self.total += other.total
        self.squares += other.squares
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)

    @np.errstate(all="ignore")
    def channels(self) -> Channels:
        """Return what was found."""
        counter, finite = self.counter, self.finite
        each = int(np.prod(counter.shape, dtype=object)) // max(1, counter.shape[counter.axis])
        shift = self.total / finite
        mean = counter.base + shift
        variance = np.maximum(self.squares / finite - shift * shift, 0.0)
        none = finite == 0
        low, high = (np.where(none, np.nan, part) for part in (self.low, self.high))
        variance = np.where(low == high, 0.0, variance)
        norm = np.sqrt(finite * (variance + mean * mean))
        return Channels(
            counter.axis, each, finite, mean, np.sqrt(variance), low, high, norm, np.maximum(np.abs(low), np.abs(high))
        )


def _squares(values: Array, axis: int) -> Array:
    """Return the sums of squares along all dimensions but one."""
    letters = list(range(values.ndim))
    sums: Array = np.einsum(values, letters, values, letters, [axis])
    return sums


def _real(values: Array) -> Array:
    """Return values as numbers that can be compared and subtracted."""
    if values.dtype.kind == "c":
        return np.abs(values.astype(np.complex128))
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
