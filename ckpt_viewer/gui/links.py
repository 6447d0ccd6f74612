"""A button that looks like a link: reached by Tab, pressed by Space, its text never markup."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from ckpt_viewer.gui.labels import menu_text
from ckpt_viewer.gui.theme import theme, themes


class LinkButton(QPushButton):
    """A flat button in the colour of links."""

    def __init__(self, text: str, parent: QWidget | None = None, *, limit: int = 60) -> None:
        super().__init__(menu_text(text, limit), parent)
        self.setFlat(True)
        self.setAutoDefault(False)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        font = self.font()
        font.setUnderline(True)
        self.setFont(font)
        themes().changed.connect(self._tint)
        self._tint()

    def _tint(self) -> None:
        palette = QPalette()
        palette.setColor(QPalette.ColorRole.ButtonText, QColor(theme().link))
        self.setPalette(palette)
