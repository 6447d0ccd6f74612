from __future__ import annotations

import json
import os
import shutil
import threading
from collections import OrderedDict
from pathlib import Path

import builders
import pytest
from PySide6.QtWidgets import QApplication, QWidget

from ckpt_viewer.core.location import leave_on_cpu
from ckpt_viewer.core.node import Node
from ckpt_viewer.errors import SourceChanged, WriteFailed
from ckpt_viewer.export.names import export_target
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.export_flow import AS_SAVED, ExportFlow
from ckpt_viewer.gui.jobs import JobRunner
from ckpt_viewer.gui.messages import Messages
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.slim_flow import SlimFlow
from ckpt_viewer.resources import sample_checkpoint

torch = pytest.importorskip("torch")


class Answers:
    """What the user answers to each dialog, and which were asked."""

    def __init__(self):
        self.asked = []
        self.target, self.which, self.replace = None, 0, True

    def ask_target(self, parent, proposed, title, filters="", *, confirm=True):
        self.asked.append(("target", proposed))
        return proposed if self.target is None else self.target

    def ask_which(self, parent, title, question, answers):
        self.asked.append(("which", list(answers)))
        return self.which

    def ask_replace(self, parent, path, no="Cancel"):
        self.asked.append(("replace", path, no))
        return self.replace


@pytest.fixture
def answers(monkeypatch):
    made = Answers()
    for name in ("ask_target", "ask_which", "ask_replace"):
        monkeypatch.setattr(asking, name, getattr(made, name))
    return made


class Desk:
    """A session with an open file, and a flow over it."""

    def __init__(self, qtbot, window):
        self.qtbot = qtbot
        self.session, self.messages, self.writes = Session(), Messages(), JobRunner()
        self.flow = ExportFlow(self.session, self.messages, self.writes, window)
        self.slim = SlimFlow(self.session, self.messages, self.flow, window)

    def open(self, path):
        with self.qtbot.waitSignal(self.session.selectionChanged):
            self.session.open(str(path))

    def settle(self):
        """Wait until nothing runs. A plan that has ended is asked about in a round of the event loop of its own."""
        for _ in range(2):
            self.qtbot.waitUntil(lambda: not self.session.jobs.active and not self.writes.active)
            QApplication.processEvents()

    @property
    def said(self):
        return [(message.severity, message.text) for message in self.messages.all]

    def press(self, text):
        message = self.messages.all[0]
        next(action for action in message.actions if action.text == text).call()


@pytest.fixture
def desk(qtbot, answers):
    window = QWidget()
    qtbot.addWidget(window)
    made = Desk(qtbot, window)
    yield made
    made.session.close()
    made.writes.cancel_all()
    made.settle()


@pytest.fixture
def sample(tmp_path):
    return Path(shutil.copy(sample_checkpoint(), tmp_path / "model_3.pth"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/model_3.pth", "/a/model_3.state_dict.pth"),
        ("/a/x.pth.tar", "/a/x.state_dict.pth"),
        ("/a/last.ckpt", "/a/last.state_dict.pth"),
        ("/a/plain", "/a/plain.state_dict.pth"),
        ("/a/.pth", "/a/.pth.state_dict.pth"),
    ],
)
def test_the_name_that_is_proposed(path, name):
    assert str(export_target(path, ".pth")) == name


def test_the_state_dict_is_written_and_loads(desk, answers, sample):
    desk.open(sample)
    desk.flow.export_state_dict()
    desk.settle()
    target = sample.with_name("model_3.state_dict.pth")
    assert answers.asked == [("target", str(target))]
    assert desk.said[0][0] == "success"
    assert desk.said[0][1].startswith("Wrote model_3.state_dict.pth: 146 kB, 44 tensors, verified by ")
    saved = torch.load(sample, map_location="cpu", weights_only=True)["model"]
    written = torch.load(target, weights_only=True)
    assert list(written) == list(saved)
    assert all(torch.equal(written[name], saved[name]) for name in saved)


def test_giving_up_in_the_dialog_writes_nothing(desk, answers, sample):
    answers.target = ""
    desk.open(sample)
    desk.flow.export_state_dict()
    desk.settle()
    assert desk.said == []
    assert [path.name for path in sample.parent.iterdir()] == ["model_3.pth"]


def test_of_several_models_one_is_asked_for(desk, answers, tmp_path):
    first, second = torch.nn.Linear(2, 3), torch.nn.Linear(4, 5)
    path = builders.save(
        {"generator": first.state_dict(), "critic": second.state_dict(), "epoch": 1}, tmp_path / "g.pth"
    )
    answers.which = 1
    desk.open(path)
    desk.flow.export_state_dict()
    desk.settle()
    assert answers.asked[0] == ("which", ["/generator: 9 parameters", "/critic: 25 parameters"])
    written = torch.load(tmp_path / "g.state_dict.pth", weights_only=True)
    assert torch.equal(written["weight"], second.weight)


