"""Files dragged over the window: two opaque halves, hit-tested by the window, each saying what it will do.

Only the window accepts drops. A child that accepts them too loops enter and leave, and a line edit steals the drop.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, QPoint, QRect, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QDragEnterEvent,
    QDragMoveEvent,
    QDropEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from ckpt_viewer.gui import icons
from ckpt_viewer.gui.drop_words import open_sentence, remap_sentence, why_not_remapped
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import label, larger
from ckpt_viewer.gui.theme import theme

OPEN, REMAP = "open", "remap"
HEADING = 1.3
"""Size of a half's title, beside that of other text."""
SHARE = 0.62
"""Of the window's width for the half that opens."""
GAP = 12
USUAL_HEIGHT, GREATEST = 700, 2.2
"""Pixels of a half whose text has its usual size, and how much larger it becomes in a larger one."""


_SIZE = re.compile(r"(\d) (\w?B\b)")


def dropped_files(mime: QMimeData) -> list[str]:
    """Return the local files and folders that are dragged; none if anything else is among them (text, a web link)."""
    if not mime.hasUrls():
        return []
    paths = [url.toLocalFile() if url.isLocalFile() else "" for url in mime.urls()]
    return paths if all(path and (Path(path).is_file() or Path(path).is_dir()) for path in paths) else []


