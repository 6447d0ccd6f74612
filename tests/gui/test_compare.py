"""Two windows and a third one that shows what differs between their files."""

from __future__ import annotations

import copy
import csv
import threading

import pytest
import torch
from builders import save
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from torch import nn, optim

from ckpt_viewer.analysis.diff_table import Line
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.compare import window as compare_window
from ckpt_viewer.gui.compare.table import DiffModel, number_text
from ckpt_viewer.gui.compare.work import COSINE, ENTRY, LARGEST, SIDE_A, SIDE_B, WHAT, arrange, write_csv
from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.windows import Windows


class Answer:
    """Knows the devices of a pretended machine."""

    def ask(self):
        return {"cpu": ""}

    def stop(self):
        """Nothing runs."""


@pytest.fixture
def windows(qtbot):
    made = Windows(Devices(Answer()))
    yield made
    made.comparisons.close()
    for window in made.all:
        window.close()
    made.shut_down()
    qtbot.waitUntil(lambda: not made.all)


def state(epoch: int = 3) -> dict:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}


def other_state() -> dict:
    other = copy.deepcopy(state(epoch=7))
    other["model"]["0.bias"] += 1
    other["model"]["0.weight"] = torch.zeros(5, 4)
    del other["model"]["1.bias"]
    other["extra"] = {"deep": torch.ones(2)}
    return other


@pytest.fixture
def compared(qtbot, windows, tmp_path):
    """Compare two files; ``compared(other)`` returns the window once it has nothing left to do."""

    def open_both(one=None, other=None):
        first = save(one or state(), tmp_path / "a.pth")
        second = save(other or other_state(), tmp_path / "b.pth")
        windows.open([str(first)])
        a = windows.all[0]
        qtbot.waitUntil(lambda: a.session.overview is not None)
        shown = windows.comparisons.compare_with_file(a, str(second))
        settle(qtbot, shown)
        return shown

    return open_both


def settle(qtbot, shown):
    def is_settled():
        busy = [side.window.session.jobs.active for side in shown.sides if side.is_open]
        return shown.comparison is not None and not shown.jobs.active and not any(busy)

    qtbot.waitUntil(is_settled)


def rows(shown):
    model = shown.table.differences
    return [
        tuple(model.text(row, column) for column in (WHAT, ENTRY, SIDE_A, SIDE_B)) for row in range(model.rowCount())
    ]


def test_what_differs_is_a_table_whose_headings_say_a_and_b(qtbot, compared):
    shown = compared()
    assert rows(shown) == [
        ("≠ shape", "/model/0.weight", "3 × 4", "5 × 4"),
        ("≠ values", "/model/0.bias", number_text(shown.comparison.lines[1].change.a), rows(shown)[1][3]),
        ("\N{MINUS SIGN} only in A", "/model/1.bias", "3 float32", ""),
        ("≠ progress", "/epoch", "3", "7"),
        ("+ only in B", "/extra", "", "dict of 1"),
    ]
    model = shown.table.differences
    assert [model.titles[column] for column in (SIDE_A, SIDE_B)] == ["A: a.pth", "B: b.pth"]
    assert model.text(1, LARGEST) == "1"
    assert "3 differ, 1 only in A, 1 only in B" in shown.sentence.text()
    assert shown.windowTitle() == "a.pth and b.pth – Comparison"


def test_a_copied_line_has_its_numbers_in_full(compared):
    shown = compared()
    shown.table.selectRow(1)
    shown.table.copy()
    change = shown.comparison.lines[1].change
    copied = QGuiApplication.clipboard().text().split("\t")
    assert copied[:4] == ["≠ values", "/model/0.bias", repr(change.a), repr(change.b)]
    assert repr(change.by.max_abs) in copied


def test_equal_files_say_so(compared):
    shown = compared(other=state())
    assert rows(shown) == []
    assert shown.sentence.text().startswith("Nothing differs: ")
    assert not shown.save.isEnabled()
    assert not shown.kinds.isVisible()


def test_a_line_selects_its_entry_in_both_windows(qtbot, compared):
    shown = compared()
    a, b = (side.window.session for side in shown.sides)
    with qtbot.waitSignals([a.selectionChanged, b.selectionChanged]):
        shown.table.setCurrentIndex(shown.table.differences.index(3, ENTRY))
    assert (a.pointer, b.pointer) == ("/epoch", "/epoch")
    with qtbot.waitSignal(b.selectionChanged):
        shown.table.setCurrentIndex(shown.table.differences.index(4, ENTRY))
    assert (a.pointer, b.pointer) == ("/epoch", "/extra")


def mark(window, pointer):
    cells = window.tree.view.tree_model.cells
    row = window.session.index.find(pointer)
    return cells.mark(row), cells.note(row)