def test_choosing_none_of_them_writes_nothing(desk, answers, tmp_path):
    layers = {name: torch.nn.Linear(2, 3).state_dict() for name in ("a_model", "b_model")}
    answers.which = None
    desk.open(builders.save(layers, tmp_path / "g.pth"))
    desk.flow.export_state_dict()
    desk.settle()
    assert [kind for kind, _ in answers.asked] == ["which"]


def test_a_file_without_a_model_says_so(desk, tmp_path):
    desk.open(builders.save({"hello": "world"}, tmp_path / "x.pth"))
    desk.flow.export_state_dict()
    assert desk.said == [("warning", "There is no model in this file, so there is no state_dict to export.")]


def test_of_tensors_that_are_no_model_the_dialog_asks_what_to_export(desk, tmp_path):
    path = builders.save([torch.ones(2), {"mean": torch.ones(3)}], tmp_path / "x.pth")
    desk.open(path)
    desk.flow.export_state_dict()
    desk.settle()
    dialog = desk.flow.dialog
    assert dialog.tree.pointers == ("",)
    desk.qtbot.waitUntil(lambda: not dialog.is_working)
    assert dialog.export_button.isEnabled()
    dialog.reject()
    assert desk.said == []


def test_the_source_is_never_replaced(desk, answers, sample):
    before = sample.read_bytes()
    answers.target = str(sample)
    desk.open(sample)
    desk.flow.export_state_dict()
    desk.settle()
    assert desk.said == [("error", "model_3.pth: the target is the very file that is read; choose another name.")]
    assert sample.read_bytes() == before


def test_a_copy_for_the_cpu_is_written_beside_the_file_and_loads(desk, answers, sample):
    desk.open(sample)
    with desk.qtbot.waitSignal(desk.flow.written) as got:
        desk.flow.remap_to_cpu()
    target = sample.with_name("model_3.cpu.pth")
    assert got.args == [target]
    assert answers.asked == []
    desk.settle()
    copy = torch.load(target, weights_only=True)
    source = torch.load(sample, map_location="cpu", weights_only=True)
    assert copy["epoch"] == source["epoch"]
    assert all(torch.equal(copy["model"][name], source["model"][name]) for name in source["model"])
    assert desk.said[0][0] == "success"
    assert desk.said[0][1].startswith("Wrote model_3.cpu.pth, a copy for the CPU: 288 kB, 67 tensors, verified by ")
    assert [action.text for action in desk.messages.all[0].actions] == [
        "Show in folder", "Open the result", "Delete copy"
    ]  # fmt: skip
    with desk.qtbot.waitSignal(desk.flow.results.openWanted) as wanted:
        desk.press("Open the result")
    assert wanted.args == [str(target)]


@pytest.mark.parametrize(
    ("map_location", "name", "where", "device"),
    [
        ("cuda:0", "model_3.cuda0.pth", "cuda:0", "cuda:0"),
        ({"cuda:1": "cuda:2"}, "model_3.remapped.pth", "cuda:1 → cuda:2", "cuda:2"),
        (leave_on_cpu, "model_3.cpu.pth", "the CPU", "cpu"),
    ],
)
def test_a_copy_has_the_devices_that_load_onto_says(desk, answers, sample, map_location, name, where, device):
    desk.open(sample)
    desk.session.set_map_location(map_location)
    desk.flow.remap_as_loaded()
    desk.settle()
    assert desk.said[0][1].startswith(f"Wrote {name}, a copy for {where}: ")
    assert {spec.location for spec in tensors_of(sample.with_name(name))} == {device}
    assert answers.asked == []


def tensors_of(path):
    with open_checkpoint(path) as copy:
        return [tensor.storage for _, tensor in copy.outline.tensors()]


def test_as_saved_is_what_the_file_says_already(desk, sample):
    desk.open(sample)
    desk.flow.remap_as_loaded()
    desk.settle()
    assert desk.said == [("info", AS_SAVED)]
    assert [each.name for each in sample.parent.iterdir()] == [sample.name]


@pytest.mark.parametrize(("name", "opened"), [("w.safetensors", True), ("w.npz", False)])
def test_only_what_this_program_reads_can_be_opened(desk, answers, sample, name, opened):
    desk.open(sample)
    answers.target = str(sample.with_name(name))
    desk.flow.export_state_dict()
    desk.settle()
    texts = [action.text for action in desk.messages.all[0].actions]
    assert texts == ["Show in folder", "Open the result"][: 1 + opened]


