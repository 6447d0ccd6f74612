"""How fast long work goes, and how long it will still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ckpt_viewer.core.text import bytes_text

WINDOW = 5.0
"""Seconds that the rate is taken over: long enough to be steady, short enough to follow a disk that slows down."""
FIRST = 1.0
"""Seconds before anything is said; the first blocks go into a cache and promise too much."""


class Pace:
    """Hears of progress in bytes and tells the rate of the last few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._marks: deque[tuple[float, int]] = deque([(self._start, 0)])
        self._total = 0

    def note(self, done: int, total: int) -> None:
        """Hear that `done` of `total` bytes are done; a smaller number than before starts anew."""
        now = self._clock()
        if done < self._marks[-1][1]:
            self._marks.clear()
            self._start = now
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] < now - WINDOW:
            self._marks.popleft()
        self._total = total

    @property
    def rate(self) -> float | None:
        """Bytes in a second; None while that is not known."""
        (before, less), (now, more) = self._marks[0], self._marks[-1]
        if now - self._start < FIRST or now == before:
            return None
        return (more - less) / (now - before)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it is done; None while that is not known."""
        rate = self.rate
        return (self._total - self._marks[-1][1]) / rate if rate else None

    @property
    def silence(self) -> float:
        """Seconds since the last news."""
        return self._clock() - self._marks[-1][0]

    @property
    def text(self) -> str:
        """Return ``"512 MB/s, 8 s left"``; ``""`` while nothing is known."""
        rate, left = self.rate, self.seconds_left
        if rate is None:
            return ""
        said = f"{bytes_text(round(rate))}/s"
        return said if left is None else f"{said}, {duration_text(left)} left"


def duration_text(seconds: float) -> str:
    """Return ``8 s``, ``2 min 5 s``, ``1 h 20 min``, rounded up: nothing is done in no time."""
    whole = max(1, int(-(-seconds // 1)))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
