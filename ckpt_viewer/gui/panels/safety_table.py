"""A table whose rows have a sign of their urgency, and lead to the entry that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QGuiApplication, QIcon, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QHeaderView

from ckpt_viewer.gui import icons
from ckpt_viewer.gui.cells_model import SHOWN, CellsModel
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.panels.link_table import LinkTable
from ckpt_viewer.gui.panels.safety_report import Row
from ckpt_viewer.gui.theme import theme, themes

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

MOST_WIDE = 320
"""Pixels that a column but the stretched one may ask for."""
NAME, NAME_PART = 1, 0.42
"""The column of names where another one is stretched, and the part of the width that it may take."""
LEAST_STRETCHED = 140
"""Pixels that the stretched column is to have; where it would not, others are left out."""
MEASURED = 60
"""Rows by which columns are given their width."""


class RowsModel(CellsModel):
    """Rows of a Report.

    Attributes:
        words: what the ranks are called. signs: the icons that stand before them; ``""`` for none.
        link: the column that is written like a link where a click leads somewhere.
    """

    def __init__(self, headers: tuple[str, ...], words: tuple[str, ...], signs: tuple[str, ...], link: int) -> None:
        super().__init__()
        self.titles, self.words, self.signs, self.link = headers, words, signs, link
        self.rows: list[Row] = []
        self._icons: dict[str, QIcon] = {}

    def show_rows(self, rows: list[Row]) -> None:
        """Show other rows."""
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def dress(self) -> None:
        """Draw the signs anew: the theme changed."""
        self._icons.clear()
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, 0))

    def count(self) -> int:
        """One line a row."""
        return len(self.rows)

    def text(self, row: int, column: int) -> str:
        """Return the whole text of a cell, unescaped."""
        shown = self.rows[row]
        return self.words[shown.rank] if column == 0 else shown.cells[column - 1]

    def leads(self, row: int) -> bool:
        """Whether a row is about an entry."""
        return self.rows[row].row is not None

    def sign(self, row: int, column: int) -> QIcon | None:
        """The sign of a row's rank."""
        name = self.signs[self.rows[row].rank] if column == 0 else ""
        if not name:
            return None
        if name not in self._icons:
            picture = icons.pixmap(name, 32, icons.colour_of(name, theme()))
            picture.setDevicePixelRatio(2)
            self._icons[name] = QIcon(picture)
        return self._icons[name]


class RowsTable(LinkTable):
    """Shows RowsModel; Ctrl+C copies whole rows."""

    def __init__(
        self, session: Session, model: RowsModel, name: str, words: str, *, stretched: int, spare: tuple[int, ...]
    ) -> None:
        """Prepare an empty table.

        Args:
            stretched: the column that gets what is left of the width. spare: those that go where there is little, the
                first of them first.
        """
        super().__init__(session, model, name, words)
        self._stretched, self._spare = stretched, spare
        self._widths: dict[int, int] = {}
        self.lines = model
        middle = stretched != NAME  # the end of a name says more than its middle, that of a sentence less
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle if middle else Qt.TextElideMode.ElideRight)
        for text, call, keys in (("Copy", self.copy, QKeySequence.StandardKey.Copy), ("Copy all", self.copy_all, None)):
            action = QAction(text, self)
            if keys is not None:
                action.setShortcut(QKeySequence(keys))
                action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(call)
            self.addAction(action)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        themes().changed.connect(model.dress)

    def show_rows(self, rows: list[Row]) -> None:
        """Show other rows; columns are as wide as the first of them ask for."""
        self.lines.show_rows(rows)
        across = self.horizontalHeader()
        for column in range(len(self.lines.titles)):
            if column == self._stretched:
                across.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
                continue
            texts = [self.lines.titles[column], *(self.lines.text(row, column) for row in range(len(rows[:MEASURED])))]
            widest = max(self.fontMetrics().horizontalAdvance(plain(text, SHOWN)) for text in texts)
            self._widths[column] = min(widest + (44 if column == 0 else 24), MOST_WIDE)
            self.setColumnWidth(column, self._widths[column])
        self._share_width()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give names their part of the new width."""
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        room, widths = self.viewport().width(), dict(self._widths)
        if NAME in widths:
            widths[NAME] = min(widths[NAME], round(room * NAME_PART))
            self.setColumnWidth(NAME, widths[NAME])
        for column in self._spare:
            self.setColumnHidden(column, room - sum(widths.values()) < LEAST_STRETCHED)
            if self.isColumnHidden(column):
                widths.pop(column, 0)

    def fit_height(self, least: int, most: int) -> None:
        """Be as high as all rows, at most as `most` of them, and at least as `least`."""
        rows = self.verticalHeader()
        head = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth() + 2
        if self.horizontalHeader().length() > self.width():
            head += self.horizontalScrollBar().sizeHint().height()
        self.setMinimumHeight(head + rows.defaultSectionSize() * min(rows.count(), least))
        self.setMaximumHeight(head + rows.defaultSectionSize() * min(rows.count(), most))

    def target(self, row: int) -> Callable[[], Any] | None:
        """Return what finds the entry that a row is about."""
        line = self.lines.rows[row].row
        checkpoint, tree = self._session.checkpoint, self._session.index
        if line is None or checkpoint is None or tree is None:
            return None
        return lambda: tree.subject(tree.rows[line], checkpoint)

    def copy(self) -> None:
        """Put the selected rows on the clipboard; all of them where none is selected."""
        rows = sorted({index.row() for index in self.selectionModel().selectedIndexes()})
        self._copy(rows or list(range(len(self.lines.rows))))

    def copy_all(self) -> None:
        """Put every row on the clipboard."""
        self._copy(list(range(len(self.lines.rows))))

    def _copy(self, rows: list[int]) -> None:
        columns = range(len(self.lines.titles))
        lines = ("\t".join(plain(self.lines.text(row, column)) for column in columns) for row in rows)
        QGuiApplication.clipboard().setText("\n".join(lines))
