"""The export dialog: what is checked, the plan it shows, what stands against it, and what it hands on."""

from __future__ import annotations

import os
import shutil
from collections import OrderedDict
from pathlib import Path
from unittest.mock import MagicMock

import builders
import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QLabel, QWidget

from ckpt_viewer.gui import asking
from ckpt_viewer.gui.export_flow import ExportFlow
from ckpt_viewer.gui.exporting import preview
from ckpt_viewer.gui.exporting.check_tree import CheckModel
from ckpt_viewer.gui.exporting.checks import OFF, ON, PARTLY, Checks
from ckpt_viewer.gui.exporting.dialog import SIZE
from ckpt_viewer.gui.exporting.form import KEEP, STRIP
from ckpt_viewer.gui.exporting.window_words import window_words
from ckpt_viewer.gui.jobs import JobRunner
from ckpt_viewer.gui.messages import Messages
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.tree.cells import Cells

torch = pytest.importorskip("torch")
UNCHECKED, PARTIALLY, CHECKED = Qt.CheckState.Unchecked, Qt.CheckState.PartiallyChecked, Qt.CheckState.Checked


class Desk:
    """A session with an open file, and a flow over it."""

    def __init__(self, qtbot, window):
        self.qtbot = qtbot
        self.session, self.messages, self.writes = Session(), Messages(), JobRunner()
        self.flow = ExportFlow(self.session, self.messages, self.writes, window)

    def open(self, path):
        with self.qtbot.waitSignal(self.session.selectionChanged):
            self.session.open(str(path))

    def ask(self, *pointers):
        """Open the dialog and wait for its first plan."""
        self.flow.ask_export([self.session.index.find(pointer) for pointer in pointers])
        self.qtbot.waitUntil(lambda: self.flow.dialog is not None)
        return self.planned(self.flow.dialog)

    def planned(self, dialog):
        self.qtbot.waitUntil(lambda: not dialog.is_working)
        return dialog

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.session.jobs.active and not self.writes.active, timeout=60_000)


