"""A value that is no tensor and no plain container: its text, in full up to a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from ckpt_viewer.core.expand import SCALARS
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import StorageSpec
from ckpt_viewer.core.value import Instance, NdArray
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, monospaced, plain
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.value_text import ValueText, describe
from ckpt_viewer.gui.theme import theme, themes

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session


class ValuePanel(Panel):
    """Shows strings, numbers, bytes, arrays, names and unknown objects as plain text."""

    title = "Value"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._writing = Latest(session.jobs, self)
        self._writing.finished.connect(self._show)
        self._writing.failed.connect(self.show_error)
        self.about = label(muted=True, wrap=True, selectable=True, name="Kind of value")
        self.about.setObjectName("valueAbout")
        self._sign = QLabel()
        self._sign.setAccessibleName("Warning")
        self.warning = label(wrap=True, selectable=True, name="Warning")
        self.warning.setObjectName("valueWarning")
        self._warning_row = QWidget()
        row = QHBoxLayout(self._warning_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._sign)
        row.addWidget(self.warning, 1)
        self.text = QPlainTextEdit()
        self.text.setObjectName("valueText")
        self.text.setAccessibleName("Value")
        self.text.setReadOnly(True)
        self.text.setUndoRedoEnabled(False)
        self.text.setTabChangesFocus(True)
        self.note = label(muted=True, wrap=True, name="Note")
        self.note.setObjectName("valueNote")
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        for widget in (self.about, self._warning_row, self.text, self.note):
            layout.addWidget(widget, 1 if widget is self.text else 0)
        themes().changed.connect(self._dress)
        self._dress()

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The only panel for scalars; the first for objects and arrays."""
        if not isinstance(subject, Node) or isinstance(subject.value, StorageSpec):
            return UNSUPPORTED
        if type(subject.value) in SCALARS:
            return BEST
        return 70 if isinstance(subject.value, Instance | NdArray) else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Write out another value, in a job: it may be megabytes of text."""
        value, checkpoint = subject.value, subject.checkpoint
        self.begin("Writing it out …")
        self._writing.start(lambda context: describe(value, checkpoint, context))

    def clear(self) -> None:
        """Stop writing and let go of the text."""
        self._writing.cancel()
        self.text.clear()

    def _show(self, shown: ValueText) -> None:
        self.about.setText(plain(shown.about, 400))
        self.about.setVisible(bool(shown.about))
        self.warning.setText(shown.warning)
        self._warning_row.setVisible(bool(shown.warning))
        self.text.setFont(self.font())
        if shown.code:
            monospaced(self.text)
        wrap = QPlainTextEdit.LineWrapMode
        self.text.setLineWrapMode(wrap.NoWrap if shown.code else wrap.WidgetWidth)
        self.text.setPlainText(shown.text)
        self.note.setText(shown.note)
        self.note.setVisible(bool(shown.note))
        self.show_body()
        self.settle()

    def _dress(self) -> None:
        picture = icons.pixmap("warning", 40, icons.colour_of("warning", theme()))
        picture.setDevicePixelRatio(2)
        self._sign.setPixmap(picture)
