"""A program that files can be dragged from: a window of 100 by 60 pixels; a press on it drags the given files away."""

from __future__ import annotations

import sys

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDrag
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    """Starts a drag when it is pressed, and says how it ended."""

    def mousePressEvent(self, event):
        drag, mime = QDrag(self), QMimeData()
        mime.setUrls([QUrl.fromLocalFile(path) for path in sys.argv[1:]])
        drag.setMimeData(mime)
        ended = drag.exec(Qt.DropAction.CopyAction | Qt.DropAction.MoveAction)
        sys.stdout.write(f"{ended.name}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    app = QApplication([])
    source = Source("drag me")
    source.setWindowTitle("drag source")
    source.setGeometry(0, 0, 100, 60)
    source.show()
    app.exec()
