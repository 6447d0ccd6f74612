"""Work beside the window: a plain callable that takes a context, on a thread; its outcome on the GUI thread.

A worker thread never touches a QObject that can go away: it speaks to one relay, which finds the job by its ticket. So
no job is ever destroyed on the wrong thread, and an outcome for a window that is gone falls into nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QThreadPool, Signal
from shiboken6 import isValid

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.turn import WINDOW_FIRST
from ckpt_viewer.errors import Cancelled, CheckpointError
from ckpt_viewer.gui.turns import window_works

T = TypeVar("T")

REPORT_EVERY = 0.05
"""Seconds between two progress reports."""

YIELD_EVERY, YIELD_SELDOM = 0.0002, 0.002
"""Seconds after which a busy job gives up the GIL while somebody uses the window, and while nobody does.

Without it one scroll repaint took 3 s instead of 12 ms. But it sleeps for 60 to 100 microseconds to do so, which is a
third of its time.
"""

_tickets = count(1)


class JobContext:
    """What a job's callable receives: reports progress, lets the window go first, raises Cancelled once asked to."""

    __slots__ = ("_progress", "_report_at", "_yield_at", "cancelled", "ticket")

    def __init__(self, ticket: int, progress: Callable[[int, int, int], None]) -> None:
        self.ticket = ticket
        self.cancelled = False
        self._progress = progress
        self._yield_at = self._report_at = 0.0

    def step(self, done: int, total: int) -> None:
        """Report `done` of `total`; see `core.progress.Context`.

        Raises:
            Cancelled: the job is no longer wanted.
        """
        if self.cancelled:
            raise Cancelled
        if not WINDOW_FIRST.is_free():
            self._stand_back()
        now = time.perf_counter()
        if now < self._yield_at:
            return
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY
            self._progress(self.ticket, done, total)
        time.sleep(0)
        self._yield_at = time.perf_counter() + (YIELD_EVERY if WINDOW_FIRST.is_wanted(now) else YIELD_SELDOM)

    def _stand_back(self) -> None:
        WINDOW_FIRST.stand_back()
        if self.cancelled:
            raise Cancelled


class Job(QObject):
    """One piece of work. Exactly one of `finished`, `failed`, `cancelled` is emitted, always on the GUI thread.

    Attributes:
        ticket: grows with each job that is started in this process.
        title: what the status bar says while it runs; ``""`` for work that is not announced.
        done, total: the last progress, in the work's own unit; 0 of 0 until something was reported.
        is_begun: whether a thread has taken it; until then it waits for others of its runner.
        is_ended: whether the outcome was delivered.
    """

    progressed = Signal(object, object)
    finished = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    ended = Signal()
    """After whichever of the three came."""

    def __init__(self, ticket: int, title: str, context: JobContext) -> None:
        super().__init__()
        self.ticket, self.title = ticket, title
        self.done = self.total = 0
        self.is_begun = self.is_ended = False
        self._context = context

    def cancel(self) -> None:
        """Ask the work to stop; `cancelled` comes once it has, and nothing else does."""
        self._context.cancelled = True

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._context.cancelled

    def _report(self, done: int, total: int) -> None:
        self.is_begun = True  # `_run` reports nothing of nothing, first of all
        if not self.is_cancelled:
            self.done, self.total = done, total
            self.progressed.emit(done, total)

    def _end(self, error: BaseException | None, result: object) -> None:
        self.is_ended = True
        if self.is_cancelled or isinstance(error, Cancelled):
            self.cancelled.emit()
        elif error is not None:
            self.failed.emit(error)
        else:
            self.finished.emit(result)
        self.ended.emit()


class _Relay(QObject):
    """The only QObject that worker threads touch. One for the process, made on the GUI thread."""

    progressed = Signal(object, object, object)
    arrived = Signal(object, object, object)

    def __init__(self) -> None:
        super().__init__()
        self.runners: dict[int, JobRunner] = {}
        self.progressed.connect(self._on_progress)
        self.arrived.connect(self._on_arrival)

    def _on_progress(self, ticket: int, done: int, total: int) -> None:
        window_works()
        runner = self.runners.get(ticket)
        if runner is not None and isValid(runner):
            runner._jobs[ticket]._report(done, total)

    def _on_arrival(self, ticket: int, error: BaseException | None, result: object) -> None:
        window_works()
        runner = self.runners.pop(ticket, None)
        if runner is not None and isValid(runner):
            runner._deliver(ticket, error, result)


_relay: _Relay | None = None


def _the_relay() -> _Relay:
    global _relay
    if _relay is None:
        _relay = _Relay()
    return _relay


