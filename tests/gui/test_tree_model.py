from __future__ import annotations

import pytest
from hand_made import mapping
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from tree_samples import checkpoint_of, flat_checkpoint, large_checkpoint, training_checkpoint

from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.gui.tree import build, build_index, pages
from ckpt_viewer.gui.tree.cells import DEVICE, NAME, PARAMETERS, Cells
from ckpt_viewer.gui.tree.model import CheckpointTreeModel, TreeRole

MANY = 2500


def cells_of(checkpoint, **options):
    return Cells(build_index(checkpoint, **options), checkpoint.locator, "model_3.pth")


@pytest.fixture
def model(qapp):
    made = CheckpointTreeModel()
    made.set_tree(cells_of(training_checkpoint()))
    return made


@pytest.fixture
def long_model(qapp):
    made = CheckpointTreeModel()
    made.set_tree(cells_of(flat_checkpoint(MANY, last=1)))
    return made


def filtered(model, text):
    """Show what a filter leaves; return the rows to open."""
    found = model.find(text)(SILENT)
    model.show_found(found)
    return found.opened


def at(model, pointer, column=0):
    return model.index_of(model.tree.find(pointer), column)


def test_an_empty_model_is_sound(qtmodeltester, qapp):
    model = CheckpointTreeModel()
    qtmodeltester.check(model, force_py=True)
    assert model.rowCount() == 0
    assert not model.hasChildren()
    model.show_found(None)


CHANGES = {
    "filter": lambda model: filtered(model, "bn1"),
    "filter that leaves nothing": lambda model: filtered(model, "nothing at all"),
    "no filter any more": lambda model: (filtered(model, "bn1"), model.show_found(None)),
    "other devices": lambda model: model.set_locator(Locator("cpu"), [at(model, "/model")]),
    "flat keys": lambda model: model.set_tree(cells_of(training_checkpoint(), grouped=False)),
    "cleared": lambda model: model.set_tree(None),
}


def test_the_model_is_sound(qtmodeltester, model):
    qtmodeltester.check(model, force_py=True)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_model_is_sound_after_a_change(qtmodeltester, model, change):
    change(model)
    qtmodeltester.check(model, force_py=True)


def test_the_model_is_sound_while_it_changes(qtmodeltester, model):
    qtmodeltester.check(model, force_py=True)  # listens from now on
    for change in CHANGES.values():
        change(model)


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(build, "PAGE", 10)
    monkeypatch.setattr(pages, "PAGE", 10)
    monkeypatch.setattr(pages, "BEFORE", 3)


def test_the_model_is_sound_while_rows_come_in(qtmodeltester, small_pages, qapp):
    model = CheckpointTreeModel()
    model.set_tree(cells_of(flat_checkpoint(64, last=1)))
    qtmodeltester.check(model, force_py=True)  # fetches, as a view would, and listens from now on
    many = at(model, "/many")
    assert model.rowCount(many) == 11
    model.reveal(model.tree.find("/many/key40"))
    model.reveal(model.tree.find("/many/key30"))
    while mores := [index for index in below(model, many) if model.is_more(index)]:
        model.show_more(mores[-1])
    assert [index.data() for index in below(model, many)] == [f"key{n}" for n in range(64)]


def test_the_model_is_sound_with_rows_left_out(qtmodeltester, small_pages, qapp):
    model = CheckpointTreeModel()
    model.set_tree(cells_of(flat_checkpoint(64, last=1)))
    model.reveal(model.tree.find("/many/key40"))
    qtmodeltester.check(model, force_py=True)


def below(model, parent):
    return [model.index(row, 0, parent) for row in range(model.rowCount(parent))]


def test_rows_are_found_from_the_root_down(model):
    root = model.index(0, 0)
    assert model.rowCount() == 1
    assert root.data() == "model_3.pth"
    assert [index.data() for index in below(model, root)] == [
        "model", "optimizer", "lr_scheduler", "epoch", "model_ema",
    ]  # fmt: skip
    epoch = at(model, "/epoch")
    assert epoch.parent() == root
    assert epoch.row() == 3
    assert (epoch.data(TreeRole.NOTE), epoch.data(TreeRole.MARK)) == ("3", "")
    assert not model.hasChildren(epoch)
    assert epoch.flags() & Qt.ItemFlag.ItemNeverHasChildren


def test_only_the_first_column_has_children(model):
    assert model.rowCount(at(model, "/model", PARAMETERS)) == 0
    assert not model.hasChildren(at(model, "/model", PARAMETERS))
    assert not model.index(0, 0, at(model, "/model", PARAMETERS)).isValid()


