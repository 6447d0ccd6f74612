"""A broken file in a window: what is missing, a button that salvages, marks, panels that say why, and the export."""

from __future__ import annotations

import pytest
from builders import floats, integer, mapped, pickled, tensor, text, zip_checkpoint
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton

from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.tree.lost import LOST
from ckpt_viewer.gui.windows import Windows

NAMES = ("a.weight", "a.bias", "b.weight", "b.bias")
LONG = 30_000
"""Milliseconds that a busy machine may take."""
DATA = {str(n): floats(n, n + 1, n + 2, n + 3) for n in range(4)}
WHOLE = zip_checkpoint(
    pickled(
        mapped(
            (text("model"), mapped(*((text(name), tensor(key=str(n))) for n, name in enumerate(NAMES)))),
            (text("epoch"), integer(3)),
        )
    ),
    DATA,
)


class Nobody:
    """Knows no devices."""

    def ask(self):
        return {"cpu": ""}

    def stop(self):
        pass


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "model_3.pth"
    path.write_bytes(WHOLE[: WHOLE.index(DATA["2"]) + 5])
    return path


@pytest.fixture
def windows(qtbot):
    made = Windows(Devices(Nobody()))
    yield made
    for each in made.all:
        each.close()
    made.shut_down()
    qtbot.waitUntil(lambda: not made.all, timeout=LONG)


@pytest.fixture
def window(qtbot, windows, broken):
    """A window that could not open the broken file."""
    made = windows.new()
    made.show()
    with qtbot.waitSignal(made.session.failed, timeout=LONG):
        made.open_file(str(broken))
    return made


@pytest.fixture
def salvaged(qtbot, window):
    with qtbot.waitSignal(window.session.described, timeout=LONG):
        qtbot.mouseClick(window.findChild(QPushButton, "salvageButton"), Qt.MouseButton.LeftButton)
    return window


def cells(window):
    return {window.session.index.names[row]: row for row in range(len(window.session.index.names))}


def test_the_page_says_what_is_missing_and_what_can_be_had(window):
    reason = window.findChild(QLabel, "failedReason").text()
    assert "are missing" in reason
    assert "salvage 2 of its 4 tensors" in reason
    assert "--salvage" not in reason
    assert "2 of its 4 tensors" in window.findChild(QPushButton, "salvageButton").accessibleDescription()


def test_a_file_of_which_nothing_is_left_has_no_such_button(qtbot, window, tmp_path):
    path = tmp_path / "page.pth"
    path.write_bytes(b"<!DOCTYPE html><html><title>Sign in</title>")
    with qtbot.waitSignal(window.session.failed, timeout=LONG):
        window.open_file(str(path))
    qtbot.waitUntil(lambda: "'Sign in'" in window.findChild(QLabel, "failedReason").text())
    qtbot.waitUntil(lambda: window.findChild(QPushButton, "salvageButton") is None)


def test_what_is_left_is_shown_and_what_is_lost_is_marked(salvaged):
    index = salvaged.session.index
    rows = cells(salvaged)
    marks = {name: index.marks.get(rows[name], "") for name in ("weight", "bias")}  # the last of each name: those of b
    assert marks == {"weight": LOST, "bias": LOST}
    assert index.notes[rows["b"]] == index.notes[0] == "2 lost"
    assert rows["a"] not in index.notes
    assert [message.severity for message in salvaged.messages.all if message.topic == "salvaged"] == ["warning"]
    assert "zip, salvaged" in salvaged.strip.accessibleName() + "".join(
        each.text() for each in salvaged.strip.findChildren(QLabel)
    )


def test_the_overview_names_what_is_lost(salvaged):
    from ckpt_viewer.gui.summary import load_fact, root_facts

    session = salvaged.session
    load = load_fact(session.overview, session.checkpoint.locator, (), ("cpu",), "")
    facts = {fact.name: fact.text for fact in root_facts(session.checkpoint, session.overview, load, None)}
    assert facts["Lost"] == "2 tensors: /model/b.weight, /model/b.bias"
    assert facts["Loads here"].startswith("no")
    assert "Resume" not in facts


def test_a_lost_tensor_says_why_and_the_others_have_values(qtbot, salvaged):
    qtbot.waitUntil(lambda: salvaged.details is not None, timeout=LONG)
    details = salvaged.details
    for name, words in (("b.bias", "not in what is left"), ("b.weight", "cut off"), ("a.bias", "")):
        with qtbot.waitSignal(details.settled, timeout=LONG):
            salvaged.session.select(salvaged.session.find(f"/model/{name}"))
        sentence = details.panel.sentence
        assert words in sentence
        assert bool(words) == bool(sentence)


def test_reloading_salvages_again_and_a_whole_file_opens_as_ever(qtbot, salvaged, broken):
    with qtbot.waitSignal(salvaged.session.opened, timeout=LONG):
        salvaged.session.reload()
    assert salvaged.session.checkpoint.contents.salvaged
    broken.write_bytes(WHOLE)
    with qtbot.waitSignal(salvaged.session.opened, timeout=LONG):
        salvaged.session.reload()
    assert not salvaged.session.checkpoint.contents.salvaged
    assert LOST not in salvaged.session.index.marks.values()


def test_it_is_not_remapped(salvaged):
    assert not salvaged.actions_of_window.actions["remap"].isEnabled()


def test_the_export_asks_and_leaves_out_what_is_lost(qtbot, salvaged, tmp_path, monkeypatch):
    asked = []
    target = tmp_path / "out.pth"
    monkeypatch.setattr(
        asking, "ask", lambda parent, question, detail, yes, no="": asked.append(detail) or len(asked) > 1
    )
    monkeypatch.setattr(asking, "ask_target", lambda *_: str(target))
    salvaged.actions_of_window.export()
    assert "2 tensors of this file are lost" in asked[0]
    assert not salvaged.export_flow.writing
    with qtbot.waitSignal(salvaged.export_flow.written, timeout=LONG):
        salvaged.actions_of_window.export()
    assert "b.weight, b.bias" in salvaged.messages.all[0].text
    with open_checkpoint(target) as checkpoint:
        assert [node.name for node in checkpoint.root.children] == ["a.weight", "a.bias"]
