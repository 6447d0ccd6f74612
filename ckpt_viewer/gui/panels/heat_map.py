"""A picture of a plane of cells: zoom by wheel and keys, pan by dragging, NaN and Inf hatched, a colour bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)  # fmt: skip
from PySide6.QtWidgets import QSizePolicy, QWidget

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.panels import map_painting
from ckpt_viewer.gui.panels.map_painting import BAR_WIDTH, Frame
from ckpt_viewer.gui.theme import themes

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.colouring import Picture

MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_TOP = 56, 22, 6
SQUARE_FROM = 0.25
"""Share of the area that a picture with square cells has to fill; below it cells are stretched."""
LARGEST_CELL = 64.0
"""Pixels of a cell at the largest zoom."""
STEP = 1.25
AFTER = 90
"""Milliseconds without another turn of the wheel after which finer blocks are asked for."""


class Span(NamedTuple):
    """A rectangle of cells: rows ``top:bottom``, columns ``left:right``."""

    top: int
    bottom: int
    left: int
    right: int


class HeatMap(QWidget):
    """Shows a Picture of the whole plane, and over it a finer one of the part that is looked at."""

    hovered = Signal(object)
    """(row, column) below the pointer or the keyboard's mark, None for nowhere."""
    chosen = Signal(int, int)
    """Row and column that were double-clicked, or Enter pressed on."""
    looked = Signal()
    """Another part is looked at: `visible` says which, and finer blocks may be read."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("imagePlot")
        self.setAccessibleName("Picture of the values")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.rows = self.columns = 0
        self.tile = (0, 0)
        self.whole: Picture | None = None
        self.detail: Picture | None = None
        self.at: tuple[int, int] | None = None
        self._zoom, self._origin = 1.0, QPointF(0, 0)
        self._grip: QPointF | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(AFTER)
        self._soon.timeout.connect(self.looked)
        themes().changed.connect(self.update)

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_plane(self, rows: int, columns: int, tile: tuple[int, int] = (0, 0)) -> None:
        """Show another plane, of which nothing was read yet; `tile` is the size of a grid's tiles, if it is one."""
        self.rows, self.columns, self.tile = rows, columns, tile
        self.whole = self.detail = None
        self.show_all()

    def show_whole(self, picture: Picture) -> None:
        """Show a picture of the whole plane."""
        self.whole = picture
        self.update()

    def show_detail(self, picture: Picture | None) -> None:
        """Show a finer picture of a part, or none."""
        self.detail = picture
        self.update()

    def show_all(self) -> None:
        """Zoom out."""
        self._zoom, self._origin = 1.0, QPointF(0, 0)
        self._move_on()

    @property
    def is_zoomed(self) -> bool:
        """Whether a part is looked at only."""
        return self._zoom > 1.0

    @property
    def area(self) -> QRectF:
        """Where the picture may be."""
        return QRectF(
            MARGIN_LEFT, MARGIN_TOP, max(1, self.width() - MARGIN_LEFT - BAR_WIDTH),
            max(1, self.height() - MARGIN_TOP - MARGIN_BOTTOM),
        )  # fmt: skip

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the area in pixels of the screen."""
        ratio = self.devicePixelRatioF()
        return int(self.area.height() * ratio), int(self.area.width() * ratio)

    @property
    def frame(self) -> Frame:
        """Where cells are."""
        area, rows, columns = self.area, max(1, self.rows), max(1, self.columns)
        across, down = area.width() / columns, area.height() / rows
        square = min(across, down)
        if square * columns * square * rows >= SQUARE_FROM * area.width() * area.height():
            across = down = square
        across, down = across * self._zoom, down * self._zoom
        left = self._begin(area.left(), area.width(), columns * across, self._origin.x() * across)
        top = self._begin(area.top(), area.height(), rows * down, self._origin.y() * down)
        return Frame(area, QRectF(left, top, columns * across, rows * down), rows, columns)

    @staticmethod
    def _begin(start: float, room: float, length: float, hidden: float) -> float:
        if length <= room:
            return start + (room - length) / 2
        return start - min(max(hidden, 0.0), length - room)

    @property
    def visible(self) -> Span:
        """The cells that can be seen, at least in part."""
        frame = self.frame
        seen = frame.picture.intersected(frame.area)
        top, left = frame.cell(seen.topLeft())
        bottom, right = frame.cell(seen.bottomRight())
        return Span(top, min(bottom + 1, self.rows), left, min(right + 1, self.columns))

    # --- moving about -------------------------------------------------------------------------------------------------

    def zoom(self, factor: float, about: QPointF | None = None) -> None:
        """Magnify about a point of the widget, the middle without."""
        if not self.rows or not self.columns:
            return
        about = about or self.area.center()
        frame = self.frame
        row, column = frame.place(about)
        base = min(frame.picture.width() / self.columns, frame.picture.height() / self.rows) / self._zoom
        self._zoom = min(max(self._zoom * factor, 1.0), max(1.0, LARGEST_CELL / base))
        after = self.frame
        across, down = after.picture.width() / self.columns, after.picture.height() / self.rows
        self._origin = QPointF(
            column - (about.x() - self.area.left()) / across, row - (about.y() - self.area.top()) / down
        )
        self._settle_origin()

    def pan(self, dx: float, dy: float) -> None:
        """Move the picture by pixels."""
        picture = self.frame.picture
        across, down = picture.width() / max(1, self.columns), picture.height() / max(1, self.rows)
        self._origin -= QPointF(dx / across, dy / down)
        self._settle_origin()

    def _settle_origin(self) -> None:
        """Keep the origin where the picture ends up, so that going back takes no detour."""
        frame = self.frame
        across, down = frame.picture.width() / max(1, self.columns), frame.picture.height() / max(1, self.rows)
        x = max(0.0, (frame.area.left() - frame.picture.left()) / across)
        self._origin = QPointF(x, max(0.0, (frame.area.top() - frame.picture.top()) / down))
        self._move_on()

    def _move_on(self) -> None:
        self._soon.start()
        self.update()

    def hover(self, at: tuple[int, int] | None) -> None:
        """Say which cell the pointer is at."""
        if at != self.at:
            self.at = at
            self.hovered.emit(at)
            self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the pointer."""
        turns = event.angleDelta().y() / 120
        if turns:
            self.zoom(STEP**turns, event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of the picture."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._grip = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or follow the pointer."""
        if self._grip is not None and event.buttons() & Qt.MouseButton.LeftButton:
            moved, self._grip = event.position() - self._grip, event.position()
            self.pan(moved.x(), moved.y())
        frame = self.frame
        inside = frame.picture.intersected(frame.area).contains(event.position())
        self.hover(frame.cell(event.position()) if inside else None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go."""
        del event
        self._grip = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Choose a cell."""
        if event.button() == Qt.MouseButton.LeftButton and self.at is not None:
            self.chosen.emit(*self.at)

    def leaveEvent(self, event: QEvent) -> None:
        """The pointer has left."""
        super().leaveEvent(event)
        self.hover(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Plus and minus zoom, 0 and Home show all, arrows move the mark, Enter chooses it."""
        key = event.key()
        steps = {Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)}
        if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            self.zoom(1 / STEP if key == Qt.Key.Key_Minus else STEP)
        elif key in (Qt.Key.Key_0, Qt.Key.Key_Home):
            self.show_all()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.at is not None:
            self.chosen.emit(*self.at)
        elif Qt.Key(key) in steps and self.rows and self.columns:
            self._step(*steps[Qt.Key(key)])
        else:
            super().keyPressEvent(event)

    def _step(self, down: int, across: int) -> None:
        """Move the keyboard's mark by a block."""
        seen = self.visible
        picture = self.detail or self.whole
        row, column = self.at or ((seen.top + seen.bottom) // 2, (seen.left + seen.right) // 2)
        rows, columns = (picture.raster.down, picture.raster.across) if picture is not None else (1, 1)
        row = min(max(row + down * rows, seen.top), seen.bottom - 1)
        self.hover((row, min(max(column + across * columns, seen.left), seen.right - 1)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Ask for blocks that fit."""
        super().resizeEvent(event)
        self._move_on()

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw everything."""
        del event
        painter = QPainter(self)
        map_painting.draw(painter, self)
        painter.end()
