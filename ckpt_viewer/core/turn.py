"""Who goes first where threads share one interpreter.

Each time Qt and Python call each other the interpreter may change hands, and who wants it back waits until the other
thread is made to give it up: a picture of 10 ms took 100 ms beside two busy threads. So while the window works, the
work beside it waits, which costs nothing: only one of them can run Python anyway.
"""

from __future__ import annotations

import threading
import time

LONGEST = 0.25
"""Seconds that work waits at most between two of its steps: it gets on also where the window is never done."""

LATELY = 0.02
"""Seconds: somebody who scrolls, types or moves the pointer is back within them."""


class Turn:
    """Taken by one thread that goes first; the others stand back meanwhile."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()
        self.is_free = self._free.is_set
        """Whether nobody goes first; an attribute, since it is asked for each cell that is painted."""
        self._taken_at = -LATELY

    def take(self) -> None:
        """Go first, until `give`."""
        self._taken_at = time.perf_counter()
        self._free.clear()

    def give(self) -> None:
        """Let the others go on."""
        self._free.set()

    def is_wanted(self, now: float) -> bool:
        """Whether somebody went first within `LATELY`, by ``time.perf_counter()``, and may want to again."""
        return now - self._taken_at < LATELY

    def stand_back(self) -> None:
        """Wait while somebody goes first, `LONGEST` at most."""
        if not self._free.is_set():
            self._free.wait(LONGEST)


WINDOW_FIRST = Turn()
"""The turn of this process; taken by `gui.turns` alone, and so never without a window."""
