"""Sorting the tree: the order below each row, pages in it, filters in it, heads that are clicked."""

from __future__ import annotations

import pytest
from hand_made import mapping
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from tree_samples import checkpoint_of, mapping_of, tensor

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.gui.tree import build_index, pages, sorted_pages
from ckpt_viewer.gui.tree.cells import COLUMNS, DTYPE, NAME, PARAMETERS, PICTURE, SIZE, Cells
from ckpt_viewer.gui.tree.figures import Columns, FigureTable
from ckpt_viewer.gui.tree.ordering import sort_rows
from ckpt_viewer.gui.tree.sorted_pages import SortedPages
from ckpt_viewer.gui.tree.widget import TreePanel
from ckpt_viewer.stats.figures import Figures


def checkpoint():
    keys = {"b10": 4, "b9": 8, "a": 2, "C": 6}
    weights = mapping_of({key: tensor(size, dtype="float16" if size == 6 else "float32") for key, size in keys.items()})
    return checkpoint_of(mapping(zoo=weights, one=mapping(w=tensor(100)), epoch=3))


@pytest.fixture
def index():
    return build_index(checkpoint())


def names(index, rows):
    return [index.names[row] for row in rows]


def below(index, order, pointer):
    return names(index, order.below(index.find(pointer)))


def ordered(index, column, descending=False):
    cells = Cells(index, checkpoint().locator, "a.pth")
    return sort_rows(cells, column, SILENT, descending=descending)


def test_names_are_sorted_without_case_and_with_their_numbers(index):
    assert below(index, ordered(index, NAME), "/zoo") == ["a", "b9", "b10", "C"]
    assert below(index, ordered(index, NAME, descending=True), "") == ["zoo", "one", "epoch"]


def test_numbers_are_sorted_and_rows_without_one_come_last_both_ways(index):
    assert below(index, ordered(index, PARAMETERS), "/zoo") == ["a", "b10", "C", "b9"]
    assert below(index, ordered(index, SIZE), "") == ["zoo", "one", "epoch"]
    assert below(index, ordered(index, SIZE, descending=True), "") == ["one", "zoo", "epoch"]


def test_equal_rows_stay_as_saved_both_ways(index):
    assert below(index, ordered(index, DTYPE), "/zoo") == ["C", "b10", "b9", "a"]
    assert below(index, ordered(index, DTYPE, descending=True), "/zoo") == ["b10", "b9", "a", "C"]


def test_figures_are_sorted_by_what_is_known(index):
    rows = [index.find(f"/zoo/{name}") for name in ("a", "b9", "C")]
    columns = Columns(3)
    for item, high in enumerate((5.0, -1.0, 7.0)):
        columns.put(item, Figures(1, 0, 0, 0, high, high, high, 0.0))
    cells = Cells(index, checkpoint().locator, "a.pth")
    numbers = {id(index.value(row)): item for item, row in enumerate(rows)}
    cells.table = FigureTable(index, numbers, columns, SILENT)
    order = sort_rows(cells, COLUMNS.index("Max"), SILENT, descending=True)
    assert below(index, order, "/zoo") == ["C", "a", "b9", "b10"]


def flat(count, find=str):
    return build_index(checkpoint_of(mapping_of({find(number): number for number in range(count)})))


def test_pages_come_in_the_order(monkeypatch):
    monkeypatch.setattr(sorted_pages, "PAGE", 10)
    monkeypatch.setattr(pages, "FIRST", 5)
    index = flat(60)
    order = ordered(index, NAME, descending=True)
    shown = SortedPages(index, order)
    shown.apply(shown.fetch(0)) if shown.must_fetch(0) else shown.ids(0)
    assert names(index, shown.ids(0)[:-1]) == ["59", "58", "57", "56", "55"]
    more = shown.ids(0)[-1]
    assert shown.is_more(more)
    assert shown.hidden(more) == 55
    shown.apply(shown.more(more))
    assert names(index, shown.ids(0)[5:15]) == [str(number) for number in range(54, 44, -1)]
    assert shown.position(more) == 15
    change = shown.reveal(index.find("/3"))
    shown.apply(change)
    shown.remove(change)
    assert names(index, shown.ids(0)) == [str(number) for number in range(59, -1, -1)]
    assert shown.position(index.find("/3")) == 56
    assert shown.reveal(index.find("/3")) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.sampled_from(["1", "2", "0 1"]), st.integers(0, 70))
def test_a_filter_leaves_its_rows_in_the_order(digits, query, few):
    keys = [f"{digit}-{number}" for number, digit in enumerate(digits)]
    index = build_index(checkpoint_of(mapping_of(dict.fromkeys(keys, 1))))
    order = ordered(index, NAME)
    expected = [row for row in order.below(0) if index.matches(query).hit(row)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_pages, "FEW", few)
        pages = SortedPages(index, order, index.matches(query))
        assert list(pages.ids(0)) == expected
        for at, row in enumerate(expected):
            assert pages.position(row) == at


