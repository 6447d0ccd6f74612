"""The differences as a table: only what is looked at is asked for, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QTableView, QWidget

from ckpt_viewer.analysis.diff_table import Line
from ckpt_viewer.gui.cells_model import CellsModel
from ckpt_viewer.gui.compare.work import COSINE, DIFFERS, ENTRY, LARGEST, RELATIVE, SIDE_A, SIDE_B, SIGNS, WHAT, WORDS
from ckpt_viewer.gui.labels import NAME_LIMIT, plain

NARROW = 720
"""Pixels of a table in which one column of numbers is left out."""
NUMBERS = (LARGEST, RELATIVE, COSINE)
TITLES = {WHAT: "What", ENTRY: "Entry", LARGEST: "Difference", RELATIVE: "Relative", COSINE: "Cosine"}
TIPS = {
    LARGEST: "The largest absolute difference of two elements at one place",
    RELATIVE: "The largest difference divided by the larger of both magnitudes",
    COSINE: "The cosine of both tensors as vectors: 1 where they point the same way",
}


def number_text(value: float) -> str:
    """Return a number with six digits; what is none, or not finite, as torch writes it in words."""
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if value != value else "Inf" if value > 0 else "-Inf"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def exact_text(value: float) -> str:
    """Return a number in full, as a copy has it."""
    return repr(value) if isfinite(value) else number_text(value)


def _titles(names: tuple[str, str]) -> list[str]:
    """Return the titles of the columns, with the names of both files."""
    sides = {SIDE_A: f"A: {plain(names[0], NAME_LIMIT)}", SIDE_B: f"B: {plain(names[1], NAME_LIMIT)}"}
    titles = TITLES | sides
    return [titles[column] for column in range(len(titles))]


class DiffModel(CellsModel):
    """Lines in an order. Headings of the two sides say A and B.

    Attributes:
        lines: all of them. shown: numbers of those that show, in order. names: of both files.
    """

    numbers, link = NUMBERS, ENTRY

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: Sequence[Line] = ()
        self.shown: Sequence[int] = ()
        self.names = ("", "")
        self.titles = _titles(self.names)

    def show_lines(self, lines: Sequence[Line], shown: Sequence[int]) -> None:
        """Show other lines, or others of them, in another order."""
        self.beginResetModel()
        self.lines, self.shown = lines, shown
        self.endResetModel()

    def show_names(self, names: tuple[str, str]) -> None:
        """Say in the headings which files these are."""
        self.names, self.titles = names, _titles(names)
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, SIDE_A, SIDE_B)

    def line(self, row: int) -> Line:
        """Return the line in a row."""
        return self.lines[self.shown[row]]

    def text(self, row: int, column: int, number: Callable[[float], str] = number_text) -> str:
        """Return the whole text of a cell, unescaped; numbers with six digits unless `number` writes them otherwise."""
        line = self.line(row)
        if column == WHAT:
            return f"{SIGNS.get(line.kind, DIFFERS)} {WORDS[line.kind]}"
        if column == ENTRY:
            other = f"  \N{RIGHTWARDS ARROW}  {line.path_b or 'the root'}" if _is_elsewhere(line) else ""
            return f"{line.path or 'the root'}{other}"
        if column in (SIDE_A, SIDE_B):
            return _side(line, column == SIDE_B, number)
        value = {LARGEST: line.max_abs, RELATIVE: line.max_rel, COSINE: line.cosine}[column]
        return "" if value is None else number(value)

    def count(self) -> int:
        """One row a line that shows."""
        return len(self.shown)

    def told(self, row: int, column: int) -> str:
        """The text, and of a difference where it is the largest."""
        line = self.line(row)
        if column == LARGEST and line.change is not None and line.change.by is not None:
            by = line.change.by
            return f"{by.max_abs!r}, from {line.a} to {line.b}; {by.elements} elements differ"
        return self.text(row, column)

    def title_told(self, column: int) -> str:
        """What a column of numbers means, or the title in full."""
        return TIPS.get(column) or self.titles[column]


def _side(line: Line, of_b: bool, number: Callable[[float], str]) -> str:
    """Return what A or B has; of values that of the element where they are farthest apart."""
    change = line.change
    if change is not None and change.problem:
        return change.problem if of_b else ""
    if change is not None and change.by is not None:
        value = change.b if of_b else change.a
        return number(value) if isinstance(value, int | float) else str(value)
    return line.b if of_b else line.a


def _is_elsewhere(line: Line) -> bool:
    return line.row_a >= 0 and line.row_b >= 0 and line.path_a != line.path_b


class DiffTable(QTableView):
    """Shows a DiffModel."""

    lineChosen = Signal(object)
    """The Line that is current."""
    sortWanted = Signal(int, bool)
    """A column, and whether descending; -1 for the order of the files."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compareTable")
        self.setAccessibleName("Differences between A and B")
        self.differences = DiffModel(self)
        self.setModel(self.differences)
        self._sorted, self._kinds = (-1, False), tuple[str, ...]()
        self.selectionModel().currentRowChanged.connect(self._on_current)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setAlternatingRowColors(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        rows, across = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 7)
        across.setHighlightSections(False)
        across.setSectionsClickable(True)
        across.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        across.sectionClicked.connect(self.sort_by)
        self._add_action("Copy", self.copy, QKeySequence(QKeySequence.StandardKey.Copy))
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self._fit()

    def _add_action(self, text: str, call: Any, keys: QKeySequence) -> None:
        action = QAction(text, self)
        action.setShortcut(keys)
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(call)
        self.addAction(action)

    def show_lines(self, lines: Sequence[Line], shown: Sequence[int]) -> None:
        """Show other lines, or others of them, from the top."""
        self.differences.show_lines(lines, shown)
        self.scrollToTop()

    def show_kinds(self, kinds: Iterable[str]) -> None:
        """Make room for lines of some kinds, and show the columns that only values of tensors fill where there are."""
        self._kinds = tuple(kinds)
        self._fit()

    def sort_by(self, column: int) -> None:
        """Sort by a column as a click on its head does: one way, the other way, then as in the files again."""
        first = column in (LARGEST, RELATIVE)
        if self._sorted[0] != column:
            self._sorted = (column, first)
        elif self._sorted[1] == first:
            self._sorted = (column, not first)
        else:
            self._sorted = (-1, False)
        across = self.horizontalHeader()
        across.setSortIndicatorShown(self._sorted[0] >= 0)
        if self._sorted[0] >= 0:
            down = Qt.SortOrder.DescendingOrder if self._sorted[1] else Qt.SortOrder.AscendingOrder
            across.setSortIndicator(column, down)
        self.sortWanted.emit(*self._sorted)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the columns their share of the width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Paths get what the others leave; the sides are equally wide."""
        metrics, width = self.fontMetrics(), self.viewport().width()
        words = max((metrics.horizontalAdvance(WORDS[kind]) for kind in self._kinds), default=60)
        what = words + metrics.horizontalAdvance(f"{DIFFERS} ") + 16
        self.setColumnWidth(WHAT, what)
        left = width - what
        for column, text in {LARGEST: "1.23456e-05", RELATIVE: "1.23456e-05", COSINE: "-1.23456e-05"}.items():
            shows = "values" in self._kinds and (column != RELATIVE or width >= NARROW)
            self.setColumnHidden(column, not shows)
            if shows:
                self.setColumnWidth(column, metrics.horizontalAdvance(text) + 16)
                left -= self.columnWidth(column)
        side = max(76, left * 3 // 10)
        self.setColumnWidth(SIDE_A, side)
        self.setColumnWidth(SIDE_B, side)
        self.setColumnWidth(ENTRY, max(110, left - 2 * side))

    def _on_current(self, current: QModelIndex, _before: QModelIndex) -> None:
        if current.isValid():
            self.lineChosen.emit(self.differences.line(current.row()))

    def copy(self) -> None:
        """Put the selected rows on the clipboard, tab separated."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        shown = [column for column in range(COSINE + 1) if not self.isColumnHidden(column)]
        texts = ("\t".join(plain(self.differences.text(row, column, exact_text)) for column in shown) for row in rows)
        QGuiApplication.clipboard().setText("\n".join(texts))
