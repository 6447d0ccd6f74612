"""A line of code with a button that copies it."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

from ckpt_viewer.gui import icons
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import monospaced

COPIED_MS = 1500
"""How long the button says that it has copied."""


class CodeLine(QWidget):
    """Shows one line of code, cut in its middle where there is no room; the copy is always whole."""

    def __init__(self, parent: QWidget | None = None, *, muted: bool = False) -> None:
        super().__init__(parent)
        self._line = ElidedLabel(mode=Qt.TextElideMode.ElideMiddle, muted=muted)
        monospaced(self._line)
        self.copy_button = QToolButton()
        self.copy_button.setObjectName("copyCode")
        self.copy_button.setAutoRaise(True)
        self.copy_button.setAccessibleName("Copy this line of code")
        self.copy_button.setToolTip("Copy this line of code")
        self.copy_button.clicked.connect(self._copy)
        icons.tint(self.copy_button, "copy")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self._line)
        row.addWidget(self.copy_button)
        row.addStretch()

    @property
    def code(self) -> str:
        """The line."""
        return self._line.text()

    def show_code(self, code: str) -> None:
        """Show another line."""
        self._line.setText(code)
        self.copy_button.setVisible(bool(code))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.code)
        self.copy_button.setIcon(icons.icon("success"))
        QTimer.singleShot(COPIED_MS, self.copy_button, lambda: self.copy_button.setIcon(icons.icon("copy")))
