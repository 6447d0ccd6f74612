"""The table of values: its model, its tiles, its panel."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from made_tensors import CountingSource, made_from, made_tensor
from panel_samples import Changed, at, floats, gated, meta, sparse
from PySide6.QtCore import QItemSelection, QItemSelectionModel, Qt, QThreadPool
from PySide6.QtGui import QGuiApplication
from tree_samples import mapping_of

from ckpt_viewer.core.slicing import first_slicing
from ckpt_viewer.core.tensor import Quantization, StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.gui.jobs import JobRunner
from ckpt_viewer.gui.panels.tiles import KEPT, Key, Tiles, make_grid
from ckpt_viewer.gui.panels.values_model import PAGE_ROWS, WAITING, ValuesModel


@pytest.fixture
def runner(qtbot):
    made = JobRunner()
    yield made
    made.cancel_all()
    assert made.wait(5000)
    qtbot.waitUntil(lambda: not made.active)


@pytest.fixture
def tiles(runner):
    return Tiles(runner)


@pytest.fixture
def model(tiles):
    return ValuesModel(tiles)


def grid_of(tensor, slicing=None):
    return make_grid(tensor, slicing or first_slicing(tensor.shape))


def read(qtbot, model, tiles, *cells):
    """Return what cells show once their tiles have arrived."""
    for cell in cells:
        model.value(*cell)
    qtbot.waitUntil(lambda: tiles.is_idle)
    return [model.index(*cell).data() for cell in cells]


def test_the_model_is_a_proper_model(qtbot, qtmodeltester, model, tiles):
    qtmodeltester.check(model, force_py=True)  # and at each change from here on
    model.show_grid(grid_of(made_from(np.arange(12.0).reshape(3, 4))))
    assert read(qtbot, model, tiles, (0, 0)) == ["0"]
    model.show_page(1)
    assert model.rowCount() == 2
    model.show_grid(None)
    assert model.rowCount() == model.columnCount() == 0


def test_a_filled_model_is_a_proper_model(qtbot, qtmodeltester, model, tiles):
    model.show_grid(grid_of(made_from(np.arange(12.0).reshape(3, 4))))
    assert read(qtbot, model, tiles, (0, 0)) == ["0"]
    qtmodeltester.check(model, force_py=True)


def test_cells_wait_for_their_tile_and_then_fill_themselves(qtbot, model, tiles):
    tensor, source = gated(np.arange(12, dtype="float32").reshape(3, 4))
    model.show_grid(grid_of(tensor))
    assert (model.rowCount(), model.columnCount()) == (3, 4)
    assert model.index(2, 3).data() == WAITING
    assert model.index(2, 3).data(Qt.ItemDataRole.BackgroundRole) is None
    with qtbot.waitSignal(model.dataChanged) as got:
        source.gate.set()
    assert (got.args[0].row(), got.args[1].row(), got.args[1].column()) == (0, 2, 3)
    assert model.index(2, 3).data() == "11"
    assert model.index(2, 3).data(Qt.ItemDataRole.ToolTipRole) == "11.0"


def test_nothing_is_read_that_nobody_looks_at(qtbot, model, tiles):
    source = CountingSource(bytes(40_000_000))
    model.show_grid(grid_of(made_tensor(b"", "float32", (10_000_000,), source=source)))
    assert source.read == 0
    assert read(qtbot, model, tiles, (9_999_999, 0)) == ["0"]
    assert source.read <= 4096 * 4


def test_tiles_are_kept_in_bounded_number(qtbot, model, tiles):
    source = CountingSource(bytes(4 * 4096 * (KEPT + 40)))
    model.show_grid(grid_of(made_tensor(b"", "float32", (4096 * (KEPT + 40),), source=source)))
    for tile in range(KEPT + 40):
        model.value(tile * 4096, 0)
        qtbot.waitUntil(lambda: tiles.is_idle)
    assert len(tiles._tiles) == KEPT
    assert model.value((KEPT + 39) * 4096, 0) is not None
    assert model.value(0, 0) is None  # long gone, and asked for again
    qtbot.waitUntil(lambda: tiles.is_idle)


def test_what_was_asked_for_last_is_read_first(qtbot, tiles):
    tensor, source = gated(np.zeros(4096 * 40, "float32"))
    tiles.show_grid(grid_of(tensor))
    for down in range(40):
        tiles.get(Key(down, 0))
    batches = []
    tiles.arrived.connect(batches.append)
    source.gate.set()
    qtbot.waitUntil(lambda: tiles.is_idle and bool(batches))
    assert Key(39, 0) in batches[0]
    assert Key(0, 0) not in batches[0]
    assert len({key for batch in batches for key in batch}) == 40


def test_another_slice_cancels_the_first(qtbot, runner, tiles):
    pool = QThreadPool()
    first, source = gated(np.zeros((3, 4), "float32"))
    arrived = []
    tiles.arrived.connect(arrived.append)
    tiles.show_grid(grid_of(first))
    tiles.get(Key(0, 0))
    qtbot.waitUntil(source.asked.is_set)
    tiles.show_grid(grid_of(made_from(np.ones((2, 2), "float32"))))
    tiles.get(Key(0, 0))
    qtbot.waitUntil(lambda: tiles.is_idle)
    source.gate.set()
    qtbot.waitUntil(lambda: not runner.active)
    assert arrived == [[Key(0, 0)]]
    assert tiles.get(Key(0, 0)).tolist() == [[1, 1], [1, 1]]
    assert pool.waitForDone(100)


def test_a_slice_of_the_same_size_keeps_its_place(qtbot, model, tiles):
    tensor = made_from(np.arange(24.0).reshape(2, 3, 4))
    slicing = first_slicing(tensor.shape)
    model.show_grid(grid_of(tensor, slicing))
    read(qtbot, model, tiles, (0, 0))
    resets = []
    model.modelReset.connect(lambda: resets.append(1))
    model.show_grid(grid_of(tensor, slicing.with_fixed(0, 1)))
    assert read(qtbot, model, tiles, (0, 0)) == ["12"]
    assert not resets


@pytest.mark.parametrize(
    ("array", "dtype", "shown"),
    [
        (np.array([True, False]), "bool", ["True", "False"]),
        (np.array([2**62, -7]), "int64", ["4\u202f611\u202f686\u202f018\u202f427\u202f387\u202f904", "-7"]),
        (np.array([1 + 2j, complex(np.nan, -1)], "complex64"), "complex64", ["1+2j", "NaN-1j"]),
        (np.array([0.1, np.inf], ml_dtypes.bfloat16), "bfloat16", ["0.100098", "Inf"]),
        (np.array([0.1, -np.inf], "float16"), "float16", ["0.0999756", "-Inf"]),
        (np.array([0.1, np.nan], ml_dtypes.float8_e4m3fn), "float8_e4m3fn", ["0.101562", "NaN"]),
    ],
)
def test_every_kind_of_number_is_right(qtbot, model, tiles, array, dtype, shown):
    model.show_grid(grid_of(made_from(array, dtype)))
    assert read(qtbot, model, tiles, (0, 0), (1, 0)) == shown


def test_quantised_values_are_dequantised(qtbot, model, tiles):
    tensor = made_tensor(b"\x00\x05", "quint8", (2,), quantization=Quantization("per_tensor_affine", 0.5, 3))
    model.show_grid(grid_of(tensor))
    assert read(qtbot, model, tiles, (0, 0), (1, 0)) == ["-1.5", "1"]


def test_nan_is_hatched_and_a_word(qtbot, model, tiles):
    model.show_grid(grid_of(floats(1, np.nan)))
    assert read(qtbot, model, tiles, (1, 0)) == ["NaN"]
    assert model.index(1, 0).data(Qt.ItemDataRole.BackgroundRole).style() == Qt.BrushStyle.BDiagPattern
    assert model.index(0, 0).data(Qt.ItemDataRole.BackgroundRole) is None


def test_long_tensors_have_pages(qtbot, model, tiles, monkeypatch):
    monkeypatch.setattr("ckpt_viewer.gui.panels.values_model.PAGE_ROWS", 100)
    model.show_grid(grid_of(made_from(np.arange(250.0))))
    assert model.rowCount() == 100
    model.show_page(200)
    assert model.rowCount() == 50
    assert read(qtbot, model, tiles, (49, 0)) == ["249"]
    assert model.headerData(49, Qt.Orientation.Vertical) == "249"
    assert PAGE_ROWS * 30 < 2**31  # pixels of a page fit into 32 bits


def test_the_slice_follows_the_boxes(open_details):
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    details = open_details(mapping_of({"t": made_from(array)}))
    panel = details.select("/t", "Values")
    table = panel.table
    assert [table.model().index(2, 3).data(), table.model().index(0, 0).data()] == ["11", "0"]
    spin = panel.dimensions.spins[0]
    spin.setValue(1)
    details.wait()
    assert table.model().index(2, 3).data() == "23"
    assert panel.status.text().startswith("[1, :, :]")
    panel.dimensions.rows.setCurrentIndex(0)
    panel.dimensions.rows.activated.emit(0)
    details.wait()
    assert (table.model().rowCount(), table.model().columnCount()) == (2, 4)
    panel.dimensions.columns.setCurrentIndex(1)
    panel.dimensions.columns.activated.emit(1)
    panel.dimensions.spins[0].setValue(3)
    details.wait()
    assert [table.model().index(1, column).data() for column in range(3)] == ["15", "19", "23"]
    panel.dimensions.rows.setCurrentIndex(1)
    panel.dimensions.rows.activated.emit(1)
    details.wait()
    assert [table.model().index(row, 1).data() for row in range(3)] == ["15", "19", "23"]


def test_a_copy_has_every_digit_also_of_rows_never_shown(qtbot, open_details):
    array = np.linspace(0, 1, 30_000, dtype="float32").reshape(10_000, 3)
    array[9_000, 1] = np.nan
    details = open_details(mapping_of({"t": made_from(array)}))
    table = details.select("/t", "Values").table
    model, choice = table.model(), QItemSelectionModel.SelectionFlag.Select
    table.selectionModel().select(QItemSelection(model.index(8_999, 1), model.index(9_000, 2)), choice)
    with qtbot.waitSignal(table.said):
        table.copy()
    rows = [line.split("\t") for line in QGuiApplication.clipboard().text().split("\n")]
    assert [float(cell) for cell in rows[0]] == array[8_999, 1:].tolist()
    assert rows[1] == ["NaN", repr(array[9_000, 2].item())]


def test_too_much_to_copy_is_refused_in_a_sentence(qtbot, open_details):
    details = open_details(
        mapping_of({"t": made_tensor(b"", "float32", (2_000_000,), source=CountingSource(bytes(8_000_000)))})
    )
    panel = details.select("/t", "Values")
    panel.table.selectAll()
    panel.table.copy()
    assert "too many to copy" in panel.status.text()


def test_jumping_to_a_row(qtbot, open_details):
    details = open_details(mapping_of({"t": made_from(np.arange(5000.0))}))
    panel = details.select("/t", "Values")
    panel.jump.setText("4 321")
    panel.jump.returnPressed.emit()
    details.wait()
    assert panel.table.currentIndex().row() == 4321
    qtbot.waitUntil(lambda: panel.table.currentIndex().data() == "4321")
    panel.jump.setText("5000")
    panel.jump.returnPressed.emit()
    assert panel.status.text() == "There is no row 5000; choose from 0 to 4\u202f999."


def test_parts_of_a_sparse_tensor_can_be_chosen(open_details):
    details = open_details(mapping_of({"s": sparse()}))
    panel = details.select("/s", "Values")
    assert panel.parts.isVisible()
    assert panel.parts.currentText().startswith("values")
    assert panel.table.model().index(1, 0).data() == "4"
    panel.parts.setCurrentIndex(0)
    panel.parts.activated.emit(0)
    details.wait()
    assert panel.table.model().index(1, 0).data() == "2"


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (made_from(np.zeros((0, 5), "float32")), "empty: its shape 0 × 5"),
        (meta(), "meta"),
        (TensorSpec(None, "float32", None, None), "not initialised"),
        (at(Changed(bytes(48)), (3, 4)), "changed by another program"),
        (made_tensor(bytes(8), "float32", (3,)), "needs 12 bytes of a storage of 8"),
        (TensorSpec(None, "float32", (2,), (1,), extra=TensorExtra(layout="sparse_coo")), "keeps its values"),
    ],
)
def test_where_there_are_no_values_stands_a_sentence(open_details, tensor, sentence):
    panel = open_details(mapping_of({"t": tensor})).select("/t", "Values")
    assert sentence in panel.sentence
    assert panel.is_settled


def test_a_scalar_is_one_cell(open_details):
    panel = open_details(mapping_of({"t": made_from(np.array(3.25))})).select("/t", "Values")
    assert (panel.table.model().rowCount(), panel.table.model().columnCount()) == (1, 1)
    assert panel.table.model().index(0, 0).data() == "3.25"
    assert not panel.dimensions.isVisible()


def test_the_panel_finds_its_way_back_from_a_sentence(open_details):
    details = open_details(mapping_of({"bad": meta(), "good": floats(7), "s": StorageSpec("0", "cpu", "", 0, None)}))
    assert details.select("/bad", "Values").sentence
    panel = details.select("/good")
    assert panel.sentence == ""
    assert panel.table.model().index(0, 0).data() == "7"


def test_going_to_the_first_nan_changes_the_slice(qtbot, open_details):
    array = np.zeros((3, 4, 2000, 5), "float32")
    array[2, 1, 1500, 3], array[2, 3, 0, 0], array[0, 0, 7, 4] = np.nan, np.nan, -3
    details = open_details(mapping_of({"t": made_from(array)}))
    panel = details.select("/t", "Values")
    for goal, slicing, cell, words in (
        ("NaN", "[2, 1, :, :]", (1500, 3), "The first NaN is at [2, 1, 1500, 3]: NaN"),
        ("min", "[0, 0, :, :]", (7, 4), "The least value is at [0, 0, 7, 4]: -3.0"),
    ):
        panel.tools.seek_actions[goal].trigger()
        details.wait()
        index = panel.table.currentIndex()
        assert (index.row(), index.column()) == cell
        assert panel.table.tiles.grid.slicing.text == slicing
        assert panel.status.text() == words
        assert panel.dimensions.spins[0].value() == int(slicing[1])
    panel.tools.seek_actions["Inf"].trigger()
    details.wait()
    assert panel.status.text() == "There is no infinity in this tensor."


def test_integers_have_no_nan_to_go_to(open_details):
    panel = open_details(mapping_of({"t": made_from(np.arange(6))})).select("/t", "Values")
    assert [action.isEnabled() for action in panel.tools.seek_actions.values()] == [False, False, True, True]


def test_a_slice_is_saved_as_npy_and_csv(qtbot, tmp_path, open_details):
    array = np.arange(24, dtype="float32").reshape(2, 3, 4)
    panel = open_details(mapping_of({"t": made_from(array)})).select("/t", "Values")
    panel.dimensions.spins[0].setValue(1)
    for kind, load in (("npy", np.load), ("CSV", lambda path: np.loadtxt(path, delimiter=","))):
        with qtbot.waitSignal(panel.tools.said) as got:
            panel.tools.save(str(tmp_path / f"a.{kind}"), kind)
        assert got.args[0].startswith(f"Saved a.{kind}")
        assert (load(tmp_path / f"a.{kind}") == array[1]).all()
    with qtbot.waitSignal(panel.tools.said) as got:
        panel.tools.save(str(tmp_path / "no" / "a.npy"), "npy")
    assert "was not saved: there is no folder" in got.args[0]


@pytest.mark.parametrize("kind", ["npy", "CSV"])
def test_no_file_that_is_read_is_saved_over(qtbot, tmp_path, open_details, kind):
    panel = open_details(mapping_of({"t": made_from(np.arange(6))})).select("/t", "Values")
    panel.session.checkpoint.path = str(tmp_path / "set.index.json")
    panel.session.checkpoint.contents = panel.session.checkpoint.contents._replace(files=("shard.bin",))
    (tmp_path / "shard.bin").write_bytes(b"the only copy")
    with qtbot.waitSignal(panel.tools.said) as got:
        panel.tools.save(str(tmp_path / "shard.bin"), kind)
    assert "the target is one of the files that are read" in got.args[0]
    assert (tmp_path / "shard.bin").read_bytes() == b"the only copy"
