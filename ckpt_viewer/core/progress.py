"""The one contract between long work and whoever waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

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


class Phase:
    """One of several parts of some work that take about as long: its progress is that of a share of the whole."""

    def __init__(self, context: Context, number: int, count: int) -> None:
        self._context, self._number, self._count = context, number, count
        self._last = number, count

    def step(self, done: int, total: int) -> None:
        """Report `done` of the `total` of this part, where that is known; raises Cancelled."""
        if total:
            self._last = self._number * total + min(done, total), self._count * total
        self._context.step(*self._last)


def drain(used_up: dict[Any, Any] | set[Any] | list[Any], context: Context) -> None:
    """Empty a collection with steps between: freeing 100,000 entries at once would hold the GIL for 20 ms and more.

    Raises:
        Cancelled: by `context`.
    """
    if context is SILENT:
        return
    while used_up:
        if isinstance(used_up, list):
            del used_up[-EVERY:]
        else:
            take = used_up.popitem if isinstance(used_up, dict) else used_up.pop
            for _ in range(min(len(used_up), EVERY)):
                take()
        context.step(0, 0)


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
