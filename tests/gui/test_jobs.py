from __future__ import annotations

import logging
import os
import sys
import threading

import pytest
from PySide6.QtCore import QThread, QThreadPool
from shiboken6 import delete

from ckpt_viewer.core.progress import Context
from ckpt_viewer.errors import Cancelled, Damaged
from ckpt_viewer.gui.jobs import NICE, JobContext, JobRunner, Latest


@pytest.fixture
def runner(qtbot):
    made = JobRunner()
    yield made
    made.cancel_all()
    assert made.wait(5000)
    qtbot.waitUntil(lambda: not made.active)


class Outcome:
    """Everything that a job said, with the threads it was said on."""

    def __init__(self, job):
        self.said = []
        self.threads = set()
        job.finished.connect(lambda result: self.add("finished", result))
        job.failed.connect(lambda error: self.add("failed", error))
        job.cancelled.connect(lambda: self.add("cancelled", None))

    def add(self, what, value):
        self.said.append((what, value))
        self.threads.add(QThread.currentThread())


def test_a_result_arrives_on_the_gui_thread(qtbot, runner):
    threads = []
    job = runner.start(lambda context: threads.append(QThread.currentThread()) or 42)
    outcome = Outcome(job)
    with qtbot.waitSignal(job.ended):
        pass
    assert outcome.said == [("finished", 42)]
    assert outcome.threads == {runner.thread()}
    assert threads[0] is not runner.thread()


def test_byte_counts_beyond_32_bits_survive(qtbot, runner):
    gate = threading.Event()

    def work(context: Context) -> None:
        gate.wait(5)
        context._report_at = context._yield_at = 0.0
        context.step(2**31, 2**40)

    job = runner.start(work)
    seen = []
    job.progressed.connect(lambda done, total: seen.append((done, total)))
    gate.set()
    with qtbot.waitSignal(job.ended):
        pass
    assert seen[-1] == (2**31, 2**40)
    assert (job.done, job.total) == (2**31, 2**40)


def test_an_expected_error_is_delivered_and_not_logged(qtbot, runner, caplog):
    def work(context: Context) -> None:
        raise Damaged("it is; mend it")

    outcome = Outcome(job := runner.start(work))
    with qtbot.waitSignal(job.ended):
        pass
    assert [(what, str(error)) for what, error in outcome.said] == [("failed", "it is; mend it")]
    assert not caplog.records


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), MemoryError()])
def test_an_unexpected_error_is_delivered_and_logged(qtbot, runner, caplog, error):
    def work(context: Context) -> None:
        raise error

    with caplog.at_level(logging.ERROR, "ckpt_viewer"):
        outcome = Outcome(job := runner.start(work, title="Counting"))
        with qtbot.waitSignal(job.ended):
            pass
    assert outcome.said == [("failed", error)]
    assert "Counting" in caplog.text


def test_a_cancelled_job_says_so_and_nothing_else(qtbot, runner):
    entered, gate = threading.Event(), threading.Event()

    def work(context: Context) -> int:
        entered.set()
        gate.wait(5)
        return 1

    outcome = Outcome(job := runner.start(work))
    assert entered.wait(5)
    job.cancel()
    gate.set()
    with qtbot.waitSignal(job.ended):
        pass
    assert outcome.said == [("cancelled", None)]


def test_step_raises_once_cancelled():
    context = JobContext(1, lambda *_: None)
    context.step(1, 2)
    context.cancelled = True
    with pytest.raises(Cancelled):
        context.step(2, 2)


def test_a_job_cancelled_before_its_turn_never_runs(qtbot, runner):
    pool = QThreadPool()
    pool.setMaxThreadCount(1)
    gate, ran = threading.Event(), []
    runner.start(lambda context: gate.wait(5), pool=pool)
    job = runner.start(lambda context: ran.append(1), pool=pool)
    job.cancel()
    gate.set()
    with qtbot.waitSignal(job.cancelled):
        pass
    assert pool.waitForDone(5000)
    assert not ran


def test_progress_is_thinned_out(qtbot, runner):
    def work(context: Context) -> None:
        for index in range(200_000):
            context.step(index, 200_000)

    job = runner.start(work)
    seen = []
    job.progressed.connect(lambda done, total: seen.append(done))
    with qtbot.waitSignal(job.ended):
        pass
    assert 1 <= len(seen) < 100
    assert seen == sorted(seen)


def test_a_runner_that_is_gone_hears_nothing(qtbot, runner):
    gone, gate, pool, said = JobRunner(), threading.Event(), QThreadPool(), []
    job = gone.start(lambda context: gate.wait(5), pool=pool)
    job.ended.connect(lambda: said.append(1))
    delete(gone)
    gate.set()
    assert pool.waitForDone(5000)
    with qtbot.waitSignal(runner.start(lambda context: None).ended):  # what was sent before this has arrived
        pass
    assert said == []


def test_only_the_newest_answer_reaches_the_view(qtbot, runner):
    latest, gate, answers = Latest(runner), threading.Event(), []
    latest.finished.connect(answers.append)
    pool = QThreadPool()
    first = latest.start(lambda context: gate.wait(5) and "old", pool=pool)
    second = latest.start(lambda context: "new", pool=pool)
    assert second.ticket > first.ticket
    with qtbot.waitSignal(latest.finished):
        gate.set()
    assert pool.waitForDone(5000)
    qtbot.waitUntil(lambda: not runner.active)
    assert answers == ["new"]


def test_latest_passes_failures_on(qtbot, runner):
    latest = Latest(runner)

    def work(context: Context) -> None:
        raise Damaged("no")

    with qtbot.waitSignal(latest.failed) as got:
        latest.start(work)
    assert isinstance(got.args[0], Damaged)
    assert latest.job is None


def test_latest_forgets_a_job_that_others_cancelled(qtbot, runner):
    latest, gate = Latest(runner), threading.Event()
    job = latest.start(lambda context: gate.wait(5))
    runner.cancel_all()
    gate.set()
    with qtbot.waitSignal(job.ended):
        pass
    assert latest.job is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows priorities of threads")
def test_jobs_stand_back_behind_the_window(qtbot, runner):
    """A job's thread has a lower priority than the window's, however many jobs it has run."""

    def priority(context):
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    for _ in range(2):
        job = runner.start(priority)
        with qtbot.waitSignal(job.finished) as finished:
            pass
        assert finished.args == [max(here, NICE)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here
