from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialogButtonBox

from ckpt_viewer.core.location import leave_on_cpu
from ckpt_viewer.errors import BadMapLocation, Unreadable
from ckpt_viewer.gui.choices import as_saved_text, choices, targets_to_offer
from ckpt_viewer.gui.load_onto import LoadOnto, MapLocationBox
from ckpt_viewer.gui.rules_dialog import RulesDialog

LOOKING = "looking for devices"


@pytest.fixture
def box(qtbot):
    made = MapLocationBox()
    qtbot.addWidget(made)
    return made


@pytest.mark.parametrize(
    ("tags", "devices", "text"),
    [
        (["cuda:1"], None, "As saved (cuda:1)"),
        (["cuda:1"], ["cpu"], "As saved (cuda:1, not on this computer)"),
        (["cuda:1"], ["cpu", "cuda:0", "cuda:1"], "As saved (cuda:1)"),
        (["cpu"], ["cpu"], "As saved (cpu)"),
        (["cuda:1", "cpu", "cuda:2"], ["cpu"], "As saved (cpu; not on this computer: cuda:1, cuda:2)"),
        ([None], ["cpu"], "As saved"),
        ([], None, "As saved"),
        ([f"cuda:{n}" for n in range(5)], None, "As saved (cuda:0, cuda:1, cuda:2 and 2 more)"),
        (["\x1b[1m"], None, r"As saved (\x1b[1m)"),
    ],
)
def test_as_saved_names_the_tags(tags, devices, text):
    assert as_saved_text(tags, devices) == text


def test_the_choices_before_and_after_the_devices_are_known():
    before = [(each.text, each.spec) for each in choices(["cuda:1"], None, LOOKING, None)]
    assert before == [
        ("As saved (cuda:1)", "as-saved"),
        ("CPU (works everywhere)", "cpu"),
        ("Looking for devices …", ""),
        ("Storage as read", "storage"),
        ("Rules …", "rules"),
    ]
    after = [each.text for each in choices(["cuda:1"], {"cpu": "", "cuda:0": "NVIDIA H100"}, "", None)]
    assert after == [
        "As saved (cuda:1, not on this computer)",
        "CPU (works everywhere)",
        "cuda:0 (NVIDIA H100)",
        "Storage as read",
        "Rules …",
    ]


def test_what_is_chosen_has_an_entry_of_its_own():
    table = {"cuda:1": "cpu", "cuda:2": "cuda:0"}
    rules = choices(["cuda:1"], {"cpu": ""}, "", table)[-2]
    assert rules.text == "Rules: cuda:1 → cpu, cuda:2 → cuda:0"
    assert rules.spec == "cuda:1=cpu,cuda:2=cuda:0"
    away = choices(["cuda:1"], {"cpu": ""}, "", "cuda:7")
    assert ("cuda:7 (not on this computer)", "cuda:7") in [(each.text, each.spec) for each in away]


def test_a_rule_can_name_devices_that_are_not_here():
    offered = targets_to_offer(["cpu", "cuda:0"])
    assert offered[:2] == ["cpu", "cuda:0"]
    assert len(offered) == len(set(offered))
    assert "mps" in offered


def test_the_box_shows_what_is_chosen_and_a_line_above_the_rest(box):
    box.offer(["cuda:1"], {"cpu": ""}, "", leave_on_cpu)
    assert box.currentText() == "Storage as read"
    assert box.accessibleName() == "Load onto (map_location): Storage as read"
    kinds = [box.itemData(row, Qt.ItemDataRole.AccessibleDescriptionRole) for row in range(box.count())]
    assert kinds == [None, None, "separator", None, None]


@pytest.mark.parametrize(("spec", "value"), [("cpu", "cpu"), ("storage", leave_on_cpu), ("cuda:0", "cuda:0")])
def test_choosing_says_what_it_means(qtbot, box, spec, value):
    box.offer(["cuda:1"], {"cpu": "", "cuda:0": ""}, "", None)
    with qtbot.waitSignal(box.chosen) as got:
        box.choose(spec)
    assert got.args == [value]


