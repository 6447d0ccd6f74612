"""The first entries of a container as a table of links."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QGuiApplication, QPalette
from PySide6.QtWidgets import QHeaderView, QWidget

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.panels.link_table import LinkTable
from ckpt_viewer.gui.tree.cell_words import tip
from ckpt_viewer.gui.tree.cells import DTYPE, NAME, SHAPE, SIZE, TYPE, Cells

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.contents import Contents
    from ckpt_viewer.gui.session import Session

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ((NAME, "Name"), (TYPE, "Type"), (SHAPE, "Shape"), (DTYPE, "Dtype"), (SIZE, "Size"))
"""Columns of the tree that are shown here."""


class EntriesModel(QAbstractTableModel):
    """Rows of the tree, with the tree's own texts."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: Cells | None = None
        self.lines: list[int] = []

    def show_lines(self, cells: Cells | None, lines: list[int]) -> None:
        """Show other rows of the tree."""
        self.beginResetModel()
        self.cells, self.lines = cells, lines if cells is not None else []
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One row an entry."""
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """See COLUMNS."""
        return 0 if parent.isValid() else len(COLUMNS)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The tree's text; a scalar's value stands behind its name."""
        if self.cells is None or not index.isValid():
            return None
        row, column = self.lines[index.row()], COLUMNS[index.column()][0]
        if role == Qt.ItemDataRole.DisplayRole:
            text = self.cells.shown(row, column)
            note = self.cells.note(row) if column == NAME else ""
            return f"{text}   {note}" if note else text
        if role == Qt.ItemDataRole.ToolTipRole:
            return tip(self.cells, row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column == SIZE:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and column == NAME:
            return QGuiApplication.palette().brush(QPalette.ColorRole.Link)
        return None

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The titles of the columns."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section][1]
        return None


class EntriesView(LinkTable):
    """Shows EntriesModel."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        self.entries = EntriesModel()
        super().__init__(session, self.entries, "entriesTable", "Entries", parent)

    def show_lines(self, contents: Contents) -> None:
        """Show other rows of the tree."""
        checkpoint = self._session.checkpoint
        cells = None if checkpoint is None else Cells(contents.tree, checkpoint.locator, "")
        self.entries.show_lines(cells, contents.lines)
        across = self.horizontalHeader()
        across.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, len(COLUMNS)):
            across.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)

    def target(self, row: int) -> Callable[[], Any] | None:
        """Return what finds an entry."""
        checkpoint, cells = self._session.checkpoint, self.entries.cells
        if checkpoint is None or cells is None:
            return None
        tree, line = cells.index, self.entries.lines[row]
        return lambda: tree.subject(line, checkpoint)
