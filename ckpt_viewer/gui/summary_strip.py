"""One line above the tree: what the file is, how far it got, how large, on which devices, whether it can be resumed."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import larger

SEPARATOR = "   |   "


class SummaryStrip(QFrame):
    """Shows parts of text, the first in bold; what does not fit is cut at the end and told by the tool tip."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("summaryStrip")
        self._first, self._rest = ElidedLabel(), ElidedLabel()
        larger(self._first, 1.0, bold=True)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 12, 4)
        row.setSpacing(0)
        row.addWidget(self._first)
        row.addWidget(self._rest, 1)
        self.show_parts(())

    @property
    def text(self) -> str:
        """Everything that it says."""
        return self._first.text() + self._rest.text()

    def show_parts(self, parts: Sequence[str]) -> None:
        """Show another file's summary; nothing without parts."""
        self._first.setText(parts[0] if parts else "")
        self._rest.setText("".join(SEPARATOR + part for part in parts[1:]))
        self.setAccessibleName("Summary: " + ", ".join(parts) if parts else "Summary")
