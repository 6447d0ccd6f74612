"""The one contract between long work and whoever waits for it."""

from __future__ import annotations

from typing import Protocol


class Context(Protocol):
    """Handed to every long function; its `step` reports progress and is where cancelling happens."""

    def step(self, done: int, total: int) -> None:
        """Report `done` of `total` (bytes, entries: the caller's unit; 0 of 0 if unknown).

        Pure-Python work calls this at least every 0.2 ms, so that it can also give up the GIL.

        Raises:
            Cancelled: the work is no longer wanted.
        """


class _Silent:
    def step(self, done: int, total: int) -> None:
        """Nobody is waiting."""


SILENT: Context = _Silent()
"""For callers that neither watch nor cancel."""
