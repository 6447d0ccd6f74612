from __future__ import annotations

import pytest
from hand_made import mapping
from PySide6.QtCore import QModelIndex, QPoint, Qt
from PySide6.QtGui import QFont, QGuiApplication
from PySide6.QtWidgets import QApplication
from tree_samples import checkpoint_of, flat_checkpoint, large_checkpoint, state_dict, training_checkpoint

from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.tree import ModuleGroup, build_index, typeahead
from ckpt_viewer.gui.tree.cells import COLUMNS, DEVICE, DTYPE, NAME, PARAMETERS, SHAPE, SIZE, TYPE
from ckpt_viewer.gui.tree.columns import LEAST_NAME, LEAST_TEXT, NARROW
from ckpt_viewer.gui.tree.menu import tree_menu
from ckpt_viewer.gui.tree.widget import TreePanel
from ckpt_viewer.gui.turns import soon


@pytest.fixture
def panel(qtbot):
    made = TreePanel()
    qtbot.addWidget(made)
    made.resize(900, 500)
    made.show()
    qtbot.waitExposed(made)
    return made


def show(panel, checkpoint, **options):
    panel.set_index(checkpoint, build_index(checkpoint, **options))
    panel.view.grab()


@pytest.fixture
def training(panel):
    show(panel, training_checkpoint())
    return panel


def showing(panel):
    """Return the names of the rows that show, from the top."""
    found, index = [], panel.view.model().index(0, 0)
    while index.isValid():
        found.append(index.data())
        index = panel.view.indexBelow(index)
    return found


def press(qtbot, panel, *keys):
    for key in keys:
        if isinstance(key, str):
            qtbot.keyClicks(panel.view, key)
        elif isinstance(key, tuple):
            qtbot.keyClick(panel.view, *key)
        else:
            qtbot.keyClick(panel.view, key)


def clipboard():
    return QGuiApplication.clipboard().text()


def test_the_root_is_selected_and_open_at_first(qtbot, panel):
    checkpoint = training_checkpoint()
    with qtbot.waitSignal(panel.nodeSelected) as selected:
        show(panel, checkpoint, marks={checkpoint.outline.find(("model",)): "model"})
    assert selected.args[0].path == ()
    assert showing(panel) == [
        "model_3.pth", "model", "conv1", "bn1", "layer1", "fc", "optimizer", "lr_scheduler", "epoch", "model_ema",
    ]  # fmt: skip


def test_object_names_and_accessible_names(panel):
    assert panel.view.objectName() == "checkpointTree"
    assert panel.filter.objectName() == "treeFilter"
    assert panel.view.accessibleName()
    assert panel.filter.accessibleName()


def test_selecting_tells_the_node(qtbot, training):
    for pointer, kind in (("/epoch", Node), ("/model/layer1.", ModuleGroup), ("/model/fc.bias", Node)):
        with qtbot.waitSignal(training.nodeSelected) as selected:
            assert training.select_pointer(pointer)
        assert isinstance(selected.args[0], kind)
        assert selected.args[0].pointer == pointer == training.current_pointer()
    assert not training.select_pointer("/nowhere")
    assert training.select_path(("optimizer", "state", 4))
    assert training.current_pointer() == "/optimizer/state/4"


def test_a_run_of_blocks_stands_for_what_holds_it(qtbot, panel):
    show(panel, checkpoint_of(state_dict(*(f"h.{n}.{part}" for n in range(4) for part in ("a", "b")))))
    assert panel.select_pointer("/h.2.")
    with qtbot.waitSignal(panel.nodeSelected) as selected:
        press(qtbot, panel, Qt.Key.Key_Backspace)
    assert panel.view.currentIndex().data() == "0…3"
    assert selected.args[0].prefix == "h"


def test_arrows_and_backspace_walk_the_tree(qtbot, training):
    press(qtbot, training, Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Down)
    assert training.current_pointer() == "/model/conv1.weight"
    press(qtbot, training, Qt.Key.Key_Backspace)
    assert training.current_pointer() == "/model/conv1."
    press(qtbot, training, Qt.Key.Key_Backspace)
    assert training.current_pointer() == "/model"
    press(qtbot, training, Qt.Key.Key_Backspace, Qt.Key.Key_Backspace)
    assert training.current_pointer() == ""


