"""A learning-rate scheduler: its class, its fields in words, and the curve that torch computes from its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.progress import Context
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, larger, plain
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.crumbs import outline_row
from ckpt_viewer.gui.panels.facts_table import Fact, FactsTable
from ckpt_viewer.gui.panels.taken import is_taken_for

if TYPE_CHECKING:
    from ckpt_viewer.analysis.overview import Overview
    from ckpt_viewer.gui.panels.curves import Curve, CurvePlot
    from ckpt_viewer.gui.session import Session

RATE = 95


class SchedulerReport(NamedTuple):
    """What is shown before the curve.

    Attributes:
        heading, sentence, facts: class, what told it, and fields.
        request: what torch computes the curve from; None where it cannot. known: the curve that the state itself tells.
    """

    heading: str
    sentence: str
    facts: list[Fact]
    request: dict[str, Any] | None
    known: dict[str, Any] | None


class Curves(NamedTuple):
    """The learning rates of each group, ready to be drawn, and what is to be said of them."""

    groups: list[Curve]
    note: str


def scheduler_report(subject: Node, view: Overview | None, context: Context) -> SchedulerReport:
    """Look into a scheduler and for the optimizer that it steers; raises Cancelled."""
    from ckpt_viewer.analysis.overview import overview
    from ckpt_viewer.analysis.resume import resume, scheduler_views
    from ckpt_viewer.analysis.scheduler import SchedulerView, curve_request, known_curve

    checkpoint = subject.checkpoint
    row = outline_row(checkpoint.load_outline(context), subject) or 0
    view = view if view is not None else overview(checkpoint, context)
    known = scheduler_views(resume(checkpoint, view, context), checkpoint, view)
    seen = next((each for each in known if each.row == row), None) or SchedulerView(checkpoint, row)
    rates = ", ".join(f"{rate:.6g}" for rate in seen.rates[:4]) or "unknown"
    heading = f"{seen.guess.text or 'A scheduler of an unknown class'}, epoch {seen.epoch}, learning rate {rates}"
    sentence = seen.refusal or f"told by its fields: {seen.guess.reason}"
    facts = [
        Fact(each.name, f"{each.text}{'  ·  ' if each.words else ''}{each.words}", each.text) for each in seen.told
    ]
    words = f"{sentence[:1].upper()}{sentence[1:]}."
    return SchedulerReport(heading, words, facts, curve_request(seen), known_curve(seen))


def compute_curves(said: SchedulerReport, _context: Context) -> Curves:
    """Have torch compute the curve, in a process of its own, where it can; raises CheckpointError."""
    import numpy as np

    from ckpt_viewer.gui.panels.curves import Curve  # imports pyqtgraph, here and not on the GUI thread
    from ckpt_viewer.worker import Worker

    answer = said.known or {"epochs": [0], "rates": [], "now": 0, "note": ""}
    if said.request is not None:
        with Worker() as worker:
            answer = worker.request("lr_curve", said.request)
    first = next(iter(answer["epochs"]), 0)
    marked = np.array([answer["now"] - first], np.int64)
    across = "epoch (the cross is the saved one)"
    groups = [np.array(rates, np.float64) for rates in answer["rates"]]
    curves = [Curve(rates, rates, first, across, "learning rate", False, marked) for rates in groups]
    return Curves(curves, str(answer["note"]))


class SchedulerPanel(Panel):
    """Fields and curve of a scheduler's state."""

    title = "Scheduler"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._reading, self._computing = Latest(session.jobs, self), Latest(session.jobs, self)
        self._reading.finished.connect(self._show)
        self._reading.failed.connect(self.show_error)
        self._computing.finished.connect(self._show_curves)
        self._computing.failed.connect(self._on_failed)
        self._curves: list[Curve] = []
        self.plot: CurvePlot | None = None
        self.heading = label(wrap=True, selectable=True)
        self.heading.setObjectName("schedulerClass")
        larger(self.heading, 1.2, bold=True)
        self.words = label(wrap=True, muted=True, selectable=True)
        self.words.setObjectName("schedulerSentence")
        self.hover = ElidedLabel(muted=True)
        self.hover.setObjectName("schedulerHover")
        self.group = QComboBox()
        self.group.setObjectName("schedulerGroup")
        self.group.setAccessibleName("Group whose learning rate is drawn")
        self.group.currentIndexChanged.connect(self._draw)
        self.table = FactsTable("schedulerTable", "Fields of the scheduler", ("Field", "Value"))
        self._place = QVBoxLayout()
        above = QHBoxLayout()
        above.addWidget(self.group)
        above.addWidget(self.hover, 1)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        for widget in (self.heading, self.words):
            widget.setMinimumWidth(1)
            layout.addWidget(widget)
        layout.addLayout(above)
        layout.addLayout(self._place, 3)
        layout.addWidget(self.table, 2)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The first thing to see of a scheduler's state."""
        return RATE if is_taken_for(subject, "lr_scheduler") else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Look into another scheduler; its curve follows."""
        self._forget()
        self.begin("Looking into the scheduler …")
        view = self.session.overview
        self._reading.start(lambda context: scheduler_report(subject, view, context))

    def clear(self) -> None:
        """Stop looking and computing."""
        self._reading.cancel()
        self._computing.cancel()

    def _forget(self) -> None:
        self._computing.cancel()
        self._curves = []
        self.group.hide()
        self.hover.setText("")
        if self.plot is not None:
            self.plot.widget.hide()

    def _show(self, said: SchedulerReport) -> None:
        self.heading.setText(plain(said.heading, 300))
        self.words.setText(plain(said.sentence, 1000))
        self.table.show_facts(said.facts)
        self.show_body()
        if said.request is None and said.known is None:
            self.hover.setText("No curve: see above." if said.facts else "")
            self.settle()
            return
        self.hover.setText("torch computes the learning rates …" if said.request is not None else "")
        self._computing.start(lambda context: compute_curves(said, context))

    def _show_curves(self, found: Curves) -> None:
        self._curves = found.groups
        self.hover.setText(plain(f"{found.note[:1].upper()}{found.note[1:]}", 400))
        if self.plot is None:
            from ckpt_viewer.gui.panels.curves import CurvePlot  # imported by the job before

            self.plot = CurvePlot("schedulerPlot", "Learning rate by epoch", self)
            self.plot.hovered.connect(self._on_hover)
            self._place.addWidget(self.plot.widget)
        self.group.blockSignals(True)
        self.group.clear()
        self.group.addItems([f"Group {number}" for number in range(len(self._curves))])
        self.group.blockSignals(False)
        self.group.setVisible(len(self._curves) > 1)
        self.plot.widget.show()
        self._draw()
        self.settle()

    def _draw(self) -> None:
        number = self.group.currentIndex()
        if self.plot is not None and 0 <= number < len(self._curves):
            self.plot.show_curve(self._curves[number])

    def _on_hover(self, at: int) -> None:
        number = max(self.group.currentIndex(), 0)
        if at >= 0 and number < len(self._curves):
            curve = self._curves[number]
            self.hover.setText(f"epoch {curve.first + at}: learning rate {float(curve.heights[at])!r}")

    def _on_failed(self, error: BaseException) -> None:
        self.hover.setText(plain(f"No curve: {error}", 400))
        self.settle()
