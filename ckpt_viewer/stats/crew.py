"""Work on all cores: threads that take tasks from one list, for kernels that give the interpreter up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.turn import WINDOW_FIRST

T = TypeVar("T")
H = TypeVar("H")
WAIT = 0.05
"""Seconds between two looks at the context while there is nothing to do but wait."""


def cores() -> int:
    """Return how many threads may run at once; 1 where one thread at a time can read a file."""
    if not hasattr(os, "preadv"):
        return 1
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class Gate:
    """Holds work up while it is closed."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def pause(self) -> None:
        """Let nobody pass."""
        self._open.clear()

    def resume(self) -> None:
        """Let everybody pass."""
        self._open.set()

    @property
    def paused(self) -> bool:
        """Whether nobody passes."""
        return not self._open.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; return whether one may pass."""
        return self._open.wait(seconds)


class Crew(Generic[T, H]):
    """Threads, the calling one among them, that work through tasks in their order.

    Args:
        tasks: what is to be done. make: makes what each thread has of its own.
        work: does a task on the calling thread: ``work(own, task)`` yields amounts as they are done.
        context: told by the calling thread how much is done of `total`; when it raises, all stop.
        gate: where to pause. most: threads at most, 0 for one on each core.
    """

    def __init__(
        self,
        tasks: Sequence[T],
        make: Callable[[], H],
        work: Callable[[H, T], Iterator[int]],
        context: Context,
        total: int,
        *,
        done: int = 0,
        gate: Gate | None = None,
        most: int = 0,
    ) -> None:
        self._tasks, self._make, self._work, self._context, self._total = iter(tasks), make, work, context, total
        self._gate = gate or Gate()
        self._hands = max(1, min(most or cores(), cores(), len(tasks)))
        self._lock = threading.Lock()
        self._done = done
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.own: list[H] = []

    def run(self) -> list[H]:
        """Do all tasks; return what the threads had of their own.

        Raises:
            Cancelled: by `context`. Any error of a task: the others are stopped.
        """
        threads = [threading.Thread(target=self._help, name="numbers", daemon=True) for _ in range(self._hands - 1)]
        for thread in threads:
            thread.start()
        try:
            self._go(self._report)
            for thread in threads:
                while thread.is_alive():
                    thread.join(WAIT)
                    self._report()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error
        return self.own

    def _report(self) -> None:
        self._context.step(min(self._done, self._total), self._total)

    def _help(self) -> None:
        try:
            self._go(WINDOW_FIRST.stand_back)
        except BaseException as error:  # whatever it is, the calling thread has to raise it
            self._error = self._error or error
            self._stop.set()

    def _go(self, report: Callable[[], None]) -> None:
        own = self._make()
        with self._lock:
            self.own.append(own)
        while not self._stop.is_set():
            with self._lock:
                task = next(self._tasks, None)
            if task is None:
                return
            for amount in self._work(own, task):
                with self._lock:
                    self._done += amount
                report()
                while self._gate.paused and not self._gate.wait(WAIT):
                    report()
                    if self._stop.is_set():
                        return
                if self._stop.is_set():
                    return
