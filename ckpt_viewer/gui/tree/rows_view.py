"""A tree view that speaks of rows of a TreeIndex: what is open, selected and found, whatever a filter hides."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QPoint, QRect, Signal
from PySide6.QtWidgets import QAbstractItemView, QTreeView, QWidget

from ckpt_viewer.gui.tree.model import AnyIndex, CheckpointTreeModel
from ckpt_viewer.gui.tree.opening import rows_to_open
from ckpt_viewer.gui.tree.typeahead import TypeAhead
from ckpt_viewer.gui.turns import window_works

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.finding import Found
    from ckpt_viewer.gui.tree.ordering import Order
    from ckpt_viewer.gui.tree.query import Query

MOST_OPENED = 2000
"""Rows that "Expand subtree" shows at most, and that are taken of a selection."""


class RowsView(QTreeView):
    """Shows a CheckpointTreeModel: opens, selects and filters its rows."""

    rowSelected = Signal(int)
    """Another row is current (none is emitted for "show more", nor while a filter only hides the current row)."""
    rowsPicked = Signal()
    """Another set of rows is selected: `picked_rows`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tree_model = CheckpointTreeModel(self)
        self._opened: set[int] = set()
        self._current = -1
        self._quiet = False
        self._typed = TypeAhead()
        self.setModel(self.tree_model)
        self.expanded.connect(self._on_expanded)
        self.collapsed.connect(self._on_collapsed)

    @property
    def current_row(self) -> int:
        """The row of the TreeIndex that is selected, even while a filter hides it; -1 if none is."""
        return self._current

    # what is shown

    def start(self, row: int = 0) -> None:
        """The model shows another index: open what belongs open and select a row."""
        self._opened.clear()
        self._current = -1
        self._typed.clear()
        tree = self.tree_model.tree
        if tree is not None:
            self.open_rows(rows_to_open(tree))
            self.select(row)

    def show_found(self, found: Found | None) -> None:
        """Show what a filter leaves, None for no filter; selection and what was open come back with that."""
        was_filtered = self.tree_model.is_filtered
        self.tree_model.show_found(found)
        if found is None:
            if was_filtered:
                self.open_rows(self._opened)
            self._restore_current(scroll=True)
            return
        self.open_rows(found.opened)
        self.scrollToTop()
        self._restore_current(scroll=False)

    def set_order(self, order: Order | None) -> None:
        """Show the rows sorted, or as saved; what was open and selected stays so."""
        self.tree_model.set_order(order)
        self.open_rows(self._opened)
        if self._current >= 0:
            self._quiet = True
            self.select(self._current)
            self._quiet = False

    def is_outdated(self, query: Query, figures: FigureTable | None) -> bool:
        """Whether a filter would find something else now than what is shown."""
        tree, pages = self.tree_model.tree, self.tree_model.pages
        if tree is None or pages is None or pages.matches is None:
            return True
        return pages.matches.is_other(tree.matches(query, figures))

    def open_rows(self, rows: set[int] | list[int]) -> None:
        """Open rows at the cost of one layout."""
        window_works()
        self.scheduleDelayedItemsLayout()  # until it is done, `expand` only takes notes
        model = self.tree_model
        for row in sorted(rows):
            index = model.index_of(row)
            if index.isValid():
                if model.canFetchMore(index):
                    model.fetchMore(index)
                self.expand(index)

    def doItemsLayout(self) -> None:
        """Qt asks the model several things about each row that shows."""
        window_works()
        super().doItemsLayout()

    def _restore_current(self, *, scroll: bool) -> None:
        if self._current < 0 or not self.is_shown(self._current):
            return
        self._quiet = True
        self.setAutoScroll(scroll)
        self.setCurrentIndex(self.tree_model.index_of(self._current))
        self.setAutoScroll(True)
        self._quiet = False

    def is_shown(self, row: int) -> bool:
        """Whether a row and those above it are in the model (perhaps inside closed ones)."""
        tree, model = self.tree_model.tree, self.tree_model
        return tree is not None and all(model.index_of(each).isValid() for each in [*tree.above(row), row])

    def is_open(self, row: int) -> bool:
        """Whether the rows below a row show."""
        return self.isExpanded(self.tree_model.index_of(row))

    def select(self, row: int) -> None:
        """Select a row, loading and opening what is around it; under a filter it must be shown by that."""
        tree, model = self.tree_model.tree, self.tree_model
        assert tree is not None
        if not model.is_filtered:
            model.reveal(row)
        for above in tree.above(row):
            self.expand(model.index_of(above))
        index = model.index_of(row)
        inside = QRect(QPoint(0, 0), self.maximumViewportSize())  # not `viewport()`: see Columns
        visible = inside.contains(self.visualRect(index).center())
        self.setAutoScroll(False)
        self.setCurrentIndex(index)
        self.setAutoScroll(True)
        hint = QAbstractItemView.ScrollHint
        self.scrollTo(index, hint.EnsureVisible if visible else hint.PositionAtCenter)

    def first_match(self) -> int | None:
        """Return the first row that the filter shows for its own sake; None without a filter."""
        pages = self.tree_model.pages
        if pages is None or pages.matches is None:
            return None
        row = pages.matches.next(0)
        return row if row < len(pages.index) and self.is_shown(row) else None

    def visible_indexes(self) -> list[QModelIndex]:
        """Return the rows that are painted now."""
        index, found = self.indexAt(QPoint(1, 1)), []
        bottom = self.maximumViewportSize().height()
        while index.isValid() and self.visualRect(index).top() < bottom:
            found.append(index)
            index = self.indexBelow(index)
        return found

    def currentChanged(self, current: AnyIndex, previous: AnyIndex) -> None:
        super().currentChanged(current, previous)
        row = self.tree_model.row_of(current)
        if row >= 0 and row != self._current:
            self._current = row
            if not self._quiet:
                self.rowSelected.emit(row)

    def setCurrentIndex(self, index: AnyIndex) -> None:
        """Make a row current, and the only selected one, whatever keys are held down."""
        flags = QItemSelectionModel.SelectionFlag
        self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        super().selectionChanged(selected, deselected)
        self.rowsPicked.emit()

    @property
    def picked_rows(self) -> list[int]:
        """The selected rows from top to bottom below each parent; at most MOST_OPENED of them."""
        rows: list[int] = []
        ranges = self.selectionModel().selection()
        for each in (ranges.at(number) for number in range(ranges.count())):
            indexes = (self.tree_model.index(at, 0, each.parent()) for at in range(each.top(), each.bottom() + 1))
            rows += [self.tree_model.row_of(index) for index in islice(indexes, MOST_OPENED - len(rows))]
        return sorted(row for row in rows if row >= 0)

    def _on_expanded(self, index: QModelIndex) -> None:
        if not self.tree_model.is_filtered:
            self._opened.add(self.tree_model.row_of(index))

    def _on_collapsed(self, index: QModelIndex) -> None:
        row = self.tree_model.row_of(index)
        if row == 0:  # it has no handle with which it could be opened again
            self.expand(index)
        elif not self.tree_model.is_filtered:
            self._opened.discard(row)
