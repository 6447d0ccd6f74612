"""Small pictures beside the rows in which something was recognised; the word or the name is always there too."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QPixmap

from ckpt_viewer.gui.tree.compared import ADDED, CHANGED, REMOVED
from ckpt_viewer.gui.tree.lost import LOST

SIZE = 14
"""Side of a picture in device-independent pixels."""


def _layers(path: QPainterPath) -> None:
    for top in (1.5, 5.75, 10.0):
        path.addRoundedRect(QRectF(1.5, top, 11, 2.5), 1, 1)


def _descent(path: QPainterPath) -> None:
    path.moveTo(1.5, 2)
    path.cubicTo(QPointF(4, 11), QPointF(7, 11.5), QPointF(12.5, 11.5))
    path.moveTo(9.8, 9)
    path.lineTo(12.5, 11.5)
    path.lineTo(9.8, 13)


def _stairs(path: QPainterPath) -> None:
    path.moveTo(1, 2.5)
    for x, y in ((5, 2.5), (5, 7), (9, 7), (9, 11.5), (13, 11.5)):
        path.lineTo(x, y)


def _clock(path: QPainterPath) -> None:
    path.addEllipse(QPointF(7, 7), 5.5, 5.5)
    path.moveTo(7, 3.8)
    path.lineTo(7, 7)
    path.lineTo(9.4, 8.6)


def _star(path: QPainterPath) -> None:
    for number, (x, y) in enumerate(((7, 1.5), (12.5, 7), (7, 12.5), (1.5, 7))):
        (path.lineTo if number else path.moveTo)(x, y)
    path.closeSubpath()


def _warning(path: QPainterPath) -> None:
    path.moveTo(7, 1.5)
    for x, y in ((13, 12.5), (1, 12.5)):
        path.lineTo(x, y)
    path.closeSubpath()
    path.moveTo(7, 5.5)
    path.lineTo(7, 8.5)
    path.addEllipse(QPointF(7, 10.4), 0.4, 0.4)


def _lost(path: QPainterPath) -> None:
    for x, y in ((3, 11), (11, 3)):
        path.moveTo(3, x)
        path.lineTo(11, y)


def _plus(path: QPainterPath) -> None:
    _minus(path)
    path.moveTo(7, 2.5)
    path.lineTo(7, 11.5)


def _minus(path: QPainterPath) -> None:
    path.moveTo(2.5, 7)
    path.lineTo(11.5, 7)


def _unequal(path: QPainterPath) -> None:
    for y in (5, 9):
        path.moveTo(2.5, y)
        path.lineTo(11.5, y)
    path.moveTo(4.5, 12)
    path.lineTo(9.5, 2)


def _closed(path: QPainterPath) -> None:
    path.moveTo(5.5, 3.8)
    path.lineTo(8.9, 7.2)
    path.lineTo(5.5, 10.6)


def _opened(path: QPainterPath) -> None:
    path.moveTo(3.8, 5.5)
    path.lineTo(7.2, 8.9)
    path.lineTo(10.6, 5.5)


_PICTURES = {
    "closed": _closed,
    "open": _opened,
    "model": _layers,
    "ema": _layers,
    "dangerous": _warning,
    "unsound": _warning,
    LOST: _lost,
    CHANGED: _unequal,
    ADDED: _plus,
    REMOVED: _minus,
    "optimizer": _descent,
    "lr_scheduler": _stairs,
    "progress": _clock,
}


@lru_cache(maxsize=64)
def picture(mark: str, colour: str, ratio: float) -> QPixmap:
    """Return the picture for a mark (else a diamond) in a colour ``#rrggbb``, for a screen of a ratio."""
    made = QPixmap(round(SIZE * ratio), round(SIZE * ratio))
    made.setDevicePixelRatio(ratio)
    made.fill(Qt.GlobalColor.transparent)
    path = QPainterPath()
    _PICTURES.get(mark, _star)(path)
    painter = QPainter(made)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(QColor(colour), 1.4)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.drawPath(path)
    painter.end()
    return made
