"""The image panel: what it rates, its colours, zoom, hatching, files."""

from __future__ import annotations

import numpy as np
import pytest
from made_tensors import CountingSource, made_from, made_tensor
from panel_samples import Changed, at, floats, gated, meta, sparse
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage
from tree_samples import mapping_of

from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.panels import colouring
from ckpt_viewer.gui.panels.base import UNSUPPORTED
from ckpt_viewer.gui.panels.colouring import LEVELS, Look, colours, limit_of, paint
from ckpt_viewer.gui.panels.image import MODES, ImagePanel
from ckpt_viewer.gui.theme import theme, themes
from ckpt_viewer.stats import raster as rasters

NORMAL = np.random.default_rng(0).normal(size=(40, 60)).astype("float32")
BASE = 0xFFFFFFFF


def panel_of(open_details, tensor):
    details = open_details(mapping_of({"t": tensor}))
    panel = details.select("/t", "Image")
    assert isinstance(panel, ImagePanel)
    return details, panel


def raster_of(array):
    from ckpt_viewer.core.slicing import first_slicing
    from ckpt_viewer.stats.plane import Plane

    plane = Plane(made_from(array), first_slicing(array.shape))
    return rasters.read_raster(plane, rasters.Window(0, array.shape[0], 0, array.shape[1]), (500, 500))


@pytest.mark.parametrize(
    "tensor",
    [
        floats(1, 2, 3),
        made_from(np.array(1.0)),
        made_from(np.zeros((0, 5))),
        meta(),
        sparse(),
        made_from(np.ones((1, 1))),
    ],
    ids=["1-D", "scalar", "empty", "meta", "sparse", "one"],
)
def test_what_has_no_picture_has_no_tab(open_details, tensor):
    details = open_details(mapping_of({"t": tensor}))
    node = details.checkpoint["/t"]
    assert isinstance(node, Node)
    assert ImagePanel.rate(node) == UNSUPPORTED
    assert ImagePanel.rate(details.checkpoint.root) == UNSUPPORTED


def test_the_modes_are_those_of_the_raster():
    assert MODES == rasters.MODES