# --- in the window


@pytest.fixture
def panel(qtbot):
    made = TreePanel()
    qtbot.addWidget(made)
    made.resize(900, 500)
    shown = checkpoint()
    made.orderWanted.connect(
        lambda cells, column, down: made.set_order(sort_rows(cells, column, SILENT, descending=down))
    )
    made.set_index(shown, build_index(shown))
    made.show()
    return made


def shown(panel):
    return [panel.view.tree_model.data(each) for each in panel.view.visible_indexes()]


def click(qtbot, panel, column):
    header = panel.view.header()
    at = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=header.viewport().rect().topLeft() + _point(at))


def _point(x):
    from PySide6.QtCore import QPoint

    return QPoint(x, 8)


def test_clicks_on_a_head_sort_one_way_the_other_and_as_saved(qtbot, panel, qtmodeltester):
    panel.select_pointer("/zoo/a")
    as_saved = shown(panel)
    assert as_saved == ["model_3.pth", "zoo", "b10", "b9", "a", "C", "one", "epoch"]
    click(qtbot, panel, SIZE)
    assert shown(panel) == ["model_3.pth", "one", "zoo", "b9", "b10", "C", "a", "epoch"]
    qtmodeltester.check(panel.view.tree_model, force_py=True)
    assert panel.view.header().isSortIndicatorShown()
    assert panel.view.header().sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
    assert panel.current_pointer() == "/zoo/a"
    click(qtbot, panel, SIZE)
    assert shown(panel) == ["model_3.pth", "zoo", "a", "C", "b10", "b9", "one", "epoch"]
    assert panel.view.header().sortIndicatorOrder() is Qt.SortOrder.AscendingOrder
    click(qtbot, panel, SIZE)
    assert shown(panel) == as_saved
    assert not panel.view.header().isSortIndicatorShown()


def test_a_filter_and_an_order_go_together(qtbot, panel):
    panel.filter.setText("zoo/b")
    click(qtbot, panel, NAME)
    assert shown(panel) == ["model_3.pth", "zoo", "b9", "b10"]
    panel.filter.setText("")
    assert shown(panel)[1:] == ["epoch", "one", "zoo", "a", "b9", "b10", "C"]  # it was open before
    panel.view.sortWanted.emit(-1, False)
    assert shown(panel)[1:] == ["zoo", "b10", "b9", "a", "C", "one", "epoch"]


def test_sorting_by_what_a_scan_finds_asks_for_it_and_sorts_again_at_its_end(qtbot, panel):
    with qtbot.waitSignal(panel.scanWanted):
        panel.view.sort_by(COLUMNS.index("Max"))
    assert panel.view.tree_model.order.column == COLUMNS.index("Max")
    index = panel.index
    columns = Columns(1)
    columns.put(0, Figures(1, 0, 0, 0, 1, 1, 1.0, 0.0))
    with qtbot.waitSignal(panel.orderWanted):
        panel.set_figures(
            FigureTable(index, {id(index.value(index.find("/zoo/C"))): 0}, columns, SILENT), complete=True
        )
    assert names(index, panel.view.tree_model.order.below(index.find("/zoo")))[0] == "C"


def test_the_small_histograms_have_no_order(panel):
    panel.view.sort_by(PICTURE)
    assert panel.view.tree_model.order is None


def test_the_menu_sorts_for_the_keyboard(panel):
    from ckpt_viewer.gui.tree.menu import tree_menu

    menu = tree_menu(panel.view)
    sort = next(action.menu() for action in menu.actions() if action.text() == "Sort by")
    actions = {action.text(): action for action in sort.actions()}
    assert actions["As saved"].isChecked()
    actions["Parameters"].trigger()
    assert panel.view.tree_model.order[:2] == (PARAMETERS, True)
    menu.deleteLater()


def test_another_arrangement_of_the_same_file_keeps_the_order(qtbot, panel):
    panel.view.sort_by(SIZE)
    before = panel.view.tree_model.cells
    with qtbot.waitSignal(panel.orderWanted) as asked:
        panel.set_index(panel._checkpoint, build_index(panel._checkpoint, grouped=False))
    assert asked.args == [panel.view.tree_model.cells, SIZE, True]
    assert panel.view.tree_model.cells is not before
    assert panel.view.tree_model.order.column == SIZE


def test_another_file_is_shown_as_saved(panel):
    panel.view.sort_by(NAME)
    other = checkpoint()
    panel.set_index(other, build_index(other))
    assert panel.view.tree_model.order is None
    assert not panel.view.header().isSortIndicatorShown()
