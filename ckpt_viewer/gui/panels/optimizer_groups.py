"""The groups of an optimizer beside each other: hyper-parameters down, groups across."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QFont, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QTableView, QWidget

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import plain, tooltip
from ckpt_viewer.gui.panels.training_report import Hyper

Index = QModelIndex | QPersistentModelIndex
SHOWN = 60
"""Characters of a cell that are painted; its tool tip is whole."""
WIDEST = 22
"""Digits that a value may ask for."""
NAME_PART = 0.4
"""The part of the width that the names of hyper-parameters may take."""


class GroupsModel(QAbstractTableModel):
    """Hyper-parameters down, groups across; where groups differ, in bold and said so."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: tuple[str, ...] = ()
        self.hypers: list[Hyper] = []

    def show_hypers(self, titles: tuple[str, ...], hypers: list[Hyper]) -> None:
        """Show other groups."""
        self.beginResetModel()
        self.titles, self.hypers = titles, hypers
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One line a hyper-parameter."""
        return 0 if parent.isValid() else len(self.hypers)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One column a group."""
        return 0 if parent.isValid() else len(self.titles)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text and look of a cell."""
        if not index.isValid():
            return None
        hyper = self.hypers[index.row()]
        text = hyper.values[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return plain(text, SHOWN)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip(f"{hyper.name} = {text}{' (differs between groups)' if hyper.differs else ''}")
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return (
                f"{plain(hyper.name, SHOWN)}: {plain(text, SHOWN)}{', differs between groups' if hyper.differs else ''}"
            )
        if role == Qt.ItemDataRole.FontRole and hyper.differs:
            font = QFont()
            font.setBold(True)
            return font
        return None

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Groups above, names of hyper-parameters at the side."""
        across = orientation == Qt.Orientation.Horizontal
        if role == Qt.ItemDataRole.DisplayRole:
            return self.titles[section] if across else plain(self.hypers[section].name, SHOWN)
        if role == Qt.ItemDataRole.ToolTipRole and not across:
            return tooltip(self.hypers[section].name)
        return None


class GroupsTable(QTableView):
    """Shows GroupsModel; what does not fit into a column is elided, and whole in its tool tip."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("optimizerGroups")
        self.setAccessibleName("Hyper-parameters of each group")
        self.hypers = GroupsModel()
        self.hypers.setParent(self)
        self.setModel(self.hypers)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        rows, across = self.verticalHeader(), self.horizontalHeader()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 7)
        rows.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        across.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        across.setMaximumSectionSize(self.fontMetrics().horizontalAdvance("8" * WIDEST))

    def show_hypers(self, titles: tuple[str, ...], hypers: list[Hyper]) -> None:
        """Show other groups."""
        self.hypers.show_hypers(titles, hypers)
        self.resizeColumnsToContents()
        self._share_width()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave room for values, however long the names are."""
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        self.verticalHeader().setMaximumWidth(max(60, round(self.width() * NAME_PART)))

    def height_of(self, rows: int) -> int:
        """Return the pixels that so many rows take, with the titles and the bar below them where there is one."""
        around = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth()
        names = min(self.verticalHeader().sizeHint().width(), self.verticalHeader().maximumWidth())
        wide = names + self.horizontalHeader().length() > self.width()
        bar = self.horizontalScrollBar().sizeHint().height() if wide else 0
        return around + self.verticalHeader().defaultSectionSize() * rows + bar
