"""The panel of a whole module: its tree, program text, links, and the way to its state_dict."""

from __future__ import annotations

import pytest
import torch
from builders import save
from panel_samples import OpenDetails
from PySide6.QtCore import Qt
from torch import nn

from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.panels.module import ModulePanel
from ckpt_viewer.gui.panels.module_model import CLASS, DETAILS, MODE, NAME, SHAPE, VALUES


class Foreign(nn.Module):
    """A class that is not torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 2)
        self.register_buffer("mask", torch.ones(5), persistent=False)


@pytest.fixture
def opened(qtbot, tmp_path):
    """Open a file that torch wrote in the details of a window."""
    made = []

    def open_value(value, **options) -> OpenDetails:
        checkpoint = open_checkpoint(save(value, tmp_path / "m.pth", **options))
        details = OpenDetails(qtbot, checkpoint.contents.root)
        made.append((details, checkpoint))
        return details

    yield open_value
    for details, checkpoint in made:
        details.close()
        checkpoint.close()


def rows(panel) -> list[list[str]]:
    model, found = panel.tree.lines, []

    def walk(parent):
        for row in range(model.rowCount(parent)):
            found.append([model.index(row, column, parent).data() for column in range(model.columnCount())])
            walk(model.index(row, 0, parent))

    walk(model.index(-1, 0))
    return found


def test_a_whole_module_is_shown_without_its_classes(opened, qtmodeltester):
    details = opened({"net": Foreign().eval(), "epoch": 3})
    panel = details.select("/net")
    assert isinstance(panel, ModulePanel)
    assert panel.heading.text() == "Foreign, a whole module"
    assert "2 modules of 2 classes: 8 parameters, 5 numbers in buffers." in panel.sentences.text()
    assert "1 tensor is in no state_dict" in panel.sentences.text()
    assert "eval mode" in panel.sentences.text()
    assert "Python must have Foreign and runs its code" in panel.advice.text()
    shown = rows(panel)
    assert [line[NAME] for line in shown] == ["(this module)", "mask", "lin", "weight", "bias"]
    assert shown[1][CLASS] == "buffer, not saved"
    assert (shown[2][CLASS], shown[2][VALUES], shown[2][MODE]) == ("Linear", "8", "eval")
    assert shown[3][SHAPE] == "2 × 3 float32"
    assert shown[2][DETAILS] == "in_features=3, out_features=2"
    assert panel.source.isHidden() or not panel.source.isVisible()
    qtmodeltester.check(panel.tree.lines, force_py=True)


def test_a_name_leads_to_the_entry_and_a_part_of_a_module_has_the_panel_too(opened, qtbot):
    details = opened({"net": Foreign()})
    panel = details.select("/net")
    model = panel.tree.lines
    lin = model.index(1, NAME, model.index(0, 0))
    with qtbot.waitSignal(details.session.selectionChanged):
        panel.tree.follow(lin)
    assert details.session.pointer == "/net/_modules/lin"
    details.wait()
    assert details.tabs.panel is panel
    assert panel.heading.text() == "Linear, a whole module"
    assert "Its classes are torch's own" in panel.advice.text()


def test_a_click_beside_the_name_only_shows_the_program_text(opened, qtbot):
    details = opened(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), legacy=True)
    panel = details.select("", "Module")
    assert panel.source.isVisible()
    assert "Shown, never run." in panel.source_title.text()
    model = panel.tree.lines
    index = model.index(0, CLASS, model.index(0, 0))
    qtbot.mouseClick(panel.tree.viewport(), Qt.MouseButton.LeftButton, pos=panel.tree.visualRect(index).center())
    assert panel.source.toPlainText().startswith("class Linear(Module):")
    assert details.session.pointer == ""
    weight = model.index(0, CLASS, model.index(0, 0, model.index(0, 0)))
    panel.tree.setCurrentIndex(weight)
    assert "torch.nn.modules.linear.Linear" in panel.source_title.text()


def test_program_text_is_plain_text(opened, qtbot, monkeypatch):
    hostile = "class Linear(Module):\n    '''<b>\x1b[31m\u202e</b>'''\n\tpass"
    monkeypatch.setattr("torch.serialization.get_source_lines_and_file", lambda _: ([hostile], 1, "<b>x</b>.py"))
    details = opened(nn.Linear(2, 2), legacy=True)
    panel = details.select("", "Module")
    assert panel.source.toPlainText() == "class Linear(Module):\n    '''<b>\\x1b[31m\\u202e</b>'''\n\tpass"
    assert "<b>x</b>.py" in panel.source_title.text()


def test_the_button_asks_for_the_export(opened, qtbot):
    details = opened(Foreign())
    panel = details.select("", "Module")
    with qtbot.waitSignal(details.session.exportWanted):
        panel.export.click()


def test_what_is_no_module_has_no_such_panel(opened):
    details = opened({"model": nn.Linear(2, 2).state_dict()})
    details.select("/model")
    titles = [details.tabs.tabs.tabText(number) for number in range(details.tabs.tabs.count())]
    assert "Module" not in titles


def test_many_modules_open_only_a_few_levels(opened):
    net = nn.Sequential(*(nn.Sequential(*(nn.Linear(2, 2) for _ in range(10))) for _ in range(10)))
    panel = opened(net).select("", "Module")
    model = panel.tree.lines
    first = model.index(0, 0, model.index(0, 0))
    assert panel.tree.isExpanded(model.index(0, 0))
    assert not panel.tree.isExpanded(first)
