"""What pictures are made of besides bars and curves: axes, marks, legend and how one zooms. Imports pyqtgraph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QGuiApplication, QPainter, QPen
from PySide6.QtWidgets import QGraphicsItem

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.panels.picture import MEAN, QUANTILES, SPREAD, ZERO, Mark, Picture
from ckpt_viewer.gui.theme import Theme, theme

MARK_ROW = 15
"""Pixels of a row of the marks' names."""
MARK_ROWS = 3
"""Rows of names at most; a name that finds no place in them is left out, its line is not."""
GAP = 6
"""Pixels between two names."""
LEGEND_LINE, LEGEND_MARGIN, LEGEND_SHARE = 24, 6, 0.75
"""Pixels of a line in the legend and around all, and the share of the width that it may take."""
DASHES = {ZERO: [1, 0], MEAN: [6, 3], SPREAD: [3, 3], QUANTILES: [1, 3]}
"""Lines and gaps of the marks, in widths of the line."""


def prepare_plot(item: Any, *, left: int, **style: Any) -> None:
    """Give a plot what all pictures have: lines across, quiet axes, no buttons, and moving sideways only.

    Args:
        left: pixels for the numbers at the left. style: of both axes, as `pyqtgraph.AxisItem.setStyle` takes it.
    """
    item.hideButtons()
    item.setMouseEnabled(x=True, y=False)
    item.showGrid(x=False, y=True, alpha=0.18)
    for name in ("left", "bottom"):
        axis = item.getAxis(name)
        axis.enableAutoSIPrefix(False)
        axis.setStyle(tickLength=-4, hideOverlappingLabels=False, **style)
    item.getAxis("left").setWidth(left)
    item.layout.setContentsMargins(2, 8, 16, 2)


def pen_of(number: int, shown: Theme, *, single: bool = False) -> QPen:
    """Return the pen of a series: the colours of the theme, then the same dashed."""
    colours = shown.series
    pen: QPen = pg.mkPen(QColor(colours[number % len(colours)]), width=1 if single else 2)
    if number >= len(colours):
        pen.setDashPattern([4, 2.5])
    return pen


class RangeBox(pg.ViewBox):  # type: ignore[misc]
    """The area of the bars: a drag zooms into a range, the wheel zooms, a middle drag moves, a double click shows all.

    Sideways, and with Shift, the wheel moves.
    """

    wholeWanted = Signal()

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        self.setMouseMode(self.RectMode)

    def mouseDragEvent(self, event: Any, axis: Any = None) -> None:
        """Zoom into what is dragged over; move with the middle button or Shift."""
        moves = event.button() == Qt.MouseButton.MiddleButton or event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        self.state["mouseMode"] = self.PanMode if moves else self.RectMode
        super().mouseDragEvent(event, axis=0 if moves else axis)
        self.state["mouseMode"] = self.RectMode

    def mouseDoubleClickEvent(self, event: Any) -> None:
        """Show all."""
        event.accept()
        self.wholeWanted.emit()

    def wheelEvent(self, event: Any, axis: Any = None) -> None:
        """Zoom around the pointer, or move."""
        sideways = event.orientation() == Qt.Orientation.Horizontal
        if not sideways and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            super().wheelEvent(event, axis=0 if axis is None else axis)
            return
        event.accept()
        (first, last), _y = self.viewRange()
        self.translateBy(x=-(last - first) * event.delta() / 1200)


class Placed(NamedTuple):
    """A mark and where it stands, in pixels of the area of the bars.

    Attributes:
        at: where its line stands. centre: of its name. row: of its name, -1 where it found no place.
    """

    mark: Mark
    at: float
    centre: float
    row: int


