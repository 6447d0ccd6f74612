"""What to know before a training goes on, one under the other: a sign, a sentence, the line that mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.code_line import CodeLine
from ckpt_viewer.gui.labels import label, plain
from ckpt_viewer.gui.layouts import empty
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.messages import WORDS
from ckpt_viewer.gui.theme import theme

if TYPE_CHECKING:
    from ckpt_viewer.analysis.advice import Advice

MOST_SHOWN = 12
"""Pieces of advice that are shown; `check` lists all."""
ORDER = ("error", "warning", "info")


class AdviceList(QWidget):
    """Shows Advice, the most urgent first."""

    linkActivated = Signal(str)
    """The pointer of the entry that a piece of advice is about."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("resumeAdvice")
        self.setAccessibleName("Before you resume")
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)

    def show_advice(self, advice: Sequence[tuple[Advice, str]]) -> None:
        """Show other advice, each with the pointer of what it is about (``""`` for the file)."""
        empty(self._grid)
        self.setVisible(bool(advice))
        inorder = sorted(advice, key=lambda each: ORDER.index(each[0].severity))
        for row, (each, pointer) in enumerate(inorder[:MOST_SHOWN]):
            self._grid.addWidget(_sign(each.severity), row, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(self._piece(each, pointer), row, 1)
        if len(inorder) > MOST_SHOWN:
            more = f"and {grouped(len(inorder) - MOST_SHOWN)} more, which ckpt-viewer check lists"
            self._grid.addWidget(label(more, muted=True), MOST_SHOWN, 1)

    def _piece(self, each: Advice, pointer: str) -> QWidget:
        piece = QWidget()
        column = QVBoxLayout(piece)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        sentence = each.meaning[:1].upper() + each.meaning[1:]
        text = plain(f"{sentence}; {each.remedy}" if each.remedy else f"{sentence}.", 700)
        column.addWidget(_words(text, f"{WORDS[each.severity]}: {text}"))
        if each.line:
            code = CodeLine()
            code.show_code(plain(each.line))
            column.addWidget(code)
        if pointer:
            link = LinkButton(pointer, limit=60)
            link.setAccessibleName(f"Go to {plain(pointer, 60)}")
            link.clicked.connect(lambda: self.linkActivated.emit(pointer))
            column.addWidget(link)
        return piece


def _words(text: str, name: str) -> QLabel:
    made = label(text, wrap=True, selectable=True, name=name)
    policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
    policy.setHeightForWidth(True)
    made.setSizePolicy(policy)
    made.setMinimumWidth(1)
    return made


def _sign(severity: str) -> QLabel:
    picture = QLabel()
    drawn = icons.pixmap(severity, 32, icons.colour_of(severity, theme()))
    drawn.setDevicePixelRatio(2)
    picture.setPixmap(drawn)
    picture.setAccessibleName(WORDS[severity])
    return picture
