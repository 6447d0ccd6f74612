"""What the status bar says of a scan, and when a scan starts by itself."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from ckpt_viewer.gui.file_scan import FileScan, ScanState
from ckpt_viewer.gui.jobs import JobRunner
from ckpt_viewer.gui.scan_flow import ALWAYS, MOST, NEVER, SETTING, SMALL, ScanFlow
from ckpt_viewer.gui.scan_status import ScanStatus, scan_words
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.settings import Settings

NBSP = "\N{NARROW NO-BREAK SPACE}"


@pytest.fixture
def scan(qtbot):
    made = FileScan(JobRunner())
    made.harvest.total, made.harvest.total_bytes = 1160, 4_021_000_000
    return made


@pytest.fixture
def status(qtbot, scan):
    made = ScanStatus(scan)
    qtbot.addWidget(made)
    return made


def shown(status):
    names = [button.objectName() for button in status.findChildren(QToolButton) if not button.isHidden()]
    return {name.removeprefix("scan") for name in names}


def become(scan, state, **harvest):
    for name, value in harvest.items():
        setattr(scan.harvest, name, value)
    scan._become(state)


def test_before_a_scan_it_is_offered_with_its_size(status):
    assert shown(status) == {"Start"}
    assert status.findChild(QToolButton, "scanStart").text() == "Scan all values (4.02 GB)"


def test_nothing_is_said_of_what_was_not_looked_at(status, scan):
    become(scan, ScanState.RUNNING, done=0)
    assert status._words.text() == f"0 of 1{NBSP}160 tensors scanned"


def test_while_it_runs_it_says_how_far_and_what(status, scan):
    become(scan, ScanState.RUNNING, done=312, done_bytes=2_010_500_000)
    assert status._words.text() == f"312 of 1{NBSP}160 tensors scanned, no NaN, no Inf"
    assert shown(status) == {"Pause", "Cancel"}
    assert status._bar.value() == 500
    become(scan, ScanState.PAUSED)
    assert status._words.text().startswith("Paused: 312 of")
    assert status._pause.text() == "Resume"


def test_what_is_not_finite_is_said_and_can_be_shown(qtbot, status, scan):
    become(scan, ScanState.DONE, done=1160, nan=1, inf=2000, unread=3)
    words = f"1{NBSP}160 tensors scanned, NaN in 1 tensor, Inf in 2{NBSP}000 tensors, 3 without values"
    assert status._words.text() == words
    assert status.accessibleName() == words
    assert shown(status) == {"Show"}
    with qtbot.waitSignal(status.findWanted) as got:
        status._show.click()
    assert got.args == ["nan"]


@pytest.mark.parametrize("state", [ScanState.CANCELLED, ScanState.FAILED])
def test_what_was_given_up_can_be_started_again(status, scan, state):
    become(scan, state, done=312)
    assert shown(status) == {"Start"}
    assert scan_words(scan)


def test_a_file_without_tensors_has_no_line(status, scan):
    become(scan, ScanState.NONE, total=0, total_bytes=0)
    assert status.isHidden()


def test_buttons_do_what_they_say(qtbot, scan):
    scan.pause, scan.resume, scan.cancel, scan.start = (MagicMock() for _ in range(4))
    status = ScanStatus(scan)
    qtbot.addWidget(status)
    status._start.click()
    become(scan, ScanState.RUNNING)
    status._pause.click()
    become(scan, ScanState.PAUSED)
    status._pause.click()
    status._cancel.click()
    for each in (scan.start, scan.pause, scan.resume, scan.cancel):
        each.assert_called_once()


@pytest.fixture
def flow(qtbot):
    session = Session()
    session.scan.harvest.total = 3
    session.scan.start, session.scan.recall = MagicMock(), MagicMock()
    parent = QWidget()
    qtbot.addWidget(parent)
    made = ScanFlow(session, Settings(), QMenu(parent), parent)
    made.status.setParent(parent)
    yield made
    session.close()


@pytest.mark.parametrize(
    ("choice", "nbytes", "starts"),
    [
        ("", MOST, True), ("", MOST + 1, False), (SMALL, MOST, True), (NEVER, 1, False), (ALWAYS, MOST * 9, True),
        ("nonsense", 1, True),
    ],
)  # fmt: skip
def test_a_file_is_scanned_by_itself_as_the_setting_says(flow, choice, nbytes, starts):
    Settings().set(SETTING, choice)
    scan = flow._session.scan
    scan.harvest.total_bytes = nbytes
    flow.consider()
    assert (scan.start.called, scan.recall.called) == (starts, not starts)


def test_the_menu_chooses_and_remembers(flow):
    flow._session.scan.harvest.total_bytes = MOST + 1
    actions = {action.data(): action for action in flow._group.actions()}
    flow._check()
    assert [choice for choice, action in actions.items() if action.isChecked()] == [SMALL]
    actions[ALWAYS].trigger()
    assert Settings().text(SETTING) == ALWAYS
    assert flow._session.scan.start.called


def test_nothing_is_started_twice(flow):
    scan = flow._session.scan
    scan._become(ScanState.CANCELLED)
    flow.consider()
    assert not scan.start.called
    assert not scan.recall.called
