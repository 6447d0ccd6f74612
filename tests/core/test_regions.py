"""Boxes inside a tensor."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
import pytest

from ckpt_viewer.core import regions
from ckpt_viewer.core.regions import Box, boxes_of_range, common, row_major, tiling_problem


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4), (2, 1, 3, 2), (1, 1)])
def test_a_range_of_memory_is_boxes(shape):
    numbers = np.arange(prod(shape)).reshape(shape)
    for first, end in itertools.combinations_with_replacement(range(prod(shape) + 1), 2):
        boxes = list(boxes_of_range(shape, first, end - first))
        assert len(boxes) <= max(1, 2 * len(shape))
        found = [
            number
            for box in boxes
            for number in numbers[tuple(slice(s, s + n) for s, n in zip(box.start, box.size, strict=True))].ravel()
        ]
        assert found == list(range(first, end))


def test_what_two_boxes_share():
    assert common(Box((0, 0), (2, 2)), Box((1, 1), (5, 5))) == Box((1, 1), (1, 1))
    assert common(Box((0, 0), (2, 2)), Box((2, 0), (1, 1))) is None
    assert common(Box((), ()), Box((), ())) == Box((), ())


def test_strides():
    assert row_major((2, 3, 4)) == (12, 4, 1)
    assert row_major(()) == ()


def grid(shape, cuts):
    """Cut a shape along each dimension at the given places."""
    edges = [[0, *cut, size] for cut, size in zip(cuts, shape, strict=True)]
    ranges = [list(itertools.pairwise(each)) for each in edges]
    return [Box(tuple(a for a, _ in one), tuple(b - a for a, b in one)) for one in itertools.product(*ranges)]


@pytest.mark.parametrize(
    ("shape", "cuts"),
    [((7,), [[3]]), ((4, 6), [[1], [2, 5]]), ((3, 3, 3), [[1], [2], [1, 2]]), ((), []), ((5, 5), [[], []])],
)
def test_a_grid_is_whole_until_a_box_is_taken_moved_or_doubled(shape, cuts):
    boxes = grid(shape, cuts)
    assert tiling_problem(shape, boxes) is None
    assert tiling_problem(shape, boxes[::-1]) is None
    assert tiling_problem(shape, [*boxes, boxes[0]])[0] == "chunks-overlap"
    assert tiling_problem(shape, boxes[1:])[0] == "chunks-gap"
    if len(boxes) > 1:
        moved = [*boxes[:-1], boxes[0]]
        assert tiling_problem(shape, moved)[0] in ("chunks-overlap", "chunks-gap")


def test_parts_without_elements_do_not_count():
    assert tiling_problem((1, 3), [Box((0, 0), (1, 3)), Box((1, 0), (0, 3))]) is None
    assert tiling_problem((0, 3), []) is None
    assert tiling_problem((0, 3), [Box((0, 0), (0, 3))]) is None


def test_boxes_that_are_not_inside():
    assert tiling_problem((4,), [Box((3,), (2,))])[0] == "chunk-outside"
    assert tiling_problem((4,), [Box((0, 0), (2, 2))])[0] == "chunk-outside"


def test_comparing_has_an_end(monkeypatch):
    boxes = grid((16, 16), [list(range(1, 16)), list(range(1, 16))])
    assert tiling_problem((16, 16), boxes) is None
    monkeypatch.setattr(regions, "MOST_COMPARED", 100)
    assert "too many chunks" in tiling_problem((16, 16), boxes)[1]
