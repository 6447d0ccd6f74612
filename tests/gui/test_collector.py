from __future__ import annotations

import gc

import pytest

from ckpt_viewer.gui import collector


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
    assert gc.get_freeze_count() >= before + len(kept)


def test_a_reason_that_was_never_given_changes_nothing():
    collector.pause("one")
    collector.resume("other")
    assert not gc.isenabled()