def test_going_back_to_as_saved(qtbot, box):
    box.offer(["cuda:1"], {"cpu": ""}, "", "cpu")
    with qtbot.waitSignal(box.chosen) as got:
        box.choose("as-saved")
    assert got.args == [None]


def test_what_cannot_be_chosen_says_nothing(qtbot, box):
    box.offer(["cuda:1"], None, LOOKING, None)
    with qtbot.assertNotEmitted(box.chosen):
        box.choose("as-saved")
        box.choose("")
    with qtbot.waitSignal(box.rulesWanted), qtbot.assertNotEmitted(box.chosen):
        box.choose("rules")
    assert box.currentText() == "As saved (cuda:1)"


def test_the_keyboard_chooses_too(qtbot, box):
    box.offer(["cuda:1"], None, LOOKING, None)
    box.show()
    with qtbot.waitSignal(box.chosen) as got:
        qtbot.keyClick(box, Qt.Key.Key_Down)
    assert got.args == ["cpu"]


def test_the_line_of_code_is_copied_whole(qtbot, qapp):
    widget = LoadOnto()
    qtbot.addWidget(widget)
    line = 'torch.load("' + "x" * 500 + '", map_location="cpu")'
    widget.code.show_code(line)
    widget.code.copy_button.click()
    assert qapp.clipboard().text() == line


@pytest.fixture
def dialog(qtbot):
    made = RulesDialog(
        [("cuda:1", 134_000_000), (None, 5), ("cuda:2", 7)], ["cpu", "cuda:0"], {"cuda:2": "cpu"}, "a.pth"
    )
    qtbot.addWidget(made)
    return made


def ok(dialog):
    return dialog._buttons.button(QDialogButtonBox.StandardButton.Ok)


def test_the_rules_have_a_row_for_each_tag(dialog):
    table = dialog._rows
    rows = [(table.item(row, 0).text(), table.item(row, 1).text()) for row in range(table.rowCount())]
    assert rows == [("cuda:1", "134 MB"), ("cuda:2", "7 B")]
    assert dialog.table == {"cuda:2": "cpu"}


def test_the_rules_are_shown_as_code(dialog):
    dialog._boxes[0].setCurrentText("cuda:0")
    assert dialog.table == {"cuda:1": "cuda:0", "cuda:2": "cpu"}
    assert dialog._code.code == 'torch.load("a.pth", map_location={"cuda:1": "cuda:0", "cuda:2": "cpu"})'


def test_a_device_that_torch_does_not_know_is_refused(dialog):
    dialog._boxes[0].setCurrentText("gpu0")
    assert not ok(dialog).isEnabled()
    assert dialog._problem.text().startswith("torch has no device 'gpu0'; use cpu, ")
    dialog._boxes[0].setCurrentText("as saved")
    assert ok(dialog).isEnabled()
    assert dialog._problem.text() == ""


def test_a_bad_choice_is_a_message(qtbot, qapp):
    from ckpt_viewer.gui.devices import Devices
    from ckpt_viewer.gui.load_flow import LoadFlow
    from ckpt_viewer.gui.messages import Messages
    from ckpt_viewer.gui.session import Session

    window = LoadOnto()
    qtbot.addWidget(window)
    session, messages = Session(), Messages()
    session.set_map_location = MagicMock(side_effect=BadMapLocation("torch has no device 'x'; use cpu"))
    flow = LoadFlow(session, window, messages, Devices(), window)
    flow.choose("x")
    assert [message.text for message in messages.all] == ["torch has no device 'x'; use cpu."]


def test_where_a_file_fails_to_open_again_nothing_is_said_of_where_it_loads(qtbot):
    from ckpt_viewer.gui.devices import Devices
    from ckpt_viewer.gui.load_flow import TOPIC, LoadFlow
    from ckpt_viewer.gui.messages import Message, Messages
    from ckpt_viewer.gui.session import Session

    window = LoadOnto()
    qtbot.addWidget(window)
    session, messages = Session(), Messages()
    LoadFlow(session, window, messages, Devices(), window)
    messages.post(Message("warning", "cuda:1 is not on this computer.", topic=TOPIC))
    session.failed.emit(Unreadable("there is no such file; check the path"))
    assert messages.all == ()
