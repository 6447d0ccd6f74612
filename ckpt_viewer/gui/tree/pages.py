"""Which children of a row are shown: all that a filter leaves, a thousand at a time. No Qt.

What stands below a parent is a list of ids. An id below ``len(index)`` is a row. Where rows are left out stands a "show
more": behind the last row shown it has the id ``len(index) + parent``, before row c (after a jump into the middle of
many) ``2 * len(index) + c``. So an id stays the same while rows come in before it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.gui.tree.table import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.matches import Matches

BEFORE = 50
"""Rows that are shown before one that was jumped to."""
FIRST = 38
"""Rows of the root that are shown at first, where it has more: a tree opens with at most 40."""
FIRST_FOUND = 100
"""Rows of a parent that a filter shows at first."""


class Change(NamedTuple):
    """What happens to the ids below `parent`: `new` come in at `position`, then `removed` of those behind them go."""

    parent: int
    position: int
    new: array[int]
    removed: int


class Pages:
    """The ids below each row that was asked for, for one filter.

    Attributes:
        matches: what the filter finds; None without one.
    """

    def __init__(self, index: TreeIndex, matches: Matches | None = None) -> None:
        self.index, self.matches = index, matches
        self._rows = len(index)
        self._ids: dict[int, array[int]] = {}
        self._gaps: dict[int, int] = {}
        self._hidden: dict[int, int] = {}

    def ids(self, parent: int) -> array[int]:
        """Return what is shown below a row; empty as long as `must_fetch`."""
        ids = self._ids.get(parent)
        if ids is None:
            if self.must_fetch(parent):
                return array("q")
            ids = self._ids[parent] = self._first(parent)
        return ids

    def must_fetch(self, parent: int) -> bool:
        """Whether a row has so many children that they come by `fetch`."""
        return parent in self.index.large and parent not in self._ids

    def fetch(self, parent: int) -> Change:
        """Return the first page of a row that `must_fetch`."""
        return Change(parent, 0, self._first(parent), 0)

    def parent_of(self, key: int) -> int:
        """Return the row that an id is below; -1 for the root."""
        rows = self._rows
        if key < rows:
            return self.index.parents[key]
        return key - rows if key < 2 * rows else self.index.parents[key - 2 * rows]

    def is_more(self, key: int) -> bool:
        """Whether an id is a "show more"."""
        return key >= self._rows

    def position(self, key: int) -> int:
        """Return where an id stands below its parent, -1 if it is not shown."""
        parent = self.parent_of(key)
        if parent < 0:
            return 0
        ids = self.ids(parent)
        at = self._bisect(parent, ids, key)
        return at if at < len(ids) and ids[at] == key else -1

    def next_shown(self, parent: int, row: int) -> int:
        """Return the first row below `parent` that is shown after a row which is not; the parent's end without one."""
        ids = self.ids(parent)
        for key in ids[self._bisect(parent, ids, row) :][:2]:
            if not self.is_more(key):
                return key
        return self.index.ends[parent]

    def _bisect(self, parent: int, ids: array[int], key: int) -> int:
        if not self._gaps.get(parent):  # rows ascend and the last "show more" is greater than any
            return bisect_left(ids, key)
        return bisect_left(ids, self._order(key), key=self._order)

    def _order(self, key: int) -> float:
        rows = 2 * self._rows
        return key - rows - 0.5 if key >= rows else key

    def hidden(self, key: int) -> int | None:
        """Return how many rows a "show more" stands for; None under a filter, which does not count them."""
        if self.matches is not None:
            return None
        hidden = self._hidden.get(key)
        if hidden is None:
            start, stop = self._span(key)
            hidden = self._hidden[key] = sum(1 for _ in self._children(self.parent_of(key), start, stop))
        return hidden

    def _span(self, key: int) -> tuple[int, int]:
        """Return the child from which on, and the row before which, a "show more" stands for all."""
        parent, at = self.parent_of(key), self.position(key)
        last = key - 2 * self._rows
        start = self.index.ends[self.ids(parent)[at - 1]] if at else parent + 1
        return start, last if last >= 0 else self.index.ends[parent]

    def more(self, key: int) -> Change:
        """Return the next page for a "show more"."""
        parent, (start, stop) = self.parent_of(key), self._span(key)
        found = array("q", islice(self._children(parent, start, stop), PAGE))
        return Change(parent, self.position(key), found, int(not self._any(parent, self.index.ends[found[-1]], stop)))

    def reveal(self, row: int) -> Change | None:
        """Return the page around a row that is not shown, None if it is; without a filter only."""
        parent, ends = self.index.parents[row], self.index.ends
        if parent < 0 or self.position(row) >= 0:
            return None
        ids = self._ids.get(parent)
        if ids is None:
            ids = self._first(parent)
            if row in ids:
                return Change(parent, 0, ids, 0)
            return Change(parent, 0, ids[:-1] + self._around(parent, row, ends[ids[-2]], ends[parent]), 0)
        at = self._bisect(parent, ids, row)
        start, stop = self._span(ids[at])  # of the "show more" that the row hides behind
        around = self._around(parent, row, start, stop)
        removed = int(around[-1] != self._rows + parent)
        if not removed:
            around.pop()
        elif stop < ends[parent] and self._any(parent, ends[around[-1]], stop):
            removed = 0
        return Change(parent, at, around, removed)

    def apply(self, change: Change) -> None:
        """Bring in new ids; what goes is taken out by `remove`."""
        self._hidden.clear()
        ids = self._ids.get(change.parent)
        if ids is None:
            ids = self._ids[change.parent] = array("q")
        ids[change.position : change.position] = change.new
        rows = 2 * self._rows
        self._gaps[change.parent] = self._gaps.get(change.parent, 0) + sum(key >= rows for key in change.new)

    def remove(self, change: Change) -> None:
        """Take out the "show more" that a change has used up."""
        at = change.position + len(change.new)
        ids = self._ids[change.parent]
        if ids[at] >= 2 * self._rows:
            self._gaps[change.parent] -= 1
        del ids[at : at + change.removed]

    def _around(self, parent: int, row: int, start: int, stop: int) -> array[int]:
        """Return a page with `row` in it out of the children from `start` to `stop`, "show more" rows included; the
        one behind it only at the parent's end.
        """
        index, first = self.index, row
        for _ in range(BEFORE):
            before = index.sibling_before(first)
            if before < start:
                break
            first = before
        found = array("q", islice(self._children(parent, first, stop), PAGE))
        if first > start:
            found.insert(0, 2 * self._rows + first)
        if stop == index.ends[parent] and index.ends[found[-1]] < stop:
            found.append(self._rows + parent)
        return found

    def _first_count(self, parent: int) -> int:
        """Return how many children of a row are shown at first."""
        if self.matches is not None:
            return FIRST_FOUND
        return FIRST if parent == 0 and self.index.count(0) > FIRST + 1 else PAGE

    def _first(self, parent: int) -> array[int]:
        end = self.index.ends[parent]
        found = array("q", islice(self._children(parent, parent + 1, end), self._first_count(parent)))
        if found and self._any(parent, self.index.ends[found[-1]], end):
            found.append(self._rows + parent)
        return found

    def _any(self, parent: int, start: int, stop: int) -> bool:
        return next(self._children(parent, start, stop), None) is not None

    def _children(self, parent: int, start: int, stop: int) -> Iterator[int]:
        """Yield the children of `parent` that the filter leaves, from the child at `start` to before `stop`."""
        ends = self.index.ends
        if self.matches is None or self.matches.inherited(parent):
            while start < stop:
                yield start
                start = ends[start]
            return
        parents, following = self.index.parents, self.matches.next
        while start < stop and (row := following(start)) < stop:
            while parents[row] != parent:
                row = parents[row]
            yield row
            start = ends[row]

    def opened(self, most: int) -> list[int]:
        """Return the rows that a filter opens to show about `most` of its matches: those above them, in pre-order."""
        assert self.matches is not None
        shown, rows, waiting = 0, [], [0]
        while waiting and shown < most:
            row = waiting.pop()
            ids = self._ids[row] = self._first(row)
            if not ids:
                continue
            rows.append(row)
            shown += len(ids)
            waiting.extend(
                child
                for child in reversed(ids)
                if not self.is_more(child) and self.index.ends[child] > child + 1 and not self.matches.inherited(child)
            )
        return rows
