"""A whole module without its classes: its tree, its hooks, program text that the file holds, and a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QSplitter, QVBoxLayout, QWidget

from ckpt_viewer.analysis.module_tree import MODULE, Line
from ckpt_viewer.core.model import is_whole_module
from ckpt_viewer.core.node import Node
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, larger, monospaced, plain
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.module_model import ModuleView
from ckpt_viewer.gui.panels.module_report import ModuleReport, module_report

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

RATE = 90
"""Of a pickled module; of the root of its own file the overview comes first."""
TREE_LEAST = 150
"""Pixels of height that the tree keeps beside the program text."""


class ModulePanel(Panel):
    """Tree, source and advice for a whole module or a part of one."""

    title = "Module"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._report: ModuleReport | None = None
        self._text = ""
        self._looking = Latest(session.jobs, self)
        self._looking.finished.connect(self._show)
        self._looking.failed.connect(self.show_error)
        self.heading = label(wrap=True, selectable=True)
        self.heading.setObjectName("moduleHeading")
        larger(self.heading, 1.2, bold=True)
        self.sentences = label(wrap=True, selectable=True)
        self.sentences.setObjectName("moduleSentences")
        self.advice = label(wrap=True, selectable=True, muted=True)
        self.advice.setObjectName("moduleAdvice")
        self.notes = ElidedLabel(muted=True)
        self.notes.setObjectName("moduleNotes")
        self.export = QPushButton("Export state_dict …")
        self.export.setObjectName("moduleExport")
        icons.tint(self.export, "export")
        self.export.clicked.connect(session.exportWanted)
        self.tree = ModuleView(session)
        self.tree.lineChanged.connect(self._show_source)
        self.source_title = ElidedLabel(muted=True, mode=Qt.TextElideMode.ElideMiddle)
        self.source_title.setObjectName("moduleSourceTitle")
        self.source = QPlainTextEdit()
        self.source.setObjectName("moduleSource")
        self.source.setAccessibleName("Program text of the class, as the file holds it")
        self.source.setReadOnly(True)
        self.source.setUndoRedoEnabled(False)
        self.source.setTabChangesFocus(True)
        self.source.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        monospaced(self.source)
        self._arrange()

    def _arrange(self) -> None:
        self._below = QWidget()
        texts = QVBoxLayout(self._below)
        texts.setContentsMargins(0, 4, 0, 0)
        texts.addWidget(self.source_title)
        texts.addWidget(self.source, 1)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        self.tree.setMinimumHeight(TREE_LEAST)
        for part, share in ((self.tree, 3), (self._below, 2)):
            parts.addWidget(part)
            parts.setStretchFactor(parts.count() - 1, share)
        advice = QHBoxLayout()
        advice.addWidget(self.advice, 1)
        advice.addWidget(self.export, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        for widget in (self.heading, self.sentences, self.advice, self.notes, self.source_title):
            widget.setMinimumWidth(1)
        layout.addWidget(self.heading)
        layout.addWidget(self.sentences)
        layout.addLayout(advice)
        layout.addWidget(self.notes)
        layout.addWidget(parts, 1)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The first thing to see of a module that was pickled whole, and of each module in it."""
        return RATE if isinstance(subject, Node) and is_whole_module(subject.value) else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Look into another module, in a job."""
        self.begin("Looking into the module …")
        self._looking.start(lambda context: module_report(subject, context))

    def clear(self) -> None:
        """Stop looking, and let go of the tree."""
        self._looking.cancel()
        self._report = None
        self.tree.lines.show_report(None)
        self.source.clear()
        self._text = ""

    def _show(self, said: ModuleReport) -> None:
        self._report = said
        self.heading.setText(plain(said.heading, 200))
        for widget, text in ((self.sentences, said.sentences), (self.advice, said.advice), (self.notes, said.notes)):
            widget.setText(plain(text, 2000))
            widget.setVisible(bool(text))
        self._below.setVisible(bool(said.sources))
        self.tree.show_report(said)
        self.show_body()
        self.settle()

    def _show_source(self, line: Line | None) -> None:
        """Show the program text of the class of a line, or of the module that a tensor is in."""
        report = self._report
        if report is None or line is None or not report.sources:
            return
        owner = line if line.kind == MODULE else report.tree.lines[line.parent]
        title, text = report.sources.get(owner.type, (f"The file holds no program text of {owner.type}.", ""))
        self.source_title.setText(plain(title, 400))
        if text != self._text:
            self._text = text
            self.source.setPlainText(text)
        self._go_to(f"class {owner.type.rpartition('.')[2]}")

    def _go_to(self, beginning: str) -> None:
        self.source.moveCursor(QTextCursor.MoveOperation.Start)
        if self.source.find(beginning):
            cursor = self.source.textCursor()
            cursor.setPosition(cursor.selectionStart())
            self.source.moveCursor(QTextCursor.MoveOperation.End)  # so that the class is at the top, not at the bottom
            self.source.setTextCursor(cursor)