def test_the_root_does_not_close(qtbot, training):
    training.select_pointer("")
    press(qtbot, training, Qt.Key.Key_Left, Qt.Key.Key_Minus)
    assert "epoch" in showing(training)


def test_enter_goes_to_the_panel(qtbot, training):
    training.select_pointer("/epoch")
    with qtbot.waitSignal(training.nodeActivated) as activated:
        press(qtbot, training, Qt.Key.Key_Return)
    assert activated.args[0].pointer == "/epoch"


def test_enter_follows_a_link(qtbot, training):
    training.select_pointer("/model_ema")
    with qtbot.assertNotEmitted(training.nodeActivated):
        press(qtbot, training, Qt.Key.Key_Return)
    assert training.current_pointer() == "/model"


def test_type_ahead_goes_to_names_that_show_first(qtbot, training, monkeypatch):
    press(qtbot, training, "l")
    assert training.current_pointer() == "/model/layer1."
    monkeypatch.setattr(typeahead.time, "monotonic", lambda: 10**9)
    training.select_pointer("")
    press(qtbot, training, "mode")
    assert training.current_pointer() == "/model"
    press(qtbot, training, "l_")
    assert training.current_pointer() == "/model_ema"


def test_one_letter_again_goes_on_and_round(qtbot, training, monkeypatch):
    monkeypatch.setattr(typeahead.time, "monotonic", lambda: 10**9)
    reached = []
    for _ in range(3):
        press(qtbot, training, "m")
        reached.append(training.current_pointer())
    assert reached == ["/model", "/model_ema", "/model"]


def test_type_ahead_opens_what_is_closed_where_nothing_shows(qtbot, training):
    press(qtbot, training, "momentum")
    assert training.current_pointer() == "/optimizer/state/0/momentum_buffer"
    assert "momentum_buffer" in showing(training)
    press(qtbot, training, "zzz")
    assert training.current_pointer() == "/optimizer/state/0/momentum_buffer"


def test_type_ahead_passes_over_a_hundred_thousand_hidden_rows(qtbot, panel):
    show(panel, flat_checkpoint(100_000, keyring=1))
    press(qtbot, panel, "key")
    assert panel.current_pointer() == "/keyring"


def test_keys_copy(qtbot, training):
    training.select_pointer("/model/fc.bias")
    press(qtbot, training, (Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier))
    assert clipboard() == "/model/fc.bias"
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    press(qtbot, training, (Qt.Key.Key_C, both))
    assert clipboard() == "/model/fc.bias\ttorch.Tensor\t[2, 3]\tfloat32\tcuda:1\t6\t24"
    training.select_pointer("/epoch")
    training.view.copy_value()
    assert clipboard() == "3"
    training.select_pointer("/model")
    training.view.copy_value()
    assert clipboard() == "3"


def test_expanding_a_subtree_stops_and_says_so(qtbot, panel):
    show(panel, large_checkpoint(5000))
    with qtbot.waitSignal(panel.said) as said:
        press(qtbot, panel, Qt.Key.Key_Asterisk)
    assert "2\u202f000 rows" in said.args[0]
    assert len(showing(panel)) < 1200, "a part in each turn"
    qtbot.waitUntil(lambda: 1200 < len(showing(panel)) <= 2001)
    panel.select_pointer("/model/encoder.layers.2.")
    with qtbot.assertNotEmitted(panel.said):
        panel.view.expand_subtree()
    assert panel.view.isExpanded(panel.view.tree_model.index_of(panel.index.find("/model/encoder.layers.2.part0.")))


def test_expanding_ends_where_a_filter_shows_something_else(qtbot, panel):
    show(panel, large_checkpoint(5000))
    panel.view.expand_subtree()
    panel.filter.setText("layers.2.")
    opened = panel.view.tree_model.pages
    done = []
    soon(panel, lambda: done.append(True))
    qtbot.waitUntil(lambda: bool(done))
    assert panel.view.tree_model.pages is opened
    panel.filter.setText("")
    assert len(showing(panel)) < 1200


