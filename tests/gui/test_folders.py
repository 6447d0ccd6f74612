"""A window of a folder: title, summary, the root's panel, the line of code, recent files, reloading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from PySide6.QtWidgets import QLabel, QWidget
from test_window import Answer, settled, show

from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.windows import Windows

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:torch.distributed is disabled")]


@pytest.fixture
def windows(qtbot):
    made = Windows(Devices(Answer({"cpu": ""})))
    yield made
    for window in made.all:
        window.close()
    made.shut_down()
    qtbot.waitUntil(lambda: not made.all)


@pytest.fixture
def trained(tmp_path) -> Path:
    """A trainer's folder with the model as a distributed checkpoint."""
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    model = torch.nn.Linear(3, 2)
    state = {"model": model.state_dict()}
    dcp.save(state, storage_writer=dcp.FileSystemWriter(folder / "pytorch_model_fsdp_0"), no_dist=True)
    torch.save(torch.optim.SGD(model.parameters(), lr=0.1).state_dict(), folder / "optimizer.pt")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 7}))
    return folder


def labels(window: QWidget) -> str:
    return "\n".join(each.text() for each in window.findChildren(QLabel) if not each.isHidden())


def test_a_trainers_folder(qtbot, windows, trained):
    window = show(qtbot, windows, str(trained))
    assert window.windowTitle() == "checkpoint-7 – Checkpoint Viewer"
    assert "folder, 4 files" in window.strip.text
    qtbot.waitUntil(lambda: "In this folder" in labels(window))
    assert "In this file" not in labels(window)
    assert "Load it in Python" not in labels(window)
    assert "refuses some of its files: torch.load does not open a folder" in labels(window)
    assert windows.settings.recent == [str(trained)]
    assert window.toolbar.export_button.isEnabled()


def test_a_distributed_checkpoint_shows_the_code_that_loads_it(qtbot, windows, trained):
    folder = trained / "pytorch_model_fsdp_0"
    window = show(qtbot, windows, str(folder))
    assert "distributed checkpoint, 2 files" in window.strip.text
    qtbot.waitUntil(lambda: "Load it in Python" in labels(window))
    code = window.findChild(QWidget, "rootCode").code
    assert code.startswith("torch.distributed.checkpoint.format_utils.dcp_to_torch_save(")


def test_a_folder_is_reloaded_with_what_was_written_meanwhile(qtbot, windows, trained):
    window = show(qtbot, windows, str(trained), select="/pytorch_model_fsdp_0/model/weight")
    torch.save({"last_epoch": 3, "_step_count": 4}, trained / "scheduler.pt")
    with qtbot.waitSignal(window.session.opened):
        window.actions_of_window.actions["reload"].trigger()
    qtbot.waitUntil(lambda: settled(window))
    assert "folder, 5 files" in window.strip.text
    assert window.session.selected.pointer == "/pytorch_model_fsdp_0/model/weight"


def test_an_empty_folder_keeps_a_window_that_says_so(qtbot, windows, tmp_path):
    (tmp_path / "empty").mkdir()
    windows.open([str(tmp_path / "empty")])
    window = windows.all[0]
    qtbot.waitUntil(lambda: window.session.error is not None)
    assert window.findChild(QLabel, "failedHeading").text() == "empty could not be opened"
    assert "this folder is empty" in window.findChild(QLabel, "failedReason").text().lower()
