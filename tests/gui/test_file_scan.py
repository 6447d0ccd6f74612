"""The scan of a session: progress, pause, cancel, results kept on disk, tensors and files that cannot be read."""

from __future__ import annotations

import threading
from unittest.mock import MagicMock

import numpy as np
import pytest
from hand_made import make_checkpoint, mapping
from made_tensors import CountingSource, made_from, made_tensor

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import SourceChanged, Truncated
from ckpt_viewer.gui import file_scan
from ckpt_viewer.gui.file_scan import FileScan, ScanState
from ckpt_viewer.gui.jobs import JobRunner
from ckpt_viewer.gui.reading import index_tree
from ckpt_viewer.stats import crew
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.summary import summarize_tensor


class Gated(CountingSource):
    """Bytes that are given once the gate is open; or an error instead."""

    def __init__(self, data, error=None):
        super().__init__(data)
        self.asked, self.gate, self.error = threading.Event(), threading.Event(), error

    def read_into(self, offset, buffer):
        self.asked.set()
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        super().read_into(offset, buffer)


def floats(*values):
    return np.array(values, np.float32)


def gated(values, error=None):
    source = Gated(values.tobytes(), error)
    return source, made_tensor(None, "float32", values.shape, source=source)


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr(crew, "cores", lambda: 1)


