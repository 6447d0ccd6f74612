"""From a weight to the optimizer's state for it and back, and the names that the tree shows beside the numbers."""

from __future__ import annotations

import pytest
import torch
from builders import save
from panel_samples import OpenDetails
from PySide6.QtCore import QRect, Qt
from PySide6.QtWidgets import QWidget
from torch import nn, optim

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.flow_layout import FlowLayout
from ckpt_viewer.gui.joined_names import JoinedNames, names_of
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.panels.optimizer import OptimizerPanel
from ckpt_viewer.gui.training_watch import TrainingWatch
from ckpt_viewer.gui.tree.widget import TreePanel


class Tied(nn.Module):
    """Two layers of one weight, a frozen one, and one that no optimizer has."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight
        self.deep, self.left = nn.Linear(3, 5), nn.Linear(7, 2)


def trained(kind=optim.AdamW, **options) -> dict:
    model = Tied()
    groups = [{"params": [model.one.weight], "lr": 0.5}, {"params": list(model.deep.parameters())}]
    optimizer = kind(groups, lr=0.01, **options)
    for _ in range(3):
        for parameter in (model.one.weight, model.deep.weight):
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 2}


@pytest.fixture
def opened(qtbot, tmp_path):
    made = []

    def open_value(value) -> OpenDetails:
        checkpoint = open_checkpoint(save(value, tmp_path / "m.pth"))
        details = OpenDetails(qtbot, checkpoint.contents.root)
        made.append((details, checkpoint))
        with qtbot.waitSignal(TrainingWatch.of(details.session).ready):
            details.session.describe()
        return details

    yield open_value
    for details, checkpoint in made:
        details.close()
        checkpoint.close()


def said(details, pointer) -> str:
    details.select(pointer)
    details.wait()
    return details.tabs.header.state.text.replace("\u202f", "")


def links(details) -> list[str]:
    found = details.tabs.header.state.findChildren(LinkButton)
    return [each.text() for each in found if not each.isHidden()]


def test_a_weight_shows_its_moments_its_step_and_its_effective_rate(opened):
    details = opened(trained())
    words = said(details, "/model/one.weight")
    assert words.startswith("Optimizer state exp_avg exp_avg_sq ")
    rate = 0.5 * (1 - 0.999**3) ** 0.5 / (1 - 0.9**3)
    for each in ("step 3", "learning rate 0.5", f"{rate:.6g} effective", "group 0"):
        assert each in words


def test_a_link_leads_to_the_state_and_another_one_back(opened, qtbot):
    details = opened(trained())
    said(details, "/model/deep.weight")
    for wanted in ("/optimizer/state/1/exp_avg", "/model/deep.weight"):
        link = next(each for each in details.tabs.header.state.findChildren(LinkButton) if not each.isHidden())
        with qtbot.waitSignal(details.session.selectionChanged):
            qtbot.mouseClick(link, Qt.MouseButton.LeftButton)
        assert details.session.pointer == wanted
        details.wait()
    assert links(details) == ["exp_avg", "exp_avg_sq"]


@pytest.mark.parametrize("pointer", ["/optimizer/state/0", "/optimizer/state/0/exp_avg", "/optimizer/state/0/step"])
def test_every_entry_of_a_state_names_its_weight(opened, pointer):
    details = opened(trained())
    assert said(details, pointer).startswith("State of one.weight ")


def test_tied_names_have_the_same_state(opened):
    details = opened(trained())
    said(details, "/model/two.weight")
    assert links(details) == ["exp_avg", "exp_avg_sq"]


def test_a_parameter_without_state_and_one_in_no_group(opened):
    details = opened(trained())
    assert "no state" in said(details, "/model/deep.bias")
    assert said(details, "/model/left.weight").startswith("Optimizer its groups it is in none of them: not trained")


def test_momentum_of_sgd_and_a_state_that_is_only_numbers(opened):
    details = opened(trained(optim.SGD, momentum=0.9))
    assert said(details, "/model/one.weight").startswith("Optimizer state momentum_buffer SGD")


def test_what_has_nothing_to_do_with_an_optimizer_says_nothing(opened):
    details = opened(trained())
    assert said(details, "/epoch") == ""
    assert said(details, "/optimizer") == ""


def test_a_guess_is_called_one(opened):
    value = trained(optim.SGD)  # no moments, so nothing shows the shapes
    value["optimizer"]["state"] = {n: {"step": torch.tensor(1.0)} for n in range(3)}
    details = opened(value)
    assert "a guess" in said(details, "/optimizer/state/0")


def test_the_tree_names_the_parameters_beside_their_numbers(opened, qtbot):
    details = opened(trained())
    index, training = details.session.index, TrainingWatch.of(details.session).training
    names = names_of(index, training, SILENT)
    assert names == {index.find("/optimizer/state/0"): "one.weight", index.find("/optimizer/state/1"): "deep.weight"}
    tree = TreePanel()
    qtbot.addWidget(tree)
    tree.set_index(details.checkpoint, index)
    JoinedNames(details.session, tree)._name()
    details.wait()
    assert tree.view.tree_model.cells.note(index.find("/optimizer/state/1")) == "deep.weight"


def test_what_is_odd_about_an_optimizer_is_listed(opened):
    value = trained()
    value["optimizer"]["state"][99] = {"exp_avg": torch.zeros(2)}
    details = opened(value)
    panel = details.select("/optimizer")
    details.wait()
    assert isinstance(panel, OptimizerPanel)
    model = panel.parameters.lines
    rows = [[model.text(row, column) for column in (0, 1, 6)] for row in range(len(model.rows))]
    assert ["guess", "deep.bias", "none"] in rows  # without a state that would show its shape
    assert ["orphan", "99", "exp_avg"] in rows
    assert ["left out", "left.weight", "none"] in rows
    assert ["left out", "left.bias", "none"] in rows


def test_the_optimizer_fits_into_a_small_window(opened):
    details = opened(trained())
    details.select("/optimizer")
    details.wait()
    assert details.tabs.panel.minimumSizeHint().height() < 330


def test_a_flow_breaks_lines_as_text_does(qtbot):
    holder = QWidget()
    qtbot.addWidget(holder)
    flow = FlowLayout(holder, gap=6)
    for width in (50, 50, 50, 500):
        each = QWidget()
        each.setMinimumSize(width, 20)
        each.resize(width, 20)
        flow.addWidget(each)
    flow.setGeometry(QRect(0, 0, 110, 100))
    places = [flow.itemAt(number).geometry() for number in range(flow.count())]
    assert [(each.x(), each.y()) for each in places[:3]] == [(0, 0), (56, 0), (0, 22)]
    assert places[3].topLeft().y() == 44
    assert flow.heightForWidth(1000) == 20
