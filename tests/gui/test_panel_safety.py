"""The safety panel: every name with its place, what torch would say, what was noticed; never a badge that says safe."""

from __future__ import annotations

import pytest
from builders import call, floats, listed, mapped, name, pickled, tensor, text, zip_checkpoint
from opening import open_bytes
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from tree_samples import mapping_of

from ckpt_viewer.core.finding import GlobalUse, Note
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.value import Global, Instance
from ckpt_viewer.gui.panels.safety import SIGNS, SafetyPanel
from ckpt_viewer.gui.panels.safety_report import STATUSES, report


def cells(table):
    model = table.lines
    return [[model.text(row, column) for column in range(len(model.titles))] for row in range(len(model.rows))]


def of_bytes(body, storages=None):
    return report(open_bytes(zip_checkpoint(pickled(body), storages)), SILENT)


def evil():
    called = Instance(Global("posix", "system"), ("true",))
    root = mapping_of({"model": mapping_of({"a": 1}), "hook": called})
    uses = (
        GlobalUse("collections.OrderedDict", "known", True, 3, root, "data.pkl, byte 2"),
        GlobalUse("my.Net", "unknown", False, 0, None, "data.pkl, byte 9"),
        GlobalUse("posix.system", "dangerous", False, 1, called, "data.pkl, byte 40"),
    )
    notes = (Note("info", "crc-absent", None, "no checksums"), Note("error", "bad-tensor", called, "it is broken"))
    return root, {"globals": uses, "notes": notes, "weights_only": "it names posix.system",
                  "weights_only_says": "whose module posix is blocked"}  # fmt: skip


@pytest.fixture
def panel(open_details):
    root, contents = evil()
    details = open_details(root, **contents)
    return details, details.select("", "Safety")


def test_names_stand_in_the_order_of_their_urgency(panel):
    _, safety = panel
    assert cells(safety.names) == [
        ["dangerous", "posix.system", "1", "refuses it", "/hook"],
        ["unknown", "my.Net", "only named", "refuses it", "not in the tree; data.pkl, byte 9"],
        ["known", "collections.OrderedDict", "3", "takes it", "the root"],
    ]


def test_the_verdict_says_the_version_and_why_in_torchs_words(panel):
    _, safety = panel
    assert safety.heading.text() == "torch.load(weights_only=True) of torch 2.13 refuses this file."
    said = safety.details.toPlainText().splitlines()
    assert said[:2] == ["It names posix.system.", "whose module posix is blocked"]
    assert safety.summary.text().startswith("Names: 1 dangerous, 1 unknown, 1 known.")


def test_no_name_gets_a_badge_that_calls_it_safe(panel):
    _, safety = panel
    assert "success" not in SIGNS
    known = safety.names.lines.index(2, 0)
    assert known.data(Qt.ItemDataRole.DecorationRole) is None
    assert safety.names.lines.index(0, 0).data(Qt.ItemDataRole.DecorationRole) is not None


def test_findings_are_listed_with_their_place(panel):
    _, safety = panel
    assert cells(safety.findings) == [
        ["error", "it is broken", "/hook", "bad-tensor"],
        ["info", "no checksums", "", "crc-absent"],
    ]
    assert safety.noticed.text() == "Noticed about the file: 2"


@pytest.mark.parametrize("table", ["names", "findings"])
def test_a_click_selects_where_it_is_used(qtbot, panel, table):
    details, safety = panel
    rows = getattr(safety, table)
    with qtbot.waitSignal(details.session.selectionChanged):
        rows.clicked.emit(rows.lines.index(0, 1))
    assert details.session.selected.pointer == "/hook"


def test_a_name_that_the_tree_does_not_show_leads_nowhere(panel):
    details, safety = panel
    safety.names.follow(safety.names.lines.index(1, 1))
    assert not details.session.jobs.active
    assert details.session.selected.pointer == ""


