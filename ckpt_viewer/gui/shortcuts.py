"""The list of keys that F1 shows: a card over the window, gone with F1, Esc or a click. It asks nothing: no dialog."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QFrame, QGridLayout, QScrollArea, QVBoxLayout, QWidget

from ckpt_viewer.gui.actions import shortcut_rows
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import label, larger, monospaced
from ckpt_viewer.gui.theme import theme

BESIDE = 80
"""Pixels beside the list: the card's margins and a scroll bar."""


class ShortcutCard(QFrame):
    """Lists every key in the middle of a window."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.setObjectName("shortcutCard")
        self.setAccessibleName("Keyboard shortcuts")
        self.setAutoFillBackground(True)
        self.setBackgroundRole(QPalette.ColorRole.Base)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 16, 22, 14)
        heading = label("Keyboard shortcuts")
        larger(heading, 1.3, bold=True)
        column.addWidget(heading)
        self._inside = QWidget()
        column.addWidget(self._list(self._inside), 1)
        column.addWidget(label("Esc or F1 closes this list.", muted=True))
        window.installEventFilter(self)
        self.hide()

    def _list(self, inside: QWidget) -> QScrollArea:
        grid = QGridLayout(inside)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(24)
        for row, (keys, text) in enumerate(shortcut_rows()):
            what = label(keys)
            monospaced(what)
            grid.addWidget(what, row, 0)
            grid.addWidget(label(text), row, 1)
        grid.setColumnStretch(1, 1)
        area = QScrollArea()
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        inside.setBackgroundRole(QPalette.ColorRole.Base)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return area

    def toggle(self) -> None:
        """Show or hide the list."""
        if self.isVisible():
            self.leave()
            return
        self._place()
        self.raise_()
        self.show()
        self.setFocus()

    def leave(self) -> None:
        """Hide the list and give the keyboard back to the window."""
        self.hide()
        self._window.setFocus()

    def _place(self) -> None:
        room = self._window.rect()
        wanted = max(560, self._inside.sizeHint().width() + BESIDE)  # a large font needs more
        width, height = min(wanted, room.width() - 40), min(620, room.height() - 40)
        self.setGeometry((room.width() - width) // 2, (room.height() - height) // 2, width, height)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc closes."""
        if event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.leave()
        else:
            super().keyPressEvent(event)

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """With a border that stands out in both themes."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setPen(QPen(QColor(theme().muted), 1))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click closes."""
        del event
        self.leave()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the middle of the window."""
        if event.type() == QEvent.Type.Resize and watched is self._window and self.isVisible():
            self._place()
        return False