def test_what_was_found_while_copying_is_told(desk, tmp_path):
    data = builders.floats(1, 2, 3, 4)
    body = builders.pickled(builders.tensor(location="cuda:0"))
    raw = builders.zip_checkpoint(body, {"0": data}).replace(data, builders.floats(1, 2, 3, 5))
    (tmp_path / "x.pth").write_bytes(raw)
    desk.open(tmp_path / "x.pth")
    desk.flow.remap_to_cpu()
    desk.settle()
    (kind, text), (done, _) = desk.said
    assert (kind, done) == ("warning", "success")
    assert text.startswith("x.cpu.pth: record 'data/0': not what the checksum in the source was computed from")


def test_a_set_becomes_a_folder_that_is_never_replaced(desk, answers, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    files = {}
    for number in (1, 2):
        name = files[f"w{number}"] = f"pytorch_model-{number:05}-of-00002.bin"
        builders.save({f"w{number}": torch.ones(2)}, folder / name, tag="cuda:0")
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": files}))
    desk.open(index)
    desk.flow.remap_to_cpu()
    desk.settle()
    assert len(list((folder / "pytorch_model.cpu").iterdir())) == 3
    assert [action.text for action in desk.messages.all[0].actions] == ["Show in folder", "Open the result"]
    with desk.qtbot.waitSignal(desk.flow.results.openWanted) as wanted:
        desk.press("Open the result")
    assert wanted.args == [str(folder / "pytorch_model.cpu" / index.name)]
    answers.target = str(folder / "another")
    desk.flow.remap_to_cpu()
    desk.settle()
    assert answers.asked == [("target", str(folder / "pytorch_model.cpu"))]
    assert len(list((folder / "another").iterdir())) == 3


def test_the_copy_can_be_deleted_again(desk, sample):
    desk.open(sample)
    desk.flow.remap_to_cpu()
    desk.settle()
    desk.press("Delete copy")
    assert not sample.with_name("model_3.cpu.pth").exists()
    assert desk.said[0] == ("info", "Deleted model_3.cpu.pth.")


def test_a_copy_that_somebody_changed_is_not_deleted(desk, sample):
    desk.open(sample)
    desk.flow.remap_to_cpu()
    desk.settle()
    copy = sample.with_name("model_3.cpu.pth")
    copy.write_bytes(b"precious")
    desk.press("Delete copy")
    assert copy.read_bytes() == b"precious"
    assert desk.said[0][0] == "error"
    assert "it was changed since it was written" in desk.said[0][1]


def test_a_file_that_is_all_on_the_cpu_says_so_and_writes_nothing(desk, tmp_path):
    path = builders.save({"model": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "x.pth")
    desk.open(path)
    desk.flow.remap_to_cpu()
    desk.settle()
    assert desk.said == [
        ("info", "x.pth: every tensor is on cpu already, so there is nothing to remap; nothing was written.")
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["x.pth"]


def test_an_existing_copy_is_replaced_only_when_asked(desk, answers, sample):
    target = sample.with_name("model_3.cpu.pth")
    target.write_bytes(b"old")
    answers.replace, answers.target = False, ""
    desk.open(sample)
    desk.flow.remap_to_cpu()
    desk.settle()
    assert answers.asked == [("replace", str(target), "Another name …"), ("target", str(target))]
    assert target.read_bytes() == b"old"
    answers.replace = True
    desk.flow.remap_to_cpu()
    desk.settle()
    assert "model" in torch.load(target, weights_only=True)


def test_a_file_that_appears_after_the_question_is_not_replaced(desk, sample, monkeypatch):
    target = sample.with_name("model_3.cpu.pth")
    usual = ExportFlow.carry_out

    def late(flow, plan, path, *rest):
        def planned(context):
            target.write_bytes(b"somebody else's")
            return plan(context)

        usual(flow, planned, path, *rest)

    monkeypatch.setattr(ExportFlow, "carry_out", late)
    desk.open(sample)
    desk.flow.remap_to_cpu()
    desk.settle()
    assert target.read_bytes() == b"somebody else's"
    assert desk.said[0][0] == "error"
    assert "a file of that name is there now and was not replaced" in desk.said[0][1]


def test_a_read_only_folder_asks_where(desk, answers, sample, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere.pth"
    answers.target = str(elsewhere)
    desk.open(sample)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != sample.parent)
    desk.flow.remap_to_cpu()
    desk.settle()
    assert answers.asked == [("target", str(Path.home() / "model_3.cpu.pth"))]
    assert "model" in torch.load(elsewhere, weights_only=True)


def test_what_torch_will_say_of_the_copy_is_said_beforehand(desk, tmp_path):
    import argparse

    model = torch.nn.Linear(2, 2).state_dict()
    path = builders.save({"model": model, "args": argparse.Namespace(lr=1)}, tmp_path / "x.pth", tag="cuda:0")
    desk.open(path)
    desk.flow.remap_to_cpu()
    desk.settle()
    kinds = [kind for kind, _ in desk.said]
    assert kinds == ["success", "warning"]
    assert "weights_only=True) refuses the copy" in desk.said[1][1]
    assert "argparse.Namespace" in desk.said[1][1]


def test_stopping_leaves_no_file(desk, sample, monkeypatch):
    from ckpt_viewer.export import plan

    entered, gate = threading.Event(), threading.Event()
    usual = plan.write

    def slow(*args, context, **more):
        entered.set()
        gate.wait(5)
        context.step(0, 1)
        return usual(*args, context=context, **more)

    monkeypatch.setattr(plan, "write", slow)
    desk.open(sample)
    desk.flow.remap_to_cpu()
    desk.qtbot.waitUntil(entered.is_set)
    desk.flow.writing[0].cancel()
    with desk.qtbot.waitSignal(desk.flow.idle):
        gate.set()
    assert desk.said == [("info", "Writing model_3.cpu.pth was stopped; no file was written.")]
    assert [path.name for path in sample.parent.iterdir()] == ["model_3.pth"]


def test_the_file_may_be_reloaded_while_a_copy_is_written(desk, sample, monkeypatch):
    from ckpt_viewer.export import plan

    entered, gate = threading.Event(), threading.Event()
    usual = plan.write

    def slow(*args, **more):
        entered.set()
        gate.wait(5)
        return usual(*args, **more)

    monkeypatch.setattr(plan, "write", slow)
    desk.open(sample)
    desk.flow.remap_to_cpu()
    desk.qtbot.waitUntil(entered.is_set)
    with desk.qtbot.waitSignal(desk.session.selectionChanged):
        desk.session.reload()
    gate.set()
    desk.settle()
    assert desk.said[0][0] == "success"
    assert isinstance(desk.session.selected, Node)


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (WriteFailed("the disk of '/x' is full; free some space"), "model_3.cpu.pth"),
        (SourceChanged("the file was changed by another program while it was open; reload it (F5)"), "model_3.pth"),
    ],
)
def test_a_failure_is_a_sentence_about_the_file_that_it_is_of(desk, sample, monkeypatch, error, about):
    from ckpt_viewer.export import plan

    def failing(*args, **more):
        raise error

    monkeypatch.setattr(plan, "write", failing)
    desk.open(sample)
    desk.flow.remap_to_cpu()
    desk.settle()
    assert desk.said == [("error", f"{about}: {error}.")]


def test_a_whole_module_is_exported_without_its_class(desk, tmp_path):
    net = torch.nn.Sequential(OrderedDict(one=torch.nn.Linear(2, 3), two=torch.nn.BatchNorm1d(3)))
    desk.open(builders.save(net, tmp_path / "whole.pth"))
    desk.flow.export_state_dict()
    desk.settle()
    net.load_state_dict(torch.load(tmp_path / "whole.state_dict.pth", weights_only=True), strict=True)


# --- without the optimizer ------------------------------------------------------------------------------------------


def test_a_copy_without_the_optimizer_says_first_what_it_saves(desk, answers, sample, monkeypatch):
    asked = []
    monkeypatch.setattr(asking, "ask", lambda _, question, detail, yes: asked.append((question, detail)) or True)
    desk.open(sample)
    with desk.qtbot.waitSignal(desk.flow.written, timeout=60_000) as got:
        desk.slim.ask()
    target = sample.with_name("model_3.slim.pth")
    assert got.args == [target]
    assert asked[0][0] == "Save a copy without the optimizer?"
    assert asked[0][1].startswith("Without optimizer: ")
    assert "Everything else is kept" in asked[0][1]
    assert answers.asked == [("target", str(target))]
    wanted = torch.load(sample, map_location="cpu", weights_only=True)
    assert list(torch.load(target, map_location="cpu", weights_only=True)) == [
        key for key in wanted if key != "optimizer"
    ]
    desk.settle()
    assert desk.said[0][1].startswith("Wrote model_3.slim.pth, without optimizer: ")


def test_a_file_without_an_optimizer_is_told_so(desk, tmp_path):
    desk.open(builders.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "x.pth"))
    desk.slim.ask()
    desk.settle()
    assert desk.said[0][0] == "error"
    assert "no optimizer was recognised" in desk.said[0][1]


def test_no_copy_is_written_where_the_saving_is_not_wanted(desk, answers, sample, monkeypatch):
    monkeypatch.setattr(asking, "ask", lambda *_: False)
    desk.open(sample)
    desk.slim.ask()
    desk.settle()
    assert answers.asked == []
    assert [path.name for path in sample.parent.iterdir()] == ["model_3.pth"]