@pytest.fixture
def desk(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    made = Desk(qtbot, window)
    yield made
    if made.flow.dialog is not None:
        made.flow.dialog.reject()
    made.settle()
    made.session.close()
    made.writes.cancel_all()
    made.settle()


@pytest.fixture
def source(tmp_path):
    """Two wrapped models, one with tied weights, and an optimizer's worth of other tensors."""
    net = torch.nn.Sequential(OrderedDict(a=torch.nn.Linear(3, 3), bn=torch.nn.BatchNorm1d(3), b=torch.nn.Linear(3, 3)))
    net.b.weight = net.a.weight
    value = {
        "model": torch.nn.DataParallel(net).state_dict(), "teacher": torch.nn.Linear(2, 2).state_dict(),
        "loose": [torch.ones(2)], "epoch": 3,
    }  # fmt: skip
    return builders.save(value, tmp_path / "x.pth")


def text(dialog, name):
    return dialog.findChild(QLabel, name).text()


def rows(dialog):
    model = dialog.plan.table.plan_model
    return [model.cell(row).texts for row in range(model.rowCount())]


# --- check marks, without a dialog ------------------------------------------------------------------------------------


@pytest.fixture
def checks(desk, source):
    desk.open(source)
    made = Checks(desk.session.index)
    desk.session.index.mark({made.index.find("/model"): "model", made.index.find("/teacher"): "model"})
    return made


def test_what_is_below_is_checked_with_it(checks):
    find = checks.index.find
    checks.set(find("/model"), True)
    assert [checks.state(find(each)) for each in ("", "/model", "/model/module.a.", "/teacher")] == [
        PARTLY,
        ON,
        ON,
        OFF,
    ]
    assert checks.pointers() == ("/model",)


def test_unchecking_a_part_leaves_the_rest(checks):
    find = checks.index.find
    checks.set(find("/model"), True)
    checks.set(find("/model/module.a.weight"), False)
    assert checks.pointers() == ("/model/module.a.bias", "/model/module.bn.", "/model/module.b.")
    assert checks.state(find("/model")) == PARTLY
    assert checks.state(find("/model/module.a.")) == PARTLY
    checks.set(find("/model/module.a.weight"), True)
    assert checks.pointers() == ("/model",)


def test_a_checkpoint_is_not_checked_because_all_its_models_are(checks):
    for pointer in ("/model", "/teacher", "/loose"):
        checks.set(checks.index.find(pointer), True)
    assert checks.pointers() == ("/model", "/teacher", "/loose")
    checks.set(0, True)
    assert checks.pointers() == ("",)
    checks.set(0, False)
    assert checks.pointers() == ()


def test_what_holds_no_tensor_cannot_be_checked(checks):
    epoch = checks.index.find("/epoch")
    assert not checks.can(epoch)
    checks.set(epoch, True)
    assert checks.pointers() == ()


def test_the_model_of_the_tree(desk, source, qtmodeltester):
    desk.open(source)
    model = CheckModel(Cells(desk.session.index, desk.session.checkpoint.locator, "x.pth"))
    qtmodeltester.check(model, force_py=True)
    root = model.index_of(0)
    model.fetchMore(root)
    states = {model.data(index): model.data(index, Qt.ItemDataRole.CheckStateRole)
              for index in (model.index(row, 0, root) for row in range(model.rowCount(root)))}  # fmt: skip
    assert states == {"model": UNCHECKED, "teacher": UNCHECKED, "loose": UNCHECKED, "epoch": None}
    assert model.setData(model.index(0, 0, root), CHECKED, Qt.ItemDataRole.CheckStateRole)
    assert model.data(root, Qt.ItemDataRole.CheckStateRole) is PARTIALLY
    qtmodeltester.check(model, force_py=True)


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_the_plan_of_what_was_chosen(desk, source, qtmodeltester):
    desk.open(source)
    dialog = desk.ask("/model")
    assert text(dialog, "exportSummary").startswith("9 tensors, ")
    assert text(dialog, "exportSummary").endswith(", 2 tied")
    assert "free on that disk" in text(dialog, "exportRoom")
    assert rows(dialog)[0] == ("module.a.weight", "same", "float32", "36 B")
    tied = next(row for row in rows(dialog) if row[0] == "module.b.weight")
    assert tied[1] == "same, tied to module.a.weight"
    assert dialog.export_button.isEnabled()
    qtmodeltester.check(dialog.plan.table.plan_model, force_py=True)


def test_the_names_are_shown_once_where_there_is_nothing_to_say_of_them(desk, source):
    desk.open(source)
    dialog = desk.ask("/teacher")
    assert dialog.plan.table.isColumnHidden(1)


@pytest.mark.parametrize(("suffix", "told"), [("pth", True), ("safetensors", True), ("npz", False)])
def test_ties_are_told_where_they_stay(desk, source, suffix, told):
    desk.open(source)
    dialog = desk.ask("/model")
    dialog.target.line.setText(f"out.{suffix}")
    desk.planned(dialog)
    assert ("tied" in text(dialog, "exportSummary")) is told
    assert any("tied to" in row[1] for row in rows(dialog)) is (suffix == "pth")


def test_a_prefix_that_goes_is_named(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    dialog.form.prefix.setCurrentText(STRIP)
    desk.planned(dialog)
    assert "9 renamed (without 'module.')" in text(dialog, "exportSummary")
    dialog.form.rename.setPlainText("a=first")
    desk.planned(dialog)
    assert "9 renamed, " in text(dialog, "exportSummary")


def test_the_plan_follows_the_answers(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    dialog.form.prefix.setCurrentText(STRIP)
    dialog.form.dtype.setCurrentText("float16")
    dialog.form.buffers.setChecked(False)
    dialog.form.rename.setPlainText("a=first\n\nnot there=x")
    assert not dialog.export_button.isEnabled()
    desk.planned(dialog)
    assert rows(dialog)[0] == ("module.a.weight", "first.weight", "float32 → float16", "18 B")
    assert rows(dialog)[-1] == ("module.bn.num_batches_tracked", "left out: a buffer, by its name", "", "")
    assert not dialog.plan.table.isColumnHidden(1)
    assert "6 renamed, 6 cast, 3 left out" in text(dialog, "exportSummary")
    assert "The rename rule not there=x matches no name." in text(dialog, "exportWarnings")


def test_collisions_come_first_and_stop_it(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    dialog.form.rename.setPlainText("module.a=module.b")
    desk.planned(dialog)
    assert text(dialog, "exportProblem").startswith("'module.a.weight', 'module.b.weight' would all be called")
    assert rows(dialog)[0][:2] == ("module.a.weight", "module.b.weight  (wanted twice)")
    assert not dialog.export_button.isEnabled()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda dialog: dialog.form.rename.setPlainText("a"), "'a' is no rename rule; write OLD=NEW"),
        (lambda dialog: dialog.form.exclude.setText("'module.a"), 'A quote in "\'module.a" is not closed'),
        (lambda dialog: dialog.form.exclude.setText("*"), "Nothing is left of the 9 tensors that were chosen"),
        (lambda dialog: dialog.tree.check([]), "Nothing is checked; check a model or a part of it."),
        (lambda dialog: dialog.target.line.setText("/no/such/folder/x.pth"), "There is no folder '/no/such/folder'"),
        (lambda dialog: dialog.target.line.setText("x.pth"), "The target is the very file that is read"),
        (lambda dialog: dialog.target.line.setText("~/no such folder/x.pth"), f"There is no folder '{Path.home()}/no"),
    ],
)
def test_what_stands_against_it_is_said_in_place(desk, source, change, sentence):
    desk.open(source)
    dialog = desk.ask("/model")
    change(dialog)
    desk.planned(dialog)
    assert text(dialog, "exportProblem").startswith(sentence)
    assert "would be replaced" not in text(dialog, "exportRoom")
    assert not dialog.export_button.isEnabled()


@pytest.mark.parametrize(
    ("read_only", "sentence"), [(True, "is read-only; choose another"), (False, "you are not allowed to write into")]
)
def test_a_folder_that_cannot_be_written_is_told_before(desk, source, monkeypatch, read_only, sentence):
    monkeypatch.setattr(preview.os, "access", lambda *_: False)
    monkeypatch.setattr(preview, "_is_read_only", lambda _: read_only)
    desk.open(source)
    dialog = desk.ask("/model")
    assert sentence in text(dialog, "exportProblem").lower()
    assert not dialog.export_button.isEnabled()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_is_told_with_what_it_leads_to(desk, source, tmp_path, monkeypatch):
    other = tmp_path / "other disk"
    other.mkdir()
    source.with_name("out.pth").symlink_to(other / "real.pth")
    asked = []
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(Path(path)) or usage(path))
    desk.open(source)
    dialog = desk.ask("/model")
    asked.clear()
    dialog.target.line.setText("out.pth")
    desk.planned(dialog)
    room = text(dialog, "exportRoom")
    assert f"that name is a link to {other / 'real.pth'}" in room
    assert "would be replaced" not in room, "it leads to a file that is not there yet"
    assert set(asked) == {other}, "room is needed where the file will really lie"
    with desk.qtbot.waitSignal(desk.flow.written, timeout=60_000) as got:
        dialog.export_button.click()
    assert got.args == [other / "real.pth"]
    assert source.with_name("out.pth").is_symlink()