class DropHalf(QFrame):
    """One of the two targets; accepts nothing itself.

    Attributes:
        highlighted: whether the pointer is here. able: whether a drop here does something.
    """

    clicked = Signal()

    def __init__(self, name: str, picture: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._picture_name, self._title = picture, title
        self.highlighted, self.able, self._scale = False, True, 1.0
        self._picture = QLabel()
        self._heading = label(title)
        self._text = label(wrap=True, muted=True)
        larger(self._heading, HEADING, bold=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 18, 18, 18)
        column.addStretch()
        for widget in (self._picture, self._heading, self._text):
            widget.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(widget)
        column.addStretch()
        self.say("")

    @property
    def text(self) -> str:
        """What it says that it will do."""
        return self._said

    def say(self, text: str, *, able: bool = True) -> None:
        """Say what a drop here does, or if not `able` why nothing."""
        self.able, self._said = able, text
        self._text.setText(_SIZE.sub("\\1\N{NO-BREAK SPACE}\\2", text))
        self.setAccessibleName(f"{self._title}: {text}" if text else self._title)
        self._draw_picture()

    def _draw_picture(self) -> None:
        drawn = icons.pixmap(self._picture_name, round(64 * self._scale), theme().link if self.able else theme().muted)
        drawn.setDevicePixelRatio(2)
        self._picture.setPixmap(drawn)

    @called_by_qt
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Words and picture grow with a half that fills a large screen, or nobody would find them on it."""
        super().resizeEvent(event)
        scale = min(GREATEST, max(1.0, self.height() / USUAL_HEIGHT))
        if abs(scale - self._scale) > 0.05:
            for each, usual, bold in ((self._heading, HEADING, True), (self._text, 1.0, False)):
                larger(each, usual * scale, bold=bold)
            self._scale = scale
            self._draw_picture()

    def highlight(self, on: bool) -> None:
        """Show whether the pointer is here."""
        if on != self.highlighted:
            self.highlighted = on
            self.update()

    def mouseReleaseEvent(self, event: object) -> None:
        """A click on a resting target is an answer too."""
        del event
        self.clicked.emit()

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """An opaque card with a dashed border, a solid one while the pointer is here."""
        super().paintEvent(event)
        shown, painter = theme(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        marked = self.highlighted and self.able
        painter.setBrush(_mixed(shown.base, shown.accent, 0.15) if marked else QColor(shown.base))
        style = Qt.PenStyle.SolidLine if self.highlighted else Qt.PenStyle.DashLine
        painter.setPen(QPen(QColor(shown.link if marked else shown.muted), 3 if marked else 1.5, style))
        painter.drawRoundedRect(self.rect().adjusted(2, 2, -2, -2), 10, 10)
        painter.end()


def _mixed(ground: str, colour: str, share: float) -> QColor:
    one, other = QColor(ground), QColor(colour)
    parts = ((one.red(), other.red()), (one.green(), other.green()), (one.blue(), other.blue()))
    return QColor(*(round(a + (b - a) * share) for a, b in parts))


def two_halves(parent: QWidget | None = None, *, resting: bool = False) -> tuple[DropHalf, DropHalf]:
    """Return both targets; at rest, in an empty window, under other names."""
    suffix = "Rest" if resting else ""
    return (
        DropHalf(f"dropOpen{suffix}", "open", "Open", parent),
        DropHalf(f"dropRemapCpu{suffix}", "cpu", "Remap to CPU", parent),
    )


class DropOverlay(QWidget):
    """Covers the window while files are over it."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.setObjectName("dropOverlay")
        self.setAccessibleName("Drop targets")
        self.setAutoFillBackground(True)
        self.setBackgroundRole(QPalette.ColorRole.Window)
        self.open_half, self.remap_half = two_halves(self)
        self.hide()

    def appear(self, paths: Sequence[str]) -> None:
        """Cover the window and say what each half would do with these files."""
        self.open_half.say(open_sentence(paths))
        self.remap_half.say(remap_sentence(paths), able=not why_not_remapped(paths))
        self.setGeometry(self._window.rect())
        self._arrange()
        self.raise_()
        self.show()

    def half_at(self, point: QPoint) -> str:
        """Return which half is at a point of the window: `OPEN` or `REMAP`; the large one where it is neither."""
        return REMAP if self.remap_half.geometry().contains(point) else OPEN

    def highlight(self, half: str) -> None:
        """Mark the half that a drop would go to."""
        self.open_half.highlight(half == OPEN)
        self.remap_half.highlight(half == REMAP)

    def _arrange(self) -> None:
        inside = self.rect().adjusted(GAP, GAP, -GAP, -GAP)
        first = int((inside.width() - GAP) * SHARE)
        self.open_half.setGeometry(QRect(inside.left(), inside.top(), first, inside.height()))
        left = inside.left() + first + GAP
        self.remap_half.setGeometry(QRect(left, inside.top(), inside.right() - left + 1, inside.height()))


class WindowDrops(QObject):
    """Handles a window's drag events; the window hands them over."""

    dropped = Signal(str, object)
    """`OPEN` or `REMAP`, and the paths."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.overlay = DropOverlay(window)
        self._paths: list[str] = []

    def enter(self, event: QDragEnterEvent) -> None:
        """Take files, refuse everything else."""
        self._paths = dropped_files(event.mimeData())
        if self._paths and self._accept(event):
            self.overlay.appear(self._paths)
            self.overlay.highlight(self.overlay.half_at(event.position().toPoint()))
        else:
            event.ignore()

    def move(self, event: QDragMoveEvent) -> None:
        """Mark the half under the pointer."""
        if self._paths and self._accept(event):
            self.overlay.highlight(self.overlay.half_at(event.position().toPoint()))
        else:
            event.ignore()

    def leave(self) -> None:
        """The pointer left, or the drag was given up."""
        self._paths = []
        self.overlay.hide()

    def drop(self, event: QDropEvent) -> None:
        """Say where which files were dropped."""
        paths = dropped_files(event.mimeData())
        half = self.overlay.half_at(event.position().toPoint())
        taken = bool(paths) and self._accept(event)
        self.leave()
        if taken:
            self.dropped.emit(half, paths)
        else:
            event.ignore()

    @staticmethod
    def _accept(event: QDropEvent) -> bool:
        """Accept as a copy. Never as a move: the source would delete the file."""
        for action in (Qt.DropAction.CopyAction, Qt.DropAction.LinkAction):
            if event.possibleActions() & action:
                event.setDropAction(action)
                event.accept()
                return True
        return False


def leave_drops_to_window(window: QWidget) -> None:
    """Have no child of a window accept drops."""
    for child in window.findChildren(QWidget):
        if child.acceptDrops():
            child.setAcceptDrops(False)
