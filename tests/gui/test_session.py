from __future__ import annotations

import threading
from unittest.mock import MagicMock

import pytest
from hand_made import make_checkpoint

from ckpt_viewer.errors import BadMapLocation, Cancelled, NotACheckpoint
from ckpt_viewer.gui.reading import Loaded, index_tree
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.session_view import View


class Files:
    """A reader of pretended files; a file with a gate waits for it."""

    def __init__(self):
        self.closed = []
        self.errors = {}
        self.gates = {}
        self.read = []

    def __call__(self, path, map_location, grouped, context):
        self.read.append((path, map_location))
        if path in self.gates:
            self.gates[path].wait(5)
        if path in self.errors:
            raise self.errors[path]
        checkpoint = make_checkpoint(path, closed=self.closed)
        checkpoint.map_onto(map_location)
        try:
            return Loaded(checkpoint, index_tree(checkpoint, grouped, context))
        except Cancelled:
            checkpoint.close()
            raise


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def view():
    return MagicMock(spec=View)


@pytest.fixture
def session(qtbot, files, view):
    made = Session(reader=files)
    made.attach(view)
    yield made
    for gate in files.gates.values():
        gate.set()
    made.close()
    qtbot.waitUntil(lambda: not made.jobs.active)


def opened(qtbot, session, path="a.pth", **more):
    with qtbot.waitSignal(session.selectionChanged):
        session.open(path, **more)


def test_opening_tells_the_view_and_selects_the_root(qtbot, session, view):
    opened(qtbot, session)
    assert [call[0] for call in view.method_calls] == ["show_loading", "show_opened", "show_selected"]
    assert session.index.outline is session.checkpoint.outline
    assert session.selected.pointer == ""
    assert session.selected.checkpoint is session.checkpoint


def test_opening_selects_what_was_asked_for(qtbot, session):
    opened(qtbot, session, select="/model/conv1.weight")
    assert session.selected.shape == (64, 3, 7, 7)


def test_a_file_that_fails_is_told_and_named(qtbot, session, view, files):
    files.errors["b.pth"] = error = NotACheckpoint("this is a picture; choose a checkpoint")
    with qtbot.waitSignal(session.failed):
        session.open("b.pth")
    view.show_failed.assert_called_once_with(error)
    assert session.path == "b.pth"
    assert session.checkpoint is None
    assert session.error is error


def test_reload_keeps_the_selection_by_its_pointer(qtbot, session, files):
    opened(qtbot, session)
    session.select(session.checkpoint["/optimizer/param_groups/0"])
    before = session.checkpoint
    with qtbot.waitSignal(session.selectionChanged):
        session.reload()
    assert session.checkpoint is not before
    assert session.selected.pointer == "/optimizer/param_groups/0"
    assert files.closed == ["a.pth"]


def test_a_newer_file_wins_over_a_slower_older_one(qtbot, session, files, view):
    files.gates["slow.pth"] = gate = threading.Event()
    session.open("slow.pth")
    qtbot.waitUntil(lambda: bool(files.read))
    opened(qtbot, session, "fast.pth")
    gate.set()
    qtbot.waitUntil(lambda: not session.jobs.active)
    assert session.checkpoint.path == "fast.pth"
    assert view.show_opened.call_count == 1
    assert files.closed == ["slow.pth"]


def test_stopping_the_opening_is_a_failure_that_can_be_tried_again(qtbot, session, files):
    files.gates["slow.pth"] = gate = threading.Event()
    session.open("slow.pth")
    qtbot.waitUntil(lambda: bool(files.read))
    session.opening.cancel()
    with qtbot.waitSignal(session.failed) as got:
        gate.set()
    assert isinstance(got.args[0], Cancelled)
    assert files.closed == ["slow.pth"]


def test_another_map_location_remaps_without_reading(qtbot, session, files, view):
    opened(qtbot, session)
    session.set_map_location("cpu")
    assert session.checkpoint["/model/conv1.weight"].device == "cpu"
    view.show_remapped.assert_called_once_with()
    assert len(files.read) == 1


def test_a_map_location_that_torch_refuses_changes_nothing(qtbot, session, view):
    opened(qtbot, session)
    session.set_map_location("cpu")
    with pytest.raises(BadMapLocation):
        session.set_map_location({"cuda:1": 3})
    assert session.map_location == "cpu"
    assert session.checkpoint["/model/conv1.weight"].device == "cpu"


