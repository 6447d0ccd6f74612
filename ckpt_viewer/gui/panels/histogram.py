"""Histogram and statistics of a tensor: a sample at once, then every value."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSpinBox, QSplitter, QStackedLayout, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import NAME_LIMIT, label, plain
from ckpt_viewer.gui.panels import counting
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Notice, Panel
from ckpt_viewer.gui.panels.facts_table import FactsTable
from ckpt_viewer.gui.panels.saving import SaveMenu
from ckpt_viewer.gui.settings import Settings

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.plot import HistogramPlot
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.stats.summary import Summary

SCALE_KEY, BINS_KEY = "histogram/scale", "histogram/bins"
KEPT = 64
"""Summaries that are kept, so that going back to a tensor reads nothing."""
WIDE = 460
"""Pixels from which the statistics stand beside the picture instead of below it."""

TABLE_WIDTH = 205
"""Pixels that the statistics get at first."""
TABLE_WIDEST = 250
"""Pixels that they claim where their numbers are long."""


class HistogramPanel(Panel):
    """Picture, statistics and the choices for them."""

    title = "Histogram"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._tensor: TensorSpec | None = None
        self._name = ""
        self._plot: HistogramPlot | None = None
        self._arranged = False
        self._settings = Settings()
        self._summary: Summary | None = None
        self._seen: Summary | None = None  # waits for the plot
        self._kept: OrderedDict[tuple[int, int], tuple[TensorSpec, Summary]] = OrderedDict()
        self._look, self._count = Latest(session.jobs, self), Latest(session.jobs, self)
        self._look.finished.connect(self._on_look)
        self._count.finished.connect(self._on_count)
        self._count.progressed.connect(self._on_progress)
        for latest in (self._look, self._count):
            latest.failed.connect(self.show_error)
        session.opened.connect(self._kept.clear)
        self._build()

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The first thing to see of a tensor."""
        return BEST - 10 if isinstance(subject, Node) and isinstance(subject.value, TensorSpec) else UNSUPPORTED

    def _build(self) -> None:
        self.table = FactsTable("statsTable", "Statistics", ("Statistic", "Value"), numeric=True)
        self.hover = label(muted=True)
        self.hover.setObjectName("histogramHover")
        self._instead = Notice()
        self._place = QWidget()
        self._pages = QStackedLayout(self._place)
        self._pages.addWidget(self._instead)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._place, 1)
        column.addWidget(self.hover)
        self._splitter = QSplitter()
        self._splitter.setChildrenCollapsible(False)
        self._splitter.addWidget(left)
        self._splitter.addWidget(self.table)
        self._splitter.setStretchFactor(0, 1)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addLayout(self._controls())
        layout.addWidget(self._splitter, 1)

    def _controls(self) -> QHBoxLayout:
        self.scale = QComboBox()
        self.scale.setObjectName("histogramScale")
        self.scale.addItems(["linear", "log"])
        self.scale.setAccessibleName("Count axis")
        self.scale.currentIndexChanged.connect(self._on_scale)
        self.bins = QSpinBox()
        self.bins.setObjectName("histogramBins")
        self.bins.setAccessibleName("Bins")
        self.bins.setRange(counting.AUTO, counting.MOST_BINS)
        self.bins.setSpecialValueText("auto")
        self.bins.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType)
        self.bins.setKeyboardTracking(False)
        self.bins.valueChanged.connect(self._restart)
        self.status = ElidedLabel(muted=True)
        self.status.setObjectName("histogramStatus")
        self._recall()
        self.save = SaveMenu(self)
        self.save.said.connect(self.status.setText)
        row = QHBoxLayout()
        for words, widget in (("Counts", self.scale), ("Bins", self.bins)):
            row.addWidget(label(words))
            row.addWidget(widget)
            row.addSpacing(8)
        row.addWidget(self.status, 1)
        row.addWidget(self.save.button)
        return row

    def _recall(self) -> None:
        """Begin with the choices of the last time, and remember each change."""
        self.scale.setCurrentIndex(max(0, self.scale.findText(self._settings.text(SCALE_KEY))))
        bins = self._settings.text(BINS_KEY)
        self.bins.setValue(int(bins) if bins.isascii() and bins.isdigit() and len(bins) < 5 else counting.AUTO)
        self.scale.currentTextChanged.connect(lambda text: self._settings.set(SCALE_KEY, text))
        self.bins.valueChanged.connect(lambda bins: self._settings.set(BINS_KEY, str(bins)))

    def show_subject(self, subject: Node) -> None:
        """Look at another tensor: first a sample of it, or all if that is quick."""
        self._tensor, self._name = subject.tensor, plain(subject.name, NAME_LIMIT)
        self._restart()

    def clear(self) -> None:
        """Stop reading."""
        self._look.cancel()
        self._count.cancel()
        self._tensor = self._summary = self._seen = None

    def _restart(self) -> None:
        tensor, self._seen = self._tensor, None
        self._look.cancel()
        self._count.cancel()
        if tensor is None:
            return
        kept = self._kept.get((id(tensor), self.bins.value()))
        if kept is not None:
            self.show_summary(kept[1])
            self.settle()
            return
        request = counting.Request(tensor, self.bins.value())
        self.begin()
        self._look.start(lambda context: counting.first_look(request, context))

    def _on_look(self, summary: Summary) -> None:
        """Make the first plot in a turn of its own: with what it shows it would stop the window for 50 ms."""
        if self._plot is None and not counting.nothing_to_draw(summary):
            self._the_plot()
            self._seen = summary
            QTimer.singleShot(0, self, lambda: self._go_on(summary) if self._seen is summary else None)
        else:
            self._go_on(summary)

    def _go_on(self, summary: Summary) -> None:
        assert self._tensor is not None
        self._seen = None
        if not summary.sample:
            self._on_count(summary)
            return
        self.show_summary(summary)
        request = counting.Request(self._tensor, self.bins.value())
        self._count.start(
            lambda context: counting.exact(request, summary, context), title=f"Counting the values of {self._name}"
        )

    def _on_count(self, summary: Summary) -> None:
        assert self._tensor is not None
        self._kept[id(self._tensor), self.bins.value()] = (self._tensor, summary)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self.show_summary(summary)
        self.settle()

    def _on_progress(self, done: int, total: int) -> None:
        if total and self._summary is not None:
            self.status.setText(f"{counting.caption(self._summary)}; {100 * done // total} % counted")

    def show_summary(self, summary: Summary) -> None:
        """Show the numbers and the picture of a summary, of a sample or exact."""
        self._summary = summary
        self.table.show_facts(counting.statistics(summary))
        self.table.setMinimumWidth(min(self.table.wanted_width(), TABLE_WIDEST))
        self.status.setText(counting.caption(summary))
        instead = counting.nothing_to_draw(summary)
        if instead:
            self._instead.say(instead)
            self._pages.setCurrentWidget(self._instead)
        else:
            plot = self._the_plot()
            plot.show_bins(counting.bins_of(summary), counting.axis_label(summary), counting.scale_of(summary))
            self._pages.setCurrentWidget(plot.widget)
        self._on_hover(self._plot.at if self._plot is not None else -1)
        self.save.set_enabled(not instead)
        self.show_body()

    def _the_plot(self) -> HistogramPlot:
        if self._plot is None:
            from ckpt_viewer.gui.panels.plot import HistogramPlot  # imported by the job before

            self._plot = HistogramPlot(self)
            self._plot.set_logarithmic(self.scale.currentIndex() == 1)
            self._plot.hovered.connect(self._on_hover)
            self._pages.addWidget(self._plot.widget)
            self.save.attach(self._plot)
        return self._plot

    def _on_scale(self, chosen: int) -> None:
        if self._plot is not None:
            self._plot.set_logarithmic(chosen == 1)

    def _on_hover(self, at: int) -> None:
        summary = self._summary
        text = (counting.bin_text(summary, at) or counting.special_words(summary)) if summary is not None else ""
        self.hover.setText(text or " ")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the statistics beside the picture where there is room."""
        super().resizeEvent(event)
        wide = self.width() >= WIDE
        wanted = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if wanted != self._splitter.orientation() or not self._arranged:
            self._arranged = True
            self._splitter.setOrientation(wanted)
            table = TABLE_WIDTH if wide else self.height() // 3
            self._splitter.setSizes([(self.width() if wide else self.height()) - table, table])
