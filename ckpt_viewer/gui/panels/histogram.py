"""Histogram and statistics of tensors: a sample at once, then every value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QStackedLayout, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.panels import counting
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Notice, Panel
from ckpt_viewer.gui.panels.counting import Seen, Target
from ckpt_viewer.gui.panels.facts_table import FactsTable
from ckpt_viewer.gui.panels.histogram_controls import HistogramControls
from ckpt_viewer.gui.panels.histogram_flow import HistogramFlow
from ckpt_viewer.gui.panels.picture import Wish, bin_text
from ckpt_viewer.gui.panels.picture_menu import PictureMenu
from ckpt_viewer.gui.panels.saving import fill_menu
from ckpt_viewer.gui.panels.statistics import side_by_side, special_words, statistics
from ckpt_viewer.gui.panels.targets import holds_tensors, target_of
from ckpt_viewer.gui.turns import soon

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.plot import HistogramPlot
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.gui.tree import ModuleGroup

WIDE = 460
"""Pixels from which the statistics stand beside the picture instead of below it."""
BELOW = 50
"""The rate of all tensors below a container together."""
TABLE_WIDTH = 205
"""Pixels that the statistics get at first."""
TABLE_WIDEST = 250
"""Pixels that they claim where their numbers are long."""


class HistogramPanel(Panel):
    """Picture, statistics and the choices for them."""

    title = "Histogram"
    wanted_soon = True

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._subject: Node | ModuleGroup | None = None
        self._target: Target | None = None
        self._range: tuple[float, float] | None = None
        self._plot: HistogramPlot | None = None
        self._arranged = self._several = False
        self._seen: Seen | None = None
        self._next: Seen | None = None  # waits for the plot
        self.flow = HistogramFlow(session, self)
        self.flow.seen.connect(self._on_seen)
        self.flow.settled.connect(self._on_settled)
        self.flow.failed.connect(self.show_error)
        self.flow.progressed.connect(self._on_progress)
        session.picks.changed.connect(self._on_picks)
        session.scan.changed.connect(self._say_scan)
        self._build()

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The first thing to see of a tensor; of a container it is one among others."""
        if isinstance(subject, Node) and isinstance(subject.value, TensorSpec):
            return BEST - 10
        return BELOW if holds_tensors(subject) else UNSUPPORTED

    def _build(self) -> None:
        self.table = FactsTable("statsTable", "Statistics", ("Statistic", "Value"), numeric=True)
        self.hover = label(muted=True)
        self.hover.setObjectName("histogramHover")
        self.save = PictureMenu(self.session, self, "histogram", "the histogram")
        self.save.button.setEnabled(False)
        self.controls = HistogramControls(self.save.button)
        self.status = self.controls.status
        self.save.said.connect(self.status.setText)
        self.controls.wishChanged.connect(self._on_wish)
        self.controls.drawingChanged.connect(self._on_drawing)
        self.controls.wholeWanted.connect(self._on_whole)
        self.controls.scanWanted.connect(self.session.scan.start)
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
        layout.addWidget(self.controls)
        layout.addWidget(self._splitter, 1)

    def prepare(self) -> Iterator[None]:
        """Make the plot, and paint all once where nobody sees it: fonts and styles are looked up at the first time."""
        self._the_plot()
        yield
        if self._seen is None:
            self.grab()
        yield

    # --- what is looked at

    def show_subject(self, subject: Node | ModuleGroup) -> None:
        """Look at another tensor, or all below a container: first a sample, or all if that is quick."""
        self._subject = subject
        self._show(target_of(subject, self.session.picks))

    def _on_picks(self) -> None:
        """Other tensors are selected together."""
        if self._subject is not None and self._target is not None:
            target = target_of(self._subject, self.session.picks)
            if target.key != self._target.key or target.selected != self._target.selected:
                self._show(target)

    def _show(self, target: Target) -> None:
        self._target, self._range, self._next = target, None, None
        self.begin()
        self.flow.show(target, self.controls.wish)

    def clear(self) -> None:
        """Stop reading."""
        self.flow.cancel()
        self._subject = self._target = self._seen = self._next = None

    @property
    def _wish(self) -> Wish:
        wish = self.controls.wish
        return wish if self._range is None else wish._replace(low=self._range[0], high=self._range[1])

    def _on_wish(self) -> None:
        """Other bins or another axis: of the same part of the values."""
        if self._target is not None:
            self.begin("")
            self.flow.redraw(self._wish)

    def _on_range(self, ends: tuple[float, float] | None) -> None:
        """The user zoomed or moved."""
        if ends != self._range and self._target is not None:
            self._range = ends
            self.begin("")
            self.flow.redraw(self._wish)

    def _on_whole(self) -> None:
        if self._plot is not None:
            self._plot.view_all()

    # --- what is seen

    def _on_seen(self, seen: Seen) -> None:
        """Make the first plot in a turn of its own: with what it shows it would stop the window for 50 ms."""
        if self._plot is None and seen.picture is not None:
            self._the_plot()
            self._next = seen
            soon(self, self._show_next)
        elif self._next is not None:
            self._next = seen
        else:
            self.show_seen(seen)

    def _show_next(self) -> None:
        if self._next is not None:
            seen, self._next = self._next, None
            self.show_seen(seen)
            if not self.flow.is_busy:
                self.settle()

    def _on_settled(self) -> None:
        if self._next is None:
            self.settle()

    def _on_progress(self, done: int, total: int) -> None:
        if total and self._seen is not None:
            self.status.setText(f"{counting.caption(self._seen)}; {100 * done // total} % counted")

    def show_seen(self, seen: Seen) -> None:
        """Show the numbers and the picture of what was seen, of a sample or exact."""
        self._seen = seen
        self._show_statistics(seen)
        self._say_scan()
        instead = counting.nothing_to_draw(seen)
        if seen.picture is None:
            self._instead.say(instead)
            self._pages.setCurrentWidget(self._instead)
        else:
            plot = self._the_plot()
            plot.show_picture(seen.picture)
            self._pages.setCurrentWidget(plot.widget)
        self.controls.whole.setVisible(seen.picture is not None and seen.picture.wish.zoomed)
        self._on_hover(self._plot.at if self._plot is not None else -1)
        self.save.button.setEnabled(not instead)
        self.show_body()

    def _show_statistics(self, seen: Seen) -> None:
        tensors = seen.target.tensors or (None,)
        tables = [
            statistics(profile, partial, tensor)
            for profile, partial, tensor in zip(seen.profiles, seen.partial, tensors, strict=True)
        ]
        several = len(tables) > 1
        headers = ("Statistic", *seen.target.names) if several else ()
        self.table.show_facts(side_by_side(tables) if several else tables[0], headers)
        widest = max(TABLE_WIDEST, self.width() // 2) if several else TABLE_WIDEST
        self.table.setMinimumWidth(min(self.table.wanted_width(), widest))
        if several != self._several:  # what several tensors needed is given back
            self._several = several
            self._share_out()

    def _say_scan(self) -> None:
        """Say how the numbers were counted, and offer what would count all below a container."""
        seen, scan = self._seen, self.session.scan
        if seen is None:
            return
        below = seen.target.container is not None and seen.sample
        running = scan.state in (ScanState.RUNNING, ScanState.PAUSED)
        text = counting.caption(seen)
        if below and running:
            text += f"; {grouped(scan.done)} of {grouped(scan.total)} tensors of the file scanned"
        self.status.setText(text)
        self.controls.scan.setText(f"Scan all values ({bytes_text(scan.total_bytes)})")
        self.controls.scan.setVisible(below and not running and scan.state is not ScanState.DONE)

    def _the_plot(self) -> HistogramPlot:
        if self._plot is None:
            from ckpt_viewer.gui.panels.plot import HistogramPlot  # imported by the job before

            self._plot = HistogramPlot(self)
            self._on_drawing()
            self._plot.hovered.connect(self._on_hover)
            self._plot.rangeWanted.connect(self._on_range)
            self._pages.addWidget(self._plot.widget)
            fill_menu(self.save, self._plot)
        return self._plot

    def _on_drawing(self) -> None:
        if self._plot is not None:
            self._plot.set_logarithmic(self.controls.logarithmic)
            self._plot.set_marks(self.controls.kinds)

    def _on_hover(self, at: int) -> None:
        seen, text = self._seen, ""
        if seen is not None:
            text = bin_text(seen.picture, at) if seen.picture is not None else ""
            words = [special_words(*each) for each in zip(seen.profiles, seen.partial, strict=True)]
            text = text or (words[0] if len(set(words)) == 1 else "")
        self.hover.setText(text or " ")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the statistics beside the picture where there is room."""
        super().resizeEvent(event)
        wide = self.width() >= WIDE
        wanted = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if wanted != self._splitter.orientation() or not self._arranged:
            self._arranged = True
            self._splitter.setOrientation(wanted)
            self._share_out()

    def _share_out(self) -> None:
        """Give the table what it needs, the picture the rest."""
        wide = self._splitter.orientation() == Qt.Orientation.Horizontal
        table = max(TABLE_WIDTH, self.table.minimumWidth()) if wide else self.height() // 3
        self._splitter.setSizes([(self.width() if wide else self.height()) - table, table])