def test_the_map_location_survives_a_reload(qtbot, session, files):
    opened(qtbot, session)
    session.set_map_location("cpu")
    with qtbot.waitSignal(session.selectionChanged):
        session.reload()
    assert session.checkpoint["/model/conv1.weight"].device == "cpu"
    assert files.read[-1] == ("a.pth", "cpu")


def test_a_map_location_chosen_during_opening_counts(qtbot, session, files):
    files.gates["a.pth"] = gate = threading.Event()
    session.open("a.pth")
    qtbot.waitUntil(lambda: bool(files.read))
    session.set_map_location("cpu")
    with qtbot.waitSignal(session.selectionChanged):
        gate.set()
    assert session.checkpoint["/model/conv1.weight"].device == "cpu"


def test_a_borrowed_checkpoint_stays_open_until_it_is_given_back(qtbot, session, files):
    opened(qtbot, session)
    borrowed = session.borrow()
    assert session.borrow() is borrowed
    with qtbot.waitSignal(session.selectionChanged):
        session.reload()
    assert files.closed == []
    session.give_back(borrowed)
    assert files.closed == []
    session.give_back(borrowed)
    assert files.closed == ["a.pth"]


def test_closing_gives_the_file_back(qtbot, session, files):
    opened(qtbot, session)
    session.close()
    assert files.closed == ["a.pth"]
    assert session.checkpoint is None


def test_a_pointer_that_leads_nowhere_is_none(qtbot, session):
    opened(qtbot, session)
    assert session.find("/nowhere") is None
    assert session.find("/epoch").value == 3


def test_a_pointer_to_a_module_of_a_state_dict_survives_a_reload(qtbot, session):
    opened(qtbot, session)
    group = session.find("/model/conv1.")
    session.select(group)
    with qtbot.waitSignal(session.selectionChanged):
        session.reload()
    assert session.selected.pointer == "/model/conv1."


def test_a_wanted_pointer_that_leads_nowhere_is_told(qtbot, session, view):
    with qtbot.waitSignal(session.trouble) as got:
        session.open("a.pth", select="/nowhere")
    assert str(got.args[0]) == "there is nothing at '/nowhere'; the root is selected instead"
    assert session.selected.pointer == ""


def test_the_tree_can_be_shown_by_flat_keys(qtbot, session):
    opened(qtbot, session)
    assert session.index.grouped
    with qtbot.waitSignal(session.indexed):
        session.regroup(False)
    assert not session.index.grouped
    with qtbot.waitSignal(session.selectionChanged):
        session.reload()
    assert not session.index.grouped


def test_roles_are_marked_in_the_tree(qtbot, session):
    opened(qtbot, session)
    index = session.index
    marks = {index.pointer(row): mark for row, mark in index.marks.items()}
    assert marks["/model"] == "model"
    assert marks["/optimizer"] == "optimizer"
    assert index.notes[index.find("/optimizer")].startswith("momentum 0.9")


def test_describing_answers_what_is_it_and_does_it_load(qtbot, session, view):
    opened(qtbot, session)
    session.set_devices(("cpu",), "")
    with qtbot.waitSignal(session.described):
        session.describe()
    assert session.overview.kind == "training checkpoint"
    assert [problem.target for problem in session.problems] == ["cuda:1"]
    view.show_described.assert_called_once_with()


def test_another_map_location_is_judged_anew(qtbot, session):
    opened(qtbot, session)
    session.set_devices(("cpu",), "")
    with qtbot.waitSignal(session.described):
        session.describe()
    with qtbot.waitSignal(session.problemsChanged):
        session.set_map_location("cpu")
    assert session.problems == ()


def test_a_map_location_chosen_while_it_is_described_is_judged_after(qtbot, session):
    opened(qtbot, session)
    session.set_devices(("cpu",), "")
    session.describe()
    session.set_map_location("cpu")
    qtbot.waitUntil(lambda: session.overview is not None and not session.jobs.active)
    assert session.problems == ()


def test_a_description_that_fails_is_an_error_to_show(qtbot, session, monkeypatch):
    def fail(checkpoint, context):
        raise NotACheckpoint("it is too strange; look elsewhere")

    monkeypatch.setattr("ckpt_viewer.analysis.overview.overview", fail)
    opened(qtbot, session)
    with qtbot.waitSignal(session.described):
        session.describe()
    assert str(session.error) == "it is too strange; look elsewhere"
    assert session.overview is None