def test_enter_follows_as_a_click_does(qtbot, panel):
    details, safety = panel
    safety.names.setCurrentIndex(safety.names.lines.index(0, 1))
    with qtbot.waitSignal(details.session.selectionChanged):
        safety.names.activated.emit(safety.names.currentIndex())
    assert details.session.selected.pointer == "/hook"


def test_copies_are_whole_rows_and_escaped(open_details):
    use = GlobalUse("evil\u202e\x1b[2J.name" + "x" * 1000, "unknown", False, 1, None, "byte 1")
    safety = open_details(mapping_of({"a": 1}), globals=(use,)).select("", "Safety")
    safety.names.copy_all()
    copied = QGuiApplication.clipboard().text()
    assert copied.startswith("unknown\tevil\\u202e\\x1b[2J.name")
    assert copied.count("x") > 1000
    assert not set(copied) & {"\u202e", "\x1b"}


def test_names_are_escaped_on_the_screen_and_in_tooltips(open_details):
    use = GlobalUse("<b>a\u202e</b>", "unknown", False, 1, None, "byte 1")
    safety = open_details(mapping_of({"a": 1}), globals=(use,)).select("", "Safety")
    index = safety.names.lines.index(0, 1)
    assert index.data() == "<b>a\\u202e</b>"
    assert "&lt;b&gt;" in index.data(Qt.ItemDataRole.ToolTipRole)


def test_everything_has_a_name_for_a_screen_reader(panel):
    _, safety = panel
    assert safety.names.accessibleName() == "Names that the file refers to"
    assert safety.findings.accessibleName() == "What was noticed about the file"
    assert safety.names.lines.index(0, 3).data(Qt.ItemDataRole.AccessibleTextRole) == "weights_only: refuses it"


def test_models_keep_the_rules(qtmodeltester, panel):
    _, safety = panel
    qtmodeltester.check(safety.names.lines, force_py=True)
    qtmodeltester.check(safety.findings.lines, force_py=True)


def test_it_is_for_the_root_only(panel):
    details, _ = panel
    assert SafetyPanel.rate(details.checkpoint["/hook"]) == 0
    assert SafetyPanel.rate(details.checkpoint.root) > 0


def test_a_file_without_names_says_so(open_details):
    safety = open_details(mapping_of({"a": 1})).select("", "Safety")
    assert safety.summary.text() == "It names no function and no class."
    assert not safety.names.isVisible()
    assert safety.noticed.text() == "Nothing was noticed in how the file is built."


def test_the_report_of_a_real_file():
    said = of_bytes(mapped((text("w"), tensor()), (text("x"), call(name("os", "system"), text("true")))),
                    {"0": floats(1, 2, 3, 4)})  # fmt: skip
    assert said.heading.endswith("refuses this file.")
    assert said.details.startswith("It names os.system.")
    assert "whose module os is blocked" in said.details
    assert said.names[0].cells[0] == "os.system"
    assert [STATUSES[row.rank] for row in said.names] == ["dangerous", "known", "known", "known"]


def test_another_torch_than_that_of_the_rules_is_told(monkeypatch):
    monkeypatch.setattr("ckpt_viewer.gui.panels.safety_report._installed", lambda: "2.9.1")
    assert "torch 2.9.1 is installed here" in of_bytes(b"N").details


def test_thousands_of_names_are_sorted_and_placed_in_one_walk():
    body = listed(*(call(name(f"m{n}", "F")) for n in range(3000)))
    said = of_bytes(body)
    assert len(said.names) == 3000
    assert [row.row for row in said.names] == list(range(1, 3001))


def test_columns_go_where_the_place_of_a_name_would_have_no_room(panel):
    table, hidden = panel[1].names, []
    for width in (1200, 560, 380):
        table.resize(width, 300)
        hidden.append([column for column in range(5) if table.isColumnHidden(column)])
        assert table.columnWidth(4) >= 80
    assert hidden == [[], [2], [2, 3]]
