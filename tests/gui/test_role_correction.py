"""What a user says that an entry is: shown wherever the role counts, and remembered for that file."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
import torch
from builders import save
from PySide6.QtWidgets import QLabel
from torch import nn, optim

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.panels.taken import is_taken_for
from ckpt_viewer.gui.role_memory import FOLDER, LARGEST, MOST_FILES, RoleMemory
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.settings import Settings
from ckpt_viewer.gui.tree.cell_words import tip
from ckpt_viewer.gui.tree.role_menu import role_menu
from ckpt_viewer.gui.tree.widget import TreePanel
from ckpt_viewer.gui.tree_flow import TreeFlow


def value(seed: int = 0) -> dict:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    return {"weights": model.state_dict(), "target": {"a": torch.ones(2), "b": 1, "c": 2}, "lesson": 4}


@pytest.fixture
def sessions(qtbot, tmp_path):
    """Open sessions that remember in one folder: ``sessions(path)``."""
    made = []

    def open_one(path, memory=None) -> Session:
        session = Session()
        session.marking.memory = memory or RoleMemory(tmp_path / "settings")
        made.append(session)
        with qtbot.waitSignal(session.selectionChanged):
            session.open(str(path))
        return session

    yield open_one
    for session in made:
        session.close()
        qtbot.waitUntil(lambda each=session: not each.jobs.active)


def correct(qtbot, session, pointer, role):
    with qtbot.waitSignals([session.marking.corrected, session.described]):
        session.marking.correct(pointer, role)


def mark(session, pointer):
    return session.index.marks.get(session.index.find(pointer), "")


def test_a_correction_is_shown_and_can_be_taken_back(qtbot, sessions, tmp_path):
    session = sessions(save(value(), tmp_path / "m.pth"))
    assert mark(session, "/target") == ""
    index = session.index
    correct(qtbot, session, "/target", "ema")
    assert session.index is index
    assert mark(session, "/target") == "ema"
    assert index.reasons[index.find("/target")] == "averaged model (EMA) (chosen by you for this file)"
    assert session.overview.roles["ema"] == [("target",)]
    assert [model.path for model in session.checkpoint.models] == [("weights",), ("target",)]
    correct(qtbot, session, "/weights", "none")
    assert mark(session, "/weights") == ""
    assert "model" not in session.overview.roles
    correct(qtbot, session, "/weights", "")
    correct(qtbot, session, "/target", "")
    assert (mark(session, "/weights"), mark(session, "/target")) == ("model", "")
    assert session.marking.given == {}
    assert list((tmp_path / "settings" / FOLDER).iterdir()) == []


def test_it_is_remembered_for_the_file_wherever_it_goes(qtbot, sessions, tmp_path):
    path = save(value(), tmp_path / "m.pth")
    correct(qtbot, sessions(path), "/lesson", "progress")
    again = sessions(path)
    assert (again.marking.given, mark(again, "/lesson")) == ({"/lesson": "progress"}, "progress")
    moved = path.rename(tmp_path / "other.pth")
    assert sessions(moved).marking.given == {"/lesson": "progress"}
    assert sessions(save(value(seed=1), tmp_path / "third.pth")).marking.given == {}


def test_a_newer_file_of_the_same_layout_at_the_path_keeps_it(qtbot, sessions, tmp_path):
    path = save(value(), tmp_path / "last.pth")
    session = sessions(path)
    correct(qtbot, session, "/lesson", "progress")
    correct(qtbot, session, "/target", "ema")
    save({**value(seed=1), "lesson": "none any more"}, path)
    assert sessions(path).marking.given == {"/target": "ema"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_folder_is_private_and_holds_json(qtbot, sessions, tmp_path):
    correct(qtbot, sessions(save(value(), tmp_path / "m.pth")), "/lesson", "progress")
    folder = tmp_path / "settings" / FOLDER
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert {json.dumps(json.loads(file.read_text())["roles"]) for file in files} == {'{"/lesson": ["progress", "int"]}'}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_the_number_of_files_is_bounded(tmp_path):
    memory, folder = RoleMemory(tmp_path), tmp_path / FOLDER
    with open_checkpoint(save(value(), tmp_path / "m.pth")) as checkpoint:
        assert memory.remember(checkpoint, {"/lesson": "progress"})
        for number in range(MOST_FILES + 50):
            (folder / f"old-{number}.json").write_text("{}")
            os.utime(folder / f"old-{number}.json", (number, number))
        assert memory.remember(checkpoint, {"/lesson": "metrics"})
        assert len(list(folder.iterdir())) == MOST_FILES
        assert memory.recall(checkpoint) == {"/lesson": "metrics"}


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"roles": 5}', b'{"roles": {"/lesson": "progress"}}', b'{"roles": {"/a": [1, 2]',
               b"[" * 100_000, b" " * (LARGEST + 1)], ids=lambda damage: f"{len(damage)} bytes",
)  # fmt: skip
def test_a_damaged_memory_is_none(tmp_path, damage):
    memory = RoleMemory(tmp_path)
    with open_checkpoint(save(value(), tmp_path / "m.pth")) as checkpoint:
        memory.remember(checkpoint, {"/lesson": "progress"})
        for file in (tmp_path / FOLDER).iterdir():
            file.write_bytes(damage)
        assert memory.recall(checkpoint) == {}


def test_a_role_that_there_is_none_of_is_left_out(qtbot, sessions, tmp_path):
    path, memory = save(value(), tmp_path / "m.pth"), RoleMemory(tmp_path)
    with open_checkpoint(path) as checkpoint:
        memory.remember(checkpoint, {"/lesson": "os.system", "/gone": "model"})
    session = sessions(path, memory)
    assert session.checkpoint.given == {}
    assert mark(session, "/lesson") == ""


def test_nothing_is_remembered_where_the_folder_cannot_be_made(tmp_path):
    (tmp_path / "settings").write_text("a file")
    memory = RoleMemory(tmp_path / "settings")
    with open_checkpoint(save(value(), tmp_path / "m.pth")) as checkpoint:
        assert not memory.remember(checkpoint, {"/lesson": "progress"})
        assert memory.recall(checkpoint) == {}


# the tree


@pytest.fixture
def tree(qtbot, sessions, tmp_path):
    session = sessions(save({**value(), "opt": optim.SGD(nn.Linear(2, 2).parameters(), 0.1)}, tmp_path / "m.pth"))
    panel = TreePanel()
    qtbot.addWidget(panel)
    panel.resize(500, 600)
    from ckpt_viewer.gui.messages import Messages

    TreeFlow(session, panel, Messages(), Settings())
    panel.set_index(session.checkpoint, session.index)
    panel.show()
    return session, panel


def choices(panel, pointer):
    panel.select_pointer(pointer)
    menu = role_menu(panel.view, panel.view.current_row, panel.view.columns.menu())
    return {action.text(): action for action in menu.actions() if action.text()}


def test_the_menu_corrects_a_role(qtbot, tree):
    session, panel = tree
    offered = choices(panel, "/lesson")
    assert [text for text, action in offered.items() if action.isEnabled()] == [
        "Progress: epoch, step", "Metrics", "Settings", "Random generator", "None of these",
    ]  # fmt: skip
    with qtbot.waitSignal(session.marking.corrected):
        offered["Progress: epoch, step"].trigger()
    offered = choices(panel, "/lesson")
    assert [text for text, action in offered.items() if action.isChecked()] == ["Progress: epoch, step"]
    assert "chosen by you for this file" in tip(panel.view.tree_model.cells, panel.view.current_row, 0)
    with qtbot.waitSignal(session.marking.corrected):
        offered["As recognised"].trigger()
    assert not choices(panel, "/lesson")["As recognised"].isEnabled()


@pytest.mark.parametrize("role", ["ema", ""])
def test_what_cannot_be_remembered_is_said(qtbot, sessions, tmp_path, role):
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / FOLDER).write_text("in the way")
    session = sessions(save(value(), tmp_path / "m.pth"))
    errors = []
    session.trouble.connect(errors.append)
    correct(qtbot, session, "/target", role)
    (error,) = errors
    assert isinstance(error, CheckpointError)
    assert str(tmp_path / "settings" / FOLDER) in str(error)
    assert mark(session, "/target") == role


def test_a_filter_by_role_follows(qtbot, tree):
    session, panel = tree
    panel.filter.setText("role:ema")
    assert "Nothing matches" in panel.findChild(QLabel, "treeNothing").text()
    correct(qtbot, session, "/target", "ema")
    assert panel.view.is_shown(session.index.find("/target/a"))


def test_the_tip_of_a_mark_says_why(tree):
    session, panel = tree
    shown = tip(panel.view.tree_model.cells, session.index.find("/weights"), 0)
    assert "model (certain: names to tensors, as state_dict() gives)" in shown


def test_panels_follow_what_was_said(qtbot, tree):
    session, _ = tree
    checkpoint = session.checkpoint
    assert is_taken_for(checkpoint["/opt"], "optimizer")
    assert not is_taken_for(checkpoint["/target"], "lr_scheduler")
    correct(qtbot, session, "/opt", "none")
    correct(qtbot, session, "/target", "lr_scheduler")
    assert not is_taken_for(checkpoint["/opt"], "optimizer")
    assert is_taken_for(checkpoint["/target"], "lr_scheduler")