class Lettering(QGraphicsItem):
    """What stands over the bars: lines of statistics with their names, and the legend. One item that paints it all:
    one for each text would take the GUI thread 20 ms.

    Attributes:
        kinds: of marks that are shown. placed: the marks inside the picture. names: of the series, for the legend.
    """

    def __init__(self, box: Any) -> None:
        super().__init__(box)
        self.setZValue(1000)
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
        self._box = box
        self._theme = theme()
        self.kinds: frozenset[str] = frozenset()
        self.placed: list[Placed] = []
        self.names: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """How many rows the names of the marks take."""
        return 1 + max((each.row for each in self.placed), default=-1)

    def dress(self, shown: Theme) -> None:
        """Take the colours of a theme."""
        self._theme = shown
        self.update()

    def place(self, picture: Picture, first: float, last: float) -> int:
        """Put what is said of a picture where it belongs; return how many rows the names of marks take.

        Args:
            first, last: positions that are shown.
        """
        self.prepareGeometryChange()
        self.names = [each.name for each in picture.series] if picture.shares else []
        wide = self._box.width()
        metrics = QFontMetricsF(QGuiApplication.font())
        ends = [float("-inf")] * MARK_ROWS
        self.placed = []
        for mark in sorted(picture.marks, key=lambda mark: mark.value):
            at = (picture.axis.at(mark.value) - first) / max(last - first, 1e-300) * wide
            if mark.kind not in self.kinds or not 0 <= at <= wide:
                continue
            half = (metrics.horizontalAdvance(mark.text) + GAP) / 2
            centre = min(max(at, half), wide - half)
            row = next((row for row, end in enumerate(ends) if centre - half >= end), -1)
            if row >= 0:
                ends[row] = centre + half
            self.placed.append(Placed(mark, at, centre, row))
        self.update()
        return self.rows

    def boundingRect(self) -> QRectF:
        """The area of the bars."""
        return QRectF(0, 0, self._box.width(), self._box.height())

    def name_rect(self, placed: Placed) -> QRectF:
        """Where the name of a mark stands."""
        half = QFontMetricsF(QGuiApplication.font()).horizontalAdvance(placed.mark.text) / 2 + 1
        return QRectF(placed.centre - half, placed.row * MARK_ROW, 2 * half, MARK_ROW)

    @called_by_qt
    def paint(self, painter: QPainter, _option: Any, _widget: Any = None) -> None:
        """Draw lines, names, and the legend."""
        painter.setFont(QGuiApplication.font())
        top, bottom = self.rows * MARK_ROW, self._box.height()
        for each in self.placed:
            painter.setPen(self.pen_of(each.mark))
            painter.drawLine(QPointF(each.at, top), QPointF(each.at, bottom))
            if each.row >= 0:
                painter.setPen(QColor(self._theme.text))
                painter.drawText(self.name_rect(each), Qt.AlignmentFlag.AlignCenter, each.mark.text)
        if self.names:
            self._legend(painter)

    def pen_of(self, mark: Mark) -> QPen:
        """Return the pen of a mark's line: solid at zero, dashed for all others."""
        pen: QPen = pg.mkPen(QColor(self._theme.series[1] if mark.kind == MEAN else self._theme.text), width=1.2)
        if mark.kind != ZERO:
            pen.setDashPattern(DASHES[mark.kind])
        return pen

    def _legend(self, painter: QPainter) -> None:
        metrics, shown = QFontMetricsF(QGuiApplication.font()), self._theme
        room = max(20.0, LEGEND_SHARE * self._box.width() - LEGEND_LINE - 3 * LEGEND_MARGIN)
        names = [metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, room) for name in self.names]
        wide = LEGEND_LINE + 3 * LEGEND_MARGIN + max(metrics.horizontalAdvance(name) for name in names)
        row = metrics.height()
        frame = QRectF(self._box.width() - wide - 4, 4, wide, row * len(names) + LEGEND_MARGIN)
        fill = QColor(shown.base)
        fill.setAlphaF(0.85)
        painter.setPen(QColor(shown.line))
        painter.setBrush(fill)
        painter.drawRect(frame)
        for number, name in enumerate(names):
            middle = frame.top() + LEGEND_MARGIN / 2 + (number + 0.5) * row
            start = QPointF(frame.left() + LEGEND_MARGIN, middle)
            painter.setPen(pen_of(number, shown))
            painter.drawLine(start, start + QPointF(LEGEND_LINE, 0))
            painter.setPen(QColor(shown.text))
            at = QRectF(start.x() + LEGEND_LINE + LEGEND_MARGIN, middle - row / 2, wide, row)
            painter.drawText(at, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, name)
