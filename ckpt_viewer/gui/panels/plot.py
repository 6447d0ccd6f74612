"""The picture of a histogram. The only module of the panels that imports pyqtgraph: import it on a worker thread.

The x axis counts bins, not values (`ticks.BinScale`): so a picture is right for values near 1e308 as for a tensor whose
values differ in their last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QObject, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor

from ckpt_viewer.gui.panels.ticks import LOG_FLOOR, Bins, BinScale, Tick, count_ticks, log_height, log_ticks
from ckpt_viewer.gui.theme import Theme, theme, themes

HEADROOM = 1.06
"""Height of the picture over that of its highest bar."""
TICK_PIXELS = 60
"""Least distance of two marks on the x axis."""


INSIDE = 1e-3
"""Share of an axis by which it reaches beyond both ends: pyqtgraph drops marks that rounding puts outside."""


def _ends(bins: int) -> tuple[float, float]:
    return -bins * INSIDE, bins * (1 + INSIDE)


class HistogramPlot(QObject):
    """A pyqtgraph PlotWidget, in `widget`, that shows Bins and knows which of them the pointer is at."""

    hovered = Signal(int)
    """A bin, -1 when the pointer has left."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.widget: Any = pg.PlotWidget(enableMenu=False, useOpenGL=False)
        self.widget.setObjectName("histogramPlot")
        self.widget.setAccessibleName("Histogram")
        self.widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.bins = Bins((0.0, 1.0), ())
        self.logarithmic = False
        self.at = -1
        self._scale = BinScale(0.0, 1.0, 1)
        self._item: Any = self.widget.getPlotItem()
        self._bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0.0)
        self._mark = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0.0)
        self._prepare()
        themes().changed.connect(self._dress)
        self._dress(theme())

    def _prepare(self) -> None:
        item = self._item
        item.hideButtons()
        item.setMouseEnabled(x=True, y=False)
        item.showGrid(x=False, y=True, alpha=0.18)
        for name in ("left", "bottom"):
            axis = item.getAxis(name)
            axis.enableAutoSIPrefix(False)
            axis.setStyle(tickLength=-4, hideOverlappingLabels=False, textFillLimits=[(0, 9.0)])
        item.getAxis("left").setWidth(52)
        item.layout.setContentsMargins(2, 8, 16, 2)
        item.addItem(self._bars)
        item.addItem(self._mark)
        box = item.getViewBox()
        box.setDefaultPadding(0.0)
        box.disableAutoRange()
        box.sigXRangeChanged.connect(self._mark_axes)
        box.sigResized.connect(self._mark_axes)
        self.widget.scene().sigMouseMoved.connect(self._on_moved)
        self.widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: Any) -> bool:
        """Follow the pointer out of the picture; move from bin to bin by key."""
        if event.type() == event.Type.Leave:
            self.hover(-1)
        elif event.type() == event.Type.KeyPress and self.bins.counts:
            step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key())
            if step is not None:
                self.hover(min(max(self.at + step, 0), len(self.bins.counts) - 1))
                return True
        return super().eventFilter(watched, event)

    def show_bins(self, bins: Bins, label: str, scale: BinScale) -> None:
        """Draw other bins, in full width where the values differ; `label` says what the x axis counts."""
        same = self.bins.edges and bins.edges[0] == self.bins.edges[0] and bins.edges[-1] == self.bins.edges[-1]
        keep = same and len(bins.counts) == len(self.bins.counts)
        self.bins = bins
        self._scale = scale
        self._item.setLabel("bottom", label)
        box = self._item.getViewBox()
        ends = _ends(len(bins.counts))
        box.setLimits(xMin=ends[0], xMax=ends[1], minXRange=min(2, len(bins.counts)))
        if not keep:
            self.view_all()
        self._draw()

    def set_logarithmic(self, logarithmic: bool) -> None:
        """Draw counts by their logarithm, or as they are."""
        self.logarithmic = logarithmic
        self._draw()

    def view_all(self) -> None:
        """Show all bins."""
        self._item.getViewBox().setXRange(*_ends(len(self.bins.counts)), padding=0)

    def hover(self, at: int) -> None:
        """Mark a bin, -1 for none."""
        if at == self.at:
            return
        self.at = at
        self._draw_mark()
        self.hovered.emit(at)

    def _heights(self, counts: Sequence[int]) -> list[float]:
        return [log_height(count) if self.logarithmic else float(count) for count in counts]

    def _draw(self) -> None:
        floor = LOG_FLOOR if self.logarithmic else 0.0
        self._bars.setFillLevel(floor)
        self._mark.setFillLevel(floor)
        heights = self._heights(self.bins.counts)
        self._bars.setData([float(at) for at in range(len(heights) + 1)], heights)
        if self.at >= len(heights):
            self.hover(-1)
        self._draw_mark()
        self._mark_axes()

    def _draw_mark(self) -> None:
        if 0 <= self.at < len(self.bins.counts):
            height = self._heights(self.bins.counts[self.at : self.at + 1])
            self._mark.setData([float(self.at), float(self.at + 1)], height)
            self._mark.show()
        else:
            self._mark.hide()

    def _mark_axes(self, *_: object) -> None:
        """Put round values on both axes for the part that is shown, and fit the height to its highest bar."""
        (first, last), _y = self._item.getViewBox().viewRange()
        area: QSize = self.widget.size()
        self._set_ticks("bottom", self._fitting_ticks(first, last, area.width() - 70))
        highest = int(max(self.bins.counts[max(0, int(first)) : int(last) + 1], default=1)) or 1
        rows = max(1, min(6, area.height() // 45))
        self._set_ticks("left", log_ticks(highest, rows) if self.logarithmic else count_ticks(highest, rows))
        top = log_height(highest) + 0.15 if self.logarithmic else highest * HEADROOM
        floor = LOG_FLOOR if self.logarithmic else -top * INSIDE
        self._item.getViewBox().setYRange(floor, top, padding=0)

    def _fitting_ticks(self, first: float, last: float, width: int) -> list[Tick]:
        """As many marks as their texts leave room for."""
        wanted = max(1, width // TICK_PIXELS)
        ticks = self._scale.ticks(first, last, wanted)
        metrics = self.widget.fontMetrics()
        widest = max((metrics.horizontalAdvance(tick.text) for tick in ticks), default=0) + 14
        apart = min((other.at - tick.at for tick, other in pairwise(ticks)), default=last - first)
        if widest * (last - first) > width * apart:
            ticks = self._scale.ticks(first, last, max(1, width // widest - 1))
        return ticks

    def _set_ticks(self, axis: str, ticks: list[Tick]) -> None:
        self._item.getAxis(axis).setTicks([[tuple(tick) for tick in ticks]])

    def _on_moved(self, position: QPointF) -> None:
        box = self._item.getViewBox()
        inside = box.sceneBoundingRect().contains(position)
        at = int(box.mapSceneToView(position).x()) if inside else -1
        self.hover(at if 0 <= at < len(self.bins.counts) else -1)

    def _dress(self, shown: Theme) -> None:
        self.widget.setBackground(shown.base)
        bars, fill = QColor(shown.series[0]), QColor(shown.series[0])
        fill.setAlphaF(0.45)
        self._bars.setPen(pg.mkPen(bars, width=1))
        self._bars.setBrush(fill)
        self._mark.setPen(pg.mkPen(QColor(shown.series[1]), width=1.5))
        self._mark.setBrush(QColor(shown.series[1]))
        for name in ("left", "bottom"):
            axis = self._item.getAxis(name)
            axis.setPen(shown.muted)
            axis.setTextPen(shown.text)
