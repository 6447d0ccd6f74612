"""A table of texts: how its cells look, are told and are read aloud is the same in every panel."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QGuiApplication, QIcon, QPalette

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import plain, tooltip

Index = QModelIndex | QPersistentModelIndex
SHOWN = 300
"""Characters of a cell that are painted; its tool tip and its copy have more."""


class CellsModel(QAbstractTableModel):
    """A subclass says how many rows there are and what stands in them; only what is looked at is asked for.

    Attributes:
        titles: of the columns. numbers: the columns that are set to the right.
        link: the column that is written as what leads somewhere; -1 for none.
    """

    titles: Sequence[str] = ()
    numbers: Container[int] = ()
    link = -1

    def count(self) -> int:
        """Return the number of rows."""
        raise NotImplementedError

    def text(self, row: int, column: int) -> str:
        """Return the whole text of a cell, unescaped."""
        raise NotImplementedError

    def told(self, row: int, column: int) -> str:
        """Return what the tool tip of a cell says, unescaped."""
        return self.text(row, column)

    def title_told(self, column: int) -> str:
        """Return what the tool tip of a title says, unescaped; ``""`` for none."""
        del column
        return ""

    def leads(self, row: int) -> bool:
        """Whether the link of a row leads somewhere."""
        del row
        return True

    def sign(self, row: int, column: int) -> QIcon | None:
        """Return the icon before a cell."""
        del row, column
        return None

    # what follows is called by Qt

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """See `count`."""
        return 0 if parent.isValid() else self.count()

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """See `titles`."""
        return 0 if parent.isValid() else len(self.titles)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, sign and look of a cell."""
        if not index.isValid() or index.row() >= self.count():
            return None
        row, column = index.row(), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return plain(self.text(row, column), SHOWN)
        if role == Qt.ItemDataRole.ToolTipRole:
            told = self.told(row, column)
            return tooltip(told) if told else None
        if role == Qt.ItemDataRole.DecorationRole:
            return self.sign(row, column)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{self.titles[column]}: {plain(self.text(row, column), SHOWN) or 'none'}"
        if role == Qt.ItemDataRole.TextAlignmentRole and column in self.numbers:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and column == self.link and self.leads(row):
            return QGuiApplication.palette().brush(QPalette.ColorRole.Link)
        return None

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The titles of the columns."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.titles):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.titles[section]
        if role == Qt.ItemDataRole.ToolTipRole and self.title_told(section):
            return tooltip(self.title_told(section))
        return None
