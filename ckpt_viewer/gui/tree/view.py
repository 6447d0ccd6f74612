"""The tree view as the user meets it: keys, type-ahead, copying, menus, sorting; what rows look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QModelIndex, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QApplication, QStyleOptionViewItem, QWidget

from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.tree.cells import PICTURE, Cells
from ckpt_viewer.gui.tree.columns import Columns
from ckpt_viewer.gui.tree.delegate import RowHeight
from ckpt_viewer.gui.tree.model import AnyIndex
from ckpt_viewer.gui.tree.opening import subtree_to_open
from ckpt_viewer.gui.tree.painting import RowPainter
from ckpt_viewer.gui.tree.rows_view import MOST_OPENED, RowsView
from ckpt_viewer.gui.turns import soon

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.pages import Pages

AT_ONCE = 75
"""Rows that are opened in one turn; then all that shows is laid out, which takes 12 ms for 2,000 rows."""


class CheckpointTreeView(RowsView):
    """The tree of a checkpoint.

    Attributes:
        columns: which are shown; see `Columns.save`.
    """

    activatedRow = Signal(int)
    """Enter or a double click on a row without children."""
    said = Signal(str)
    """Something that the user should know, one sentence."""
    painted = Signal()
    """Rows stand on the screen for the first time since `start`."""
    flatWanted = Signal(bool)
    """The menu's "Show flat keys" was switched."""
    sparksWanted = Signal(object)
    """See `TreePanel`."""
    sortWanted = Signal(int, bool)
    """Sort by a column, descending or not; -1 for the order as saved."""
    roleChosen = Signal(str, str)
    """The entry at a pointer is to be taken for something; ``""``: for what it was recognised as."""
    exportWanted = Signal()
    """The selected rows are to be exported."""
    filterCleared = Signal()
    """Esc while a filter hides rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("checkpointTree")
        self.setAccessibleName("Entries of the checkpoint")
        self._is_painted = True
        self._painter: RowPainter | None = None
        self.setItemDelegate(RowHeight(self))
        self.setUniformRowHeights(True)
        self.setRootIsDecorated(False)
        self.setIndentation(16)
        self.setLayoutDirection(Qt.LayoutDirection.LeftToRight)  # paths are; and rows are painted so
        self.setAllColumnsShowFocus(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.columns = Columns(self)
        self.header().setSectionsClickable(True)
        self.header().sectionClicked.connect(self.sort_by)
        self.clicked.connect(self._show_more)
        self.doubleClicked.connect(self._on_double_clicked)

    def start(self, row: int = 0) -> None:
        """As `RowsView.start`; `painted` follows."""
        self._is_painted = False
        self.columns.make_room(0)
        super().start(row)

    def sort_by(self, column: int) -> None:
        """Sort by a column as a click on its head does: one way, the other way, then as saved again."""
        from ckpt_viewer.gui.tree.ordering import NUMBERS, SORTABLE

        order, first = self.tree_model.order, column in NUMBERS
        if column not in SORTABLE:
            return
        if order is None or order.column != column:
            self.sortWanted.emit(column, first)
        elif order.descending == first:
            self.sortWanted.emit(column, not first)
        else:
            self.sortWanted.emit(-1, False)

    def show_figures(self, figures: FigureTable | None) -> None:
        """Show what a scan has found so far; the table may be the same as before with more in it."""
        cells = self.tree_model.cells
        if cells is not None and (figures is not None or cells.table is not None):
            cells.table = figures
            self.viewport().update()

    def remark(self) -> None:
        """The index was marked anew: say so."""
        if self.tree_model.cells is not None:
            self.tree_model.cells.forget()
            self.viewport().update()

    # what the user does

    def keyPressEvent(self, event: QKeyEvent) -> None:
        action = self._action_of(event)
        if action is None or not self.currentIndex().isValid():
            super().keyPressEvent(event)
        else:
            event.accept()
            action()

    def _action_of(self, event: QKeyEvent) -> Callable[[], object] | None:
        key, modifiers = event.key(), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if event.matches(QKeySequence.StandardKey.Copy):
            return self.copy_path
        if key == Qt.Key.Key_C and modifiers == _CONTROL_SHIFT:
            return self.copy_row
        if key == Qt.Key.Key_Asterisk:  # Qt's own would open everything there is
            return self.expand_subtree
        if modifiers:
            return None
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            return lambda: self.activate(self.currentIndex())
        if key == Qt.Key.Key_Escape and self.tree_model.is_filtered:
            return self.filterCleared.emit
        return self.go_up if key == Qt.Key.Key_Backspace else None

    def keyboardSearch(self, search: str) -> None:
        """Go to the next row whose name begins with what was typed: one that shows, else any."""
        pages = self.tree_model.pages
        if pages is None or not search or not pages.index.has_text:
            return
        row = self._typed.find(search, QApplication.keyboardInputInterval() / 1000, self._current, pages, self)
        if row is not None:
            self.select(row)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        from ckpt_viewer.gui.tree.menu import tree_menu

        menu = tree_menu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.columns.fit()

    def activate(self, index: QModelIndex) -> None:
        """Do what Enter does: load more rows, go where a second way to a container leads, else emit `activatedRow`."""
        row = self.tree_model.row_of(index)
        if self.tree_model.is_more(index):
            self._show_more(index)
        elif row >= 0 and not self._follow(row):
            self.activatedRow.emit(row)

    def _show_more(self, index: QModelIndex) -> None:
        if self.tree_model.is_more(index):
            was_current = index == self.currentIndex()
            first = self.tree_model.show_more(index)
            if was_current:
                self.setCurrentIndex(first)

    def _follow(self, row: int) -> bool:
        tree = self.tree_model.tree
        target = tree.same_as(row) if tree is not None else None
        if target is None or (self.tree_model.is_filtered and not self.is_shown(target)):
            return False
        self.select(target)
        return True

    def go_up(self) -> None:
        """Select the parent of the current row."""
        above = self.currentIndex().parent()
        if above.isValid():
            self.setCurrentIndex(above)

    def expand_subtree(self) -> None:
        """Open everything below the current row as far as `MOST_OPENED` rows go, and say if that was not all."""
        pages, row = self.tree_model.pages, self.tree_model.row_of(self.currentIndex())
        if pages is None or row < 0:
            return
        rows, complete = subtree_to_open(pages, row, MOST_OPENED)
        self._open_some(pages, rows)
        if not complete:
            self.said.emit(f"Stopped at about {grouped(MOST_OPENED)} rows; expand a smaller part, or filter by name.")

    def _open_some(self, pages: Pages, rows: list[int]) -> None:
        """Open as many rows as a turn has time for, the others in the next; none if something else shows by then."""
        if pages is self.tree_model.pages:
            self.open_rows(rows[:AT_ONCE])
            if rest := rows[AT_ONCE:]:
                soon(self, lambda: self._open_some(pages, rest))

    def copy_path(self) -> None:
        """Copy the JSON Pointers of the selected rows, one a line."""
        self._copy(Cells.pointer)

    def copy_row(self) -> None:
        """Copy the selected rows, tab separated, with full precision."""
        from ckpt_viewer.gui.tree.cell_words import copied_row

        self._copy(copied_row)

    def copy_value(self) -> None:
        """Copy the values of the selected rows that are scalars."""
        from ckpt_viewer.gui.tree.cell_words import copied_value

        self._copy(copied_value)

    def _copy(self, text_of: Callable[[Cells, int], str | None]) -> None:
        cells, current = self.tree_model.cells, self.tree_model.row_of(self.currentIndex())
        rows = self.picked_rows or [current]
        texts = [text_of(cells, row) for row in rows if row >= 0] if cells is not None else []
        found = [text for text in texts if text is not None]
        if found:
            QGuiApplication.clipboard().setText("\n".join(found))

    # what Qt tells

    @called_by_qt
    def drawRow(self, painter: QPainter, options: QStyleOptionViewItem, index: AnyIndex) -> None:
        if self._painter is None:
            self._painter = RowPainter(self, self.tree_model)
        self._painter.draw(painter, options, index)

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        table = self.tree_model.cells.table if self.tree_model.cells is not None else None
        if table is not None and table.missing:
            if not self.isColumnHidden(PICTURE):
                self.sparksWanted.emit(table)
            table.missing.clear()
        if not self._is_painted and self.tree_model.tree is not None:
            self._is_painted = True
            self.painted.emit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        self._painter = None  # its fonts and colours may be others now

    def _on_expanded(self, index: QModelIndex) -> None:
        super()._on_expanded(index)
        self.columns.make_room(self.tree_model.depth(index) + 1)

    def _on_double_clicked(self, index: QModelIndex) -> None:
        row = self.tree_model.row_of(index)
        if row >= 0 and not self.tree_model.hasChildren(index.siblingAtColumn(0)):
            self.activate(index)


_CONTROL_SHIFT = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
