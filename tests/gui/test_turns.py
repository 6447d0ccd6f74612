"""The window goes first: jobs stand back from when the GUI thread begins to work until it has nothing more to do."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer

from ckpt_viewer.core import turn
from ckpt_viewer.core.turn import WINDOW_FIRST, Turn
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.gui import jobs, turns
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.jobs import JobContext, JobRunner


@pytest.fixture
def shared(qapp, monkeypatch):
    """The program after its first tree was painted."""
    before = sys.getswitchinterval()
    monkeypatch.setattr(turns, "_calm", None)
    turns.share_the_interpreter()
    yield
    sys.setswitchinterval(before)
    WINDOW_FIRST.give()


@pytest.mark.usefixtures("qapp")
def test_nobody_stands_back_before_the_first_tree_is_painted(monkeypatch):
    monkeypatch.setattr(turns, "_calm", None)
    turns.window_works()
    assert WINDOW_FIRST.is_free()


@pytest.mark.usefixtures("shared")
def test_the_turn_ends_after_everything_that_waits_for_the_gui_thread():
    said = []

    class Receiver(QObject):
        def event(self, event: QEvent) -> bool:
            said.append((event.type(), WINDOW_FIRST.is_free()))
            return True

    receiver = Receiver()
    turns.window_works()
    for kind, priority in ((QEvent.Type.User, 0), (QEvent.Type.UpdateRequest, Qt.EventPriority.LowEventPriority.value)):
        QCoreApplication.postEvent(receiver, QEvent(kind), priority)
    assert not WINDOW_FIRST.is_free()
    QCoreApplication.sendPostedEvents()
    assert said == [(QEvent.Type.User, False), (QEvent.Type.UpdateRequest, False)]
    assert WINDOW_FIRST.is_free()


@pytest.mark.usefixtures("shared")
def test_what_qt_calls_takes_the_turn():
    class View:
        @called_by_qt
        def data(self) -> bool:
            return WINDOW_FIRST.is_free()

    assert View().data() is False


@pytest.mark.usefixtures("shared")
def test_a_step_waits_until_the_window_is_done(monkeypatch):
    monkeypatch.setattr(turn, "LONGEST", 30)
    passed, context = threading.Event(), JobContext(1, lambda *_: None)
    WINDOW_FIRST.take()
    thread = threading.Thread(target=lambda: (context.step(0, 0), passed.set()))
    thread.start()
    assert not passed.wait(0.1)
    WINDOW_FIRST.give()
    assert passed.wait(10)
    thread.join()


@pytest.mark.usefixtures("shared")
def test_work_gets_on_beside_a_window_that_is_never_done(monkeypatch):
    monkeypatch.setattr(turn, "LONGEST", 0.001)
    WINDOW_FIRST.take()
    context = JobContext(1, lambda *_: None)
    for done in range(20):
        context.step(done, 20)
    assert not WINDOW_FIRST.is_free()


@pytest.mark.usefixtures("shared")
def test_cancelling_ends_a_job_that_stands_back(monkeypatch):
    context = JobContext(1, lambda *_: None)

    def cancel(_: Turn) -> None:
        context.cancelled = True

    monkeypatch.setattr(Turn, "stand_back", cancel)
    WINDOW_FIRST.take()
    with pytest.raises(Cancelled):
        context.step(0, 0)


@pytest.mark.usefixtures("shared")
def test_an_outcome_takes_the_turn_and_then_gives_it_back(qtbot):
    runner, seen = JobRunner(), []
    job = runner.start(lambda context: context.step(1, 2))
    job.finished.connect(lambda _: seen.append(WINDOW_FIRST.is_free()))
    with qtbot.waitSignal(job.ended):
        pass
    assert seen == [False]
    qtbot.waitUntil(WINDOW_FIRST.is_free)
    assert runner.wait(10_000)


@pytest.mark.usefixtures("shared")
def test_what_is_due_comes_between_two_large_pieces(qtbot):
    order, receiver = [], QObject()
    due = QTimer(interval=0, singleShot=True)
    due.timeout.connect(lambda: order.append("timer"))

    def second() -> None:
        order.append(("second", WINDOW_FIRST.is_free()))

    def first() -> None:
        order.append(("first", WINDOW_FIRST.is_free()))
        due.start()
        turns.soon(receiver, second)

    turns.soon(receiver, first)
    qtbot.waitUntil(lambda: len(order) == 3)
    assert order == [("first", False), "timer", ("second", False)]


def test_a_piece_for_something_that_is_gone_is_not_done(qtbot):
    done, receiver = [], QObject()
    turns.soon(receiver, lambda: done.append("gone"))
    receiver.deleteLater()
    other = QObject()
    turns.soon(other, lambda: done.append("there"))
    qtbot.waitUntil(lambda: bool(done))
    assert done == ["there"]


@pytest.mark.parametrize(("used", "sleeps"), [(True, 100), (False, 12)])
def test_a_job_gives_way_less_often_while_nobody_uses_the_window(used, sleeps, monkeypatch):
    """A quarter of a millisecond goes by between two steps."""
    now, slept, window = [100.0], [], Turn()
    monkeypatch.setattr(jobs, "WINDOW_FIRST", window)
    monkeypatch.setattr(jobs, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=slept.append))
    monkeypatch.setattr(turn, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    context = JobContext(1, lambda *report: None)
    for number in range(100):
        if used and number % 60 == 0:  # within `LATELY`
            window.take()
            window.give()
        now[0] += 0.00025
        context.step(0, 0)
    assert sleeps - 1 <= len(slept) <= sleeps + 1
