from __future__ import annotations

import gc
import threading

import pytest

from ckpt_viewer.gui import collector
from ckpt_viewer.gui.jobs import JobRunner


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    for reason in list(collector._reasons):
        collector.resume(reason)
    gc.unfreeze()
    assert gc.isenabled()


def test_it_is_off_while_anybody_has_a_reason():
    collector.pause("one")
    collector.pause("two")
    collector.resume("one")
    assert not gc.isenabled()
    collector.resume("two")
    assert gc.isenabled()


def test_what_lived_then_is_set_aside():
    before = gc.get_freeze_count()
    collector.pause("one")
    kept = [[] for _ in range(1000)]
    collector.resume("one")
    assert gc.get_freeze_count() == before
    collector.pause("one")
    collector.pause("two")
    collector.resume("one", keep=True)
    assert gc.get_freeze_count() == before
    collector.resume("two")
    assert gc.get_freeze_count() >= before + len(kept)


def test_it_is_off_while_a_job_runs(qtbot):
    gate = threading.Event()
    runner = JobRunner()
    collector.spare(runner)
    with qtbot.waitSignal(runner.idle):
        runner.start(lambda _: gate.wait(20))
        assert not gc.isenabled()
        gate.set()
    assert gc.isenabled()
    runner.wait(5000)


def test_a_reason_that_was_never_given_changes_nothing():
    collector.pause("one")
    collector.resume("other")
    assert not gc.isenabled()
