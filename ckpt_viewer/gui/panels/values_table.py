"""The table of values: its view, and copies of what is selected in full precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QItemSelectionRange, Qt, Signal
from PySide6.QtGui import QAction, QFontMetrics, QGuiApplication, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QTableView, QWidget

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.slicing import read_block
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.panels.digits import every_digit, six_digits
from ckpt_viewer.gui.panels.tiles import Grid, Tiles
from ckpt_viewer.gui.panels.values_model import PAGE_ROWS, ValuesModel
from ckpt_viewer.gui.theme import themes

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

MOST_COPIED = 200_000
"""Cells that a copy may have: handing a million to the clipboard took the GUI thread 0.2 s."""
MEASURED = 200
"""Cells by whose texts the width of the columns is chosen."""
WIDEST = 320


class ValuesTable(QTableView):
    """QTableView over a ValuesModel. Ctrl+C copies the selection, tab-separated."""

    said = Signal(str)
    """What a copy came to, in a sentence."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("valuesTable")
        self.setAccessibleName("Values")
        self.tiles = Tiles(session.jobs, self)
        self.values = ValuesModel(self.tiles, self)
        self.setModel(self.values)
        self._measured = self._widens = False
        self._copy = Latest(session.jobs, self)
        self._copy.finished.connect(self._on_copied)
        self._copy.failed.connect(self.tiles.failed)
        self._look()
        self.tiles.arrived.connect(self._measure)
        themes().changed.connect(self._repaint)  # a lambda would outlive this table
        self._add_action("Copy", self.copy, QKeySequence(QKeySequence.StandardKey.Copy))
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def _repaint(self) -> None:
        self.viewport().update()

    def _look(self) -> None:
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        down, across = self.verticalHeader(), self.horizontalHeader()
        down.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        down.setDefaultSectionSize(self.fontMetrics().height() + 7)
        across.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for header in (down, across):
            header.setHighlightSections(False)

    def _add_action(self, text: str, call: object, keys: QKeySequence) -> None:
        action = QAction(text, self)
        action.setShortcut(keys)
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(call)
        self.addAction(action)

    def show_grid(self, grid: Grid | None) -> None:
        """Show another slice from its beginning."""
        self._copy.cancel()
        self._measured = self._widens = False
        self.values.show_grid(grid)

    def go_to(self, row: int, column: int | None = None) -> None:
        """Make a row of the slice current, or one of its cells; turns to its page."""
        first = row // PAGE_ROWS * PAGE_ROWS
        if first != self.values.first:
            self.values.show_page(first)
        index = self.values.index(row - first, max(0, self.currentIndex().column()) if column is None else column)
        self.setCurrentIndex(index)
        hint = QAbstractItemView.ScrollHint
        self.scrollTo(index, hint.PositionAtTop if column is None else hint.PositionAtCenter)
        self._measured = False

    def _measure(self) -> None:
        """Make the columns as wide as the first values need, or those where `go_to` led."""
        if self._measured or not self.values.rowCount():
            return
        top, left = max(0, self.rowAt(0)), max(0, self.columnAt(0))
        columns = min(self.values.columnCount() - left, 20)
        rows = min(self.values.rowCount() - top, MEASURED // columns)
        metrics: QFontMetrics = self.fontMetrics()
        values = [self.values.value(top + at // columns, left + at % columns) for at in range(rows * columns)]
        texts = [six_digits(value) for value in values if value is not None]
        texts.append(str(self.values.columnCount() - 1))
        width = min(max(max(metrics.horizontalAdvance(text) for text in texts) + 18, 48), WIDEST)
        if self._widens:
            width = max(width, self.horizontalHeader().defaultSectionSize())
        self.horizontalHeader().setDefaultSectionSize(width)
        self._widens = True
        self._measured = True

    def copy(self) -> None:
        """Put the selected values on the clipboard; they are read in a job, since most were never on the screen."""
        grid = self.tiles.grid
        ranges = self.selectionModel().selection()
        boxes = [self._box(ranges.at(each)) for each in range(ranges.count())]
        if grid is None or not boxes:
            return
        cells = sum((bottom - top) * (right - left) for top, bottom, left, right in boxes)
        if cells > MOST_COPIED:
            self.said.emit(f"{grouped(cells)} values are too many to copy; select at most {grouped(MOST_COPIED)}.")
            return
        self._copy.start(lambda context: copied_text(grid, boxes, context), title="Copying values")

    def _box(self, chosen: QItemSelectionRange) -> tuple[int, int, int, int]:
        first = self.values.first
        return first + chosen.top(), first + chosen.bottom() + 1, chosen.left(), chosen.right() + 1

    def _on_copied(self, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        lines = text.count("\n") + 1
        self.said.emit(f"{grouped(lines)} {'row' if lines == 1 else 'rows'} copied in full precision.")


def copied_text(grid: Grid, boxes: list[tuple[int, int, int, int]], context: Context) -> str:
    """Return blocks of a slice as lines of tab-separated numbers; several blocks as they lie, gaps empty.

    Raises:
        CheckpointError: they cannot be read. Cancelled: by `context`.
    """
    left, right = min(box[2] for box in boxes), max(box[3] for box in boxes)
    lines: dict[int, list[str]] = {}
    for top, bottom, first, last in boxes:
        block = read_block(grid.tensor, grid.slicing, slice(top, bottom), slice(first, last))
        for row in range(top, bottom):
            line = lines.setdefault(row, [""] * (right - left))
            for column in range(first, last):
                line[column - left] = every_digit(block[row - top, column - first])
                context.step(row - top, bottom - top)
    return "\n".join("\t".join(lines[row]) for row in sorted(lines))
