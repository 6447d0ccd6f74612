"""An optimizer: its class, its groups beside each other, and the parameter that each part of its state belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, larger, plain
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.optimizer_groups import GroupsTable
from ckpt_viewer.gui.panels.safety_table import RowsModel, RowsTable
from ckpt_viewer.gui.panels.taken import is_taken_for
from ckpt_viewer.gui.panels.training_report import CONFIDENCE, OptimizerReport, optimizer_report
from ckpt_viewer.gui.training_watch import TrainingWatch

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

RATE = 95
"""Of an optimizer's state; of the root of its own file the overview comes first."""
LEAST_HYPERS, LEAST_PARAMETERS = 3, 2
"""Hyper-parameters and parameters that are visible in the smallest window."""
GROUPS_PART = 0.45
"""The part of the height that the groups may take from the parameters."""
MARGIN = 10


class OptimizerPanel(Panel):
    """Class, groups and parameters of an optimizer's state."""

    title = "Optimizer"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._watch = TrainingWatch.of(session)
        self._reading = Latest(session.jobs, self)
        self._reading.finished.connect(self._show)
        self._reading.failed.connect(self.show_error)
        self.heading = label(wrap=True, selectable=True)
        self.heading.setObjectName("optimizerClass")
        larger(self.heading, 1.2, bold=True)
        self.sentences = label(wrap=True, muted=True, selectable=True)
        self.sentences.setObjectName("optimizerSentences")
        self.groups = GroupsTable()
        self.hypers = self.groups.hypers
        headers = ("Joined", "Parameter", "Group", "Shape", "Step", "Effective lr", "State")
        model = RowsModel(headers, CONFIDENCE, ("warning", "", "", "warning", "info"), 1)
        self.parameters = RowsTable(
            session, model, "optimizerParameters", "Parameters and their state", stretched=6, spare=(6,)
        )
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(MARGIN, 8, MARGIN, 8)
        for widget in (self.heading, self.sentences):
            widget.setMinimumWidth(1)
            layout.addWidget(widget)
        layout.addWidget(self.groups)
        layout.addWidget(self.parameters, 1)
        layout.addStretch()

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The first thing to see of an optimizer's state."""
        return RATE if is_taken_for(subject, "optimizer") else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Look into another optimizer, in a job."""
        self.begin("Joining states to parameters …")
        training = self._watch.training
        known = training.going_on.optimizers if training is not None else ()
        self._reading.start(lambda context: optimizer_report(subject, known, context))

    def clear(self) -> None:
        """Stop looking."""
        self._reading.cancel()

    def _show(self, said: OptimizerReport) -> None:
        self.heading.setText(plain(said.heading, 200))
        self.sentences.setText(plain(said.sentences, 2000))
        self.groups.show_hypers(said.groups, said.hypers)
        self.parameters.show_rows(said.rows)
        self._fit()
        self.show_body()
        self.settle()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the new height."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give the groups the height of all their rows where there is room, else of as many whole ones as fit."""
        width, layout = self.width() - 2 * MARGIN, self.body.layout()
        above = sum(each.heightForWidth(width) for each in (self.heading, self.sentences))
        gaps = 4 * (layout.spacing() if layout is not None else 0) + 2 * MARGIN
        count, row = len(self.hypers.hypers), self.groups.verticalHeader().defaultSectionSize()
        self.parameters.fit_height(LEAST_PARAMETERS, len(self.parameters.lines.rows))
        room = round((self.height() - above - gaps) * GROUPS_PART)
        spared = self.height() - above - gaps - self.parameters.maximumHeight()
        rows = (max(room, spared) - self.groups.height_of(0)) // row
        self.groups.setFixedHeight(self.groups.height_of(min(count, max(rows, LEAST_HYPERS))))