def test_numbers_stand_right(model):
    weight = at(model, "/model/fc.weight", PARAMETERS)
    assert weight.data() == "6"
    assert weight.data(Qt.ItemDataRole.TextAlignmentRole) & int(Qt.AlignmentFlag.AlignRight)
    heads = [model.headerData(column, Qt.Orientation.Horizontal) for column in range(model.columnCount())]
    assert heads[:7] == ["Name", "Type", "Shape", "Dtype", "Device", "Parameters", "Size"]
    assert heads[7:] == ["Min", "Max", "|Max|", "Mean", "Std", "Zeros", "NaN", "Inf", "Histogram"]


def test_large_containers_come_by_fetch_more(qtbot, long_model):
    many = at(long_model, "/many")
    assert long_model.hasChildren(many)
    assert long_model.rowCount(many) == 0
    assert long_model.canFetchMore(many)
    with qtbot.waitSignal(long_model.rowsInserted) as inserted:
        long_model.fetchMore(many)
    assert inserted.args[1:] == [0, 1000]
    assert not long_model.canFetchMore(many)  # a view asks at each layout; the rest comes by hand
    more = long_model.index(1000, 0, many)
    assert long_model.is_more(more)
    assert (more.data(), more.data(TreeRole.NOTE)) == ("Show more", "1\u202f500 not shown")
    assert more.data(Qt.ItemDataRole.AccessibleTextRole) == "Show more, 1\u202f500 not shown"
    assert long_model.row_of(more) == -1


def test_show_more_brings_the_next_page_and_goes_when_all_are_there(qtbot, long_model):
    many = at(long_model, "/many")
    long_model.fetchMore(many)
    more = QPersistentModelIndex(long_model.index(1000, 0, many))
    first = long_model.show_more(QModelIndex(more))
    assert first.data() == "key1000"
    assert more.row() == 2000
    assert more.data(TreeRole.NOTE) == "500 not shown"
    with qtbot.waitSignal(long_model.rowsRemoved):
        long_model.show_more(QModelIndex(more))
    assert not more.isValid()
    assert long_model.rowCount(many) == MANY


def test_persistent_indexes_stay_with_their_rows(long_model):
    many = at(long_model, "/many")
    long_model.fetchMore(many)
    kept = QPersistentModelIndex(at(long_model, "/many/key999"))
    long_model.reveal(long_model.tree.find("/many/key2400"))
    later = QPersistentModelIndex(at(long_model, "/many/key2400"))
    for index in [index for index in below(long_model, many) if long_model.is_more(index)][:1]:
        long_model.show_more(index)
    assert (kept.data(), later.data()) == ("key999", "key2400")
    assert later.row() == long_model.index_of(later.internalId()).row()


def test_a_filter_resets_and_names_what_to_open(qtbot, model):
    with qtbot.waitSignal(model.modelReset):
        opened = filtered(model, "fc bias")
    assert model.is_filtered
    assert opened == [0, model.tree.find("/model"), model.tree.find("/model/fc.")]
    assert [index.data() for index in below(model, model.index(0, 0))] == ["model"]
    assert not at(model, "/epoch").isValid()
    model.show_found(None)
    assert not model.is_filtered
    assert at(model, "/epoch").isValid()


def test_pages_that_were_loaded_are_still_there_after_a_filter(long_model):
    many = at(long_model, "/many")
    long_model.fetchMore(many)
    long_model.show_more(long_model.index(1000, 0, many))
    filtered(long_model, "key77")
    assert long_model.rowCount(at(long_model, "/many")) == 11
    long_model.show_found(None)
    assert long_model.rowCount(at(long_model, "/many")) == 2001


def test_another_map_location_tells_of_visible_rows_only(model):
    told = []
    model.dataChanged.connect(lambda first, last, roles: told.append((first.row(), first.column(), last.column())))
    weight = at(model, "/model/fc.weight", NAME)
    model.set_locator(Locator("cpu"), [weight])
    assert told == [(weight.row(), DEVICE, DEVICE)]
    assert weight.siblingAtColumn(DEVICE).data() == "cuda:1 → cpu"
    assert at(model, "", DEVICE).data() == "cuda:1 → cpu"


def test_a_very_large_tree_asks_for_little(qapp):
    model = CheckpointTreeModel()
    model.set_tree(cells_of(large_checkpoint(20_000)))
    layers = model.tree.find("/model/encoder.layers.")
    model.fetchMore(model.index_of(layers))
    assert model.rowCount(model.index_of(layers)) == 1001


def test_the_root_of_a_single_value_has_no_children(qtmodeltester, qapp):
    model = CheckpointTreeModel()
    model.set_tree(cells_of(checkpoint_of(5)))
    qtmodeltester.check(model, force_py=True)
    assert not model.hasChildren(model.index(0, 0))
    model.set_tree(cells_of(checkpoint_of(mapping())))
    assert not model.hasChildren(model.index(0, 0))