def test_a_disk_that_is_too_small(desk, source, monkeypatch):
    free = shutil.disk_usage("/")._replace(free=60_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    desk.open(source)
    dialog = desk.ask("/model")
    assert "has too little space" in text(dialog, "exportProblem")
    assert text(dialog, "exportRoom") == "60 kB free on that disk."
    assert not dialog.export_button.isEnabled()


def test_the_suffix_and_the_format_follow_each_other(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    assert dialog.target.path == str(source.with_name("x.state_dict.pth"))
    dialog.form.set_format("safetensors")
    assert dialog.target.path == str(source.with_name("x.state_dict.safetensors"))
    dialog.target.line.setText("y.npz")
    assert dialog.form.format_name == "npz"
    assert not dialog.form.shards.isEnabled()
    desk.planned(dialog)


def test_hostile_names_stay_text(desk, tmp_path):
    value = {"model": {"<b>x</b>\u202e\n.weight": torch.ones(2), "b.weight": torch.ones(1)}}
    desk.open(builders.save(value, tmp_path / "x.pth"))
    dialog = desk.ask("/model")
    model = dialog.plan.table.plan_model
    assert model.data(model.index(0, 0)) == "<b>x</b>\\u202e\\n.weight"
    assert "&lt;b&gt;" in model.data(model.index(0, 0), Qt.ItemDataRole.ToolTipRole)


def test_dicts_in_dicts_are_counted_by_their_tensors(desk, tmp_path):
    state = {"state": {0: {"exp_avg": torch.ones(4)}, 1: {"exp_avg": torch.ones(2)}}, "groups": [{"lr": 0.1}]}
    desk.open(builders.save({"optimizer": state}, tmp_path / "x.pth"))
    dialog = desk.ask("/optimizer")
    assert text(dialog, "exportSummary").startswith("2 tensors, ")
    assert rows(dialog) == [("state", "same", "2 tensors", "24 B"), ("groups", "same", "plain value", "")]
    assert text(dialog, "exportWarnings").startswith("Kept although no tensors: 'groups'.")


def test_a_very_long_name_does_not_widen_the_dialog(desk, tmp_path):
    value = {"model": {"\n" + "n" * 300: torch.ones(2), "": torch.ones(1)}}
    desk.open(builders.save(value, tmp_path / "x.pth"))
    dialog = desk.ask("/model")
    assert [row[0] for row in rows(dialog)][1] == '""'
    before = dialog.minimumSizeHint().width()
    dialog.target.line.setText("x.npz")
    desk.planned(dialog)
    problem = text(dialog, "exportProblem")
    assert "has a name with control characters, so it cannot be a member of an archive; rename it." in problem
    assert dialog.minimumSizeHint().width() <= max(before, SIZE.width())


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("choose one with --from", "choose one"),
        ("'a' is bad; rename it: --rename", "'a' is bad; rename it"),
        ("(rename it: --rename __metadata__=NEW)", "(rename it: __metadata__=NEW)"),
        ("(cast it: --dtype float32)", "(cast it to float32)"),
        ("choose a larger --max-shard-size", "choose a larger size of a file"),
    ],
)
def test_options_have_the_names_of_the_window(said, here):
    assert window_words(said) == here


