"""Below the facts of a weight the optimizer's state for it, below those of a state its weight: as links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QSizePolicy, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.flow_layout import FlowLayout
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, plain, tooltip
from ckpt_viewer.gui.layouts import empty
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.panels.state_report import StateReport, state_report
from ckpt_viewer.gui.training_watch import TrainingWatch

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session


class StateLinks(QWidget):
    """Hidden where there is nothing to say."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("stateLinks")
        self.setAccessibleName("Optimizer state")
        self._session = session
        self._subject: Any = None
        self._watch = TrainingWatch.of(session)
        self._watch.ready.connect(self._look)
        self._looking, self._finder = Latest(session.jobs, self), Latest(session.jobs, self)
        self._looking.finished.connect(self._show)
        self._finder.finished.connect(session.select)
        self._line = FlowLayout(self)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.hide()

    @property
    def text(self) -> str:
        """Everything that it says."""
        widgets = (self._line.itemAt(number).widget() for number in range(self._line.count()))  # type: ignore[union-attr]
        return " ".join(widget.text() for widget in widgets) if not self.isHidden() else ""  # type: ignore[union-attr]

    def show_subject(self, subject: Any) -> None:
        """Say what there is to say of another selection, once it is known."""
        self._subject = subject
        self._looking.cancel()
        self.hide()
        self._look()

    def _look(self) -> None:
        subject, training = self._subject, self._watch.training
        if isinstance(subject, Node) and training is not None and training.going_on.optimizers:
            self._looking.start(lambda context: state_report(subject, training, context))

    def _show(self, said: StateReport | None) -> None:
        empty(self._line)
        self.setVisible(said is not None)
        if said is None:
            return
        facts = label(plain(said.facts, 300), muted=True, selectable=True)
        links = [self._link(text, row) for text, row in said.links]
        for widget in (label(plain(said.lead, 80), muted=True), *links, facts):
            self._line.addWidget(widget)
            widget.show()
        facts.setToolTip(tooltip(said.how))
        self.setAccessibleDescription(plain(said.how, 300))
        self.updateGeometry()

    def _link(self, text: str, row: int) -> LinkButton:
        made = LinkButton(text or '""', limit=48)
        made.setAccessibleName(f"Go to {plain(text, 48)}")
        made.clicked.connect(lambda: self._go(row))
        return made

    def _go(self, row: int) -> None:
        checkpoint, tree = self._session.checkpoint, self._session.index
        if checkpoint is not None and tree is not None:
            self._finder.start(lambda _context: tree.subject(tree.rows[row], checkpoint))