@pytest.fixture
def scan(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jobs = JobRunner()
    made = FileScan(jobs)
    yield made
    made.close()
    assert made.wait(5000)
    qtbot.waitUntil(lambda: not jobs.active)


def opened(scan, **tensors):
    checkpoint = make_checkpoint(root=mapping(model=mapping(**tensors)))
    scan.open(checkpoint, index_tree(checkpoint, True, SILENT))
    return checkpoint


def run(qtbot, scan, state=ScanState.DONE):
    scan.start()
    qtbot.waitUntil(lambda: scan.state is state)


def test_nothing_is_read_before_it_is_asked_for(qtbot, scan):
    source, tensor = gated(floats(1, 2))
    opened(scan, a=tensor)
    assert (scan.state, scan.done, scan.total, scan.total_bytes) == (ScanState.NONE, 0, 1, 8)
    assert scan.profile(tensor) is None
    assert scan.below(MagicMock(pointer="/model")) is None
    assert not source.asked.is_set()


def test_every_tensor_gets_the_numbers_that_it_has_alone(qtbot, scan):
    tensors = {"a": made_from(floats(1, float("nan"), 3)), "b": made_from(floats(0, float("inf")))}
    opened(scan, **tensors)
    run(qtbot, scan)
    for tensor in tensors.values():
        profile, summary = scan.profile(tensor), summarize_tensor(tensor)
        assert isinstance(profile, Profile)
        assert (profile.census.nan, profile.mean, profile.std) == (summary.nan, summary.mean, summary.std)
        figures = scan.figures(tensor)
        assert (figures.low, figures.high, figures.zeros) == (summary.min, summary.max, summary.zeros)
    assert (scan.done, scan.total, scan.done_bytes, scan.total_bytes) == (2, 2, 20, 20)
    assert (scan.harvest.nan, scan.harvest.inf, scan.harvest.unread) == (1, 1, 0)


def test_a_pause_holds_it_up_and_resuming_ends_it(qtbot, scan, one_thread):
    first, a = gated(floats(1, 2))
    second, b = gated(floats(3, 4, 5))
    opened(scan, a=a, b=b)
    scan.start()
    assert first.asked.wait(5)
    scan.pause()
    first.gate.set()
    second.gate.set()
    qtbot.waitUntil(lambda: scan.harvest.scan.finished == [0])
    assert scan.state is ScanState.PAUSED
    assert not second.asked.is_set()
    scan.resume()
    qtbot.waitUntil(lambda: scan.state is ScanState.DONE)
    assert second.read == 12


def test_start_resumes_what_was_paused(qtbot, scan):
    source, tensor = gated(floats(1, 2))
    opened(scan, a=tensor)
    scan.start()
    scan.pause()
    source.gate.set()
    run(qtbot, scan)
    assert scan.figures(tensor).high == 2


def test_a_cancelled_scan_keeps_what_it_found_and_is_not_kept_on_disk(qtbot, scan, one_thread):
    first, a = gated(floats(6, 7))
    second, b = gated(floats(8, 9))
    first.gate.set()
    opened(scan, a=a, b=b)
    scan.start()
    assert second.asked.wait(5)
    scan.cancel()
    second.gate.set()
    assert scan.wait(5000)
    assert scan.state is ScanState.CANCELLED
    assert scan.profile(a).mean == 6.5
    scan.recall()
    assert scan.state is ScanState.CANCELLED
    opened(scan, a=a, b=b)
    scan.recall()
    assert scan.wait(5000)
    assert scan.state is ScanState.NONE


def test_what_was_found_is_recalled_without_a_read(qtbot, scan):
    values = floats(*range(50, 90))
    opened(scan, a=made_from(values))
    run(qtbot, scan)
    again = made_from(values)
    opened(scan, a=again)
    scan.recall()
    qtbot.waitUntil(lambda: scan.state is ScanState.DONE)
    assert scan.figures(again).high == 89
    assert again.storage.extent().source.read == 0


def test_nothing_to_recall_leaves_the_scan_to_be_asked_for(qtbot, scan):
    source, tensor = gated(floats(-1, -2))
    opened(scan, a=tensor)
    scan.recall()
    assert scan.wait(5000)
    qtbot.waitUntil(lambda: scan._job.job is None)
    assert scan.state is ScanState.NONE
    assert not source.asked.is_set()


def test_one_tensor_that_cannot_be_read_does_not_stop_the_others(qtbot, scan):
    broken, a = gated(floats(1, 2), Truncated("the file", wanted=8, found=1, offset=0))
    broken.gate.set()
    b = made_from(floats(3, 4))
    opened(scan, a=a, b=b, c=made_tensor(b"", "float32", (3,)))
    run(qtbot, scan)
    assert isinstance(scan.profile(a), Truncated)
    assert scan.figures(a) is None
    assert scan.figures(b).mean == 3.5
    assert (scan.done, scan.harvest.unread) == (3, 2)


def test_a_file_that_changes_fails_the_scan_with_a_sentence(qtbot, scan):
    changed, a = gated(floats(1, 2), SourceChanged("the file was changed; reload it (F5)"))
    changed.gate.set()
    opened(scan, a=a)
    with qtbot.waitSignal(scan.failed) as got:
        scan.start()
    assert "reload it" in str(got.args[0])
    assert scan.state is ScanState.FAILED
    changed.error = None
    run(qtbot, scan)
    assert scan.error is None


def test_closing_while_it_is_paused_ends_the_thread(qtbot, scan):
    source, tensor = gated(floats(1, 2))
    opened(scan, a=tensor)
    scan.start()
    assert source.asked.wait(5)
    scan.pause()
    source.gate.set()
    scan.close()
    assert scan.wait(5000)
    assert (scan.state, scan.done, scan.profile(tensor)) == (ScanState.NONE, 0, None)


def test_it_speaks_up_a_few_times_a_second_at_most(qtbot, scan, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(file_scan.time, "monotonic", lambda: now[0])
    source, tensor = gated(floats(1, 2))
    opened(scan, a=tensor)
    scan.start()
    heard = MagicMock()
    scan.changed.connect(heard)
    for _ in range(20):
        scan._on_progress(0, 0)
    assert not heard.called
    now[0] += file_scan.EVERY_S
    scan._on_progress(0, 0)
    assert heard.call_count == 1
    source.gate.set()


def test_below_puts_each_region_together_once(qtbot, scan):
    base = floats(1, 2, 3, 4, 5, 6)
    source = CountingSource(base.tobytes())
    whole = made_tensor(None, "float32", (6,), source=source)
    part = made_tensor(None, "float32", (2,), source=source, start=8)
    other = made_from(floats(10, float("nan")))
    missing = made_tensor(b"", "float32", (3,))
    checkpoint = opened(scan, a=whole, tied=whole, b=part, c=other, d=missing)
    run(qtbot, scan)
    found = scan.below(checkpoint["/model"])(SILENT)
    assert (found.regions, found.unread) == (2, 1)
    census = found.profile.census
    assert (census.finite, census.nan, census.low, census.high) == (7, 1, 1, 10)
    assert found.profile.mean == np.append(base, 10).mean()
    assert scan.below(checkpoint["/model/c"])(SILENT).profile.census.nan == 1


def test_another_index_of_the_same_file_keeps_what_was_found(qtbot, scan):
    checkpoint = opened(scan, x__a=made_from(floats(1, 2)))
    run(qtbot, scan)
    scan.open(checkpoint, index_tree(checkpoint, False, SILENT))
    assert scan.state is ScanState.DONE
    assert scan.below(checkpoint.root)(SILENT).regions == 1
