"""A button that looks like a link: reached by Tab, pressed by Space, its text never markup."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QStyle, QStyleOptionFocusRect, QWidget

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.theme import theme


class LinkButton(QAbstractButton):
    """Underlined text in the colour of links."""

    def __init__(self, text: str, parent: QWidget | None = None, *, limit: int = 60) -> None:
        super().__init__(parent)
        self._shown = plain(text, limit)
        self.setText(self._shown.replace("&", "&&"))
        self.setAccessibleName(self._shown)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        font = self.font()
        font.setUnderline(True)
        self.setFont(font)

    def sizeHint(self) -> QSize:
        """Room for the text and the focus frame."""
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._shown) + 6, metrics.height() + 4)

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """The text; a frame while it has the focus."""
        del event
        painter = QPainter(self)
        painter.setPen(QColor(theme().link if self.isEnabled() else theme().muted))
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(self.rect().adjusted(3, 0, 0, 0), flags, self._shown)
        if self.hasFocus():
            option = QStyleOptionFocusRect()
            option.initFrom(self)
            self.style().drawPrimitive(QStyle.PrimitiveElement.PE_FrameFocusRect, option, painter, self)
        painter.end()