def test_both_trees_mark_what_differs_with_a_sign_and_a_word(qtbot, compared):
    shown = compared()
    a, b = (side.window for side in shown.sides)
    assert mark(a, "/model/0.weight") == ("changed", "changed")
    assert mark(a, "/model/1.bias") == ("removed", "removed")
    assert mark(b, "/extra") == ("added", "added")
    assert mark(b, "/extra/deep") == ("added", "added")
    assert mark(a, "/epoch") == ("progress", "≠ changed, 3")
    assert mark(a, "/model") == ("model", "2 changed, 1 removed")
    assert mark(a, "/model/1.weight") == ("", "")
    shown.close()
    settle_marks = lambda: mark(a, "/model/0.weight") == ("", "")  # noqa: E731
    qtbot.waitUntil(settle_marks)


def visible(window):
    index, model = window.session.index, window.tree.view.tree_model
    found = [row for row in range(len(index)) if model.index_of(row).isValid()]
    return [index.pointer(row) for row in found if index.ends[row] == row + 1]


@pytest.mark.parametrize(
    ("words", "in_a", "in_b"),
    [
        ("differs", ["/model/0.weight", "/model/0.bias", "/model/1.bias", "/epoch"],
         ["/model/0.weight", "/model/0.bias", "/epoch", "/extra/deep"]),
        ("changed", ["/model/0.weight", "/model/0.bias", "/epoch"], ["/model/0.weight", "/model/0.bias", "/epoch"]),
        ("added", [], ["/extra/deep"]),
        ("removed", ["/model/1.bias"], []),
        ("changed model", ["/model/0.weight", "/model/0.bias"], ["/model/0.weight", "/model/0.bias"]),
        ("changed ndim:1", ["/model/0.bias"], ["/model/0.bias"]),
        ("differs -changed", ["/model/1.bias"], ["/extra/deep"]),
        ("-differs dtype:i64", ["/model/1.num_batches_tracked"], ["/model/1.num_batches_tracked"]),
    ],
)  # fmt: skip
def test_words_of_the_filter_find_what_differs(compared, words, in_a, in_b):
    shown = compared()
    for side, expected in zip(shown.sides, (in_a, in_b), strict=True):
        side.filter_tree(words)
        assert visible(side.window) == expected


def test_the_words_are_offered_and_mean_names_without_a_comparison(qtbot, compared):
    shown = compared()
    a = shown.sides[0].window
    assert a.tree.filter.offer("ch") == ["changed"]
    shown.trees.click()
    assert a.tree.filter.text() == "differs"
    shown.close()
    qtbot.waitUntil(lambda: not a.session.index.compared.rows)
    assert a.tree.filter.offer("ch") == []
    assert visible(a) == []  # a part of a name that is in none


def test_kinds_and_paths_filter_and_columns_sort(qtbot, compared):
    shown = compared()
    shape = shown.kinds.item(2)
    assert shape.text() == "≠ shape  1"
    shape.setCheckState(Qt.CheckState.Unchecked)
    qtbot.waitUntil(lambda: len(rows(shown)) == 4)
    shown.filter.setText("MODEL bias")
    qtbot.waitUntil(lambda: [row[1] for row in rows(shown)] == ["/model/0.bias", "/model/1.bias"])
    shown.filter.clear()
    shape.setCheckState(Qt.CheckState.Checked)
    qtbot.waitUntil(lambda: len(rows(shown)) == 5)
    shown.table.sort_by(ENTRY)
    qtbot.waitUntil(lambda: [row[1] for row in rows(shown)] == sorted(row[1] for row in rows(shown)))
    shown.table.sort_by(ENTRY)
    qtbot.waitUntil(lambda: rows(shown)[0][1] == "/model/1.bias")
    shown.table.sort_by(ENTRY)
    qtbot.waitUntil(lambda: rows(shown)[0][1] == "/model/0.weight")
    shown.filter.setText("nowhere")
    qtbot.waitUntil(lambda: "“nowhere”" in shown.nothing.text.text())


def test_swapping_makes_a_of_b(qtbot, compared):
    shown = compared()
    shown.swap.click()
    settle(qtbot, shown)
    assert shown.table.differences.titles[SIDE_A] == "A: b.pth"
    assert ("\N{MINUS SIGN} only in A", "/extra", "dict of 1", "") in rows(shown)


def test_the_comparison_follows_a_file_that_is_read_again(qtbot, compared, tmp_path):
    shown = compared()
    before = shown.comparison
    save(state(), tmp_path / "b.pth")
    shown.sides[1].window.session.reload()
    qtbot.waitUntil(lambda: shown.comparison is not None and shown.comparison is not before)
    settle(qtbot, shown)
    assert shown.sentence.text().startswith("Nothing differs")


def test_a_window_that_is_closed_leaves_the_table(qtbot, compared):
    shown = compared()
    b = shown.sides[1].window
    b.close()
    assert len(rows(shown)) == 5
    shown.table.setCurrentIndex(shown.table.differences.index(4, ENTRY))
    shown.table.activated.emit(shown.table.differences.index(4, ENTRY))
    assert not shown.sides[1].is_open


def test_a_file_that_cannot_be_opened_is_named(qtbot, windows, tmp_path):
    windows.open([str(save(state(), tmp_path / "a.pth"))])
    a = windows.all[0]
    qtbot.waitUntil(lambda: a.session.overview is not None)
    (tmp_path / "b.pth").write_text("no checkpoint")
    shown = windows.comparisons.compare_with_file(a, str(tmp_path / "b.pth"))
    qtbot.waitUntil(lambda: shown.sentence.text().startswith("B could not be opened: "))


