"""The one contract between long work and whoever waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


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


EVERY = 64
"""Turns of a plain Python loop between two steps; some 0.1 ms."""


def stepped(items: Iterable[T], context: Context, total: int = 0) -> Iterable[T]:
    """Return `items`, with a step of `context` now and then while they are gone through.

    Raises:
        Cancelled: by `context`, from the loop.
    """
    return items if context is SILENT else _stepped(items, context, total)


def _stepped(items: Iterable[T], context: Context, total: int) -> Iterator[T]:
    for number, item in enumerate(items):
        if number % EVERY == 0:
            context.step(number, total)
        yield item
