"""Norm, mean, std and extremes of each channel of a tensor as a curve, and which channels are dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QVBoxLayout, QWidget

from ckpt_viewer.core.absent import has_planes
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.labels import NAME_LIMIT, label, plain
from ckpt_viewer.gui.panels import channel_work
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED
from ckpt_viewer.gui.panels.curve_panel import CurvePanel
from ckpt_viewer.gui.panels.places import PlacesView

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.curves import Curve, CurvePlot
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.stats.channels import Channels


class ChannelsPanel(CurvePanel):
    """Choice of dimension and statistic, the curve, and the channels that are dead."""

    title, word = "Channels", "channels"
    picture_name, what = "Statistic of each channel", "the curve"
    hint = "wheel: zoom;  drag: move;  double-click: the values of a channel"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._working.progressed.connect(self._on_progress)
        self.axis = QComboBox()
        self.axis.setObjectName("channelsAxis")
        self.axis.setAccessibleName("Dimension of the channels")
        self.axis.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.axis.activated.connect(self._restart)
        self.choice.setObjectName("channelsStatistic")
        self.choice.setAccessibleName("Statistic of each channel")
        self.choice.addItems(list(channel_work.STATISTICS))
        for widget in (label("Channels along"), self.axis, self.choice, self.logarithmic):
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
        self._splitter.setOrientation(Qt.Orientation.Vertical)
        self._splitter.addWidget(self._listing)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Whatever has dense values in at least two dimensions."""
        value = subject.value if isinstance(subject, Node) else None
        return BEST - 40 if isinstance(value, TensorSpec) and has_planes(value) else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Show another tensor, along its first dimension."""
        self._tensor, self._name = subject.tensor, plain(subject.name, NAME_LIMIT)
        self.axis.clear()
        self.axis.addItems([f"dim {dim}  ({grouped(size)})" for dim, size in enumerate(subject.tensor.shape or ())])
        self._restart()

    def _restart(self, *_: object) -> None:
        tensor, axis = self._tensor, self.axis.currentIndex()
        if tensor is None:
            return
        self._drawing.cancel()
        self.found = None
        self.begin("Counting each channel …")
        self._working.start(
            lambda context: channel_work.count(tensor, axis, context), title=f"Counting the channels of {self._name}"
        )

    def _on_progress(self, done: int, total: int) -> None:
        if total:
            self.status.setText(f"{100 * done // total} % counted")

    def _drawn_by(self, found: Channels, choice: str, logarithmic: bool) -> Callable[[Context], Any]:
        return lambda _: (channel_work.draw(found, choice, logarithmic), channel_work.noteworthy(found))

    def _show_drawn(self, drawn: tuple[Curve, list[tuple[int, str]]]) -> None:
        _, places = drawn
        self.places.show_places([(at, f"channel {at}:  {words}") for at, words in places])
        self._listing.setVisible(bool(places))
        first = "the first " if len(places) == channel_work.MOST_LISTED else ""
        self.heading.setText(f"Dead or not finite: {first}{grouped(len(places))}; a click shows the values")
        self.status.setText(channel_work.caption(self.found))

    def _made_plot(self, plot: CurvePlot) -> None:
        plot.chosen.connect(self._on_chosen)
        self._splitter.setStretchFactor(0, 3)
        self._splitter.setStretchFactor(1, 1)

    def _point_text(self, found: Channels, at: int) -> str:
        return channel_work.channel_text(found, at)

    def _table_text(self, found: Channels, separator: str, context: Context) -> str:
        return channel_work.table_text(found, separator, context)

    def _on_chosen(self, at: int) -> None:
        if self._tensor is not None and self.found is not None:
            index = [0] * len(self._tensor.shape or ())
            index[self.found.axis] = at
            self.place_wanted.emit(tuple(index))
