"""What the file names, where, and what torch's safe mode says of it; and everything that was noticed about the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QFrame, QPlainTextEdit, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, larger, monospaced, plain
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.safety_report import SEVERITIES, STATUSES, Report, report
from ckpt_viewer.gui.panels.safety_table import RowsModel, RowsTable

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

RATE = 10
"""Of the root; the overview and a tensor's histogram come before it."""
DETAIL_LINES = 4
"""Lines of torch's words that are visible without scrolling."""
MOST_FINDINGS = 6
"""Findings that are visible without scrolling."""
SIGNS = ("error", "warning", "")
"""Icons of dangerous, unknown and known names. There is none that calls a file safe: nobody can know that."""


class SafetyPanel(Panel):
    """Shows a file's names and findings, for the root."""

    title = "Safety"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._checkpoint: Any = None
        self._reporting = Latest(session.jobs, self)
        self._reporting.finished.connect(self._show)
        self._reporting.failed.connect(self.show_error)
        self.heading = label(wrap=True, selectable=True)
        self.heading.setObjectName("safetyVerdict")
        larger(self.heading, 1.1, bold=True)
        self.details = QPlainTextEdit()
        self.details.setObjectName("safetyDetails")
        self.details.setAccessibleName("What torch says")
        self.details.setReadOnly(True)
        self.details.setTabChangesFocus(True)
        self.details.setFrameShape(QFrame.Shape.NoFrame)
        monospaced(self.details)
        self.details.setFixedHeight(DETAIL_LINES * self.details.fontMetrics().lineSpacing() + 10)
        self.summary = label(wrap=True, muted=True)
        self.summary.setObjectName("safetySummary")
        headers = ("Status", "Name", "Calls", "weights_only", "First used at")
        self.names = RowsTable(
            session,
            RowsModel(headers, STATUSES, SIGNS, 4),
            "safetyNames",
            "Names that the file refers to",
            stretched=4,
            spare=(2, 3),
        )
        self.noticed = label(muted=True)
        columns = ("Severity", "What was noticed", "At", "Code")
        self.findings = RowsTable(
            session,
            RowsModel(columns, SEVERITIES, SEVERITIES, 2),
            "safetyFindings",
            "What was noticed about the file",
            stretched=1,
            spare=(3,),
        )
        self._arrange()

    def _arrange(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 8, 10, 8)
        for sentence in (self.heading, self.noticed, self.summary):
            sentence.setMinimumWidth(1)
        for widget in (self.heading, self.details, self.noticed, self.findings, self.summary, self.names):
            layout.addWidget(widget, 1 if widget is self.names else 0)
        layout.addStretch()
        self.fill_scrolling(inside, "What the file names and what was noticed about it")

    @classmethod
    def rate(cls, subject: Any) -> int:
        """For the root only: it is about the whole file."""
        return RATE if isinstance(subject, Node) and subject.parent is None else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Put the report together, in a job; the same file's is kept."""
        checkpoint = subject.checkpoint
        if checkpoint is self._checkpoint:
            self.show_body()
            self.settle()
            return
        self.begin("Looking through the names …")
        self._reporting.start(lambda context: (checkpoint, report(checkpoint, context)))

    def clear(self) -> None:
        """Stop looking."""
        self._reporting.cancel()

    def _show(self, answer: tuple[Any, Report]) -> None:
        self._checkpoint, said = answer
        self.heading.setText(plain(said.heading, 600))
        self.details.setPlainText("\n".join(plain(line, 4000) for line in said.details.split("\n")))
        self.details.setVisible(bool(said.details))
        self.summary.setText(said.summary)
        self.names.show_rows(said.names)
        self.names.setVisible(bool(said.names))
        count = len(said.findings)
        self.noticed.setText(
            f"Noticed about the file: {grouped(count)}" if count else "Nothing was noticed in how the file is built."
        )
        self.findings.show_rows(said.findings)
        self.findings.setVisible(bool(count))
        self.findings.fit_height(2, MOST_FINDINGS)
        self.names.fit_height(5, len(said.names))
        self.show_body()
        self.settle()
