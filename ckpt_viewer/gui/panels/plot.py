"""The picture of a histogram. With `plot_parts` the only module of the panels that imports pyqtgraph for it: import it
on a worker thread.

The x axis counts bins, not values; see `axis.Axis`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QObject, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor

from ckpt_viewer.gui.panels.axis import Axis
from ckpt_viewer.gui.panels.picture import Picture, Series, Wish
from ckpt_viewer.gui.panels.plot_parts import MARK_ROW, Lettering, RangeBox, pen_of, prepare_plot
from ckpt_viewer.gui.panels.ticks import LOG_FLOOR, Tick, count_ticks, log_ticks
from ckpt_viewer.gui.theme import Theme, theme, themes

HEADROOM = 1.06
"""Height of the picture over that of its highest bar."""
TICK_PIXELS = 60
"""Least distance of two marks on the x axis."""
INSIDE = 1e-3
"""Share of an axis by which it reaches beyond both ends: pyqtgraph drops marks that rounding puts outside."""
LEAST_VIEW = 1e-9
"""The least share of the axis that one can zoom into: positions are float64 numbers."""
LEAST_SHARE = 1e-6
"""Percent below which shares stand on the floor of a logarithmic axis."""
NOTHING = Picture(
    Axis(0.0, 1.0, 1), "", Wish(), (0.0, 1.0), (0.0, 1.0), (Series("", (), 0, ()),)
)  # fmt: skip


class HistogramPlot(QObject):
    """A pyqtgraph PlotWidget, in `widget`, that shows a Picture and knows which of its bins the pointer is at.

    Attributes:
        picture: what is drawn. at: the bin that is marked, -1 for none. lettering: marks and legend over the bars.
    """

    hovered = Signal(int)
    """A bin, -1 when the pointer has left."""
    rangeWanted = Signal(object)
    """The user looks at another part of the axis: its first and last value, None for all of it."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        box = RangeBox()
        self.widget: Any = pg.PlotWidget(viewBox=box, enableMenu=False, useOpenGL=False)
        self.widget.setObjectName("histogramPlot")
        self.widget.setAccessibleName("Histogram")
        self.widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.widget.setAcceptDrops(False)  # they are the window's
        self.picture, self.logarithmic, self.at = NOTHING, False, -1
        self._box: Any = box
        self._item: Any = self.widget.getPlotItem()
        self._curves: list[Any] = []
        self._mark = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0.0)
        self._showing = False
        self._moved = QTimer(self, singleShot=True, interval=15)
        self._moved.timeout.connect(self._tell_range)
        self.lettering = Lettering(box)
        self._prepare()
        themes().changed.connect(self._dress)
        self._dress(theme())

    def _prepare(self) -> None:
        item, box = self._item, self._box
        prepare_plot(item, left=52, textFillLimits=[(0, 9.0)])
        item.addItem(self._mark)
        box.setDefaultPadding(0.0)
        box.disableAutoRange()
        box.sigXRangeChanged.connect(self._on_range)
        box.sigResized.connect(self._mark_axes)
        box.wholeWanted.connect(self.view_all)
        self.widget.scene().sigMouseMoved.connect(self._on_moved)
        self.widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: Any) -> bool:
        """Follow the pointer out of the picture; move from bin to bin by key."""
        if event.type() == event.Type.Leave:
            self.hover(-1)
        elif event.type() == event.Type.KeyPress and self.picture.series[0].counts:
            step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key())
            if step is not None:
                self.hover(min(max(self.at + step, 0), self.picture.bins - 1))
                return True
        return super().eventFilter(watched, event)

    # --- what is shown

    def show_picture(self, picture: Picture) -> None:
        """Draw another picture. What part of the axis is looked at stays, unless the axis or the wish is another."""
        before, self.picture = self.picture, picture
        self._item.setLabel("bottom", picture.label)
        self._item.setLabel("left", "% of values in bin" if picture.shares else "")
        bins = picture.axis.bins
        self._showing = True
        self._box.setLimits(
            xMin=-bins * INSIDE,
            xMax=bins * (1 + INSIDE),
            minXRange=bins * LEAST_VIEW,
            maxXRange=bins * (1 + 2 * INSIDE),
        )
        if not picture.wish.zoomed:
            self._box.setXRange(-bins * INSIDE, bins * (1 + INSIDE), padding=0)
        elif picture.axis != before.axis:
            self._box.setXRange(
                picture.axis.at(picture.wish.low or 0), picture.axis.at(picture.wish.high or 0), padding=0
            )
        self._showing = False
        self._draw()

    def set_logarithmic(self, logarithmic: bool) -> None:
        """Draw counts by their logarithm, or as they are."""
        self.logarithmic = logarithmic
        self._draw()

    def set_marks(self, kinds: frozenset[str]) -> None:
        """Show these kinds of marks on the x axis."""
        self.lettering.kinds = kinds
        self._draw()

    def view_all(self) -> None:
        """Show all values."""
        bins = self.picture.axis.bins
        self._box.setXRange(-bins * INSIDE, bins * (1 + INSIDE), padding=0)

    def hover(self, at: int) -> None:
        """Mark a bin, -1 for none."""
        if at == self.at:
            return
        self.at = at
        self._draw_mark()
        self.hovered.emit(at)

    # --- drawing

    @property
    def _floor(self) -> float:
        """Where bars stand."""
        if not self.logarithmic:
            return 0.0
        least = min((height for each in self.picture.series for height in each.heights if height > 0), default=1.0)
        return min(LOG_FLOOR, math.log10(max(least, LEAST_SHARE)) + LOG_FLOOR)

    def _heights(self, heights: Any, floor: float) -> list[float]:
        if not self.logarithmic:
            return [float(height) for height in heights]
        return [max(floor, math.log10(height)) if height > 0 else floor for height in heights]

    def _draw(self) -> None:
        series, floor = self.picture.series, self._floor
        self._fit_curves(len(series))
        for curve, each in zip(self._curves, series, strict=True):
            curve.setFillLevel(floor if len(series) == 1 else None)
            if each.counts:
                curve.setData(list(self.picture.places), self._heights(each.heights, floor))
        if self.at >= self.picture.bins:
            self.hover(-1)
        self._dress_curves(theme())
        self._draw_mark()
        self._mark_axes()

    def _fit_curves(self, wanted: int) -> None:
        while len(self._curves) > wanted:
            self._item.removeItem(self._curves.pop())
        while len(self._curves) < wanted:
            curve = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center")
            self._curves.append(curve)
            self._item.addItem(curve)

    def _draw_mark(self) -> None:
        at, picture = self.at, self.picture
        if not 0 <= at < picture.bins or not picture.series[0].counts:
            self._mark.hide()
            return
        floor = self._floor
        height = max(self._heights([each.heights[at] for each in picture.series], floor))
        self._mark.setFillLevel(floor)
        self._mark.setData([picture.places[at], picture.places[at + 1]], [height])
        self._mark.show()

    def _on_range(self, *_: object) -> None:
        self._mark_axes()
        if not self._showing:
            self._moved.start()

    def _tell_range(self) -> None:
        (first, last), _y = self._box.viewRange()
        axis = self.picture.axis
        whole = first <= 0 and last >= axis.bins
        self.rangeWanted.emit(None if whole else (axis.value(first), axis.value(last)))

    def _mark_axes(self, *_: object) -> None:
        """Put round values on both axes for the part that is shown, and fit the height to its highest bar."""
        (first, last), _y = self._box.viewRange()
        area: QSize = self.widget.size()
        self._set_ticks("bottom", self._fitting_ticks(first, last, area.width() - 90))
        highest = self._highest(first, last)
        rows = max(1, min(6, area.height() // 45))
        self._set_ticks("left", _height_ticks(highest, rows, self.logarithmic, whole=not self.picture.shares))
        floor = self._floor
        top = math.log10(highest) + 0.15 if self.logarithmic else highest * HEADROOM
        lines = self.lettering.place(self.picture, first, last)
        room = max(20, area.height() - 45)
        top += (top - floor) * lines * MARK_ROW / max(room - lines * MARK_ROW, room / 2)
        self._box.setYRange(floor if self.logarithmic else -top * INSIDE, top, padding=0)

    def _highest(self, first: float, last: float) -> float:
        """The height of the highest bar between two positions."""
        from bisect import bisect_left, bisect_right

        places = self.picture.places
        start, stop = max(0, bisect_right(places, first) - 1), bisect_left(places, last)
        found = [max(each.heights[start:stop], default=0) for each in self.picture.series]
        return max(found) or 1.0

    def _fitting_ticks(self, first: float, last: float, width: int) -> list[Tick]:
        """As many marks as their texts leave room for."""
        axis, wanted = self.picture.axis, max(1, width // TICK_PIXELS)
        metrics = self.widget.fontMetrics()
        while True:
            ticks = axis.ticks(first, last, wanted)
            widest = max((metrics.horizontalAdvance(tick.text) for tick in ticks), default=0) + 14
            apart = min((other.at - tick.at for tick, other in pairwise(ticks)), default=last - first)
            if wanted == 1 or widest * (last - first) <= width * apart:
                return ticks
            wanted = max(1, min(wanted - 1, width // widest))

    def _set_ticks(self, axis: str, ticks: list[Tick]) -> None:
        self._item.getAxis(axis).setTicks([[tuple(tick) for tick in ticks]])

    def _on_moved(self, position: QPointF) -> None:
        inside = self._box.sceneBoundingRect().contains(position)
        self.hover(self.picture.bin_at(self._box.mapSceneToView(position).x()) if inside else -1)

    def _dress(self, shown: Theme) -> None:
        self.widget.setBackground(shown.base)
        self._mark.setPen(pg.mkPen(QColor(shown.series[1]), width=1.5))
        mark = QColor(shown.series[1])
        mark.setAlphaF(0.35 if self.picture.shares else 1.0)
        self._mark.setBrush(mark)
        for name in ("left", "bottom"):
            axis = self._item.getAxis(name)
            axis.setPen(shown.muted)
            axis.setTextPen(shown.text)
        self._dress_curves(shown)
        self.lettering.dress(shown)

    def _dress_curves(self, shown: Theme) -> None:
        for number, curve in enumerate(self._curves):
            curve.setPen(pen_of(number, shown, single=not self.picture.shares))
            fill = QColor(shown.series[0])
            fill.setAlphaF(0.45)
            curve.setBrush(None if self.picture.shares else fill)


def _height_ticks(highest: float, rows: int, logarithmic: bool, *, whole: bool) -> list[Tick]:
    """Return marks of counts, which are `whole`, or of percents, of which few may reach 1."""
    if logarithmic:
        if highest >= 10:
            return log_ticks(int(highest), rows)
        powers = range(-6, math.ceil(math.log10(highest)) + 1)
        return [Tick(float(power), f"{10.0**power:g}") for power in powers if 10.0**power <= highest]
    if whole or highest >= 3:
        return count_ticks(max(1, int(highest)), rows)
    step = 10.0 ** math.floor(math.log10(highest))
    step = next(factor * step for factor in (0.2, 0.5, 1, 2) if highest / (factor * step) <= rows + 1 or factor == 2)
    return [Tick(number * step, f"{number * step:g}") for number in range(int(highest / step) + 1)]
