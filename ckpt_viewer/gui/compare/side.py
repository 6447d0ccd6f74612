"""One of the two files of a comparison: the window that shows it, and the checkpoint that is kept open meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from shiboken6 import isValid

from ckpt_viewer.gui.jobs import Latest

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.gui.main_window import MainWindow


class Side(QObject):
    """Follows what a window has open.

    Attributes:
        window: may be closed by now: `is_open`. path: of the file. error: why it could not be opened.
        checkpoint: None until the file is open; kept open until `let_go`, whatever the window does.
    """

    changed = Signal()
    """Another checkpoint is open, or none could be."""

    def __init__(self, window: MainWindow, parent: QObject) -> None:
        super().__init__(parent)
        self.window, self._session = window, window.session
        self.path = self._session.path
        self.checkpoint: Checkpoint | None = None
        self.error: BaseException | None = None
        self._finding = Latest(self._session.jobs, self)
        self._finding.finished.connect(self._session.select)
        self._session.selectionChanged.connect(self._on_selected)
        self._session.loading.connect(self._on_loading)
        self._session.failed.connect(self._on_failed)
        self._take()

    @property
    def is_open(self) -> bool:
        """Whether the window still shows the checkpoint that was compared."""
        return isValid(self.window) and self.checkpoint is not None and self._session.checkpoint is self.checkpoint

    def _take(self) -> None:
        if self._session.checkpoint is not None and self._session.checkpoint is not self.checkpoint:
            self.let_go()
            self.checkpoint, self.error = self._session.borrow(), None

    def _on_selected(self, _node: object) -> None:
        """A session that opened a file selects in it."""
        before = self.checkpoint
        self._take()
        if self.checkpoint is not before:
            self.path = self._session.path
            self.changed.emit()

    def _on_loading(self) -> None:
        self.path = self._session.path

    def _on_failed(self, error: BaseException) -> None:
        self.let_go()
        self.error = error
        self.changed.emit()

    def let_go(self) -> None:
        """Give the checkpoint back, and take the marks out of its tree."""
        if self.checkpoint is None:
            return
        if self.is_open:
            self._session.marking.show_compared({})
        checkpoint, self.checkpoint = self.checkpoint, None
        self._session.give_back(checkpoint)

    def mark(self, marks: dict[int, str]) -> None:
        """Have the window's tree mark rows of the outline."""
        if self.is_open:
            self._session.marking.show_compared(marks)

    def select(self, row: int) -> None:
        """Select the entry at a row of the outline in the window; nothing where it has none."""
        index, checkpoint = self._session.index, self.checkpoint
        if row >= 0 and self.is_open and index is not None and checkpoint is not None:
            tree, held = index, checkpoint
            self._finding.start(lambda _context: tree.node(row, held))

    def filter_tree(self, text: str) -> None:
        """Have the window's tree show what a filter finds."""
        if self.is_open:
            self.window.tree.filter.setText(text)

    def come_forward(self) -> None:
        """Put the window in front."""
        if isValid(self.window):
            self.window.come_forward()
