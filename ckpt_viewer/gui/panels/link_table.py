"""A table whose rows lead to entries of the checkpoint: a click or Enter selects the entry in the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, Qt
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QTableView, QWidget

from ckpt_viewer.gui.jobs import Latest

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session


class LinkTable(QTableView):
    """Looks as all such tables do. A subclass says in `target` where a row leads.

    Args:
        model: becomes the table's own. name: its objectName. words: its accessible name.
    """

    def __init__(
        self, session: Session, model: QAbstractTableModel, name: str, words: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self.setObjectName(name)
        self.setAccessibleName(words)
        model.setParent(self)
        self.setModel(model)
        self._finder = Latest(session.jobs, self)
        self._finder.finished.connect(session.select)
        self.clicked.connect(self.follow)
        self.activated.connect(self.follow)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setAlternatingRowColors(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.viewport().setCursor(QCursor(Qt.CursorShape.PointingHandCursor))
        rows, across = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 7)
        across.setHighlightSections(False)
        across.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def target(self, row: int) -> Callable[[], Any] | None:
        """Return what finds the entry that a row leads to; None where it leads nowhere."""
        raise NotImplementedError

    def follow(self, index: QModelIndex) -> None:
        """Select what a row stands for; finding its place may pass many siblings, so in a job."""
        find = self.target(index.row())
        if find is not None:
            self._finder.start(lambda _context: find())
