from __future__ import annotations

import threading

import pytest

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.devices import LOOKING, Devices, WorkerAsker


class Asker:
    """Answers once the gate is open; stopping opens it."""

    def __init__(self, answer):
        self.answer, self.gate, self.asked = answer, threading.Event(), 0

    def ask(self):
        self.asked += 1
        assert self.gate.wait(5)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stop(self):
        self.gate.set()


def settle(qtbot, devices):
    devices.stop()
    assert devices.jobs.wait(5000)
    qtbot.waitUntil(lambda: not devices.jobs.active)


def test_until_the_answer_comes_nothing_is_known(qtbot):
    asker = Asker({"cpu": "", "cuda:0": "NVIDIA H100"})
    devices = Devices(asker)
    devices.look()
    devices.look()
    assert (devices.tags, devices.note) == (None, LOOKING)
    with qtbot.waitSignal(devices.changed):
        asker.gate.set()
    assert devices.tags == ("cpu", "cuda:0")
    assert devices.names["cuda:0"] == "NVIDIA H100"
    assert asker.asked == 1


def test_the_cpu_is_always_there(qtbot):
    asker = Asker({})
    asker.gate.set()
    devices = Devices(asker)
    with qtbot.waitSignal(devices.changed):
        devices.look()
    assert devices.tags == ("cpu",)


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (CheckpointError("torch cannot be used (no); install it again"), "torch cannot be used (no); install it again"),
        (OSError("odd"), "OSError"),
    ],
)
def test_why_they_are_not_known(qtbot, caplog, error, note):
    asker = Asker(error)
    asker.gate.set()
    devices = Devices(asker)
    with qtbot.waitSignal(devices.changed):
        devices.look()
    assert devices.tags is None
    assert devices.note == f"devices not known: {note}"


def test_stopping_ends_a_question_that_waits(qtbot):
    devices = Devices(Asker({"cpu": ""}))
    devices.look()
    settle(qtbot, devices)
    assert devices.tags is None


@pytest.mark.torch
def test_the_worker_process_knows(qtbot):
    devices = Devices()
    with qtbot.waitSignal(devices.changed, timeout=60_000):
        devices.look()
    settle(qtbot, devices)
    assert devices.tags[0] == "cpu"


@pytest.mark.torch
def test_the_worker_process_can_be_stopped_while_it_starts(qtbot):
    devices = Devices(WorkerAsker())
    devices.look()
    settle(qtbot, devices)
    assert devices._asker._worker.pid is None


def test_devices_count_what_is_mapped_to_them(qtbot):
    asker = Asker({"cpu": "", "cuda:0": "NVIDIA H100"})
    asker.gate.set()
    devices = Devices(asker)
    assert devices.kernels_on("cuda:0") is None, "not known yet"
    with qtbot.waitSignal(devices.changed):
        devices.look()
    found = devices.kernels_on("cuda:0")
    assert found is not None
    assert devices.kernels_on("cuda:0") is found
    assert devices.kernels_on("cuda") is not None
    assert [devices.kernels_on(tag) for tag in ("cpu", "meta", "cuda:1", "cud", "")] == [None] * 5
    settle(qtbot, devices)
    assert devices.kernels_on("cuda:0") is None
