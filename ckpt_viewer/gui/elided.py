"""One line of plain text that is cut with an ellipsis where there is no room, and told whole by its tool tip."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QWidget

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import tooltip


class ElidedLabel(QWidget):
    """Shows as much of a text as fits; never asks for more width than it is given."""

    def __init__(
        self, text: str = "", *, mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight, muted: bool = False
    ) -> None:
        super().__init__()
        self._text, self._mode, self._muted = "", mode, muted
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def text(self) -> str:
        """The whole text."""
        return self._text

    def setText(self, text: str) -> None:
        """Show another text."""
        if text != self._text:
            self._text = text
            self.setToolTip(tooltip(text))
            self.setAccessibleName(text)
            self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        """Room for the whole text."""
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._text) + 4, metrics.height() + 2)

    def minimumSizeHint(self) -> QSize:
        """Room for a few letters."""
        return QSize(min(40, self.sizeHint().width()), self.sizeHint().height())

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what fits."""
        super().paintEvent(event)
        painter = QPainter(self)
        role = QPalette.ColorRole.PlaceholderText if self._muted else QPalette.ColorRole.WindowText
        painter.setPen(self.palette().color(role))
        shown = self.fontMetrics().elidedText(self._text, self._mode, self.width())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
        painter.end()
