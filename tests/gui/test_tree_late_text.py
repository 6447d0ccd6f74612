"""The text that a filter searches is written once a large tree is painted; until then what is looked for waits."""

from __future__ import annotations

import pickle

import pytest

from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.tree.index import QUICK
from ckpt_viewer.gui.windows import Windows


class NoDevices:
    def ask(self):
        return {"cpu": ""}

    def stop(self):
        """Nothing runs."""


@pytest.fixture
def window(qtbot, tmp_path):
    """A window at the moment in which it shows a tree of many rows."""
    (tmp_path / "many.pkl").write_bytes(pickle.dumps({f"entry {number}": number for number in range(QUICK + 10)}))
    windows = Windows(Devices(NoDevices()))
    made = windows.new()
    with qtbot.waitSignal(made.session.opened):
        made.session.open(str(tmp_path / "many.pkl"))
    yield made
    made.close()
    windows.shut_down()
    qtbot.waitUntil(lambda: not windows.all)


def test_a_tree_shows_before_its_text_is_written(window):
    assert len(window.session.index) > QUICK
    assert not window.session.index.has_text
    assert window.tree.view.model().rowCount(window.tree.view.model().index(0, 0)) > 0


def test_what_is_typed_before_that_is_found_after_it(qtbot, window):
    panel = window.tree
    asked = []
    panel.filtering.textWanted.connect(lambda: asked.append(panel.index.has_text))
    panel.filter.setText("entry 4321")
    assert asked == [False]
    assert "in a moment" in panel.filter.accessibleDescription()
    assert panel.view.tree_model.pages.matches is None
    qtbot.waitUntil(lambda: panel.index.has_text)
    assert panel.filter.accessibleDescription() == ""
    assert list(panel.view.tree_model.pages.matches.rows()) == panel.index.match("entry 4321")
    assert len(panel.index.match("entry 4321")) == 1


def test_letters_typed_into_the_tree_before_that_go_nowhere_and_do_not_block(window):
    before = window.tree.current_pointer()
    window.tree.view.keyboardSearch("e")
    assert window.tree.current_pointer() == before
    assert not window.session.index.has_text


def test_a_tree_arranged_anew_gets_its_text_too(qtbot, window):
    first = window.session.index
    with qtbot.waitSignal(window.session.indexed):
        window.session.regroup(not window.session.grouped)
    assert window.session.index is not first
    qtbot.waitUntil(lambda: window.session.index.has_text)