def test_the_first_model_is_checked_where_nothing_was_chosen(desk, source):
    desk.open(source)
    with desk.qtbot.waitSignal(desk.session.described):
        desk.session.describe()
    dialog = desk.ask()
    assert dialog.tree.pointers == ("/model",)


def test_every_question_has_a_name(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    for name in ("Format", "Dtype", "Prefix", "Rename", "Include", "Exclude", "Buffers", "ShardSize", "Target", "Plan"):
        widget = dialog.findChild(QWidget, f"export{name}")
        assert widget.accessibleName() or widget.text()
    assert dialog.form.prefix.currentText() == KEEP


@pytest.mark.parametrize(
    ("window", "screen", "wanted"),
    [
        ((900, 600), (1920, 1080), (1080, 680)),
        ((3000, 2000), (3840, 2160), (1800, 1200)),
        ((900, 600), (900, 600), (884, 552)),
    ],
)
def test_the_dialog_fits_the_screen_and_the_window(desk, source, monkeypatch, window, screen, wanted):
    desk.open(source)
    dialog = desk.ask("/model")
    dialog.parentWidget().resize(*window)
    monkeypatch.setattr(dialog, "screen", lambda: MagicMock(availableSize=lambda: QSize(*screen)))
    assert dialog._usual_size() == QSize(*wanted)
    least = dialog.minimumSizeHint()
    assert least == least.boundedTo(QSize(884, 552)), "Export can be reached on a small screen"


# --- the end ----------------------------------------------------------------------------------------------------------


def test_what_was_planned_is_written(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    dialog.form.prefix.setCurrentText(STRIP)
    dialog.form.set_format("safetensors")
    desk.planned(dialog)
    with desk.qtbot.waitSignal(desk.flow.written, timeout=60_000) as got:
        desk.qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    assert got.args == [source.with_name("x.state_dict.safetensors")]
    desk.settle()
    from safetensors.torch import load_file

    assert "a.weight" in load_file(got.args[0])
    said = desk.messages.all[0]
    assert said.text.startswith("Wrote x.state_dict.safetensors: ")
    assert [action.text for action in said.actions] == ["Show in folder", "Open the result"]
    assert desk.flow.dialog is None


@pytest.mark.parametrize("agreed", [True, False])
def test_an_existing_file_is_asked_for(desk, source, monkeypatch, agreed):
    target = source.with_name("x.state_dict.pth")
    target.write_bytes(b"old")
    asked = []
    monkeypatch.setattr(asking, "ask_replace", lambda _, path, *, count: asked.append((path, count)) or agreed)
    desk.open(source)
    dialog = desk.ask("/teacher")
    assert "a file of that name is there and would be replaced" in text(dialog, "exportRoom")
    if agreed:
        with desk.qtbot.waitSignal(desk.flow.written, timeout=60_000):
            dialog.export_button.click()
        assert list(torch.load(target, weights_only=True)) == ["weight", "bias"]
    else:
        dialog.export_button.click()
        assert dialog.isVisible()
        assert target.read_bytes() == b"old"
    assert asked == [(str(target), 1)]


def test_a_set_is_replaced_as_a_whole(desk, source, monkeypatch):
    asked = []
    monkeypatch.setattr(asking, "ask_replace", lambda _, path, *, count: asked.append(count) or True)
    desk.open(source)
    target = source.with_name("set.safetensors")
    for exists in (0, 3):
        dialog = desk.ask("/teacher")
        dialog.target.line.setText(str(target))
        dialog.form.shards.setCurrentText("20B")
        desk.planned(dialog)
        assert " in 3 files" in text(dialog, "exportSummary")
        assert (f"{exists} of these files are there and would be replaced" in text(dialog, "exportRoom")) is bool(
            exists
        )
        with desk.qtbot.waitSignal(desk.flow.written, timeout=60_000):
            dialog.export_button.click()
        desk.settle()
    assert asked == [3]
    assert not target.exists()


def test_giving_up_writes_nothing_and_gives_the_file_back(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    dialog.reject()
    desk.settle()
    assert desk.flow.dialog is None
    assert [path.name for path in source.parent.iterdir()] == ["x.pth"]
    assert not desk.session._loans._readers


def test_another_file_closes_the_dialog(desk, source):
    desk.open(source)
    dialog = desk.ask("/model")
    with desk.qtbot.waitSignal(dialog.finished):
        desk.session.reload()
    desk.settle()
    assert desk.flow.dialog is None


def test_two_places_of_the_tree(desk, source):
    desk.open(source)
    dialog = desk.ask("/teacher", "/loose")
    assert [row[0] for row in rows(dialog)] == ["teacher.weight", "teacher.bias", "loose.0"]
    assert Path(dialog.target.path).name == "x.state_dict.pth"


def test_the_first_model_is_checked_once_it_is_known(desk, source):
    """Whoever asks sooner than the models of a large file are found is not told that nothing is checked."""
    desk.open(source)
    assert desk.session.overview is None
    dialog = desk.ask()
    assert dialog.tree.pointers == ()
    with desk.qtbot.waitSignal(desk.session.described):
        desk.session.describe()
    assert dialog.tree.pointers == ("/model",)


def test_what_was_checked_meanwhile_stays(desk, source):
    desk.open(source)
    dialog = desk.ask("/teacher")
    with desk.qtbot.waitSignal(desk.session.described):
        desk.session.describe()
    assert dialog.tree.pointers == ("/teacher",)
