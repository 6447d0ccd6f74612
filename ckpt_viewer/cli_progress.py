"""A progress bar for commands that write, and the signals that stop them."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ckpt_viewer.core.pace import Pace
from ckpt_viewer.errors import Cancelled

BAR_WIDTH = 30
REDRAW = 0.1
"""Seconds between two pictures of the progress bar."""


class Bar:
    """A progress bar on standard error, if that is a terminal. A context for long work.

    Args:
        in_bytes: whether the work counts bytes; then the bar says how many in a second, and when it will be done.
    """

    def __init__(self, *, in_bytes: bool = False) -> None:
        self._drawn = 0.0
        self._on = sys.stderr.isatty()
        self._pace = Pace() if in_bytes else None

    def step(self, done: int, total: int) -> None:
        """Draw the bar, at most every `REDRAW` seconds."""
        now = time.monotonic()
        if not self._on or now - self._drawn < REDRAW:
            return
        self._drawn = now
        pace = ""
        if self._pace is not None:
            self._pace.note(done, total)
            pace = f"  {self._pace.text}"
        filled, percent = BAR_WIDTH * done // max(total, 1), 100 * done // max(total, 1)
        sys.stderr.write(f"\r[{'=' * filled:<{BAR_WIDTH}}] {percent} %{pace}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away."""
        if self._on and self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def progress() -> Iterator[Bar]:
    """Show a bar while bytes are written, and take it away after."""
    bar = Bar(in_bytes=True)
    try:
        yield bar
    finally:
        bar.clear()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop the work like Ctrl-C, so that they leave no half-written file either."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def stop(number: int, frame: object) -> None:
        del frame
        raise Cancelled(f"signal {number}")

    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
