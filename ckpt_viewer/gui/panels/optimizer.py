"""An optimizer: its class, its groups beside each other, and the parameter that each part of its state belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QAbstractItemView, QFrame, QTableView, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, larger, plain, tooltip
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.safety_table import RowsModel, RowsTable
from ckpt_viewer.gui.panels.taken import is_taken_for
from ckpt_viewer.gui.panels.training_report import CONFIDENCE, Hyper, OptimizerReport, optimizer_report
from ckpt_viewer.gui.training_watch import TrainingWatch

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

Index = QModelIndex | QPersistentModelIndex
RATE = 95
"""Of an optimizer's state; of the root of its own file the overview comes first."""
LEAST_HYPERS, LEAST_PARAMETERS = 3, 2
"""Hyper-parameters and parameters that are visible in the smallest window."""
MOST_GROUPS = 3
"""Groups that stand beside each other without scrolling."""


class GroupsModel(QAbstractTableModel):
    """Hyper-parameters down, groups across; where groups differ, in bold and said so."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: tuple[str, ...] = ()
        self.hypers: list[Hyper] = []

    def show_hypers(self, titles: tuple[str, ...], hypers: list[Hyper]) -> None:
        """Show other groups."""
        self.beginResetModel()
        self.titles, self.hypers = titles, hypers
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One line a hyper-parameter."""
        return 0 if parent.isValid() else len(self.hypers)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One column a group."""
        return 0 if parent.isValid() else len(self.titles)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text and look of a cell."""
        if not index.isValid():
            return None
        hyper = self.hypers[index.row()]
        text = hyper.values[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return plain(text, 60)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip(f"{hyper.name} = {text}{' (differs between groups)' if hyper.differs else ''}")
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{plain(hyper.name, 60)}: {plain(text, 60)}{', differs between groups' if hyper.differs else ''}"
        if role == Qt.ItemDataRole.FontRole and hyper.differs:
            font = QFont()
            font.setBold(True)
            return font
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Groups above, names of hyper-parameters at the side."""
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if orientation == Qt.Orientation.Horizontal:
            return self.titles[section]
        return plain(self.hypers[section].name, 40)


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
        self.groups = QTableView()
        self.groups.setObjectName("optimizerGroups")
        self.groups.setAccessibleName("Hyper-parameters of each group")
        self.hypers = GroupsModel()
        self.hypers.setParent(self.groups)
        self.groups.setModel(self.hypers)
        self.groups.setFrameShape(QFrame.Shape.NoFrame)
        self.groups.setAlternatingRowColors(True)
        self.groups.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.groups.setTabKeyNavigation(False)
        self.groups.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 7)
        headers = ("Joined", "Parameter", "Group", "Shape", "Step", "Effective lr", "State")
        model = RowsModel(headers, CONFIDENCE, ("warning", "", "", "warning", "info"), 1)
        self.parameters = RowsTable(
            session, model, "optimizerParameters", "Parameters and their state", stretched=6, spare=6
        )
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        for widget in (self.heading, self.sentences):
            widget.setMinimumWidth(1)
            layout.addWidget(widget)
        layout.addWidget(self.groups, 2)
        layout.addWidget(self.parameters, 3)
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
        self.hypers.show_hypers(said.groups, said.hypers)
        self.groups.resizeColumnsToContents()
        self.parameters.show_rows(said.rows)
        self._fit()
        self.show_body()
        self.settle()

    def _fit(self) -> None:
        """Give the groups the height of all their rows where there is room, of a few of them where there is little."""
        table, rows = self.groups, self.groups.verticalHeader()
        around = table.horizontalHeader().sizeHint().height() + 2 * table.frameWidth()
        bar = table.horizontalScrollBar().sizeHint().height() if len(self.hypers.titles) > MOST_GROUPS else 0
        table.setMinimumHeight(around + rows.defaultSectionSize() * min(rows.count(), LEAST_HYPERS))
        table.setMaximumHeight(around + rows.length() + bar)
        self.parameters.fit_height(LEAST_PARAMETERS, len(self.parameters.lines.rows))
