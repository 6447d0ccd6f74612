from __future__ import annotations

import pytest
from hand_made import make_checkpoint, mapping
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel

from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.errors import Damaged
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED
from ckpt_viewer.gui.reading import Loaded, index_tree
from ckpt_viewer.gui.root_panel import RootPanel
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.theme import themes
from ckpt_viewer.gui.training_watch import TrainingWatch


def a_session(qtbot, checkpoint):
    def read(path, map_location, grouped, context):
        return Loaded(checkpoint, index_tree(checkpoint, grouped, context))

    session = Session(reader=read)
    with qtbot.waitSignal(session.selectionChanged):
        session.open(checkpoint.path)
    session.set_devices(("cpu",), "")
    with qtbot.waitSignal(session.described):
        session.describe()
    return session


@pytest.fixture
def session(qtbot, checkpoint):
    made = a_session(qtbot, checkpoint)
    yield made
    made.close()
    qtbot.waitUntil(lambda: not made.jobs.active)


@pytest.fixture
def panel(qtbot, session):
    made = RootPanel(session)
    qtbot.addWidget(made)
    made.show_subject(session.selected)
    qtbot.waitUntil(lambda: TrainingWatch.of(session).training is not None)
    return made


def texts(panel):
    return [each.text() for each in panel.findChildren(QLabel) if each.text() and each.isVisibleTo(panel)]


def links(panel):
    return [each for each in panel.findChildren(LinkButton) if not each.isHidden()]


def test_it_is_for_roots_and_second_to_the_histogram_of_a_lone_tensor(checkpoint):
    assert RootPanel.rate(checkpoint.root) == BEST
    assert RootPanel.rate(checkpoint["/model"]) == UNSUPPORTED
    tensor = TensorSpec(None, "float32", (2,), (1,))
    assert UNSUPPORTED < RootPanel.rate(make_checkpoint(root=tensor).root) < BEST


def test_it_answers_at_a_glance(panel):
    said = texts(panel)
    assert "Training checkpoint, epoch 3" in said
    assert "9.41 K parameters; 1 tensor, 37.6 kB; file 134 MB" in said
    assert "no: cuda:1 is not on this computer" in said
    assert "can be resumed" in said
    assert panel.is_settled


def test_the_line_of_code_is_one_that_loads_it_here(qtbot, panel, session):
    """As saved it would not, and who copies the line wants it to work."""
    assert session.problems
    assert panel._code.code == 'torch.load("model_3.pth", map_location="cpu")'
    assert "As the box Load onto has it, torch.load would refuse the file here." in texts(panel)
    with qtbot.waitSignal(session.problemsChanged):
        session.set_devices(("cpu", "cuda:0", "cuda:1"), "")
    assert panel._code.code == 'torch.load("model_3.pth")'
    assert not any("would refuse the file here" in each for each in texts(panel))


def test_it_says_where_safe_mode_refuses_the_line(qtbot):
    refused = make_checkpoint(weights_only="it names argparse.Namespace")
    session = a_session(qtbot, refused)
    panel = RootPanel(session)
    qtbot.addWidget(panel)
    panel.show_subject(session.selected)
    [note] = [each for each in texts(panel) if each.endswith("the tab Loading has code for that.")]
    assert "Safe mode, which is torch.load's default, refuses it" in note
    session.close()
    qtbot.waitUntil(lambda: not session.jobs.active)


def test_another_map_location_changes_what_it_says(qtbot, panel, session):
    with qtbot.waitSignal(session.problemsChanged):
        session.set_map_location("cpu")
    panel.remap()
    said = texts(panel)
    assert "cuda:1 → cpu" in said
    assert "yes, on the CPU" in said
    assert panel._code.code == 'torch.load("model_3.pth", map_location="cpu")'


def test_what_it_says_as_before_stays_as_it_is(qtbot, panel, session):
    def facts():
        grid = panel._facts
        rows = [(grid.itemAtPosition(row, 0), grid.itemAtPosition(row, 1)) for row in range(grid.rowCount())]
        return {name.widget().text(): (name.widget(), said.widget()) for name, said in rows if name is not None}

    before = facts()
    with qtbot.waitSignal(session.problemsChanged):
        session.set_map_location("cpu")
    panel.remap()
    after = facts()
    assert list(after) == list(before)
    assert len(before) > 4
    assert {name for name in before if after[name] != before[name]} == {"Loads here", "Devices"}
    assert before["Devices"][1].isHidden()
    assert not after["Devices"][1].isHidden()


def test_a_link_selects_the_entry(qtbot, panel, session):
    link = next(each for each in links(panel) if each.text() == "optimizer")
    with qtbot.waitSignal(session.selectionChanged) as got:
        qtbot.mouseClick(link, Qt.MouseButton.LeftButton)
    assert got.args[0].pointer == "/optimizer"


def test_a_link_can_be_pressed_from_the_keyboard(qtbot, panel, session):
    with qtbot.waitSignal(panel.linkActivated) as got:
        qtbot.keyClick(next(each for each in links(panel) if each.text() == "model"), Qt.Key.Key_Space)
    assert got.args == ["/model"]


def test_the_theme_may_change_while_it_shows(panel):
    before = texts(panel)
    themes().choose("dark")
    assert sorted(texts(panel)) == sorted(before)


def test_a_file_that_cannot_be_described_says_why(qtbot, panel, session):
    session.overview, session.error = None, Damaged("the pickle is torn; copy it again")
    panel.refresh()
    assert panel.sentence == "The pickle is torn; copy it again."


def test_an_empty_file_says_so(qtbot):
    session = a_session(qtbot, make_checkpoint(root=mapping()))
    panel = RootPanel(session)
    qtbot.addWidget(panel)
    panel.show_subject(session.selected)
    assert "nothing: it is empty, or a single value" in texts(panel)
    session.close()
