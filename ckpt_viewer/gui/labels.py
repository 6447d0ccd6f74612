"""Small plain-text pieces: text from a file is shown as it is, never as markup, its control characters escaped."""

from __future__ import annotations

import re
from typing import cast

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QFont, QPalette
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from ckpt_viewer.core.text import escape_text, shorten

NAME_LIMIT = 60
"""Characters of a file's or entry's name where it stands among other words."""


def plain(text: str, limit: int = 0) -> str:
    """Return text for a widget that shows plain text: escaped, cut in its middle to `limit` (0: whole)."""
    text = escape_text(text)
    return shorten(text, limit) if limit else text


_UNBROKEN = re.compile(rf"[^\s/\\-]{{{NAME_LIMIT + 1},}}")


def foldable(text: str) -> str:
    """Return text with what no line can be broken in cut in its middle: a label as wide as that would widen the window.

    Paths stay whole, they can be broken behind each of their slashes.
    """
    return _UNBROKEN.sub(lambda match: shorten(match[0], NAME_LIMIT), text)


def tooltip(text: str) -> str:
    """Return text for `setToolTip`, which would take anything that looks like markup for markup."""
    marked = plain(text, 2000).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<p style='white-space:pre-wrap'>{marked}</p>"


def menu_text(text: str, limit: int = NAME_LIMIT) -> str:
    """Return text for an action, a button or a tab, where ``&`` would underline the next letter."""
    return plain(text, limit).replace("&", "&&")


def label(
    text: str = "", *, muted: bool = False, wrap: bool = False, selectable: bool = False, name: str = ""
) -> QLabel:
    """Return a plain-text label.

    Args:
        text: shown as it is; pass file text through `plain` first.
        muted: in the less important text colour. name: its accessible name, where the text does not say enough.
    """
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if muted:
        made.setForegroundRole(QPalette.ColorRole.PlaceholderText)
    made.setWordWrap(wrap)
    if selectable:
        made.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
    if name:
        made.setAccessibleName(name)
    return made


def larger(widget: QWidget, factor: float, *, bold: bool = False) -> None:
    """Make the font of a widget larger (or smaller) than others, and bold; it follows when the system's changes."""
    found = widget.findChild(_Scaled, options=Qt.FindChildOption.FindDirectChildrenOnly)
    (found or _Scaled(widget)).scale(factor, bold)


class _Scaled(QObject):
    """Keeps the font of a widget, its parent, in proportion to the application's."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget, self._factor, self._bold = widget, 1.0, False
        cast(QApplication, QApplication.instance()).fontChanged.connect(self._follow)

    def scale(self, factor: float, bold: bool) -> None:
        """Make it `factor` times as large."""
        self._factor, self._bold = factor, bold
        self._follow()

    def _follow(self) -> None:
        font = QApplication.font(self._widget)
        if font.pixelSize() > 0:  # a style sheet's or theme's; its size in points is -1 then
            font.setPixelSize(max(1, round(font.pixelSize() * self._factor)))
        else:
            font.setPointSizeF(max(1.0, font.pointSizeF() * self._factor))
        font.setBold(self._bold)
        self._widget.setFont(font)


def monospaced(widget: QWidget) -> None:
    """Give a widget the fixed-width font, for code."""
    font = widget.font()
    font.setFamilies(["monospace"])
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setFixedPitch(True)
    widget.setFont(font)
