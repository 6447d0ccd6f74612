"""The panels about training: an optimizer's groups and parameters, a scheduler's curve, where a file loads."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from builders import save
from panel_samples import OpenDetails, facts_of
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from torch import nn, optim
from torch.optim import lr_scheduler
from tree_samples import mapping_of

from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.panels.loading import LoadingPanel
from ckpt_viewer.gui.panels.optimizer import OptimizerPanel
from ckpt_viewer.gui.panels.scheduler import SchedulerPanel


def trained(make=lambda o: lr_scheduler.StepLR(o, 2, 0.5)) -> tuple[dict, list[float]]:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    groups = [{"params": [model[0].weight], "weight_decay": 0.1}, {"params": [model[0].bias, *model[1].parameters()]}]
    optimizer = optim.Adam(groups, lr=0.01)
    scheduler = make(optimizer)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        scheduler.step()
    value = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict()}
    return {**value, "epoch": 4}, rates


@pytest.fixture
def opened(qtbot, tmp_path):
    """Open a file that torch wrote in the details of a window."""
    made = []

    def open_value(value, **options) -> OpenDetails:
        checkpoint = open_checkpoint(save(value, tmp_path / "m.pth", **options))
        read = checkpoint.contents
        details = OpenDetails(qtbot, read.root, globals=read.globals, weights_only=read.weights_only)
        made.append((details, checkpoint))
        return details

    yield open_value
    for details, checkpoint in made:
        details.close()
        checkpoint.close()


def cells(table) -> list[list[str]]:
    model = table.lines
    return [[model.text(row, column) for column in range(len(model.titles))] for row in range(len(model.rows))]


def test_an_optimizer_shows_its_groups_and_its_parameters(opened):
    details = opened(trained()[0])
    panel = details.select("/optimizer")
    assert isinstance(panel, OptimizerPanel)
    assert panel.heading.text() == "Adam"
    assert "4 of 4 parameters found in the model" in panel.sentences.text()
    hypers = {hyper.name: hyper for hyper in panel.hypers.hypers}
    assert hypers["weight_decay"].values == ("0.1", "0")
    assert hypers["weight_decay"].differs
    assert not hypers["betas"].differs
    row = [hyper.name for hyper in panel.hypers.hypers].index("weight_decay")
    index = panel.hypers.index(row, 0)
    assert index.data(Qt.ItemDataRole.FontRole).bold()
    assert "differs" in index.data(Qt.ItemDataRole.AccessibleTextRole)  # bold is not the only sign
    assert [line[1] for line in cells(panel.parameters)] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert cells(panel.parameters)[0][4] == "5"


@pytest.mark.parametrize("size", [(420, 380), (900, 700)])
def test_groups_are_shown_by_whole_rows_with_their_titles(opened, size):
    value, _ = trained()
    for group in value["optimizer"]["param_groups"]:
        group["a_name_that_is_much_longer_than_any_other_" * 4] = "a value " * 60
    details = opened(value)
    details.tabs.resize(*size)
    panel = details.select("/optimizer")
    details.wait()
    groups = panel.groups
    row = groups.verticalHeader().defaultSectionSize()
    assert groups.viewport().height() % row == 0
    assert groups.viewport().height() >= 3 * row
    assert groups.verticalHeader().width() < groups.width() / 2
    assert groups.columnWidth(0) < groups.width()
    assert panel.hypers.headerData(0, Qt.Orientation.Horizontal) == "Group 0"


def test_a_parameter_leads_to_its_state(opened, qtbot):
    details = opened(trained()[0])
    panel = details.select("/optimizer")
    with qtbot.waitSignal(details.session.selectionChanged):
        panel.parameters.follow(panel.parameters.lines.index(1, 1))
    assert details.session.pointer == "/optimizer/state/1"


@pytest.mark.torch
def test_a_scheduler_shows_the_curve_that_torch_computes(opened, qtbot):
    value, rates = trained()
    details = opened(value)
    panel = details.select("/lr_scheduler", wait=False)
    assert isinstance(panel, SchedulerPanel)
    qtbot.waitUntil(lambda: panel.is_settled, timeout=60_000)
    assert panel.heading.text().startswith("StepLR, epoch 5")
    assert facts_of(panel.table)["step_size"].endswith("epochs between two drops")
    assert panel.plot is not None
    assert panel.plot.widget.isVisible()
    curve = panel.plot.curve
    assert np.allclose(curve.heights[:5], rates, rtol=1e-12)
    assert list(curve.marked) == [5]
    assert panel.group.count() == 2
    panel.plot.hover(2)
    assert panel.hover.text() == "epoch 2: learning rate 0.005"


def test_a_plateau_shows_the_past_that_its_state_tells(opened):
    value, _ = trained()
    scheduler = lr_scheduler.ReduceLROnPlateau(optim.SGD(nn.Linear(2, 2).parameters(), lr=0.5), patience=9)
    for _ in range(7):
        scheduler.step(1.0)
    details = opened({**value, "lr_scheduler": scheduler.state_dict()})
    panel = details.select("/lr_scheduler")
    curve = panel.plot.curve
    assert (curve.first, list(curve.heights), list(curve.marked)) == (1, [0.5] * 7, [6])
    assert "what was before is in no file" in panel.hover.text()
    assert panel.hover.minimumSizeHint().width() <= 40  # a long sentence takes no room from the tree
    panel.plot.hover(2)
    assert panel.hover.text() == "epoch 3: learning rate 0.5"


def test_a_scheduler_without_a_curve_says_why(opened):
    details = opened(trained(lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1.0))[0])
    panel = details.select("/lr_scheduler")
    assert "in no file" in panel.words.text()
    assert panel.plot is None


def test_where_it_loads_and_the_code_that_loads_it(opened):
    details = opened(trained()[0], tag="cuda:1")
    panel = details.select("", "Loading")
    assert isinstance(panel, LoadingPanel)
    assert cells(panel.places)[0][1:3] == ["cuda:1", "cuda:1"]
    assert 'optimizer.load_state_dict(checkpoint["optimizer"])' in panel.code.toPlainText()
    panel.copy_code.click()
    assert QGuiApplication.clipboard().text() == panel.code.toPlainText()
    details.session.set_devices(("cpu",), "")
    details.wait()
    assert "torch.load fails here" in panel.heading.text()
    assert "torch.cuda.is_available() is False" in panel.details.text()
    details.session.remapped.connect(panel.remap)
    details.session.set_map_location("cpu")
    details.wait()
    assert panel.heading.text().startswith("torch.load works here")
    assert 'map_location="cpu"' in panel.code.toPlainText()


class Unknown:
    """A class that safe mode does not know."""


def test_what_safe_mode_would_need_is_said(opened):
    details = opened({"a": torch.rand(2), "b": argparse.Namespace(lr=0.1), "c": Unknown()})
    panel = details.select("", "Loading")
    assert "weights_only=True is refused" in panel.heading.text()
    words = panel.details.text()
    assert "add_safe_globals would need argparse.Namespace, test_panel_training.Unknown" in words
    assert "allow only what you know" in words


def test_nobody_is_told_to_allow_what_would_run_code(open_details):
    from ckpt_viewer.core.finding import GlobalUse

    uses = (GlobalUse("posix.system", "dangerous"), GlobalUse("argparse.Namespace", "unknown"))
    details = open_details(mapping_of({"a": 1}), globals=uses, weights_only="it names posix.system")
    words = details.select("", "Loading").details.text()
    assert words == "Nothing should be allowed: it would run posix.system."
