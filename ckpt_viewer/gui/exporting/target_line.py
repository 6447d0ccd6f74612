"""Where the export goes: a path that can be typed, and a button that asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from ckpt_viewer.export.writers import WRITERS
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.labels import label


class TargetLine(QWidget):
    """A line for a path and a button beside it."""

    changed = Signal(str)
    """The path is another one."""

    def __init__(self, path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QLineEdit(path)
        self.line.setObjectName("exportTarget")
        self.line.setAccessibleName("File to write")
        self._button = QPushButton("Browse …")
        self._button.setAccessibleName("Choose the file to write")
        self._button.setAutoDefault(False)
        buddy = label("To fi&le")
        buddy.setBuddy(self.line)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(buddy)
        row.addWidget(self.line, 1)
        row.addWidget(self._button)
        self._folder = str(Path(path).parent)
        self.line.textChanged.connect(lambda: self.changed.emit(self.path))
        self._button.clicked.connect(self._ask)

    @property
    def path(self) -> str:
        """The path; a bare name lies beside the checkpoint, ``~/`` is the home folder as in a shell."""
        text = self.line.text()
        path = Path(text).expanduser() if text.startswith("~/") else Path(text)
        return str(Path(self._folder, path))

    def set_suffix(self, suffixes: Sequence[str]) -> None:
        """Give the name one of these suffixes, the first unless it has one; one of another format goes."""
        text = self.line.text()
        if text.lower().endswith(tuple(suffixes)):
            return
        others = [suffix for writer in WRITERS for suffix in writer.suffixes if text.lower().endswith(suffix)]
        stem = text[: -len(others[0])] if others else text
        self.line.setText(stem + suffixes[0])

    def _ask(self) -> None:
        path = asking.ask_target(self, self.path, "Export to", asking.EXPORT_FILTER, confirm=False)
        if path:
            self.line.setText(path)
