"""How the kinds of a byte map look: a colour and a pattern each, so that a colour is never the only sign."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from ckpt_viewer.analysis.byte_map import (
    AVERAGED,
    DIRECTORY,
    DRAGGED,
    FRAME,
    MODEL,
    OPTIMIZER,
    OTHER,
    PICKLE,
    PLAIN,
    UNUSED,
    WORDS,
)
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.panels.byte_words import share_words
from ckpt_viewer.gui.theme import Theme, theme, themes

Pattern = Qt.BrushStyle
PATTERNS = {
    MODEL: Pattern.SolidPattern, OPTIMIZER: Pattern.HorPattern, AVERAGED: Pattern.VerPattern,
    OTHER: Pattern.CrossPattern, PICKLE: Pattern.Dense6Pattern, PLAIN: Pattern.Dense7Pattern,
    FRAME: Pattern.SolidPattern, DIRECTORY: Pattern.Dense5Pattern, UNUSED: Pattern.BDiagPattern,
    DRAGGED: Pattern.FDiagPattern,
}  # fmt: skip
LEAST_SEEN = frozenset({MODEL, OPTIMIZER, AVERAGED, OTHER, UNUSED, DRAGGED})
"""Kinds that get a pixel wherever they are, however few bytes they have there."""


class Look(NamedTuple):
    """Two brushes, one over the other."""

    ground: QBrush
    pattern: QBrush | None


def looks(wanted: Theme) -> dict[int, Look]:
    """Return how each kind looks in a theme."""
    series = dict(zip((MODEL, OPTIMIZER, AVERAGED, OTHER), wanted.series, strict=True))
    made = {}
    for kind, style in PATTERNS.items():
        if kind in series:
            over = QColor(wanted.base)
            over.setAlpha(150)
            pattern = None if style is Pattern.SolidPattern else QBrush(over, style)
            made[kind] = Look(QBrush(QColor(series[kind])), pattern)
        elif kind in (UNUSED, DRAGGED):
            hatched = wanted.error if kind == UNUSED else wanted.warning
            made[kind] = Look(QBrush(QColor(wanted.base)), QBrush(QColor(hatched), style))
        elif kind == FRAME:
            made[kind] = Look(QBrush(QColor(wanted.line)), None)
        else:
            made[kind] = Look(QBrush(QColor(wanted.muted)), QBrush(QColor(wanted.base), style))
    return made


def paint_in(painter: QPainter, box: QRect, look: Look) -> None:
    """Fill a rectangle with a look."""
    painter.fillRect(box, look.ground)
    if look.pattern is not None:
        painter.fillRect(box, look.pattern)


SWATCH, GAP = 12, 16


class ByteLegend(QWidget):
    """Says which look is which kind, and how many bytes each has; wraps like text."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("byteLegend")
        self._entries: list[tuple[int, str]] = []
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        themes().changed.connect(self._dress)

    def show_totals(self, totals: dict[int, int]) -> None:
        """Show kind -> bytes."""
        whole = sum(totals.values())
        self._entries = [(kind, f"{WORDS[kind]} {share_words(nbytes, whole)}") for kind, nbytes in totals.items()]
        self.setAccessibleName("The file by what its bytes are: " + ", ".join(text for _, text in self._entries))
        self.setVisible(bool(self._entries))
        self.updateGeometry()
        self.update()

    def _dress(self) -> None:
        self.update()

    def _places(self, width: int) -> list[QPoint]:
        """Return where each entry stands."""
        height, x, y = self._height(), 0, 0
        found = []
        for _, text in self._entries:
            wide = SWATCH + 6 + self.fontMetrics().horizontalAdvance(text)
            if x and x + wide > width:
                x, y = 0, y + height
            found.append(QPoint(x, y))
            x += wide + GAP
        return found

    def _height(self) -> int:
        return self.fontMetrics().height() + 3

    def heightForWidth(self, width: int) -> int:
        """As many lines as it takes."""
        places = self._places(width)
        return (places[-1].y() if places else 0) + self._height()

    def sizeHint(self) -> QSize:
        """For the width that it has."""
        return QSize(200, self.heightForWidth(max(self.width(), 200)))

    def minimumSizeHint(self) -> QSize:
        """Any width will do."""
        return QSize(60, self._height())

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """A swatch and its words, one after the other."""
        del event
        painter, known = QPainter(self), looks(theme())
        metrics = self.fontMetrics()
        for (kind, text), place in zip(self._entries, self._places(self.width()), strict=True):
            top = place.y() + (self._height() - SWATCH) // 2
            box = QRect(place.x(), top, SWATCH, SWATCH)
            paint_in(painter, box, known[kind])
            painter.setPen(QColor(theme().muted))
            painter.drawRect(QRectF(box).adjusted(0.5, 0.5, -0.5, -0.5))
            painter.setPen(QColor(theme().text))
            room = self.width() - place.x() - SWATCH - 6
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
            painter.drawText(place.x() + SWATCH + 6, place.y() + metrics.ascent() + 1, shown)
        painter.end()
