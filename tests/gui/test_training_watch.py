"""Whether a training can go on, as the window says it: the same as `check` says, and with what a scan finds."""

from __future__ import annotations

import json
import math

import pytest
import torch
from builders import save
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from torch import nn, optim

from ckpt_viewer.cli import main
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.code_line import CodeLine
from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.root_panel import RootPanel
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.summary_flow import SummaryFlow
from ckpt_viewer.gui.summary_strip import SummaryStrip
from ckpt_viewer.gui.training_watch import TrainingWatch


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def trained(nan_in: str = "") -> dict:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    value = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}
    if nan_in == "weights":
        value["model"]["0.weight"][0, 0] = math.nan
    if nan_in == "moments":
        value["optimizer"]["state"][1]["exp_avg_sq"][0] = math.inf
    return value


@pytest.fixture
def opened(qtbot, tmp_path):
    """Open a file in a session, describe and scan it, and wait for all answers."""
    sessions = []

    def open_value(value, *, scan=True) -> Session:
        session = Session()
        sessions.append(session)
        watch = TrainingWatch.of(session)
        with qtbot.waitSignal(session.selectionChanged):
            session.open(str(save(value, tmp_path / "m.pth")))
        with qtbot.waitSignal(watch.ready):
            session.describe()
        if scan:
            session.scan.start()
            qtbot.waitUntil(lambda: session.scan.state is ScanState.DONE)
            qtbot.waitUntil(lambda: not session.jobs.active)
        return session

    yield open_value
    for session in sessions:
        session.close()
        qtbot.waitUntil(lambda session=session: not session.jobs.active)


def advice_of(session):
    training = TrainingWatch.of(session).training
    assert training is not None
    return training.going_on


@pytest.mark.parametrize("nan_in", ["", "weights", "moments"])
def test_the_window_and_the_command_agree(opened, tmp_path, capsys, nan_in):
    going_on = advice_of(opened(trained(nan_in)))
    code = main(["check", str(tmp_path / "m.pth"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == (1 if nan_in else 0)
    assert said["resumable"] is going_on.possible is not bool(nan_in)
    assert (said["not_resumable_because"] or "") == going_on.reason
    told = {(each["severity"], each["code"], each["message"]) for each in said["findings"]}
    assert {(each.severity, each.code, each.message) for each in going_on.findings} <= told


def test_what_the_user_says_a_part_is_decides(opened, qtbot):
    session = opened(trained(), scan=False)
    watch = TrainingWatch.of(session)
    for role, reason in (("none", "it holds no optimizer"), ("", "")):
        with qtbot.waitSignal(watch.ready):
            session.marking.correct("/optimizer", role)
        assert advice_of(session).reason == reason
    qtbot.waitUntil(lambda: not session.jobs.active)


def test_before_the_scan_nothing_is_said_of_values_and_after_it_everything(opened, qtbot):
    session = opened(trained("weights"), scan=False)
    watch = TrainingWatch.of(session)
    assert advice_of(session).possible
    with qtbot.waitSignal(watch.ready):
        session.scan.start()
    assert not advice_of(session).possible
    assert advice_of(session).reason.startswith("1 tensor of the weights (0.weight) holds NaN")
    qtbot.waitUntil(lambda: not session.jobs.active)


def test_the_strip_and_the_root_panel_follow(opened, qtbot):
    session = opened(trained("moments"))
    strip, panel = SummaryStrip(), RootPanel(session)
    for widget in (strip, panel):
        qtbot.addWidget(widget)
    SummaryFlow(session, strip, session).refresh()
    panel.show_subject(session.selected)
    assert "cannot be resumed: 1 tensor of the optimizer's state" in strip.text
    lines = [each.code for each in panel.advice.findChildren(CodeLine)]
    assert lines[0] == 'optimizer.load_state_dict(checkpoint["optimizer"])'
    panel.advice.findChildren(CodeLine)[0].copy_button.click()
    assert QGuiApplication.clipboard().text() == lines[0]
    link = next(each for each in panel.advice.findChildren(LinkButton))
    assert link.text() == "/optimizer/state/1/exp_avg_sq"
    with qtbot.waitSignal(session.selectionChanged) as got:
        qtbot.mouseClick(link, Qt.MouseButton.LeftButton)
    assert got.args[0].pointer == "/optimizer/state/1/exp_avg_sq"


def test_every_weight_knows_its_state_and_every_state_its_weight(opened):
    session = opened(trained(), scan=False)
    training = TrainingWatch.of(session).training
    outline = session.checkpoint.outline
    for row, value in enumerate(outline.values):
        path = outline.path(row)
        if isinstance(value, TensorSpec) and path[0] == "model":
            link = training.by_tensor[id(value)]
            assert link.joined.sure
            assert training.by_state[link.joined.slot.row] is link
            assert outline.path(link.joined.slot.row)[:2] == ("optimizer", "state")
    assert len(training.by_state) == 4


def test_an_error_of_the_file_is_told_once_and_not_asked_for_again(opened, monkeypatch, qtbot):
    session = opened({"a": torch.rand(2)}, scan=False)
    watch, troubles = TrainingWatch.of(session), []
    session.trouble.connect(troubles.append)

    def broken(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("ckpt_viewer.gui.training_watch.look_at_training", broken)
    with qtbot.waitSignal(session.trouble):
        session.describe()
    for _ in range(3):
        assert watch.training is None
    assert not session.jobs.active
    assert len(troubles) == 1