def test_more_rows_come_by_click_and_by_enter(qtbot, panel):
    show(panel, flat_checkpoint(3500))
    model, view = panel.view.tree_model, panel.view
    many = model.index_of(panel.index.find("/many"))
    view.expand(many)
    assert model.rowCount(many) == 1001
    more = model.index(1000, 0, many)
    view.scrollTo(more)
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=view.visualRect(more).center())
    assert model.rowCount(many) == 2001
    view.setCurrentIndex(model.index(2000, 0, many))
    press(qtbot, panel, Qt.Key.Key_Return)
    assert model.rowCount(many) == 3001
    assert panel.current_pointer() == "/many/key2000"


def test_a_jump_into_many_rows_shows_its_target(panel):
    show(panel, flat_checkpoint(100_000))
    assert panel.select_pointer("/many/key77777")
    rect = panel.view.visualRect(panel.view.currentIndex())
    assert panel.view.viewport().rect().contains(rect.center())
    assert panel.current_pointer() == "/many/key77777"
    assert panel.view.tree_model.rowCount(panel.view.currentIndex().parent()) < 2100


def test_the_menu_offers_what_the_row_can_do(training):
    def enabled(pointer):
        training.select_pointer(pointer)
        menu = tree_menu(training.view)
        texts = {action.text() for action in menu.actions() if action.isEnabled() and action.text()}
        menu.deleteLater()
        return texts

    always = {"Copy path", "Copy row", "Show flat keys", "Columns", "Sort by", "This is …"}
    assert enabled("/epoch") == always | {"Copy value", "Select parent"}
    assert enabled("/model") == always | {"Expand subtree", "Collapse", "Select parent", "Export this …"}
    assert enabled("") == always | {"Expand subtree", "Export this …"}


# the filter


def test_typing_shows_matches_opened(qtbot, training):
    qtbot.keyClicks(training.filter, "layer1 bn1")
    assert showing(training) == ["model_3.pth", "model", "layer1", "0", "bn1", "1", "bn1"]
    training.filter.setText("lr")
    assert showing(training) == [
        "model_3.pth", "optimizer", "param_groups", "[0]", "lr", "lr_scheduler",
    ]  # fmt: skip


def test_escape_brings_everything_back_as_it_was(qtbot, training):
    training.select_pointer("/optimizer/state/3")
    before = showing(training)
    qtbot.keyClicks(training.filter, "epoch")
    assert training.current_pointer() == "/optimizer/state/3"
    qtbot.keyClick(training.filter, Qt.Key.Key_Escape)
    assert showing(training) == before
    assert training.view.currentIndex().data() == "[3]"
    assert training.filter.text() == ""
    assert training.focusWidget() is training.view


def test_escape_in_the_tree_clears_the_filter(qtbot, training):
    training.filter.setText("bias")
    press(qtbot, training, Qt.Key.Key_Escape)
    assert training.filter.text() == ""


def test_the_selection_is_told_once_while_one_types(qtbot, training):
    training.select_pointer("/model/fc.bias")
    told = []
    training.nodeSelected.connect(told.append)
    for text in ("f", "fc", "fc b", "fc bx", "fc b", ""):
        training.filter.setText(text)
    assert told == []
    assert training.view.currentIndex().data() == "bias"


@pytest.mark.parametrize("key", [Qt.Key.Key_Down, Qt.Key.Key_Return])
def test_down_and_enter_go_to_the_first_match(qtbot, training, key):
    qtbot.keyClicks(training.filter, "fc bias")
    qtbot.keyClick(training.filter, key)
    assert training.current_pointer() == "/model/fc.bias"
    assert training.focusWidget() is training.view


def test_nothing_matches_is_said(training):
    training.filter.setText("<b>no such thing</b>")
    label = training.findChild(type(training.filtering.nothing), "treeNothing")
    assert label.isVisible()
    assert not training.view.isVisible()
    assert "Nothing matches" in label.text()
    assert "<b>no such thing</b>" in label.text()
    training.filter.clear()
    assert training.view.isVisible()


