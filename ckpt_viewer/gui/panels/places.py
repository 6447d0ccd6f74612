"""A list of places in a tensor as links: a click or Enter says which was chosen."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QCursor, QGuiApplication, QPalette
from PySide6.QtWidgets import QAbstractItemView, QFrame, QListView, QWidget

from ckpt_viewer.gui.guard import called_by_qt

Index = QModelIndex | QPersistentModelIndex


class PlacesModel(QAbstractListModel):
    """Numbers with what is to be said of them."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.places: list[tuple[int, str]] = []

    def show_places(self, places: list[tuple[int, str]]) -> None:
        """Show others."""
        self.beginResetModel()
        self.places = places
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One row a place."""
        return 0 if parent.isValid() else len(self.places)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The text, as a link."""
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.places[index.row()][1]
        if role == Qt.ItemDataRole.ForegroundRole:
            return QGuiApplication.palette().brush(QPalette.ColorRole.Link)
        return None


class PlacesView(QListView):
    """Shows PlacesModel."""

    chosen = Signal(int)
    """The number of the place that was clicked."""

    def __init__(self, name: str, words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(words)
        self.places = PlacesModel(self)
        self.setModel(self.places)
        self.setUniformItemSizes(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.viewport().setCursor(QCursor(Qt.CursorShape.PointingHandCursor))
        self.clicked.connect(self._choose)
        self.activated.connect(self._choose)

    def show_places(self, places: list[tuple[int, str]]) -> None:
        """Show other places: numbers with their texts."""
        self.places.show_places(places)

    def _choose(self, index: QModelIndex) -> None:
        self.chosen.emit(self.places.places[index.row()][0])
