"""Words about tensors in the filter: how they are read, what they find, what is offered, what is wrong."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hand_made import mapping
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from tree_samples import checkpoint_of, mapping_of, tensor

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.gui.tree import asking, build_index, conditions, texts
from ckpt_viewer.gui.tree.cells import Cells
from ckpt_viewer.gui.tree.completion import EXAMPLES, completions
from ckpt_viewer.gui.tree.figures import Columns, FigureTable
from ckpt_viewer.gui.tree.finding import find
from ckpt_viewer.gui.tree.query import KEYS, Condition, Query, WrongWord, parse_query
from ckpt_viewer.gui.tree.widget import TreePanel
from ckpt_viewer.stats.figures import Figures


def checkpoint():
    weights = {
        "conv.weight": tensor(64, 3, 7, 7), "conv.bias": tensor(64), "fc.weight": tensor(10, 64, dtype="bfloat16"),
        "fc.bias": tensor(10, dtype="bfloat16"), "steps": tensor(dtype="int64", tag="cpu"),
        "odd:name": tensor(7, tag="cuda:0"),
    }  # fmt: skip
    model = mapping_of(weights, "collections.OrderedDict")
    return checkpoint_of(mapping(model=model, optimizer=mapping(momentum=tensor(64, 3, 7, 7)), epoch=3))


FIGURES = {
    "conv.weight": Figures(9408, 4704, 0, 0, -1.0, 12.0, 0.5, 1.0),
    "conv.bias": Figures(64, 0, 3, 0, 0.5, 1.0, 0.7, 0.1),
    "fc.weight": Figures(640, 64, 0, 1, -20.0, 1.0, 0.0, 0.001), "steps": Figures(1, 0, 0, 0, 7, 7, 7.0, 0.0),
    "momentum": Figures(9408, 0, 9408, 0, None, None, None, None),
}  # fmt: skip
"""What a scan found so far; of the others nothing is known yet."""


@pytest.fixture
def index():
    made = build_index(checkpoint())
    made.marks = {row: "optimizer" for row in range(len(made)) if made.names[row] == "optimizer"}
    return made


def table_of(index, figures=FIGURES):
    names = {name: number for number, name in enumerate(figures)}
    rows = [row for row in index.totals.tensor_rows if index.pointer(row).rpartition("/")[2] in names]
    numbers = {id(index.value(row)): names[index.pointer(row).rpartition("/")[2]] for row in rows}
    columns = Columns(len(figures))
    for name, number in names.items():
        columns.put(number, figures[name])
    return FigureTable(index, numbers, columns, SILENT)


def found(index, text, table=None):
    query = parse_query(text, index.has_name)
    return [index.pointer(row).rpartition("/")[2] for row in index.matches(query, table).rows()]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dtype:bf16", ["fc.weight", "fc.bias"]), ("dtype:bfloat16 weight", ["fc.weight"]), ("dtype:int", ["steps"]),
        ("dtype:float32 -conv", ["odd:name", "momentum"]), ("-dtype:float32", ["fc.weight", "fc.bias", "steps"]),
        ("dtype!=f32", ["fc.weight", "fc.bias", "steps"]), ("ndim:4", ["conv.weight", "momentum"]),
        ("ndim>=2 model", ["conv.weight", "fc.weight"]), ("rank=0", ["steps"]),
        ("shape:64x3x7x7 model", ["conv.weight"]),
        ("shape:*x64", ["fc.weight"]), ("shape:64", ["conv.bias"]),
        ("shape:64x", ["conv.weight", "conv.bias", "momentum"]),
        ("size>1kB model", ["conv.weight", "fc.weight"]), ("size<=8", ["steps"]), ("params=10", ["fc.bias"]),
        ("size>1kib fc", ["fc.weight"]), ("device:cpu", ["steps"]), ("device:cuda", ["conv.weight", "conv.bias",
        "fc.weight", "fc.bias", "odd:name", "momentum"]), ("device:cuda:0", ["odd:name"]),
        ("role:optimizer", ["momentum"]), ("-role:opt ndim:4", ["conv.weight"]), ("odd:name", ["odd:name"]),
        ("DTYPE:BF16 Bias", ["fc.bias"]), ("dtype:bf16 nothing", []),
    ],
)  # fmt: skip
def test_words_about_tensors(index, text, names):
    assert found(index, text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nan", ["conv.bias", "momentum"]), ("inf", ["fc.weight"]), ("-nan -inf", ["conv.weight", "steps"]),
        ("max>10", ["conv.weight"]), ("absmax>10", ["conv.weight", "fc.weight"]), ("|max|>10 fc", ["fc.weight"]),
        ("min<-5", ["fc.weight"]), ("mean=7", ["steps"]), ("std<0.01", ["fc.weight", "steps"]),
        ("zeros>=50%", ["conv.weight"]), ("zeros>100", ["conv.weight"]), ("zeros:10%", ["fc.weight"]),
        ("nan>50%", ["momentum"]), ("nan dtype:f32 model", ["conv.bias"]),
        ("max<1e3 -max>10", ["conv.bias", "fc.weight", "steps"]), ("-max<100", ["momentum"]),
    ],
)  # fmt: skip
def test_words_about_values(index, text, names):
    assert found(index, text, table_of(index)) == names
    assert found(index, text) == []


def test_words_about_values_wait_for_a_scan():
    assert parse_query("nan").needs_scan
    assert parse_query("conv max>10").needs_scan
    assert not parse_query("dtype:bf16 nano").needs_scan


def test_parts_of_names_are_what_they_were():
    assert parse_query("conv weight") == Query(("conv", "weight"))
    assert parse_query("/model/nan x:y") == Query(("/model/nan", "x:y"))
    assert parse_query('"nan" "dtype:bf16"') == Query(("nan", "dtype:bf16"))
    assert parse_query('-"nan"') == Query((), ("nan",))
    assert parse_query("nano banana") == Query(("nano", "banana"))
    assert parse_query("<b>bold</b>") == Query(("<b>bold</b>",))
    assert not parse_query("   ")


def test_a_word_that_is_not_finished_asks_for_nothing_yet():
    for key in KEYS:
        assert not parse_query(f"{key}:").conditions
    assert parse_query("conv max> - dtype: -na") == Query(("conv",))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("role:optimzer", "did you mean role:optimizer?"), ("role:x", "“x” is no role of an entry: there are model"),
        ("dtpye:bf16", "did you mean “dtype:”?"), ("kind:conv", "there are dtype, shape"),
        ("foo>10", "no word of the filter"),
        ("max>ten", "as in max>10"), ("size>3apples", "as in size>1MB"), ("zeros>half", "as in zeros>50%"),
        ("max>50%", "as in max>10"), ("dtype:bf61", "dtype:bf16"), ("dtype>bf16", "write dtype:bf16"),
        ("shape:axb", "as in shape:64x3x7x7"), ("ndim:four", "as in ndim:4"),
        ("device:cdua", "“cdua” is no device: did you mean device:cuda?"),
        ("device:cuda:x", "did you mean device:cuda?"),
        ("device:zzz", "there are cpu, meta"), ("-device:cu:1", "did you mean"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_told_what_it_could_be(text, hint):
    with pytest.raises(WrongWord) as got:
        parse_query(text)
    assert hint in str(got.value)


def test_a_name_with_a_nul_has_only_the_words_that_it_has():
    index = build_index(checkpoint_of(mapping(**{"nul\0character": tensor(3), "other": tensor(4)})))
    assert [index.pointer(row) for row in index.matches(parse_query("-other")).rows()] == ["/nul\0character"]


def test_a_file_from_one_device():
    index = build_index(checkpoint_of(mapping(one=tensor(3), two=tensor(4), epoch=3)))
    assert found(index, "device:cuda") == ["one", "two"]
    assert found(index, "-device:cuda") == found(index, "device:cpu") == []


def test_a_device_may_be_begun_and_may_be_one_of_the_file_alone(index):
    for begun in ("c", "cu", "cuda:", "cuda:1", "mps"):
        assert parse_query(f"device:{begun}").conditions[0].text == begun
    assert found(index, "device:cu") == found(index, "device:cuda")
    assert parse_query("device:lazy:3", devices=("lazy:3",)).conditions[0].text == "lazy:3"
    with pytest.raises(WrongWord):
        parse_query("device:lazy:3")


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_query_or_a_wrong_word(text):
    with suppress(WrongWord):
        assert isinstance(parse_query(text), Query)


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-(1 << 63), 1 << 63)), max_size=20),
       st.sampled_from(["<", ">", "<=", ">=", "=", "!="]), st.floats(allow_nan=False), st.booleans())  # fmt: skip
def test_flags_are_the_comparison_and_never_of_what_is_unknown(values, sign, number, negated):
    columns = Columns(len(values))
    for item, value in enumerate(values):
        if value is not None:
            columns.put(item, Figures(1, 0, 0, 0, value, value, float(value), 0.0))
    python = {"<": float.__lt__, ">": float.__gt__, "<=": float.__le__, ">=": float.__ge__, "=": float.__eq__,
              "!=": float.__ne__}[sign]  # fmt: skip
    expected = [value is not None and python(float(value), number) != negated for value in values]
    condition = Condition("max", sign, number, negated=negated)
    assert list(columns.flags(condition)) == [*expected, False]


def test_matches_with_conditions_are_right_from_any_row_on(index):
    matches = index.matches(parse_query("dtype:f32 -bias"))
    every = list(matches.rows())
    for row in range(len(index)):
        fresh = index.matches(parse_query("dtype:f32 -bias"))
        assert fresh.next(row) == next((each for each in every if each >= row), len(index))
        assert fresh.hit(row) == (row in every)


def test_what_is_offered_is_what_is_in_the_file(index):
    assert completions("dt", index) == ["dtype:"]
    assert completions("dtype:", index) == ["dtype:float32", "dtype:bfloat16", "dtype:int64"]
    assert completions("-dtype:b", index) == ["-dtype:bfloat16"]
    assert completions("role:", index) == ["role:optimizer"]
    assert completions("device:c", index) == ["device:cpu", "device:cuda:0", "device:cuda:1"]
    assert completions("ndim:", index) == ["ndim:0", "ndim:1", "ndim:2", "ndim:4"]
    assert completions("shape:64x3", index) == ["shape:64x3x7x7"]
    assert completions("conv", index) == completions("/na", index) == completions('"na', index) == []
    assert completions("", index) == list(EXAMPLES)


def test_what_is_offered_can_be_parsed(index):
    for example in EXAMPLES:
        parse_query(example)


# --- in the window


@pytest.fixture
def panel(qtbot, index):
    made = TreePanel()
    qtbot.addWidget(made)
    made.resize(700, 500)
    shown = checkpoint()
    made.set_index(shown, build_index(shown))
    made.show()
    return made


def shown(panel):
    return [panel.view.tree_model.data(each) for each in panel.view.visible_indexes()]


def test_the_tree_shows_what_the_words_find(panel):
    panel.filter.setText("dtype:bf16 bias")
    assert shown(panel) == ["model_3.pth", "model", "fc", "bias"]
    panel.filter.setText("")
    assert "epoch" in shown(panel)


def test_a_wrong_word_is_said_below_the_field_and_what_was_found_stays(panel):
    panel.filter.setText("dtype:bf16")
    before = shown(panel)
    panel.filter.setText("dtype:bf16 dtpye:f32")
    assert "did you mean “dtype:”?" in panel.filtering.hint.text()
    assert panel.filtering.hint.isVisible()
    assert panel.filter.accessibleDescription() == panel.filtering.hint.text()
    assert shown(panel) == before
    panel.filter.setText("dtype:bf16")
    assert panel.filtering.hint.isHidden()


def test_a_word_about_values_asks_for_a_scan_and_shows_what_comes(qtbot, panel):
    with qtbot.waitSignal(panel.scanWanted):
        panel.filter.setText("nan")
    assert "still to be scanned" in panel.filtering.nothing.text()
    panel.set_figures(table_of(panel.index), complete=False)
    assert shown(panel)[-1] == "momentum"
    panel.filter.setText("max>1000")
    panel.set_figures(table_of(panel.index), complete=True)
    assert "Esc shows everything" in panel.filtering.nothing.text()


def test_a_name_that_begins_with_nan_asks_for_no_scan(qtbot, panel):
    asked = []
    panel.scanWanted.connect(lambda: asked.append(1))
    panel.filter.setText("nan")
    panel.filter.setText("nano")
    assert not panel.filtering._want_scan.isActive()
    assert not asked


def test_figures_of_another_tree_are_not_taken(panel):
    panel.set_figures(table_of(build_index(checkpoint())), complete=True)
    assert panel.filtering._figures is None
    assert not panel.filtering.knows_all


def popup(panel):
    return panel.filter._popup


def test_words_are_offered_and_taken_by_keyboard(qtbot, panel):
    panel.filter.setFocus()
    qtbot.keyClicks(panel.filter, "dt")
    assert popup(panel).isVisible()
    qtbot.keyClick(popup(panel), Qt.Key.Key_Down)
    qtbot.keyClick(popup(panel), Qt.Key.Key_Return)
    assert panel.filter.text() == "dtype:"
    assert [popup(panel).model().data(popup(panel).model().index(row, 0)) for row in range(3)] == [
        "dtype:float32", "dtype:bfloat16", "dtype:int64",
    ]  # fmt: skip
    qtbot.keyClick(popup(panel), Qt.Key.Key_Down)
    qtbot.keyClick(popup(panel), Qt.Key.Key_Down)
    qtbot.keyClick(popup(panel), Qt.Key.Key_Return)
    assert panel.filter.text() == "dtype:bfloat16 "
    assert not popup(panel).isVisible()
    assert shown(panel)[-1] == "bias"


def test_escape_closes_the_list_first(qtbot, panel):
    panel.filter.setFocus()
    qtbot.keyClicks(panel.filter, "dt")
    qtbot.keyClick(popup(panel), Qt.Key.Key_Escape)
    assert not popup(panel).isVisible()
    assert panel.filter.text() == "dt"


def test_control_space_offers_everything(qtbot, panel):
    panel.filter.setFocus()
    qtbot.keyClick(panel.filter, Qt.Key.Key_Space, Qt.KeyboardModifier.ControlModifier)
    assert popup(panel).isVisible()
    assert popup(panel).model().rowCount() == len(EXAMPLES)
    popup(panel).hide()


WORDS = st.sampled_from(["encoder", "decoder", "weight", "bias", "3", "layers.1", "er.", "nothing"])


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=2), st.lists(WORDS, max_size=1), st.integers(1, 40))
def test_what_a_name_must_not_contain_is_left_out_however_it_is_searched(without, words, stretch):
    keys = [f"{part}.layers.{n // 3}.{n}.{leaf}" for part in ("encoder", "decoder") for n in range(25)
            for leaf in ("weight", "bias", "steps")]  # fmt: skip
    index = build_index(
        checkpoint_of(mapping_of({"model": mapping_of({key: tensor(2) for key in keys}), "x": tensor(1)}))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "STRETCH", stretch)
        found = list(index.matches(Query((*words,), (*without,)), None).rows())
    paths = {row: index.pointer(row) for row in index.totals.tensor_rows}
    wanted = [row for row, path in paths.items()
              if all(word in path for word in words) and not any(word in path for word in without)]  # fmt: skip
    assert found == wanted


@pytest.fixture
def asked(panel, monkeypatch):
    """What a panel wants to be searched for on a thread, as for a tree of many rows."""
    monkeypatch.setattr(asking, "QUICK", 0)
    wanted = []
    panel.filtering.searchWanted.connect(wanted.append)
    return wanted


def test_words_are_looked_for_on_a_thread_where_rows_are_many(panel, asked):
    panel.filter.setText("conv")
    assert asked == []  # a part of a name takes no time
    shown = panel.view.tree_model.pages
    panel.filter.setText("-weight -bias")
    assert len(asked) == 1
    assert panel.view.tree_model.pages is shown
    panel.filtering.show_found(asked[0](SILENT))
    assert panel.view.first_match() == panel.index.find("/model/steps")


def test_an_answer_that_comes_too_late_is_not_shown(panel, asked):
    panel.filter.setText("-weight")
    panel.filter.setText("dtype:int64")
    panel.filtering.show_found(asked[1](SILENT))
    panel.filtering.show_found(asked[0](SILENT))
    assert panel.view.first_match() == panel.index.find("/model/steps")
    panel.filter.clear()
    panel.filtering.show_found(asked[1](SILENT))
    assert not panel.view.tree_model.is_filtered


def test_enter_goes_to_the_first_match_once_it_is_found(panel, asked, qtbot):
    panel.filter.setText("dtype:int64")
    qtbot.keyClick(panel.filter, Qt.Key.Key_Return)
    assert panel.current_pointer() == ""
    panel.filtering.show_found(asked[0](SILENT))
    assert panel.current_pointer() == "/model/steps"


class Ended:
    """A context that ends work at once."""

    def step(self, done, total):
        raise Cancelled


def test_a_long_search_can_be_ended(index, monkeypatch):
    monkeypatch.setattr(texts.PathText, "may_leave", lambda *_: True)
    cells = Cells(index, checkpoint().locator, "x.pth")
    query = parse_query("-weight -bias -steps -odd -momentum")
    assert not find(cells, None, query).opened
    with pytest.raises(Cancelled):
        find(cells, None, query, None, Ended())


def test_what_leaves_no_tensor_is_known_without_a_search(index, monkeypatch):
    monkeypatch.setattr(conditions.TensorMatches, "_search", lambda self, row: pytest.fail("searched"))
    matches = index.matches(parse_query("-weight -bias -steps -odd -momentum"))
    monkeypatch.undo()
    assert list(matches.rows()) == []
    assert [index.pointer(row) for row in index.matches(parse_query("-weight -bias -odd -momentum")).rows()] == [
        "/model/steps"
    ]