def test_selecting_what_a_filter_hides_clears_it(training):
    training.filter.setText("epoch")
    assert training.select_pointer("/model/fc.bias")
    assert training.filter.text() == ""
    training.filter.setText("fc")
    assert training.select_pointer("/model/fc.bias")
    assert training.filter.text() == "fc"


def test_what_is_opened_under_a_filter_is_not_opened_without_it(qtbot, training):
    before = showing(training)
    training.filter.setText("optimizer")
    training.view.expand(training.view.tree_model.index_of(training.index.find("/optimizer")))
    assert "state" in showing(training)
    training.filter.clear()
    assert showing(training) == before


# other indexes, other devices


def test_flat_keys_keep_selection_and_filter(qtbot, panel):
    checkpoint = training_checkpoint()
    show(panel, checkpoint)
    panel.select_pointer("/model/layer1.0.bn1.weight")
    panel.filter.setText("bn1")
    with qtbot.waitSignal(panel.groupedWanted) as wanted:
        panel.set_grouped(False)
    assert wanted.args == [False]
    told = []
    panel.nodeSelected.connect(told.append)
    show(panel, checkpoint, grouped=False)
    assert [node.pointer for node in told] == ["/model/layer1.0.bn1.weight"]
    assert panel.current_pointer() == "/model/layer1.0.bn1.weight"
    assert panel.filter.text() == "bn1"
    assert "layer1.0.bn1.weight" in showing(panel)
    with qtbot.assertNotEmitted(panel.groupedWanted):
        panel.set_grouped(False)


def test_a_selected_module_becomes_its_state_dict_among_flat_keys(panel):
    checkpoint = training_checkpoint()
    show(panel, checkpoint)
    panel.select_pointer("/model/layer1.0.")
    show(panel, checkpoint, grouped=False)
    assert panel.current_pointer() == "/model"


def test_the_menu_asks_for_flat_keys(qtbot, training):
    menu = tree_menu(training.view)
    (flat,) = (action for action in menu.actions() if action.text() == "Show flat keys")
    assert not flat.isChecked()
    with qtbot.waitSignal(training.groupedWanted) as wanted:
        flat.trigger()
    assert wanted.args == [False]
    menu.deleteLater()


def test_another_map_location_shows_at_once(training):
    checkpoint = training._checkpoint
    assert training.view.model().index(0, DEVICE).data() == "cuda:1"
    checkpoint.map_onto("cpu")
    training.remap()
    assert training.view.model().index(0, DEVICE).data() == "cuda:1 → cpu"


def test_another_checkpoint_starts_anew(training):
    training.filter.setText("fc")
    show(training, checkpoint_of(mapping(x=1)))
    assert training.filter.text() == ""
    assert showing(training) == ["model_3.pth", "x"]
    training.clear()
    assert showing(training) == []
    assert not training.filter.isEnabled()
    assert training.current_pointer() == ""
    assert not training.select_pointer("")
    training.remap()


# columns


def visible_columns(panel):
    header = panel.view.header()
    return [column for column in range(len(COLUMNS)) if not header.isSectionHidden(column)]


def test_a_narrow_tree_shows_four_columns(training):
    assert visible_columns(training) == list(range(7))
    training.resize(NARROW - 20, 400)
    assert visible_columns(training) == [NAME, SHAPE, DTYPE, DEVICE]
    training.resize(NARROW + 20, 400)
    assert visible_columns(training) == list(range(7))


def test_names_take_the_room_that_is_left(training):
    view = training.view
    assert sum(view.columnWidth(column) for column in range(7)) == view.viewport().width()
    view.header().resizeSection(TYPE, 150)
    assert sum(view.columnWidth(column) for column in range(7)) == view.viewport().width()


