from __future__ import annotations

import threading

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QProgressBar, QToolButton

from ckpt_viewer.core.pace import Pace
from ckpt_viewer.gui import status as module
from ckpt_viewer.gui.jobs import JobRunner
from ckpt_viewer.gui.share_bar import SCALE
from ckpt_viewer.gui.status import JobStatus


@pytest.fixture
def runner(qtbot):
    made = JobRunner()
    yield made
    made.cancel_all()
    assert made.wait(5000)
    qtbot.waitUntil(lambda: not made.active)


@pytest.fixture
def status(qtbot, runner, monkeypatch):
    monkeypatch.setattr(module, "APPEAR_AFTER_MS", 0)
    made = JobStatus()
    qtbot.addWidget(made)
    made.watch(runner)
    return made


@pytest.fixture
def gate(runner):
    made = threading.Event()
    yield made
    made.set()


def test_it_shows_titled_work_while_it_runs(qtbot, status, runner, gate):
    runner.start(lambda context: gate.wait(5), title="Writing a.pth")
    qtbot.waitUntil(lambda: not status.isHidden() and status._title.text() == "Writing a.pth")
    gate.set()
    qtbot.waitUntil(status.isHidden)


def test_work_without_a_title_is_not_announced(qtbot, status, runner, gate):
    job = runner.start(lambda context: gate.wait(5))
    assert status.job is None
    gate.set()
    with qtbot.waitSignal(job.ended):
        pass
    assert status.isHidden()


def test_progress_of_many_bytes(qtbot, status, runner, gate):
    def work(context):
        context._report_at = context._yield_at = 0.0
        context.step(3 * 10**12, 4 * 10**12)
        gate.wait(5)

    runner.start(work, title="Writing")
    bar = status.findChild(QProgressBar, "jobProgress")
    qtbot.waitUntil(lambda: not status.isHidden() and bar.maximum() == SCALE)
    assert bar.value() == 750


def test_work_of_unknown_length_shows_that_something_goes_on(qtbot, status, runner, gate):
    runner.start(lambda context: gate.wait(5), title="Looking")
    qtbot.waitUntil(lambda: not status.isHidden())
    bar = status.findChild(QProgressBar, "jobProgress")
    assert (bar.minimum(), bar.maximum()) == (0, 0)


def test_the_button_stops_what_is_shown(qtbot, status, runner, gate):
    job = runner.start(lambda context: gate.wait(5), title="Writing")
    qtbot.waitUntil(lambda: not status.isHidden())
    button = status.findChild(QToolButton, "jobCancel")
    assert button.accessibleName() == "Stop: Writing"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert job.is_cancelled
    assert status._title.text() == "Stopping: Writing"
    with qtbot.waitSignal(job.cancelled):
        gate.set()
    qtbot.waitUntil(status.isHidden)


def test_several_are_counted(qtbot, status, runner, gate):
    for name in ("one", "two"):
        runner.start(lambda context: gate.wait(5), title=name)
    qtbot.waitUntil(lambda: not status.isHidden() and status._title.text() == "two (and 1 more)")


def test_what_waits_for_its_turn_is_not_shown_in_place_of_what_runs(qtbot, status, gate):
    writes = JobRunner(threads=1)
    jobs = [writes.start(lambda context: gate.wait(5), title=name) for name in ("first", "second")]
    for job in jobs:
        status.add_writing(job)
    qtbot.waitUntil(lambda: not status.isHidden() and status._title.text() == "first (and 1 more)")
    assert status.job is jobs[0]
    qtbot.mouseClick(status.findChild(QToolButton, "jobCancel"), Qt.MouseButton.LeftButton)
    assert [job.is_cancelled for job in jobs] == [True, False]
    with qtbot.waitSignal(jobs[1].finished):
        gate.set()
    assert writes.wait(5000)


def test_work_that_waits_says_so(qtbot, status, gate):
    writes = JobRunner(threads=1)
    writes.start(lambda context: gate.wait(5), title="in another window")
    waiting = writes.start(lambda context: None, title="Writing b.pth")
    status.add_writing(waiting)
    qtbot.waitUntil(lambda: not status.isHidden())
    assert status._title.text() == "Waiting for other writing: Writing b.pth"
    with qtbot.waitSignal(waiting.finished):
        gate.set()
    assert writes.wait(5000)


def test_writing_says_how_fast_it_goes_and_how_long_it_takes(qtbot, status, runner, gate, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module, "Pace", lambda: Pace(lambda: now[0]))

    opened = threading.Event()

    def work(context):
        opened.wait(5)
        context._report_at = context._yield_at = 0.0
        context.step(4 * 10**9, 20 * 10**9)
        gate.wait(5)

    runner.started.disconnect(status.add)
    job = runner.start(work, title="Writing a.pth")
    status.add_writing(job)
    now[0] = 100.0  # it has waited that long for its turn
    qtbot.waitUntil(lambda: job.is_begun)
    now[0] += 2.0
    opened.set()
    qtbot.waitUntil(lambda: status._title.text() == "Writing a.pth – 2 GB/s, 8 s left")
    now[0] += 7.0
    status._tick.timeout.emit()
    assert status._title.text() == "Writing a.pth – waiting for 7 s"
    assert status._tick.isActive()
    gate.set()
    qtbot.waitUntil(status.isHidden)
    assert status._paces == {}
    assert not status._tick.isActive()
