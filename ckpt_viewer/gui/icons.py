"""Icons that are drawn with a few strokes in the theme's colours, on a grid of 16 by 16, and follow the theme."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap
from PySide6.QtWidgets import QAbstractButton

from ckpt_viewer.gui.theme import Theme, theme, themes

SIZE = 16
RATIO = 2
"""Pixels that are drawn for each pixel of a 100 % screen; one picture serves both, and start-up draws few."""

SEVERITIES = ("error", "warning", "success", "info")


def _lines(*points: tuple[float, float], closed: bool = False) -> Callable[[QPainterPath], None]:
    def add(path: QPainterPath) -> None:
        path.moveTo(*points[0])
        for point in points[1:]:
            path.lineTo(*point)
        if closed:
            path.closeSubpath()

    return add


def _circle(x: float, y: float, radius: float) -> Callable[[QPainterPath], None]:
    return lambda path: path.addEllipse(QPointF(x, y), radius, radius)


def _box(x: float, y: float, width: float, height: float, radius: float = 0) -> Callable[[QPainterPath], None]:
    return lambda path: path.addRoundedRect(QRectF(x, y, width, height), radius, radius)


_DOT = 0.55
_STROKES: dict[str, tuple[Callable[[QPainterPath], None], ...]] = {
    "open": (
        _lines((1.5, 13), (1.5, 3.5), (6, 3.5), (7.5, 5.5), (13, 5.5), (13, 7.5)),
        _lines((1.5, 13), (4, 7.5), (15, 7.5), (12.5, 13), closed=True),
    ),
    "export": (
        _lines((8, 10.5), (8, 2)),
        _lines((4.8, 5), (8, 1.8), (11.2, 5)),
        _lines((2, 9), (2, 14), (14, 14), (14, 9)),
    ),
    "copy": (_box(5, 5, 9, 9.5, 1.5), _lines((11, 2), (3.5, 2), (2, 3.5), (2, 11))),
    "close": (_lines((4, 4), (12, 12)), _lines((12, 4), (4, 12))),
    "next": (_lines((6, 3.5), (10.5, 8), (6, 12.5)),),
    "previous": (_lines((10, 3.5), (5.5, 8), (10, 12.5)),),
    "file": (
        _lines((3, 1.5), (9.5, 1.5), (13, 5), (13, 14.5), (3, 14.5), closed=True),
        _lines((9.5, 1.5), (9.5, 5), (13, 5)),
    ),
    "cpu": (
        _box(4, 4, 8, 8, 1),
        *(_lines((at, 4), (at, 1.5)) for at in (6, 10)),
        *(_lines((at, 12), (at, 14.5)) for at in (6, 10)),
        *(_lines((4, at), (1.5, at)) for at in (6, 10)),
        *(_lines((12, at), (14.5, at)) for at in (6, 10)),
    ),
    "error": (_circle(8, 8, 6.5), _lines((5.6, 5.6), (10.4, 10.4)), _lines((10.4, 5.6), (5.6, 10.4))),
    "warning": (_lines((8, 1.5), (15, 14), (1, 14), closed=True), _lines((8, 6), (8, 10)), _circle(8, 12, _DOT)),
    "success": (_circle(8, 8, 6.5), _lines((5, 8.2), (7.2, 10.4), (11, 5.8))),
    "info": (_circle(8, 8, 6.5), _lines((8, 7.4), (8, 11.2)), _circle(8, 5, _DOT)),
}  # fmt: skip


def pixmap(name: str, size: int, colour: str) -> QPixmap:
    """Return one icon, `size` pixels square, in a colour ``#rrggbb``; raises KeyError for an unknown name."""
    picture = QPixmap(size, size)
    picture.fill(Qt.GlobalColor.transparent)
    path = QPainterPath()
    for stroke in _STROKES[name]:
        stroke(path)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(size / 16, size / 16)
    pen = QPen(QColor(colour), 1.4)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.drawPath(path)
    painter.end()
    return picture


def colour_of(name: str, shown: Theme) -> str:
    """Return the colour that an icon has in a theme: severities have their own."""
    if name in SEVERITIES:
        return {"error": shown.error, "warning": shown.warning, "success": shown.success}.get(name, shown.link)
    return shown.text


def icon(name: str) -> QIcon:
    """Return an icon in the colours of the theme that is shown now."""
    drawn = pixmap(name, SIZE * RATIO, colour_of(name, theme()))
    drawn.setDevicePixelRatio(RATIO)
    return QIcon(drawn)


class _Tint(QObject):
    def __init__(self, button: QAbstractButton, name: str) -> None:
        super().__init__(button)
        self._button, self._name = button, name
        themes().changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        self._button.setIcon(icon(self._name))


def tint(button: QAbstractButton, name: str) -> None:
    """Give a button an icon that follows the theme for as long as the button lives."""
    _Tint(button, name)
