"""Boxes inside a tensor: which of them a range of its memory needs, and whether they make the whole of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

MOST_COMPARED = 1_000_000
"""Pairs of boxes that are compared; real grids of thousands of boxes need far fewer."""


class Box(NamedTuple):
    """A part of a tensor along its axes, in elements.

    Attributes:
        start: index of its first element. size: elements along each dimension.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides in elements of a contiguous tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def boxes_of_range(shape: tuple[int, ...], first: int, count: int) -> Iterator[Box]:
    """Yield the boxes, at most two for each dimension, that `count` elements from `first` of a row-major tensor are."""
    strides = row_major(shape)

    def walk(d: int, base: tuple[int, ...], low: int, high: int) -> Iterator[Box]:
        """Yield those below `base` in dimension `d`, of its elements from `low` to before `high`."""
        if d == len(shape):
            yield Box(base, (1,) * d)
            return
        (i, behind), (j, before) = divmod(low, strides[d]), divmod(high, strides[d])
        if i == j:
            yield from walk(d + 1, (*base, i), behind, before)
            return
        if behind:
            yield from walk(d + 1, (*base, i), behind, strides[d])
            i += 1
        if i < j:
            yield Box((*base, i, *(0,) * (len(shape) - d - 1)), (*(1,) * d, j - i, *shape[d + 1 :]))
        if before:
            yield from walk(d + 1, (*base, j), 0, before)

    if count > 0:
        yield from walk(0, (), first, first + count)


def common(a: Box, b: Box) -> Box | None:
    """Return what two boxes share, None without an element."""
    start, size = [], []
    for one, other, m, n in zip(a.start, b.start, a.size, b.size, strict=True):
        low, high = max(one, other), min(one + m, other + n)
        if low >= high:
            return None
        start.append(low)
        size.append(high - low)
    return Box(tuple(start), tuple(size))


def tiling_problem(shape: tuple[int, ...], boxes: Sequence[Box]) -> tuple[str, str] | None:
    """Say what is wrong where boxes do not make a tensor, each element once.

    Returns:
        (finding code, what is wrong as the end of a sentence about the tensor); None if nothing is.
    """
    filled = [box for box in boxes if prod(box.size)]
    for box in boxes:
        if len(box.start) != len(shape) or len(box.size) != len(shape):
            return "chunk-outside", f"is cut into chunks of other dimensions than its {len(shape)}"
    for box in filled:
        if any(low + n > size for low, n, size in zip(box.start, box.size, shape, strict=True)):
            return "chunk-outside", f"has a chunk at {list(box.start)} of size {list(box.size)} that reaches beyond it"
    total, covered = prod(shape), sum(prod(box.size) for box in filled)
    twice = _overlapping(filled) if covered <= total else "has chunks that overlap"
    if twice:
        return "chunks-overlap", twice
    if covered < total:
        return "chunks-gap", f"has {total} elements and its chunks only {covered} of them"
    return None


def _overlapping(boxes: list[Box]) -> str:
    """Sweep along the dimension that separates most boxes, and compare those that are there at the same time."""
    if len(boxes) < 2:
        return ""
    along = max(range(len(boxes[0].start)), key=lambda d: len({box.start[d] for box in boxes}), default=0)
    active: list[Box] = []
    left = MOST_COMPARED
    for box in sorted(boxes, key=lambda box: box.start[along : along + 1]):
        active = [one for one in active if one.start[along] + one.size[along] > box.start[along]]
        left -= len(active)
        if left < 0:
            return "has too many chunks to tell whether they overlap"
        for one in active:
            shared = common(one, box)
            if shared is not None:
                return f"has two chunks with the element {list(shared.start)}"
        active.append(box)
    return ""