def test_what_is_opened_deep_below_finds_room_for_its_name(panel):
    node = mapping(weight=1)
    for number in range(12):
        node = mapping(**{f"level{number}": node})
    panel.resize(430, 400)
    view, usual = panel.view, panel.view.columnWidth(NAME)
    show(panel, checkpoint_of(node))
    view.expand_subtree()
    view.grab()
    assert showing(panel)[-1] == "weight"
    assert view.columnWidth(NAME) == 13 * view.indentation() + LEAST_TEXT > usual
    assert view.columnWidth(SHAPE) == view.columns._natural(SHAPE)  # it scrolls sideways instead
    show(panel, training_checkpoint())
    assert view.columnWidth(NAME) == usual


def test_the_choice_of_columns_is_kept(qtbot, training):
    with qtbot.waitSignal(training.columnsChanged):
        training.view.columns.show_column(PARAMETERS, False)
    training.resize(NARROW - 20, 400)
    training.view.columns.show_column(SIZE, True)
    state = training.save_state()
    other = TreePanel()
    qtbot.addWidget(other)
    other.resize(900, 400)
    other.show()
    assert other.restore_state(state)
    assert visible_columns(other) == [NAME, TYPE, SHAPE, DTYPE, DEVICE, SIZE]
    other.resize(NARROW - 20, 400)
    assert visible_columns(other) == [NAME, SHAPE, DTYPE, DEVICE, SIZE]


@pytest.mark.parametrize("state", ["", "x", "{}", "[1]", '{"wide": ["No"], "narrow": [], "widths": {}}', "null"])
def test_a_broken_choice_of_columns_is_refused(training, state):
    assert not training.restore_state(state)
    assert visible_columns(training) == list(range(7))


def test_the_header_menu_switches_columns(training):
    menu = training.view.columns.menu()
    actions = {action.text(): action for action in menu.actions() if not action.isSeparator()}
    assert set(actions) == set(COLUMNS[1:])
    actions["Dtype"].trigger()
    assert DTYPE not in visible_columns(training)
    menu.deleteLater()


def test_names_and_notes_run_on_where_columns_are_empty(panel):
    panel.resize(400, 300)
    show(panel, checkpoint_of(mapping(note="n" * 60, epoch=1)))
    picture = panel.view.viewport().grab().toImage()
    row = panel.view.visualRect(panel.view.tree_model.index_of(1))
    across = {picture.pixelColor(x, row.center().y()).name() for x in range(panel.view.columnWidth(NAME) + 10, 360)}
    assert len(across) > 3


def test_where_a_name_has_no_room_its_note_has_none(panel):
    panel.resize(400, 300)
    pictures = []
    for numbers in ((1, 2), (3, 4)):
        show(panel, checkpoint_of(mapping(a_name_that_is_longer_than_its_column=numbers)))
        rect = panel.view.visualRect(panel.view.tree_model.index_of(1))
        pictures.append(panel.view.viewport().grab(rect).toImage())
    assert pictures[0] == pictures[1]


def test_names_get_more_room_in_a_larger_font(qtbot):
    usual = QApplication.font()
    larger = QFont(usual)
    larger.setPointSize(3 * usual.pointSize())
    QApplication.setFont(larger)
    try:
        panel = TreePanel()
        qtbot.addWidget(panel)
        panel.resize(NARROW + 20, 400)
        panel.show()
        show(panel, checkpoint_of(mapping(a=1)))
        assert visible_columns(panel) == [NAME, SHAPE, DTYPE, DEVICE]
        assert panel.view.columnWidth(NAME) > 2 * LEAST_NAME
    finally:
        QApplication.setFont(usual)


def test_everything_is_painted_in_light_and_dark(qtbot, training):
    from ckpt_viewer.gui.theme import themes

    training.select_pointer("/model_ema")
    for theme in ("light", "dark"):
        themes().choose(theme)
        base = themes().current.base
        qtbot.waitUntil(lambda base=base: training.view.palette().base().color().name() == base)
        picture = training.grab().toImage()
        colours = {picture.pixelColor(QPoint(x, y)).name() for x in range(0, 300, 2) for y in range(40, 300, 3)}
        assert len(colours) > 10
        assert base in colours
    assert training.view.indexAt(QPoint(5, 5)) != QModelIndex()
