"""A layout that puts widgets one after the other, and breaks lines as text does."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget


class FlowLayout(QLayout):
    """Widgets keep the size that they ask for, at most the width that there is.

    Args:
        gap: pixels between two widgets. between: pixels between two lines.
    """

    def __init__(self, parent: QWidget | None = None, *, gap: int = 8, between: int = 2) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._gap, self._between = gap, between
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        """Take an item over."""
        self._items.append(item)

    def count(self) -> int:
        """How many there are."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """Return an item; None where there is none."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Give an item away; None where there is none."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """It takes no more than it needs."""
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        """Less width, more lines."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of all lines."""
        return self._arrange(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, box: QRect) -> None:
        """Put everything in its place."""
        super().setGeometry(box)
        self._arrange(box, move=True)

    def sizeHint(self) -> QSize:
        """The least is enough."""
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        """Any width will do; as high as the highest."""
        return QSize(40, max((item.sizeHint().height() for item in self._items), default=0))

    def _arrange(self, box: QRect, *, move: bool) -> int:
        """Return the height of all lines; with `move` put everything in its place, in the middle of its line."""
        x, y, high = box.x(), box.y(), 0
        line: list[tuple[QLayoutItem, QRect]] = []
        for item in self._items:
            widget = item.widget()
            if widget is not None and widget.isHidden():
                continue
            size = item.sizeHint()
            width = min(size.width(), box.width())
            if line and x + width > box.x() + box.width():
                _place(line, high, move)
                x, y, high, line = box.x(), y + high + self._between, 0, []
            line.append((item, QRect(x, y, width, size.height())))
            x, high = x + width + self._gap, max(high, size.height())
        _place(line, high, move)
        return y + high - box.y()


def _place(line: list[tuple[QLayoutItem, QRect]], height: int, move: bool) -> None:
    for item, box in line if move else ():
        item.setGeometry(box.translated(0, (height - box.height()) // 2))
