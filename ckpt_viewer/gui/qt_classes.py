"""Makes every class of Qt's modules on the GUI thread, before another thread may name one.

PySide makes its classes when they are first named, in tables that it does not lock: two threads that do so at once end
the process with a segmentation fault (seen with PySide 6.11.3 in one start of fifty on a busy machine; 60 % of the runs
of two threads that name all classes). The panels and pyqtgraph are imported on a thread and name hundreds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QObject, QTimer, Signal

SLICE = 0.008
"""Seconds of work between two rounds of the event loop; all classes take 0.13 s."""


class ClassMaker(QObject):
    """Names all classes, a slice of them in each round of the event loop."""

    ready = Signal()
    """All are made."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._left = _names()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._make_some)

    def start(self) -> None:
        """Begin with the next round of the event loop."""
        self._timer.start(0)

    def stop(self) -> None:
        """Make no more; `ready` does not come."""
        self._timer.stop()

    def _make_some(self) -> None:
        end = time.perf_counter() + SLICE
        for module, name in self._left:
            getattr(module, name)
            if time.perf_counter() > end:
                return
        self._timer.stop()
        self.ready.emit()


def _names() -> Iterator[tuple[ModuleType, str]]:
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):
            yield module, name
