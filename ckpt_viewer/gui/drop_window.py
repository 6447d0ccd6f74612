"""A window that takes drops, and lets none of its children take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QMainWindow

if TYPE_CHECKING:
    from ckpt_viewer.gui.drops import WindowDrops


class DropWindow(QMainWindow):
    """Hands its drag events to a WindowDrops, which is made at the first of them."""

    filesDropped = Signal(str, object)
    """`drops.OPEN` or `drops.REMAP`, and the paths."""

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self._drops: WindowDrops | None = None

    def keep_drops(self) -> None:
        """Have no child accept drops; call it when children were made."""
        from ckpt_viewer.gui.drops import leave_drops_to_window

        leave_drops_to_window(self)

    @property
    def drops(self) -> WindowDrops:
        """What handles the events."""
        if self._drops is None:
            from ckpt_viewer.gui.drops import WindowDrops

            self._drops = WindowDrops(self)
            self._drops.dropped.connect(self.filesDropped)
        return self._drops

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files come."""
        self.drops.enter(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Files move over the window."""
        self.drops.move(event)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """They left."""
        del event
        self.drops.leave()

    def dropEvent(self, event: QDropEvent) -> None:
        """They were dropped."""
        self.drops.drop(event)

    def changeEvent(self, event: QEvent) -> None:
        """Losing the focus may be the beginning of a drag from elsewhere, and children may have been made since."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and not self.isActiveWindow() and self.isVisible():
            self.keep_drops()