def test_large_values_are_read_when_asked_for_and_reading_can_be_stopped(qtbot, compared, monkeypatch):
    monkeypatch.setattr(compare_window, "READ_AT_ONCE", 0)
    shown = compared()
    assert "Values of tensors were not compared" in shown.sentence.text()
    assert [row[0] for row in rows(shown)].count("≠ values") == 0
    gate, stopped = threading.Event(), []

    def slow(_a, _b, before, context):
        gate.wait(10)
        try:
            context.step(1, 2)
        except Cancelled:
            stopped.append(True)
            raise
        return before

    with monkeypatch.context() as patch:
        patch.setattr(compare_window, "compare_values", slow)
        shown.read.click()
        qtbot.waitUntil(lambda: not shown.status.isHidden())
        shown.status.job.cancel()
        gate.set()
        qtbot.waitUntil(lambda: not shown.jobs.active)
    assert stopped == [True]
    assert shown.read.isEnabled()
    shown.read.click()
    settle(qtbot, shown)
    assert [row[0] for row in rows(shown)].count("≠ values") == 1
    assert not shown.read.isVisible()


def test_what_shows_is_saved_as_csv(qtbot, compared, tmp_path, monkeypatch):
    shown = compared()
    monkeypatch.setattr(asking, "ask_csv", lambda *_: str(tmp_path / "d.csv"))
    shown.save.click()
    qtbot.waitUntil(lambda: not shown.jobs.active and (tmp_path / "d.csv").exists())
    with (tmp_path / "d.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0][:5] == ["what", "path in A", "path in B", "A: a.pth", "B: b.pth"]
    assert [row[0] for row in table[1:]] == ["shape", "values", "removed", "progress", "added"]
    assert float(table[2][5]) == pytest.approx(1)
    monkeypatch.setattr(asking, "ask_csv", lambda *_: str(tmp_path / "gone" / "d.csv"))
    shown.save.click()
    qtbot.waitUntil(lambda: "Not saved" in shown.statusBar().currentMessage())


def test_text_of_a_file_is_no_formula_and_no_markup(tmp_path):
    line = Line("value", 1, 1, "/=1+1", "/=1+1", "=cmd()", "<b>x</b>\u202e")
    write_csv([line], ("<i>a", "b"), str(tmp_path / "d.csv"), type("C", (), {"step": lambda *_: None})())
    assert "'=cmd()" in (tmp_path / "d.csv").read_text()
    model = DiffModel()
    model.show_lines([line], [0])
    assert model.index(0, SIDE_B).data() == "<b>x</b>\\u202e"
    assert "&lt;b&gt;" in model.index(0, SIDE_B).data(Qt.ItemDataRole.ToolTipRole)


def test_the_menu_asks_with_what_to_compare(qtbot, compared, windows, tmp_path, monkeypatch):
    shown = compared()
    a, b = (side.window for side in shown.sides)
    asked = []

    def which(_parent, _title, _question, answers):
        asked.append(answers)
        return 0

    monkeypatch.setattr(asking, "ask_which", which)
    a.actions_of_window.actions["compare"].trigger()
    assert asked == [[b.session.path, "Another file …"]]
    assert windows.comparisons.all == (shown,)
    third = save(state(epoch=9), tmp_path / "c.pth")
    monkeypatch.setattr(asking, "ask_which", lambda *_: 1)
    monkeypatch.setattr(asking, "ask_files", lambda *_: [str(third)])
    a.actions_of_window.actions["compare"].trigger()
    made = windows.comparisons.all[-1]
    settle(qtbot, made)
    assert [row[1] for row in rows(made)] == ["/epoch"]


def test_ctrl_q_ends_the_program_here_too(qtbot, compared, windows):
    [quits] = [each for each in compared().findChildren(QShortcut) if each.key() == QKeySequence("Ctrl+Q")]
    with qtbot.waitSignal(windows.empty):
        quits.activated.emit()
    assert windows.all == ()
    assert windows.comparisons.all == ()


def test_the_model_is_one_of_qts(compared, qtmodeltester):
    shown = compared()
    qtmodeltester.check(shown.table.differences, force_py=True)


@pytest.mark.parametrize("column", [WHAT, ENTRY, SIDE_A, SIDE_B, LARGEST, COSINE])
def test_a_hundred_thousand_lines_are_sorted_beside_the_window(column):
    class Counted:
        steps = 0

        def step(self, done, total):
            self.steps += 1

    lines = [Line("value", n, n, f"/w.{n}", f"/w.{n}", str(n % 7), str(n)) for n in range(100_000)]
    context = Counted()
    order = arrange(lines, frozenset(), "w", column, False, context)
    assert sorted(order) == list(range(100_000))
    assert order[:3] == ([0, 7, 14] if column == SIDE_A else [0, 1, 2])
    assert context.steps > 1000
