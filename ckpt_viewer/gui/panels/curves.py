"""A curve over whole numbers: channels, singular values. Imports pyqtgraph: import it on a worker thread first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyqtgraph as pg
from PySide6.QtCore import QObject, QPointF, Qt, Signal
from PySide6.QtGui import QColor

from ckpt_viewer.gui.panels.plot_parts import prepare_plot
from ckpt_viewer.gui.panels.ticks import nice_values
from ckpt_viewer.gui.theme import Theme, theme, themes

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

POINTS = 200
"""Points up to which each has a dot."""
INSIDE = 1e-3
"""Share of an axis by which it reaches beyond both ends: pyqtgraph drops marks that rounding puts outside."""


class Curve(NamedTuple):
    """What is drawn.

    Attributes:
        heights: float64, NaN where there is nothing. drawn: what is drawn for them: the same, or their logarithms.
        first: the number of the first one. across, up: what the axes count.
        logarithmic: whether `drawn` are logarithms to base 10. marked: positions with a cross.
    """

    heights: Array
    drawn: Array
    first: int
    across: str
    up: str
    logarithmic: bool
    marked: Array


class CurvePlot(QObject):
    """A pyqtgraph PlotWidget, in `widget`, that shows a Curve and knows which point the pointer is at."""

    hovered = Signal(int)
    """The position of a point, -1 for none."""
    chosen = Signal(int)
    """A point that was double-clicked, or Enter pressed on."""

    def __init__(self, name: str, words: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.widget: Any = pg.PlotWidget(enableMenu=False, useOpenGL=False)
        self.widget.setObjectName(name)
        self.widget.setAccessibleName(words)
        self.widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.curve: Curve | None = None
        self.at = -1
        self._item: Any = self.widget.getPlotItem()
        self._line = pg.PlotDataItem(connect="finite")
        self._line.setDownsampling(auto=True, method="peak")
        self._line.setClipToView(True)
        self._marks, self._mark = pg.ScatterPlotItem(symbol="x", size=9), pg.ScatterPlotItem(symbol="o", size=9)
        self._instead = pg.TextItem("no finite value to draw", anchor=(0.5, 0.5))
        self._prepare()
        themes().changed.connect(self._dress)
        self._dress(theme())

    def _prepare(self) -> None:
        item = self._item
        prepare_plot(item, left=72)
        for each in (self._line, self._marks, self._mark, self._instead):
            item.addItem(each)
        box = item.getViewBox()
        box.setDefaultPadding(0.0)
        box.disableAutoRange()
        box.sigXRangeChanged.connect(self._mark_axes)
        box.sigResized.connect(self._mark_axes)
        self.widget.scene().sigMouseMoved.connect(self._on_moved)
        self.widget.installEventFilter(self)
        self.widget.viewport().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: Any) -> bool:
        """Follow the pointer out of the picture, double-clicks, and the keys left, right and Enter."""
        kinds = event.Type
        if event.type() == kinds.Leave:
            self.hover(-1)
        elif event.type() == kinds.MouseButtonDblClick and self.at >= 0:
            self.chosen.emit(self.at)
        elif event.type() == kinds.KeyPress and self.curve is not None and watched is self.widget:
            step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key())
            if step is not None:
                self.hover(min(max(self.at + step, 0), len(self.curve.heights) - 1))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.at >= 0:
                self.chosen.emit(self.at)
                return True
        return super().eventFilter(watched, event)

    def show_curve(self, curve: Curve) -> None:
        """Draw another curve, in full width where it has another number of points."""
        keep = self.curve is not None and len(self.curve.heights) == len(curve.heights)
        self.curve = curve
        self._item.setLabel("bottom", curve.across)
        self._item.setLabel("left", curve.up)
        few = len(curve.drawn) <= POINTS
        self._line.setSymbol("o" if few else None)
        self._line.setSymbolSize(4)
        across, up = _points(curve)
        self._line.setData(across, up)
        self._marks.setData(x=curve.marked, y=_or_floor(curve))
        self._instead.setVisible(up.size == 0)
        self._instead.setPos((len(curve.drawn) - 1) / 2, 0.75)  # the height goes from 0 to 1 then; between two lines
        box = self._item.getViewBox()
        ends = self._ends()
        box.setLimits(xMin=ends[0], xMax=ends[1], minXRange=min(3, len(curve.heights)))
        if not keep:
            self.view_all()
        self.hover(-1)
        self._dress(theme())
        self._mark_axes()

    def _ends(self) -> tuple[float, float]:
        count = 1 if self.curve is None else len(self.curve.heights)
        return -0.5 - count * INSIDE, count - 0.5 + count * INSIDE

    def view_all(self) -> None:
        """Show all points."""
        self._item.getViewBox().setXRange(*self._ends(), padding=0)

    def hover(self, at: int) -> None:
        """Mark a point, -1 for none."""
        if at == self.at:
            return
        self.at = at
        if self.curve is not None and at >= 0 and math.isfinite(self.curve.drawn[at]):
            self._mark.setData(x=[at], y=[self.curve.drawn[at]])
        else:
            self._mark.setData(x=[], y=[])
        self.hovered.emit(at)

    def _on_moved(self, position: QPointF) -> None:
        box = self._item.getViewBox()
        count = 0 if self.curve is None else len(self.curve.heights)
        at = round(box.mapSceneToView(position).x()) if box.sceneBoundingRect().contains(position) else -1
        self.hover(at if 0 <= at < count else -1)

    def _mark_axes(self, *_: object) -> None:
        """Fit the height to what is seen, and put round values on both axes."""
        curve = self.curve
        if curve is None:
            return
        (first, last), _y = self._item.getViewBox().viewRange()
        low, high = _extent(curve, max(0, int(first)), int(last) + 2)
        room = (high - low) * 0.06 or 0.5
        bottom = low if low == 0 and not curve.logarithmic else low - room
        self._item.getViewBox().setYRange(bottom, high + room, padding=0)
        rows, columns = max(1, self.widget.height() // 45), max(1, self.widget.width() // 90)
        self._item.getAxis("left").setTicks([_height_ticks(curve, bottom, high + room, rows)])
        start, stop = curve.first + max(0.0, first), curve.first + min(last, len(curve.heights) - 1)
        across = nice_values(start, stop, min(columns, max(1, round(stop - start))))
        self._item.getAxis("bottom").setTicks(
            [[(value - curve.first, str(int(value))) for value, _ in across if value == int(value)]]
        )

    def _dress(self, shown: Theme) -> None:
        self.widget.setBackground(shown.base)
        colour = QColor(shown.series[0])
        self._line.setPen(pg.mkPen(colour, width=1))
        self._line.setSymbolBrush(colour)
        self._line.setSymbolPen(None)
        self._marks.setPen(pg.mkPen(QColor(shown.error), width=1.5))
        self._instead.setColor(shown.muted)
        self._mark.setPen(pg.mkPen(QColor(shown.series[1]), width=1.5))
        self._mark.setBrush(QColor(shown.series[1]))
        for name in ("left", "bottom"):
            axis = self._item.getAxis(name)
            axis.setPen(shown.muted)
            axis.setTextPen(shown.text)


def _points(curve: Curve) -> tuple[Array, Array]:
    """Return what pyqtgraph draws: nothing where no height is finite, which it would warn of."""
    import numpy as np

    heights = curve.drawn if np.isfinite(curve.drawn).any() else np.empty(0)
    return np.arange(heights.size, dtype=np.float64), heights


def _or_floor(curve: Curve) -> Array:
    """Return where crosses stand: on the curve, at its lower end where it has no height there."""
    import numpy as np

    heights = curve.drawn[curve.marked]
    finite = curve.drawn[np.isfinite(curve.drawn)]
    floor = float(finite.min()) if finite.size else 0.0
    return np.where(np.isfinite(heights), heights, floor)


def _extent(curve: Curve, first: int, last: int) -> tuple[float, float]:
    import numpy as np

    seen = curve.drawn[first:last]
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    if not curve.logarithmic and low > 0 and low < 0.5 * high:
        low = 0.0
    return low, high


def _height_ticks(curve: Curve, low: float, high: float, wanted: int) -> list[tuple[float, str]]:
    if not curve.logarithmic:
        return nice_values(low, high, min(wanted, 6))
    powers = range(math.ceil(low), math.floor(high) + 1)
    if len(powers) >= 2:
        return [(float(power), f"1e{power}") for power in powers[:: max(1, -(-len(powers) // min(wanted, 8)))]]
    return [(math.log10(value), text) for value, text in nice_values(10**low, 10**high, min(wanted, 6)) if value > 0]