class JobRunner(QObject):
    """Runs jobs on a thread pool of its own and keeps them alive until their outcome was delivered.

    Create it on the GUI thread. Before it goes away, `cancel_all` and `wait`.
    """

    started = Signal(object)
    """A Job was started."""
    idle = Signal()
    """The last running job has ended."""

    def __init__(self, parent: QObject | None = None, threads: int = 2) -> None:
        super().__init__(parent)
        self.pool = QThreadPool(self)
        self.pool.setMaxThreadCount(threads)
        self._jobs: dict[int, Job] = {}
        self._relay = _the_relay()

    @property
    def active(self) -> list[Job]:
        """Jobs whose outcome has not been delivered, oldest first."""
        return list(self._jobs.values())

    def start(self, work: Callable[[Context], T], *, title: str = "", pool: QThreadPool | None = None) -> Job:
        """Run ``work(context)`` on a thread of `pool` (the runner's own without) and return its Job at once.

        What the work returns comes with `finished`, what it raises with `failed`; unexpected errors are logged too.
        """
        ticket = next(_tickets)
        relay = self._relay
        context = JobContext(ticket, relay.progressed.emit)
        job = Job(ticket, title, context)
        self._jobs[ticket] = job
        relay.runners[ticket] = self
        arrived = relay.arrived.emit

        def run() -> None:
            _let_the_window_go_first()
            error, result = _run(work, context, title)
            arrived(ticket, error, result)

        (pool or self.pool).start(run)
        self.started.emit(job)
        return job

    def cancel_all(self) -> None:
        """Ask every job to stop."""
        for job in self.active:
            job.cancel()

    def wait(self, milliseconds: int) -> bool:
        """Wait until this runner's threads are done; False if they were not in time. Outcomes are delivered later."""
        WINDOW_FIRST.give()  # now it waits for them
        return self.pool.waitForDone(milliseconds)

    def _deliver(self, ticket: int, error: BaseException | None, result: object) -> None:
        job = self._jobs.pop(ticket)
        job._end(error, result)
        if not self._jobs:
            self.idle.emit()


NICE = 5
"""By how much jobs stand back behind the window where processors are short."""


def _let_the_window_go_first() -> None:
    """Lower the priority of this thread, once; what it starts, threads and processes, inherits that.

    Only Linux knows priorities of threads. There all cores counting a tensor let the window wait for its turn, 20 to
    60 ms with two of them.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < NICE:
            os.setpriority(os.PRIO_PROCESS, thread, NICE)


def _run(work: Callable[[Context], object], context: JobContext, title: str) -> tuple[BaseException | None, object]:
    try:
        context.step(0, 0)
        return None, work(context)
    except (CheckpointError, Cancelled) as error:
        return error, None
    except BaseException as error:  # nothing may vanish on a thread, SystemExit and MemoryError included
        import logging

        logging.getLogger("ckpt_viewer").exception("unexpected error in a job: %s", title or work)
        return error, None


class Latest(QObject):
    """Work for one view: starting anew cancels what was asked before; only the newest answer arrives.

    Connect `finished` and `failed` once; an outdated job reaches neither.
    """

    finished = Signal(object)
    failed = Signal(object)
    progressed = Signal(object, object)

    def __init__(self, runner: JobRunner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runner = runner
        self._job: Job | None = None

    @property
    def job(self) -> Job | None:
        """The newest job while it runs."""
        return self._job

    def start(self, work: Callable[[Context], Any], *, title: str = "", pool: QThreadPool | None = None) -> Job:
        """Cancel the work that runs and start this instead."""
        self.cancel()
        job = self._job = self._runner.start(work, title=title, pool=pool)
        ticket = job.ticket
        job.finished.connect(lambda result: self._answer(ticket, self.finished.emit, result))
        job.failed.connect(lambda error: self._answer(ticket, self.failed.emit, error))
        job.cancelled.connect(lambda: self._forget(ticket))
        job.progressed.connect(lambda done, total: self._report(ticket, done, total))
        return job

    def cancel(self) -> None:
        """Forget the work that runs; its answer will not arrive."""
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _answer(self, ticket: int, emit: Callable[[object], None], outcome: object) -> None:
        if self._job is not None and self._job.ticket == ticket:
            self._job = None
            emit(outcome)

    def _forget(self, ticket: int) -> None:
        if self._job is not None and self._job.ticket == ticket:  # the runner was told to cancel everything
            self._job = None

    def _report(self, ticket: int, done: int, total: int) -> None:
        if self._job is not None and self._job.ticket == ticket:
            self.progressed.emit(done, total)
