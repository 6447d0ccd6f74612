"""A progress bar for commands that take long, and the signals that stop those that write."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ckpt_viewer.core.pace import Pace
from ckpt_viewer.errors import Cancelled

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.location import MapLocation

BAR_WIDTH = 30
REDRAW = 0.1
"""Seconds between two pictures of the progress bar."""
PATIENCE = 1.0
"""Seconds that opening a file may take without one."""


class Bar:
    """A progress bar on standard error, if that is a terminal. A context for long work.

    Args:
        in_bytes: whether the work counts bytes; then the bar says how many in a second, and when it will be done.
        after: seconds that the work may take without one.
    """

    def __init__(self, *, in_bytes: bool = False, after: float = 0.0) -> None:
        self._drawn, self._begins = 0.0, time.monotonic() + after
        self._on = sys.stderr.isatty()
        self._pace = Pace() if in_bytes else None

    def step(self, done: int, total: int) -> None:
        """Draw the bar, at most every `REDRAW` seconds."""
        if not self._on:
            return
        now = time.monotonic()
        if now - self._drawn < REDRAW or now < self._begins:
            return
        self._drawn = now
        pace = ""
        if self._pace is not None:
            self._pace.note(done, total)
            pace = f"  {self._pace.text}"
        if total > 0:
            filled, percent = BAR_WIDTH * done // total, 100 * done // total
            sys.stderr.write(f"\r[{'=' * filled:<{BAR_WIDTH}}] {percent} %{pace}\x1b[K")
        else:  # how much there is to do is not known yet
            sys.stderr.write("\rworking ...\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away."""
        if self._on and self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def open_shown(
    file: str, map_location: MapLocation = None, *, whole: bool = False, salvage: bool = False
) -> Checkpoint:
    """Open a checkpoint as `open_checkpoint` does, with a bar where that takes long."""
    from ckpt_viewer.formats import open_checkpoint

    bar = Bar(after=PATIENCE)
    try:
        return open_checkpoint(file, map_location, bar, whole=whole, salvage=salvage)
    finally:
        bar.clear()


@contextmanager
def progress() -> Iterator[Bar]:
    """Show a bar while bytes are read or written, and take it away after."""
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
