"""Norm, mean, std and extremes of each channel of a tensor as a curve, and which channels are dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import NAME_LIMIT, label, plain
from ckpt_viewer.gui.panels import channel_work
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.picture_menu import PictureMenu, Writer, text_writer
from ckpt_viewer.gui.panels.places import PlacesView

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.curves import Curve, CurvePlot
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.stats.channels import Channels


class ChannelsPanel(Panel):
    """Choice of dimension and statistic, the curve, and the channels that are dead."""

    title = "Channels"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._tensor: TensorSpec | None = None
        self._name = ""
        self.channels: Channels | None = None
        self._plot: CurvePlot | None = None
        self._menu: PictureMenu | None = None
        self._counting, self._drawing = Latest(session.jobs, self), Latest(session.jobs, self)
        self._counting.finished.connect(self._on_counted)
        self._counting.progressed.connect(self._on_progress)
        self._drawing.finished.connect(self._on_drawn)
        for latest in (self._counting, self._drawing):
            latest.failed.connect(self.show_error)
        self._build()

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Whatever has dense values in at least two dimensions."""
        if not isinstance(subject, Node) or not isinstance(subject.value, TensorSpec):
            return UNSUPPORTED
        tensor = subject.value
        flat = tensor.shape is None or len(tensor.shape) < 2 or tensor.numel < 2
        return UNSUPPORTED if flat or missing_values(tensor) else BEST - 40

    def _build(self) -> None:
        self.axis, self.statistic = QComboBox(), QComboBox()
        self.axis.setObjectName("channelsAxis")
        self.axis.setAccessibleName("Dimension of the channels")
        self.axis.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.axis.activated.connect(self._restart)
        self.statistic.setObjectName("channelsStatistic")
        self.statistic.setAccessibleName("Statistic of each channel")
        self.statistic.addItems(list(channel_work.STATISTICS))
        self.statistic.activated.connect(self._draw)
        self.logarithmic = QCheckBox("log")
        self.logarithmic.setAccessibleName("Logarithmic heights")
        self.logarithmic.toggled.connect(self._draw)
        self.status = ElidedLabel(muted=True)
        self.status.setObjectName("channelsStatus")
        self.hover = ElidedLabel(muted=True)
        self.hover.setObjectName("channelsHover")
        self._controls = QHBoxLayout()
        for widget in (label("Channels along"), self.axis, self.statistic, self.logarithmic):
            self._controls.addWidget(widget)
        self._controls.addStretch()
        self._listing = QWidget()
        self.heading = label("Dead channels", muted=True)
        self.places = PlacesView("channelsDead", "Channels that are dead or not finite")
        self.places.chosen.connect(self._on_chosen)
        below = QVBoxLayout(self._listing)
        below.setContentsMargins(0, 4, 0, 0)
        below.addWidget(self.heading)
        below.addWidget(self.places, 1)
        self._splitter = QSplitter(Qt.Orientation.Vertical)
        self._splitter.setChildrenCollapsible(False)
        self._splitter.addWidget(self._listing)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addLayout(self._controls)
        layout.addWidget(self._splitter, 1)
        layout.addWidget(self.status)
        layout.addWidget(self.hover)

    def show_subject(self, subject: Node) -> None:
        """Show another tensor, along its first dimension."""
        self._tensor, self._name = subject.tensor, plain(subject.name, NAME_LIMIT)
        self.axis.clear()
        self.axis.addItems([f"dim {dim}  ({grouped(size)})" for dim, size in enumerate(subject.tensor.shape or ())])
        self._restart()

    def clear(self) -> None:
        """Stop counting."""
        self._counting.cancel()
        self._drawing.cancel()
        self._tensor = self.channels = None

    def _restart(self, *_: object) -> None:
        tensor, axis = self._tensor, self.axis.currentIndex()
        if tensor is None:
            return
        self._drawing.cancel()
        self.channels = None
        self.begin("Counting each channel …")
        self._counting.start(
            lambda context: channel_work.count(tensor, axis, context), title=f"Counting the channels of {self._name}"
        )

    def _on_progress(self, done: int, total: int) -> None:
        if total:
            self.status.setText(f"{100 * done // total} % counted")

    def _on_counted(self, channels: Channels) -> None:
        self.channels = channels
        self._draw_soon()

    def _draw(self, *_: object) -> None:
        channels, statistic, logarithmic = self.channels, self.statistic.currentText(), self.logarithmic.isChecked()
        if channels is not None:
            self.begin("")
            self._drawing.start(
                lambda _context: (
                    channel_work.draw(channels, statistic, logarithmic), channel_work.noteworthy(channels)
                )
            )  # fmt: skip

    def _draw_soon(self) -> None:
        """Draw in a turn of its own: making the first plot takes long enough."""
        self._the_plot()
        QTimer.singleShot(0, self, self._draw)

    def _on_drawn(self, drawn: tuple[Curve, list[tuple[int, str]]]) -> None:
        channels = self.channels
        if channels is None:
            return
        curve, places = drawn
        self._the_plot().show_curve(curve)
        self.places.show_places([(at, f"channel {at}:  {words}") for at, words in places])
        self._listing.setVisible(bool(places))
        first = "the first " if len(places) == channel_work.MOST_LISTED else ""
        self.heading.setText(f"Dead or not finite: {first}{grouped(len(places))}; a click shows the values")
        self.status.setText(channel_work.caption(channels))
        self._on_hover(-1)
        self.show_body()
        self.settle()

    def _the_plot(self) -> CurvePlot:
        if self._plot is None:
            from ckpt_viewer.gui.panels.curves import CurvePlot  # imported by the job before

            self._plot = CurvePlot("channelsPlot", "Statistic of each channel", self)
            self._plot.hovered.connect(self._on_hover)
            self._plot.chosen.connect(self._on_chosen)
            self._splitter.insertWidget(0, self._plot.widget)
            self._splitter.setStretchFactor(0, 3)
            self._splitter.setStretchFactor(1, 1)
            self._menu = PictureMenu(self.session, self._plot.widget, "channels", "the curve")
            self._menu.add("Show all", self._plot.view_all)
            self._menu.add("Copy the numbers", self._copy)
            self._menu.add_picture()
            self._menu.add_svg()
            self._menu.add_file("CSV", self._csv_writer)
            self._menu.said.connect(self.status.setText)
            self._controls.addWidget(self._menu.button)
        return self._plot

    def _on_hover(self, at: int) -> None:
        text = channel_work.channel_text(self.channels, at) if self.channels is not None else ""
        self.hover.setText(text or "wheel: zoom;  drag: move;  double-click: the values of a channel")

    def _on_chosen(self, at: int) -> None:
        if self._tensor is not None and self.channels is not None:
            index = [0] * len(self._tensor.shape or ())
            index[self.channels.axis] = at
            self.place_wanted.emit(tuple(index))

    def _copy(self) -> None:
        channels = self.channels
        if channels is not None and self._menu is not None:
            self._menu.copy_text(lambda context: channel_work.table_text(channels, "\t", context))

    def _csv_writer(self) -> Writer:
        channels = self.channels
        assert channels is not None
        return text_writer(lambda context: channel_work.table_text(channels, ",", context))
