"""The children of each row in another order than they were saved in: see `Pages`. No Qt."""

from __future__ import annotations

from array import array
from itertools import islice
from typing import TYPE_CHECKING

from ckpt_viewer.gui.tree.pages import Change, Pages
from ckpt_viewer.gui.tree.table import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.matches import Matches
    from ckpt_viewer.gui.tree.ordering import Order

FEW = 3000
"""Matches below one row up to which they are all found and sorted; of more, the first of the order are looked for."""


class SortedPages(Pages):
    """Pages whose rows stand as an Order says; what is left out is always behind them."""

    def __init__(self, index: TreeIndex, order: Order, matches: Matches | None = None) -> None:
        super().__init__(index, matches)
        self.order = order
        self._places: dict[int, dict[int, int]] = {}
        self._known: dict[int, Sequence[int]] = {}

    def position(self, key: int) -> int:
        """Return where an id stands below its parent, -1 if it is not shown."""
        parent = self.parent_of(key)
        if parent < 0:
            return 0
        places = self._places.get(parent)
        if places is None:
            places = self._places[parent] = {each: at for at, each in enumerate(self.ids(parent))}
        return places.get(key, -1)

    def next_shown(self, parent: int, row: int) -> int:
        """Return the first row behind `row`, as saved, that is shown below `parent`; its end without one."""
        behind = (key for key in self.ids(parent) if not self.is_more(key) and key > row)
        return min(behind, default=self.index.ends[parent])

    def hidden(self, key: int) -> int | None:
        """Return how many rows a "show more" stands for; None under a filter, which does not count them."""
        if self.matches is not None:
            return None
        parent = self.parent_of(key)
        return len(self.order.below(parent)) - (len(self.ids(parent)) - 1)

    def more(self, key: int) -> Change:
        """Return the next page for a "show more"."""
        parent, at = self.parent_of(key), self.position(key)
        return self._page(parent, at, at + PAGE)

    def reveal(self, row: int) -> Change | None:
        """Return the rows up to one that is not shown, None if it is; without a filter only."""
        parent = self.index.parents[row]
        if parent < 0 or self.position(row) >= 0:
            return None
        place = self.order.places[row] - self.order.starts[parent]
        if parent not in self._ids:
            ids = self._first(parent)
            if row in ids:
                return Change(parent, 0, ids, 0)
            return self._page(parent, 0, place + PAGE)._replace(removed=0)
        return self._page(parent, len(self._ids[parent]) - 1, place + PAGE)

    def apply(self, change: Change) -> None:
        """Bring in new ids; what goes is taken out by `remove`."""
        self._places.pop(change.parent, None)
        super().apply(change)
        self._gaps.clear()

    def remove(self, change: Change) -> None:
        """Take out the "show more" that a change has used up."""
        self._places.pop(change.parent, None)
        super().remove(change)

    def _page(self, parent: int, start: int, stop: int) -> Change:
        """Return the rows from one place to another, with a "show more" behind them where they are the first."""
        ordered = iter(self._ordered(parent))
        found = array("q", islice(ordered, start, stop))
        last = next(ordered, None) is None
        if parent not in self._ids and not last:
            found.append(self._rows + parent)
        return Change(parent, start, found, int(last))

    def _first(self, parent: int) -> array[int]:
        ordered = iter(self._ordered(parent))
        found = array("q", islice(ordered, self._first_count(parent)))
        if next(ordered, None) is not None:
            found.append(self._rows + parent)
        return found

    def _ordered(self, parent: int) -> Iterator[int]:
        """Yield the children of a row that the filter leaves, sorted."""
        matches, below = self.matches, self.order.below(parent)
        if matches is None or matches.inherited(parent):
            return iter(below)
        few = self._known.get(parent)
        if few is None:
            found = list(islice(self._children(parent, parent + 1, self.index.ends[parent]), FEW + 1))
            few = self._known[parent] = sorted(found, key=self.order.places.__getitem__)
        if len(few) <= FEW:
            return iter(few)
        ends, following = self.index.ends, matches.next
        return (row for row in below if following(row) < ends[row])
