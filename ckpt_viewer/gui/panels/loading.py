"""Where a file would load on this computer, and the code that loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, larger, monospaced, plain
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.safety_table import RowsModel, RowsTable
from ckpt_viewer.gui.panels.training_report import LOADS, LoadingReport, loading_report

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

RATE = 20
"""Of the root, behind the overview."""
MOST_PLACES = 8
"""Device tags that are visible without scrolling."""


class LoadingPanel(Panel):
    """Device tags with what torch.load does with them here, and the lines that load this file."""

    title = "Loading"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._node: Node | None = None
        self._reading = Latest(session.jobs, self)
        self._reading.finished.connect(self._show)
        self._reading.failed.connect(self.show_error)
        self.heading = label(wrap=True, selectable=True)
        self.heading.setObjectName("loadingHeading")
        larger(self.heading, 1.1, bold=True)
        self.details = label(wrap=True, muted=True, selectable=True)
        self.details.setObjectName("loadingDetails")
        headers = ("Here", "Saved on", "Goes to", "Bytes", "Storages", "Dtypes", "What torch says")
        model = RowsModel(headers, LOADS, ("warning", "", "warning"), 99)
        self.places = RowsTable(
            session, model, "loadingPlaces", "Device tags and where they go", stretched=6, spare=(4,)
        )
        self.code = QPlainTextEdit()
        self.code.setObjectName("loadingCode")
        self.code.setAccessibleName("Code that loads this file")
        self.code.setReadOnly(True)
        self.code.setTabChangesFocus(True)
        self.code.setFrameShape(QFrame.Shape.NoFrame)
        self.code.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        monospaced(self.code)
        self.copy_code = QPushButton("Copy code")
        self.copy_code.setObjectName("copyCodeButton")
        self.copy_code.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.code.toPlainText()))
        above = QHBoxLayout()
        above.addWidget(label("Load it in Python", muted=True), 1)
        above.addWidget(self.copy_code)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        for widget in (self.heading, self.details, self.places):
            widget.setMinimumWidth(1)
            layout.addWidget(widget)
        layout.addLayout(above)
        layout.addWidget(self.code, 1)
        session.problemsChanged.connect(self._again)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """For the root only: it is about the whole file."""
        return RATE if isinstance(subject, Node) and subject.parent is None else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Look where the file goes, in a job."""
        self._node = subject
        checkpoint, view, devices = subject.checkpoint, self.session.overview, self.session.devices
        self.begin("Looking where it goes …")
        self._reading.start(lambda context: loading_report(checkpoint, view, devices, context))

    def clear(self) -> None:
        """Stop looking."""
        self._reading.cancel()
        self._node = None

    def remap(self) -> None:
        """Everything may go elsewhere now."""
        self._again()

    def _again(self) -> None:
        if self._node is not None:
            self.show_subject(self._node)

    def _show(self, said: LoadingReport) -> None:
        self.heading.setText(plain(said.heading, 600))
        self.details.setText(plain(said.details, 1000))
        self.details.setVisible(bool(said.details))
        self.places.show_rows(said.rows)
        self.places.setVisible(bool(said.rows))
        self.places.fit_height(1, MOST_PLACES)
        self.code.setPlainText(said.code)
        self.show_body()
        self.settle()
