"""Where in a tensor the first NaN, the first infinity, the greatest or the least value is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ckpt_viewer.core.numbers import stored_dtype
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.stored import Stored, open_values
from ckpt_viewer.core.strided import Pieces
from ckpt_viewer.stats.crew import Crew

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array, Index
    from ckpt_viewer.core.tensor import TensorSpec

GOALS = ("NaN", "Inf", "max", "min")
"""What can be looked for. Complex numbers count by magnitude; NaN and infinities are neither greatest nor least."""
BLOCK_BYTES = 1 << 22
AHEAD = 64
"""Pieces to a task: what is read in vain once the first hit is known."""


class Found(NamedTuple):
    """An element.

    Attributes:
        value: what makes one element better than another; 0 where any will do. flat: its place in row-major order.
    """

    value: float | int
    flat: int

    def better(self, other: Found | None) -> bool:
        """Whether this one is the answer rather than `other`."""
        return other is None or (-self.value, self.flat) < (-other.value, other.flat)


def seek(tensor: TensorSpec, goal: str, context: Context = SILENT) -> tuple[int, ...] | None:
    """Return the index of the first element in row-major order that is what `goal` says; None if there is none.

    Args:
        goal: one of GOALS. context: is told about stored elements.

    Raises:
        CheckpointError: there are no dense values, or they cannot be read. Cancelled: by `context`.
    """
    stored = open_values(tensor)
    if not stored.view.numel:
        return None
    search = _Search(stored, goal)
    best: Found | None = None
    for part in search.parts():
        for found in search.run(part, context):
            if found is not None and found.better(best):
                best = found
        if best is not None and search.in_order and goal in ("NaN", "Inf"):
            break
    if best is None:
        return None
    return tuple(int(at) for at in np.unravel_index(best.flat, stored.shape))


class _Search:
    def __init__(self, stored: Stored, goal: str) -> None:
        self.decoder, self.shape, self.goal = stored.decoder, stored.shape, goal
        view = stored.view
        self.view = view._replace(  # an expanded dimension repeats what is at its first index
            shape=tuple(1 if s == 0 else n for n, s in zip(view.shape, view.stride, strict=True))
        )
        self.in_order = self.view.contiguous
        self.pieces = Pieces(self.view, BLOCK_BYTES, stored_dtype(self.decoder.row))
        self.done = 0

    def parts(self) -> Iterator[range]:
        """Yield numbers of pieces: few at a time where the search may end early."""
        count = len(self.pieces)
        step = AHEAD if self.in_order and self.goal in ("NaN", "Inf") else max(1, count)
        yield from (range(start, min(start + step, count)) for start in range(0, count, step))

    def run(self, part: range, context: Context) -> list[Found | None]:
        """Look at some pieces, on all cores."""
        hands = Crew(part, lambda: _Hand(self), _Hand.look, context, self.view.numel, done=self.done).run()
        self.done += sum(hand.seen for hand in hands)
        return [hand.best for hand in hands]


class _Hand:
    """What a thread has of its own."""

    def __init__(self, search: _Search) -> None:
        self.search, self.best = search, None
        self.seen = 0
        self._buffer = np.empty(search.pieces.buffer_bytes, np.uint8)

    best: Found | None

    def look(self, number: int) -> Iterator[int]:
        """Look at one piece."""
        search = self.search
        index, array = search.pieces.read(number, self._buffer)
        values = search.decoder.values(array, index)
        found = _best_of(values, search.goal)
        if found is not None:
            value, place = found
            flat = self._flat(search.decoder.place(index), values.shape, place)
            if Found(value, flat).better(self.best):
                self.best = Found(value, flat)
        self.seen += array.size
        yield array.size

    def _flat(self, index: Index, shape: tuple[int, ...], place: int) -> int:
        flat = 0
        for at, part, size in zip(np.unravel_index(place, shape), index, self.search.shape, strict=True):
            flat = flat * size + part.start + int(at)
        return flat


@np.errstate(all="ignore")
def _best_of(values: Array, goal: str) -> tuple[float | int, int] | None:
    """Return how good the best element of an array is, and its place in row-major order; None if there is none."""
    values = _comparable(values)
    floating = values.dtype.kind == "f"
    if goal in ("NaN", "Inf"):
        if not floating:
            return None
        mask = np.isnan(values) if goal == "NaN" else np.isinf(values)
        return (0, int(mask.reshape(-1).argmax())) if mask.any() else None
    best = values.max() if goal == "max" else values.min()
    if floating and not np.isfinite(best):
        finite = np.isfinite(values)
        if not finite.any():
            return None
        values = np.where(finite, values, -np.inf if goal == "max" else np.inf)
        best = values.max() if goal == "max" else values.min()
    size = best.item() if goal == "max" else -best.item()
    return size, int((values == best).reshape(-1).argmax())


def _comparable(values: Array) -> Array:
    if values.dtype.kind == "c":
        return np.abs(values.astype(np.complex128))
    if values.dtype.kind == "b":
        return values.view(np.uint8)
    native = values.dtype.kind in "iu" or values.dtype in (np.float16, np.float32, np.float64)
    return values if native else values.astype(np.float32)
