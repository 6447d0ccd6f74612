"""While a panel works on something large, the GUI thread itself never computes for 50 ms at a stretch.

The thread's own processor time is measured, not the clock: other programs may have the processors. The whole window is
held to it by `tests/bench/bench_heartbeat.py`.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from made_tensors import made_from
from panel_samples import floats
from PySide6.QtCore import QObject, Qt, QTimer
from tree_samples import mapping_of

BEAT_MS, MOST_MS = 2, 50
TRIES = 3
"""Of which the best counts: what shares a core with the thread makes the same work take up to twice as long."""
SIDE = 3000
VALUES = np.random.default_rng(3).normal(size=(SIDE, SIDE)).astype("float32")
MANY = 20_000


class Heart(QObject):
    """Beats in the event loop; knows the longest stretch of computing between two beats, in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.worst, self.beats, self._last = 0.0, 0, time.thread_time()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)

    def _beat(self) -> None:
        now = time.thread_time()
        self.worst, self._last = max(self.worst, 1000 * (now - self._last)), now
        self.beats += 1

    def stop(self) -> float:
        self._timer.stop()
        self._beat()
        return self.worst


def large():
    return mapping_of({"large": made_from(VALUES), "other": floats(1)})


def many():
    model = {f"layers.{n // 8}.part{n % 8}.weight": floats(n) for n in range(MANY)}
    return mapping_of({"model": mapping_of(model, "collections.OrderedDict")})


def compute(details):
    """Ask for what a spectrum only offers."""
    panel = details.select("/large", "Spectrum")
    assert panel.sentence.startswith("A matrix of")
    panel.compute()
    details.wait()
    assert panel.found is not None


def go_to_greatest(details):
    """Use the tools of the values."""
    panel = details.select("/large", "Values")
    panel.tools.seek_actions["max"].trigger()
    details.wait()


WORK = {
    "Image": lambda details: details.select("/large", "Image"),
    "Channels": lambda details: details.select("/large", "Channels"),
    "Histogram": lambda details: details.select("/large", "Histogram"),
    "Values": go_to_greatest,
    "Breakdown": lambda details: details.select("/model", "Breakdown"),
    "Spectrum": compute,
}


@pytest.mark.parametrize("title", WORK)
def test_the_window_is_never_held_up(open_details, monkeypatch, title):
    from ckpt_viewer.stats import spectrum_plan

    monkeypatch.setattr(spectrum_plan, "RANK", 16)
    found = []
    for _ in range(TRIES):
        details = open_details(many() if title == "Breakdown" else large())
        heart = Heart()
        WORK[title](details)
        found.append(heart.stop())
        assert heart.beats > 1
        assert details.tabs.panel.title == title
        if found[-1] < MOST_MS:
            break
    assert min(found) < MOST_MS, f"the GUI thread computed for {found} ms"
