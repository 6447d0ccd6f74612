"""What a histogram's picture is made of besides bars: its lines, marks, legend and how one zooms. Imports pyqtgraph."""

from __future__ import annotations

import html
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QPen

from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.panels.picture import MEAN, QUANTILES, SPREAD, ZERO, Mark, Picture
from ckpt_viewer.gui.theme import Theme, theme

MARK_ROW = 15
"""Pixels of a row of the marks' names."""
MARK_ROWS = 3
"""Rows of names at most; a name that finds no place in them is left out, its line is not."""
GAP = 6
"""Pixels between two names."""
LEGEND_NAME = 44
"""Characters of a name in the legend."""
MOST_SERIES = 8
"""Tensors that can be told apart: four colours, solid and dashed."""
DASHES = {ZERO: [1, 0], MEAN: [6, 3], SPREAD: [3, 3], QUANTILES: [1, 3]}
"""Lines and gaps of the marks, in widths of the line."""


def pen_of(number: int, shown: Theme, *, single: bool = False) -> QPen:
    """Return the pen of a series: the colours of the theme, then the same dashed."""
    colours = shown.series
    pen: QPen = pg.mkPen(QColor(colours[number % len(colours)]), width=1 if single else 1.6)
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


class Marks:
    """Lines for statistics, their names above the bars.

    Attributes:
        kinds: those that are shown.
    """

    def __init__(self, item: Any) -> None:
        self.kinds: frozenset[str] = frozenset()
        self._item = item
        self._lines: list[tuple[Mark, Any, Any, int]] = []
        self._shown: list[Mark] = []

    def place(self, picture: Picture, first: float, last: float, wide: float) -> int:
        """Put lines where they belong; return how many rows their names take.

        Args:
            first, last: positions that are shown. wide: of a pixel, in positions.
        """
        marks = [mark for mark in picture.marks if mark.kind in self.kinds]
        if marks != self._shown:
            self._make(marks)
        ends, rows = [float("-inf")] * MARK_ROWS, 0
        metrics = QFontMetricsF(self._lines[0][2].textItem.font()) if self._lines else None
        for number, (mark, line, text, _) in enumerate(self._lines):
            at = picture.axis.at(mark.value)
            inside = first <= at <= last
            line.setVisible(inside)
            assert metrics is not None
            half = (metrics.horizontalAdvance(mark.text) / 2 + GAP / 2) * wide
            centre = min(max(at, first + half), last - half)
            row = next((row for row, end in enumerate(ends) if centre - half >= end), -1) if inside else -1
            text.setVisible(row >= 0)
            if row >= 0:
                ends[row], rows = centre + half, max(rows, row + 1)
            self._lines[number] = mark, line, text, row
            line.setPos(QPointF(at, 0))
            text.setPos(centre, 0)
        return rows

    def stand(self, floor: float, top: float, high: float) -> None:
        """Give lines and names their heights: `top` of the picture, `high` of a pixel. Lines end below all names."""
        rows = 1 + max((row for *_, row in self._lines), default=0)
        end = top - max(rows, 1) * MARK_ROW * high
        for _, line, text, row in self._lines:
            at = line.pos().x()
            line.setData([0.0, 0.0], [floor, max(floor, end)])
            line.setPos(QPointF(at, 0))
            text.setPos(text.pos().x(), top - max(row, 0) * MARK_ROW * high)

    def _make(self, marks: list[Mark]) -> None:
        for _, line, text, _ in self._lines:
            self._item.removeItem(line)
            self._item.removeItem(text)
        self._shown, self._lines = marks, []
        for mark in sorted(marks, key=lambda mark: mark.value):
            line, text = pg.PlotCurveItem([0.0, 0.0], [0.0, 1.0]), pg.TextItem(anchor=(0.5, 0))
            text.setPlainText(mark.text)
            text.textItem.document().setDocumentMargin(0)
            text.updateTextPos()
            for each in (line, text):
                each.setZValue(5)
                self._item.addItem(each, ignoreBounds=True)
            self._lines.append((mark, line, text, -1))
        self.dress(theme())

    def dress(self, shown: Theme) -> None:
        """Take the colours of a theme."""
        for mark, line, text, _ in self._lines:
            pen = pg.mkPen(QColor(shown.series[1] if mark.kind == MEAN else shown.text), width=1.2)
            if mark.kind != ZERO:
                pen.setDashPattern(DASHES[mark.kind])
            line.setPen(pen)
            text.setColor(QColor(shown.text))


class Legend:
    """Names of the series, in the upper right corner."""

    def __init__(self, item: Any) -> None:
        self._item = item
        self._legend: Any = None

    def show_names(self, names: list[str], shown: Theme) -> None:
        """Show other names; none hides it."""
        if self._legend is not None:
            self._legend.scene().removeItem(self._legend)
            self._legend = None
        if not names:
            return
        fill = QColor(shown.base)
        fill.setAlphaF(0.85)
        legend = self._legend = pg.LegendItem(
            offset=(-8, 8), brush=fill, pen=shown.line, labelTextColor=shown.text, verSpacing=-4
        )
        legend.setParentItem(self._item.getViewBox())
        for number, name in enumerate(names):
            sample = pg.PlotDataItem(pen=pen_of(number, shown))
            legend.addItem(sample, html.escape(plain(name, LEGEND_NAME)))  # pyqtgraph takes names for markup
