"""The window goes first: jobs stand back while the GUI thread has something to do.

Qt does not tell when it begins to work and when it waits again. So whatever begins on the GUI thread calls
`window_works`, and an event that Qt delivers after all others, painting included, ends it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QEvent, QObject, QTimer

from ckpt_viewer.core.turn import WINDOW_FIRST

SWITCH_INTERVAL = 1e-4
"""Seconds for which a thread may keep the GIL while another one wants it; Python's own 5 ms are seen."""
AFTER_ALL = -1000
"""Below the priority of every event of Qt's own, painting (-1) too."""


class _Calm(QObject):
    """Hears that nothing waits for the GUI thread any more."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = QEvent.Type(QEvent.registerEventType())

    def event(self, event: QEvent) -> bool:
        if event.type() == self.kind:
            WINDOW_FIRST.give()
        return True


_calm: _Calm | None = None


def share_the_interpreter() -> None:
    """From now on the window goes first; on the GUI thread. Not before it is painted: until then it waits for a job."""
    global _calm
    if _calm is None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        _calm = _Calm()


def soon(receiver: QObject, work: Callable[[], None]) -> None:
    """Do something large in a turn of its own: timers that are due and what the user does come before it.

    Not with a timer of 0 ms, which Qt queues: what is queued comes first, so several such pieces would follow each
    other. Nothing is done where `receiver` is gone by then.
    """

    def begin() -> None:
        window_works()
        work()

    QTimer.singleShot(1, receiver, begin)


def window_works() -> None:
    """Have jobs stand back until the GUI thread has done all that waits for it; on the GUI thread, cheap to repeat."""
    if _calm is not None and WINDOW_FIRST.is_free():
        WINDOW_FIRST.take()
        QCoreApplication.postEvent(_calm, QEvent(_calm.kind), AFTER_ALL)
