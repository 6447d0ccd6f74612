"""A list of entries of the checkpoint, each a link that selects it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QCursor, QGuiApplication, QPalette
from PySide6.QtWidgets import QAbstractItemView, QFrame, QListView, QWidget

from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import shape_text
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import tooltip
from ckpt_viewer.gui.panels.crumbs import row_pointer

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.gui.tree import TreeIndex

Index = QModelIndex | QPersistentModelIndex


class LinksModel(QAbstractListModel):
    """Rows of the outline as paths; only those that are looked at are written out."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._index: TreeIndex | None = None
        self.rows: Sequence[int] = ()
        self._notes: Sequence[str] = ()

    def show_rows(self, index: TreeIndex | None, rows: Sequence[int], notes: Sequence[str] = ()) -> None:
        """Show other rows of the outline, with a few words about each if there are any."""
        self.beginResetModel()
        self._notes = notes
        self._index, self.rows = index, rows if index is not None else ()
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One row an entry."""
        return 0 if parent.isValid() else len(self.rows)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The path, and the shape where the entry is a tensor."""
        if self._index is None or not index.isValid():
            return None
        outline, row = self._index.outline, self.rows[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            value, text = outline.values[row], row_pointer(outline, row)
            if isinstance(value, TensorSpec):
                text += f"   {shape_text(value.shape)}"
            if self._notes:
                text += f"   {self._notes[index.row()]}"
            return text if role == Qt.ItemDataRole.DisplayRole else tooltip(text)
        if role == Qt.ItemDataRole.ForegroundRole:
            return QGuiApplication.palette().brush(QPalette.ColorRole.Link)
        return None


class LinksView(QListView):
    """Shows LinksModel; a click or Enter selects the entry in the window."""

    def __init__(self, session: Session, name: str, words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setObjectName(name)
        self.setAccessibleName(words)
        self.links = LinksModel(self)
        self.setModel(self.links)
        self.setUniformItemSizes(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.viewport().setCursor(QCursor(Qt.CursorShape.PointingHandCursor))
        self._finder = Latest(session.jobs, self)
        self._finder.finished.connect(session.select)
        self.clicked.connect(self.follow)
        self.activated.connect(self.follow)

    def show_rows(self, rows: Sequence[int], notes: Sequence[str] = ()) -> None:
        """Show other rows of the outline, with a few words about each if there are any."""
        self.links.show_rows(self._session.index, rows, notes)

    def follow(self, index: QModelIndex) -> None:
        """Select what a row stands for; finding its place may pass many siblings, so in a job."""
        checkpoint, tree = self._session.checkpoint, self._session.index
        if checkpoint is not None and tree is not None:
            row = self.links.rows[index.row()]
            self._finder.start(lambda _context: tree.node(row, checkpoint))
