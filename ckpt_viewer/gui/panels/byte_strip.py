"""A file's bytes from left to right as one strip, painted by what they are; zoomed, pointed at, walked by keys."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QColor,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from ckpt_viewer.analysis.byte_map import FileMap
from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.panels.byte_colours import LEAST_SEEN, looks, paint_in
from ckpt_viewer.gui.panels.byte_scale import Scale
from ckpt_viewer.gui.theme import theme, themes

BAND = 34
"""Pixels of the band; above it is room for the mark, below it for two positions."""
MARK = 7
STEP = 1.5
"""By how much one notch of the wheel, or a press of + or -, zooms."""
DRAGGED = 4
"""Pixels from which on a press is no click any more."""


class ByteStrip(QWidget):
    """Shows a FileMap. Where many regions share a pixel, its column is divided by their bytes.

    Attributes:
        current: number of the region that is marked, None without. scale: which bytes are shown, and where.
        wheel_zooms: whether the wheel zooms by itself, or only with Ctrl.
    """

    pointed = Signal(object)
    """The stretch (start, end) in bytes below the mouse or at the mark; None when the mouse leaves."""
    chosen = Signal(object)
    """The stretch that was clicked, or the marked region when Enter is pressed."""
    zoomed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("byteStrip")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.current: int | None = None
        self.wheel_zooms = True
        self._map = FileMap("", 0)
        self.scale = Scale()
        self._painted: QPixmap | None = None
        self._pressed: tuple[float, int] | None = None
        self._dragging = False
        themes().changed.connect(self._repaint)

    # --- what it shows

    @property
    def file(self) -> FileMap:
        """The file."""
        return self._map

    def show_file(self, file: FileMap, current: int | None = None) -> None:
        """Show another file whole, with a region marked."""
        self._map, self.current = file, current
        self.scale = Scale(file.size, self.width())
        self.setAccessibleName(f"Byte map of {plain(file.name, 60)}, {bytes_text(file.size)}")
        self._repaint()

    def mark(self, number: int | None) -> None:
        """Mark a region and bring it into view."""
        self.current = number
        if number is not None:
            region = self._map.region(number)
            middle = region.start + region.nbytes // 2
            if not self.scale.start <= middle < self.scale.end:
                self._look(middle - self.scale.span // 2, self.scale.span)
        self.update()

    def describe(self, words: str) -> None:
        """Say to assistive tools what is marked."""
        if words != self.accessibleDescription():
            self.setAccessibleDescription(words)
            QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.DescriptionChanged))

    @property
    def is_zoomed(self) -> bool:
        """Whether not the whole file is shown."""
        return self.scale.is_zoomed

    # --- zoom

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Show `factor` times as few bytes, keeping the byte at a horizontal position (the mark, or the middle)."""
        if at is None:
            at = self.width() / 2 if self.current is None else self.scale.x(self._map.region(self.current).start)
            at = min(max(at, 0.0), float(self.width()))
        self._after(self.scale.zoom(factor, at))

    def show_all(self) -> None:
        """Show the whole file."""
        self._look(0, self._map.size)

    def _look(self, start: int, span: int) -> None:
        self._after(self.scale.look(start, span))

    def _after(self, changed: bool) -> None:
        if changed:
            self._repaint()
            self.zoomed.emit()

    # --- painting

    def sizeHint(self) -> QSize:
        """As wide as there is room."""
        return QSize(300, MARK + BAND + self.fontMetrics().height() + 2)

    def minimumSizeHint(self) -> QSize:
        """Any width will do."""
        return QSize(80, self.sizeHint().height())

    def _repaint(self) -> None:
        self._painted = None
        self.update()

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """The band, the mark and the positions at both ends."""
        del event
        if self._painted is None:
            self._painted = self._paint_band()
        painter = QPainter(self)
        painter.drawPixmap(0, MARK, self._painted)
        painter.setPen(QColor(theme().accent if self.hasFocus() else theme().muted))
        painter.drawRect(QRectF(0.5, MARK + 0.5, self.width() - 1, BAND - 1))
        self._paint_ends(painter)
        if self.current is not None:
            self._paint_mark(painter, self.current)
        painter.end()

    def _paint_band(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture = QPixmap(round(self.width() * ratio), round(BAND * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(QColor(theme().base))
        painter, known = QPainter(picture), looks(theme())
        column, width = 0, self.width() if self._map.size else 0
        while column < width:
            start, end = self.scale.stretch(column)
            region = self._map.region(self._map.at(start))
            behind = column + 1
            if region.start + region.nbytes >= end:  # the columns that lie in one region are painted at once
                inside = (region.start + region.nbytes - self.scale.start) * width // self.scale.span
                behind = max(behind, min(inside, width))
            for kind, top, height in self._divide(start, end):
                paint_in(painter, QRect(column, top, behind - column, height), known[kind])
            column = behind
        painter.end()
        return picture

    def _divide(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return kind, top and height of each part of a column: by bytes, but what matters gets a pixel at least."""
        inside = self._map.inside(start, end)
        if len(inside) == 1:
            return [(next(iter(inside)), 0, BAND)]
        whole, parts, top = sum(inside.values()), [], 0
        least = {kind: int(kind in LEAST_SEEN) for kind in inside}
        room, reached = BAND - sum(least.values()), 0
        for kind in sorted(inside):
            reached += inside[kind]
            bottom = round(room * reached / whole)
            height = bottom - round(room * (reached - inside[kind]) / whole) + least[kind]
            if height:
                parts.append((kind, top, height))
            top += height
        return parts

    def _paint_ends(self, painter: QPainter) -> None:
        painter.setPen(QColor(theme().muted))
        low, high = f"byte {grouped(self.scale.start)}", grouped(self.scale.end)
        if self.is_zoomed:
            high = f"{grouped(self.scale.end)} of {grouped(self._map.size)}"
        box = QRect(0, MARK + BAND + 1, self.width(), self.fontMetrics().height())
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft, low)
        painter.drawText(box, Qt.AlignmentFlag.AlignRight, high)

    def _paint_mark(self, painter: QPainter, number: int) -> None:
        region = self._map.region(number)
        left, right = self.scale.x(region.start), self.scale.x(region.start + region.nbytes)
        if right < 0 or left > self.width():
            return
        left, right = max(left, -4.0), min(max(right, left + 2), self.width() + 4.0)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(theme().base), 4))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        box = QRectF(left, MARK, right - left, BAND).adjusted(-1, 1, 1, -1)
        painter.drawRect(box)
        painter.setPen(QPen(QColor(theme().text), 2))
        painter.drawRect(box)
        middle = min(max((left + right) / 2, 4.0), self.width() - 4.0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme().text))
        painter.drawPolygon(QPolygonF([QPointF(middle - 5, 0), QPointF(middle + 5, 0), QPointF(middle, MARK)]))

    # --- mouse, wheel and keys

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Paint anew for another width."""
        super().resizeEvent(event)
        self.scale.width = max(self.width(), 1)
        self.scale.look(self.scale.start, self.scale.span)  # a byte for each pixel at least
        self._repaint()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show the frame of the focus."""
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Take the frame of the focus away."""
        super().focusOutEvent(event)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click selects, a drag moves what is shown."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._dragging = (event.position().x(), self.scale.start), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what is below the mouse; move with it while it is pressed."""
        x = event.position().x()
        if self._pressed is not None:
            moved = x - self._pressed[0]
            self._dragging |= abs(moved) >= DRAGGED
            if self._dragging:
                self._look(self._pressed[1] - round(moved * self.scale.span / max(self.width(), 1)), self.scale.span)
        self.setCursor(Qt.CursorShape.ClosedHandCursor if self._dragging else Qt.CursorShape.PointingHandCursor)
        self.pointed.emit(self.scale.stretch(x) if self._map.size else None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag, or choose."""
        if self._pressed is not None and not self._dragging and self._map.size:
            self.chosen.emit(self.scale.stretch(event.position().x()))
        self._pressed, self._dragging = None, False

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at."""
        super().leaveEvent(event)
        self.pointed.emit(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom where the mouse is; sideways moves. Among several strips only with Ctrl, so that the list scrolls."""
        turned, sideways = event.angleDelta().y(), event.angleDelta().x()
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if not self._map.size or not (self.wheel_zooms or control):
            event.ignore()
            return
        if sideways:
            self._look(self.scale.start - round(self.scale.span * sideways / 1200), self.scale.span)
        elif turned:
            self.zoom(STEP ** (turned / 120), event.position().x())
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and Right walk over regions, Home and End jump, Enter selects; + and - zoom, 0 shows all."""
        number, last = self.current, len(self._map) - 1
        walks = {
            Qt.Key.Key_Right: 0 if number is None else number + 1,
            Qt.Key.Key_Left: last if number is None else number - 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        key = Qt.Key(event.key())
        if last >= 0 and key in walks:
            self.mark(min(max(walks[key], 0), last))
            self.pointed.emit(self._marked())
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and number is not None:
            self.chosen.emit(self._marked())
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(STEP)
        elif key == Qt.Key.Key_Minus:
            self.zoom(1 / STEP)
        elif key == Qt.Key.Key_0:
            self.show_all()
        else:
            super().keyPressEvent(event)

    def _marked(self) -> tuple[int, int] | None:
        if self.current is None:
            return None
        region = self._map.region(self.current)
        return region.start, region.start + region.nbytes