def test_zero_has_the_middle_colour_and_both_ends_are_symmetric():
    raster = raster_of(np.array([[-2.0, 0.0, 1.0, 2.0]]))
    picture = paint(raster, Look(), limit_of(raster, Look()), "CET-CBD1", BASE)
    table = colours("CET-CBD1")
    assert picture.limit == 2
    assert picture.pixels[0, [0, 1, 3]].tolist() == table[[0, LEVELS // 2, LEVELS - 1]].tolist()
    middle = QColor.fromRgb(int(table[LEVELS // 2]))
    assert min(middle.red(), middle.green(), middle.blue()) > 220
    assert picture.marks is None


def test_nan_and_inf_are_marked_and_leave_the_range_alone():
    array = NORMAL.copy()
    array[3, 4], array[5, 6] = np.nan, -np.inf
    raster = raster_of(array)
    picture = paint(raster, Look(), limit_of(raster, Look()), "CET-CBD1", BASE)
    assert picture.few == ((3, 4, colouring.NAN), (5, 6, colouring.INF))
    assert picture.pixels[3, 4] == picture.pixels[5, 6] == BASE
    assert picture.limit == np.abs(array[np.isfinite(array)]).max()
    assert colouring.special_words(raster) == "1 NaN, 1 Inf"


def test_the_robust_range_ignores_an_outlier_and_says_so(open_details):
    array = NORMAL.copy()
    array[0, 0] = 1e6
    details, panel = panel_of(open_details, made_from(array))
    assert panel.status.text() == "colours to ±1e+06"
    panel.robust.setChecked(True)
    details.wait()
    assert "robust: 99% of the values" in panel.status.text()
    assert panel.map.whole.limit < 5


def test_a_large_matrix_is_a_sample_first_and_then_exact(open_details, monkeypatch):
    monkeypatch.setattr(colouring, "AT_ONCE", 100)
    tensor, source = gated(np.random.default_rng(1).normal(size=(900, 800)).astype("float32"))
    details = open_details(mapping_of({"t": tensor}))
    panel = details.select("/t", "Image", wait=False)
    seen = []
    panel._first.finished.connect(lambda picture: seen.append(picture.raster.sample))
    panel._exact.finished.connect(lambda picture: seen.append(picture.raster.sample))
    source.gate.set()
    details.wait()
    assert seen == [True, False]
    assert panel.status.text().startswith("colours to ±")
    assert "each cell: |max| of" in panel.status.text()


def test_zooming_reads_finer_blocks_of_that_part_only(qtbot, open_details):
    source = CountingSource(np.arange(4_000_000, dtype="float32").tobytes())
    details, panel = panel_of(open_details, made_tensor(b"", "float32", (2000, 2000), source=source))
    assert not panel.map.whole.raster.fine
    before = source.read
    panel.map.zoom(20, panel.map.area.center())
    qtbot.waitUntil(lambda: panel.map.detail is not None)
    details.wait()
    detail = panel.map.detail.raster
    assert detail.fine
    assert source.read - before < 16_000_000 / 4
    row, column = detail.window.top + 3, detail.window.left + 2
    panel.map.hover((row, column))
    assert panel.hover.text() == f"[{row}, {column}]  {float(row * 2000 + column)}"
    panel.map.show_all()
    assert not panel.map.is_zoomed


def test_hover_says_what_is_in_a_block(open_details):
    array = np.zeros((2000, 1000), "float32")
    array[0, 0], array[1, 1] = -7, np.nan
    _, panel = panel_of(open_details, made_from(array))
    panel.map.hover((0, 0))
    raster = panel.map.whole.raster
    text = panel.hover.text()
    assert text.startswith(f"[0 … {raster.down - 1}, 0 … {raster.across - 1}]  min -7, mean ")
    assert text.endswith("max 0, 1 NaN")


def test_filters_are_a_grid_and_can_be_one_slice(open_details):
    array = np.random.default_rng(2).normal(size=(8, 3, 5, 5)).astype("float32")
    details, panel = panel_of(open_details, made_from(array))
    assert panel.grid.isChecked()
    assert panel.map.rows * panel.map.columns == array.size
    assert panel.map.tile == (5, 5)
    panel.grid.click()
    details.wait()
    assert (panel.map.rows, panel.map.columns) == (5, 5)
    panel.dimensions.spins[0].setValue(7)
    details.wait()
    assert panel.map.whole.raster.low.tolist() == array[7, 0].tolist()


def test_a_double_click_shows_the_value_in_its_table(qtbot, open_details):
    details, panel = panel_of(open_details, made_from(NORMAL))
    place = panel.map.frame.rect(12, 13, 34, 35).center()
    qtbot.mouseMove(panel.map, place.toPoint())
    panel.map.hover((12, 34))
    qtbot.mouseDClick(panel.map, Qt.MouseButton.LeftButton, pos=place.toPoint())
    details.wait()
    table = details.tabs.panel.table
    assert details.tabs.panel.title == "Values"
    assert (table.currentIndex().row(), table.currentIndex().column()) == (12, 34)


def test_wheel_keys_and_dragging_move_the_picture(qtbot, open_details):
    _, panel = panel_of(open_details, made_from(NORMAL))
    heat_map = panel.map
    qtbot.keyClick(heat_map, Qt.Key.Key_Plus)
    assert heat_map.is_zoomed
    for _ in range(8):
        qtbot.keyClick(heat_map, Qt.Key.Key_Plus)
    before = heat_map.visible
    assert before.bottom - before.top < 40
    heat_map.pan(0, 10_000)
    assert heat_map.visible.top == 0
    heat_map.pan(-1e9, -1e9)
    assert (heat_map.visible.bottom, heat_map.visible.right) == (40, 60)
    qtbot.keyClick(heat_map, Qt.Key.Key_Home)
    assert heat_map.visible == (0, 40, 0, 60)
    qtbot.keyClick(heat_map, Qt.Key.Key_Down)
    assert heat_map.at == (21, 30)


def test_nan_is_hatched_on_the_screen(open_details):
    array = np.zeros((20, 30), "float32")
    array[5:15, 5:25] = np.nan
    _, panel = panel_of(open_details, made_from(array))
    image = panel.map.grab().toImage()
    centre = panel.map.frame.rect(6, 14, 6, 24).toRect()
    seen = {image.pixelColor(x, y).name() for x in range(centre.left(), centre.right()) for y in (centre.center().y(),)}
    assert {theme().error, theme().base} <= seen


def test_the_picture_follows_the_theme(open_details):
    details, panel = panel_of(open_details, made_from(NORMAL))
    themes().choose("dark")
    details.wait()
    assert panel.map.grab().toImage().pixelColor(QPoint(1, 1)) == QColor(theme().base)
    themes().choose("light")
    details.wait()


def test_a_png_is_saved_whole(qtbot, tmp_path, open_details):
    _, panel = panel_of(open_details, made_from(NORMAL))
    path = tmp_path / "picture.png"
    with qtbot.waitSignal(panel.save.said) as got:
        panel.save.save(str(path), panel.save.png_writer())
    assert got.args == ["Saved picture.png."]
    assert QImage(str(path)).width() == panel.map.width()
    with qtbot.waitSignal(panel.save.said) as got:
        panel.save.save(str(tmp_path / "no" / "picture.png"), panel.save.png_writer())
    assert "was not saved: there is no folder" in got.args[0]


def test_a_file_that_changed_says_so_in_its_place(open_details):
    _, panel = panel_of(open_details, at(Changed(bytes(4800)), (40, 30)))
    assert "changed by another program" in panel.sentence


def test_leaving_cancels_the_reading(qtbot, open_details, monkeypatch):
    monkeypatch.setattr(colouring, "AT_ONCE", 100)
    tensor, source = gated(np.zeros((900, 800), "float32"))
    details = open_details(mapping_of({"t": tensor, "u": made_from(NORMAL)}))
    panel = details.select("/t", "Image", wait=False)
    qtbot.waitUntil(source.asked.is_set)
    details.select("/u", "Image", wait=False)
    source.gate.set()
    details.wait()
    assert (panel.map.rows, panel.map.columns) == (40, 60)


def test_the_pointer_reads_off_the_cell_below_it(qtbot, open_details):
    _, panel = panel_of(open_details, made_from(NORMAL))
    frame = panel.map.frame
    assert frame.cell(frame.rect(7, 8, 9, 10).center()) == (7, 9)
    assert frame.cell(QPointF(-1e9, -1e9)) == (0, 0)


def test_it_is_said_where_nothing_is_finite(open_details):
    _, panel = panel_of(open_details, made_from(np.full((8, 9), np.nan, "float32")))
    assert panel.status.text() == "no finite value; 72 NaN"
    _, panel = panel_of(open_details, made_from(np.zeros((8, 9), "int32")))
    assert panel.status.text() == "every finite value is 0"
