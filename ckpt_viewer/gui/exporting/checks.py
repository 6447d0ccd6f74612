"""Which rows of the tree are checked for export. No Qt."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from ckpt_viewer.gui.tree.index import TreeIndex

OFF, PARTLY, ON = 0, 1, 2
MOST_JOINED = 1000
"""Rows below one parent up to which checking them all checks the parent instead."""


class Checks:
    """A set of checked rows, none inside another; whatever lies in one is checked with it.

    Only what holds tensors can be checked.
    """

    def __init__(self, index: TreeIndex) -> None:
        self.index = index
        self._marks: list[int] = []

    def can(self, row: int) -> bool:
        """Whether there is anything to export at and below a row."""
        return self.index.totals.tensors(row) > 0

    def state(self, row: int) -> int:
        """Return OFF, PARTLY or ON."""
        if self._holder(row) is not None:
            return ON
        at = bisect_left(self._marks, row)
        return PARTLY if at < len(self._marks) and self._marks[at] < self.index.ends[row] else OFF

    def set(self, row: int, on: bool) -> None:
        """Check a row and all below it, or uncheck them; what holds no tensors is left alone."""
        if not self.can(row) or (on and self.state(row) == ON):
            return
        if on:
            self._forget_below(row)
            insort(self._marks, row)
            self._join(row)
            return
        holder = self._holder(row)
        if holder is None:
            self._forget_below(row)
            return
        self._marks.remove(holder)
        way = [each for each in (*self.index.above(row), row) if holder < each]
        for parent, kept_out in zip((holder, *way), way, strict=False):
            for child in self.index.children(parent):
                if child != kept_out and self.can(child):
                    insort(self._marks, child)

    def set_all(self, rows: Iterable[int]) -> None:
        """Check these rows and nothing else."""
        self._marks = []
        for row in rows:
            self.set(row, True)

    def pointers(self) -> tuple[str, ...]:
        """Return the JSON Pointers of what is checked; of a run of blocks those of its blocks."""
        found: list[str] = []
        for mark in self._marks:
            rows = self.index.children(mark) if self.index.is_run(mark) else (mark,)
            found += [self.index.pointer(row) for row in rows]
        return tuple(found)

    def _holder(self, row: int) -> int | None:
        """Return the checked row that is `row` or lies around it."""
        at = bisect_left(self._marks, row + 1) - 1
        return self._marks[at] if at >= 0 and row < self.index.ends[self._marks[at]] else None

    def _has(self, row: int) -> bool:
        at = bisect_left(self._marks, row)
        return at < len(self._marks) and self._marks[at] == row

    def _forget_below(self, row: int) -> None:
        start, end = bisect_left(self._marks, row), bisect_left(self._marks, self.index.ends[row])
        del self._marks[start:end]

    def _join(self, row: int) -> None:
        """Check a module, a run of blocks or a model instead of all that is in it."""
        index = self.index
        parent = index.parents[row]
        while parent >= 0 and (not index.is_entry(parent) or index.marks.get(parent) in ("model", "ema")):
            below = list(index.children(parent)) if index.count(parent) <= MOST_JOINED else []
            if not below or any(self.can(child) and not self._has(child) for child in below):
                return
            self._forget_below(parent)
            insort(self._marks, parent)
            parent = index.parents[parent]
