"""The scan in the real window: a file of 1 GB while the tree scrolls, a file that changes, reloading, closing."""

from __future__ import annotations

import json
import os
import time

import pytest
import torch
from PySide6.QtCore import Qt, QTimer

from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.scan_flow import NEVER, SETTING
from ckpt_viewer.gui.settings import Settings
from ckpt_viewer.gui.windows import Windows

LONGEST_S = 0.5
"""Generous: other programs may have the processors. `tests/bench/bench_heartbeat.py` holds it to 50 ms."""


class Machine:
    """One without devices."""

    def ask(self):
        return {"cpu": ""}

    def stop(self):
        pass


@pytest.fixture
def windows(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Windows(Devices(Machine()))
    yield made
    for window in made.all:
        window.close()
    made.shut_down()
    qtbot.waitUntil(lambda: not made.all)


def show(qtbot, windows, path):
    windows.open([str(path)])
    window = windows.all[-1]
    qtbot.waitUntil(lambda: window.details is not None and window.details.panel is not None)
    qtbot.waitUntil(lambda: window.session.overview is not None)
    return window


def done(qtbot, window):
    qtbot.waitUntil(lambda: window.session.scan.state is ScanState.DONE, timeout=60_000)


def follow(scan):
    """The states a scan goes through from now on: one may last less than the time between two looks."""
    states = []
    scan.changed.connect(lambda: states.append(scan.state))
    return states


def make_giant(path, tensors=500, nbytes=2_000_896):
    header = {
        f"layers.{n}.w": {"dtype": "F32", "shape": [nbytes // 4], "data_offsets": [n * nbytes, (n + 1) * nbytes]}
        for n in range(tensors)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + tensors * nbytes)  # sparse: it takes no room
    return path


def test_the_window_goes_on_while_a_file_of_1_gb_is_scanned(qtbot, windows, tmp_path):
    window = show(qtbot, windows, make_giant(tmp_path / "giant.safetensors"))
    scan, view = window.session.scan, window.tree.view
    assert scan.state is ScanState.NONE  # a little more than a file may have that is scanned by itself
    view.expand_subtree()
    gaps, last = [], [time.perf_counter()]

    def beat():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now
        bar = view.verticalScrollBar()
        bar.setValue((bar.value() + 60) % max(1, bar.maximum()))

    timer = QTimer(window)
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(beat)
    timer.start(10)
    scan.start()
    done(qtbot, window)
    timer.stop()
    assert scan.done == scan.total == 500
    assert scan.figures(window.session.checkpoint["/layers.499.w"].tensor).zeros == 500_224
    assert len(gaps) > 5
    assert max(gaps) < LONGEST_S


def test_a_small_file_is_scanned_by_itself_and_found_again(qtbot, windows, tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.tensor([1.0, float("nan")])}, path)
    window = show(qtbot, windows, path)
    done(qtbot, window)
    status = window._late_parts.scan.status
    assert status.accessibleName() == "1 tensor scanned, NaN in 1 tensor, no Inf"
    assert window.tree.view.tree_model.cells.mark(1) == "unsound"
    status._show.click()
    assert window.tree.filter.text() == "nan"
    Settings().set(SETTING, NEVER)
    states = follow(window.session.scan)
    window.session.reload()
    qtbot.waitUntil(lambda: ScanState.NONE in states)
    done(qtbot, window)  # taken from the disk, although nothing is scanned by itself
    assert ScanState.RUNNING not in states


def test_a_file_that_changed_is_told_and_scanned_anew_after_a_reload(qtbot, windows, tmp_path):
    Settings().set(SETTING, NEVER)
    path = tmp_path / "a.pth"
    torch.save({"w": torch.zeros(1000)}, path)
    window = show(qtbot, windows, path)
    qtbot.waitUntil(lambda: not window.session.jobs.active)
    data = bytearray(path.read_bytes())
    path.write_bytes(data + b"\0")
    os.utime(path, ns=(1, 1))
    window.session.scan.start()
    qtbot.waitUntil(lambda: window.session.scan.state is ScanState.FAILED)
    assert any("reload" in message.text for message in window.messages.all)
    torch.save({"w": torch.ones(1000)}, path)
    states = follow(window.session.scan)
    window.session.reload()
    qtbot.waitUntil(lambda: ScanState.NONE in states and not window.session.jobs.active)
    window.session.scan.start()
    done(qtbot, window)
    assert window.session.scan.figures(window.session.checkpoint["/w"].tensor).low == 1
