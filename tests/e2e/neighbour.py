"""Another program on the same desktop: offers things to be dragged, and shows the screen as it stands.

Its drags are real ones (XDND): pressing the button and moving begins one, whatever is under the pointer when it is let
go gets the data. `drag` says what is offered, `dropped` how the last drag ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDrag, QGuiApplication, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    """A square from which the offered data can be dragged."""

    def __init__(self) -> None:
        super().__init__("drag me", None, Qt.WindowType.FramelessWindowHint)
        self.urls: list[str] = []
        self.words = ""
        self.ended = "nothing was dragged"

    def offer(self, urls: list[str], words: str) -> list[int]:
        """Offer files, links or text from now on; return a point of the screen where a drag can begin."""
        self.urls, self.words, self.ended = urls, words, "not yet"
        return [self.x() + self.width() // 2, self.y() + self.height() // 2]

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a drag; returns once something was dropped or the drag was given up."""
        drag, data = QDrag(self), QMimeData()
        if self.urls:
            data.setUrls([QUrl(url) for url in self.urls])
        if self.words:
            data.setText(self.words)
        drag.setMimeData(data)
        actions = Qt.DropAction.CopyAction | Qt.DropAction.MoveAction | Qt.DropAction.LinkAction
        self.ended = drag.exec(actions, Qt.DropAction.MoveAction).name


def main(open_desk: Callable[[dict[str, Callable[..., Any]]], object]) -> int:
    """Show the square in the lower right corner and answer until the socket is closed."""
    application = QApplication(["neighbour"])
    source = Source()
    room = application.primaryScreen().geometry()
    source.setGeometry(room.width() - 120, room.height() - 120, 100, 100)
    source.show()
    desk = open_desk({
        "drag": source.offer,
        "dropped": lambda: source.ended,
        "clipboard": lambda: QGuiApplication.clipboard().text(),
        "picture": lambda path: application.primaryScreen().grabWindow(0).save(path),
        "colours": lambda left, top, width, height: _colours(left, top, width, height),
    })  # fmt: skip
    code = application.exec()
    del desk
    return code


def _colours(left: int, top: int, width: int, height: int) -> int:
    """Return how many colours a part of the screen has."""
    image = QGuiApplication.primaryScreen().grabWindow(0, left, top, width, height).toImage()
    return len({image.pixel(x, y) for y in range(0, height, 2) for x in range(width)})
