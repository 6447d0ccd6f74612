"""The histogram's axes: zooming counts anew, the logarithmic axis, marks on it, odd dtypes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from made_tensors import CountingSource, made_from, made_tensor
from panel_samples import floats
from PySide6.QtCore import QEvent, QPointF, Qt
from tree_samples import mapping_of

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.gui.panels import counting
from ckpt_viewer.gui.panels.counting import Target, first_look
from ckpt_viewer.gui.panels.picture import MEAN, QUANTILES, SPREAD, ZERO, Wish
from ckpt_viewer.gui.theme import DARK, LIGHT, themes

RANDOM = np.random.default_rng(3)
NORMAL = RANDOM.normal(size=200_000).astype("float32")


def panel_of(open_details, tensor):
    return open_details(mapping_of({"t": tensor})).select("/t")


def zoom(qtbot, panel, low, high):
    """Look at the values from low to high, and wait until they are counted exactly."""
    plot = panel._plot
    axis = plot.picture.axis
    with qtbot.waitSignal(panel.settled):
        plot._box.setXRange(axis.at(low), axis.at(high), padding=0)
    return plot.picture


def look_at(tensor, **wish):
    return first_look(Target(("t",), (tensor,)), Wish(**wish), {}, SILENT)


def test_zooming_counts_the_range_anew_and_exactly(qtbot, open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    whole = panel._plot.picture
    picture = zoom(qtbot, panel, 0.5, 0.6)
    assert picture.exact
    assert picture.bins == whole.bins
    assert (picture.edges[0], picture.edges[-1]) == pytest.approx((0.5, 0.6), abs=1e-4)
    expected = np.searchsorted(np.sort(NORMAL.astype("float64")), picture.edges)
    assert picture.series[0].counts == np.diff(expected).tolist()
    assert panel.status.text() == "exact"
    assert panel.controls.whole.isVisibleTo(panel)


@pytest.mark.parametrize("way", ["button", "menu", "double click"])
def test_all_values_come_back(qtbot, open_details, way):
    panel = panel_of(open_details, made_from(NORMAL))
    before = panel._plot.picture
    zoom(qtbot, panel, 0.5, 0.6)
    with qtbot.waitSignal(panel.settled):
        if way == "button":
            panel.controls.whole.click()
        elif way == "menu":
            panel.save.menu.actions()[0].trigger()
        else:
            plot = panel._plot
            scene = plot._box.mapViewToScene(plot._box.viewRect().center())
            qtbot.mouseDClick(plot.widget.viewport(), Qt.MouseButton.LeftButton, pos=plot.widget.mapFromScene(scene))
    assert panel._plot.picture == before
    assert not panel.controls.whole.isVisibleTo(panel)


def test_a_zoomed_picture_comes_from_cells_until_the_file_was_read_again(qtbot, open_details, monkeypatch):
    gate, entered = threading.Event(), threading.Event()
    real = counting.settled

    def held(seen, context):
        if seen.picture.wish.zoomed:
            entered.set()
            assert gate.wait(10)
        return real(seen, context)

    monkeypatch.setattr(counting, "settled", held)
    panel = panel_of(open_details, made_from(NORMAL))
    plot = panel._plot
    plot._box.setXRange(plot.picture.axis.at(0.5), plot.picture.axis.at(0.6), padding=0)
    qtbot.waitUntil(entered.is_set)
    assert plot.picture.snapped
    assert "edges moved by less than 1/128" in panel.status.text()
    inside = (plot.picture.edges[0] <= NORMAL) & (plot.picture.edges[-1] > NORMAL)
    assert sum(plot.picture.series[0].counts) == np.count_nonzero(inside)
    assert not panel.is_settled
    with qtbot.waitSignal(panel.settled):
        gate.set()
    assert plot.picture.exact


def test_zooming_into_sixteen_bits_reads_nothing(qtbot, open_details):
    values = NORMAL.astype("float16")
    source = CountingSource(values.tobytes())
    panel = panel_of(open_details, made_tensor(b"", "float16", values.shape, source=source))
    read = source.read
    picture = zoom(qtbot, panel, -0.25, 0.25)
    assert picture.exact
    assert source.read == read
    assert sum(picture.series[0].counts) == np.count_nonzero(
        (values >= picture.edges[0]) & (values <= picture.edges[-1])
    )


def test_other_bins_do_not_count_everything_again(qtbot, open_details):
    details = open_details(mapping_of({"t": made_from(NORMAL)}))
    panel = details.select("/t")
    profiles = panel._seen.profiles
    panel.controls.bins.setValue(31)
    details.wait()
    assert panel._plot.picture.bins == 31
    assert panel._seen.profiles[0] is profiles[0]
    assert (
        panel._plot.picture.series[0].counts
        == np.histogram(NORMAL.astype("float64"), panel._plot.picture.edges)[0].tolist()
    )


def test_another_tensor_is_shown_whole(qtbot, open_details):
    details = open_details(mapping_of({"a": made_from(NORMAL), "b": made_from(NORMAL * 3)}))
    panel = details.select("/a")
    zoom(qtbot, panel, 0.5, 0.6)
    details.select("/b")
    assert not panel._plot.picture.wish.zoomed
    assert sum(panel._plot.picture.series[0].counts) == NORMAL.size


def test_the_height_fits_what_is_shown(qtbot, open_details):
    panel = panel_of(open_details, made_from(np.repeat([0.0, 1.0], [1000, 10])))
    assert panel._plot._box.viewRange()[1][1] > 1000
    zoom(qtbot, panel, 0.9, 1.0)
    assert panel._plot._box.viewRange()[1][1] < 20


def test_a_drag_zooms_the_wheel_zooms_and_shift_moves(qtbot, open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    plot = panel._plot
    box, port = plot._box, plot.widget.viewport()
    qtbot.waitUntil(lambda: box.width() > 50)
    axis = plot.picture.axis
    start, stop = (plot.widget.mapFromScene(box.mapViewToScene(QPointF(axis.at(v), 100))) for v in (-1.0, 1.0))
    with qtbot.waitSignal(panel.settled):
        qtbot.mousePress(port, Qt.MouseButton.LeftButton, pos=start)
        qtbot.mouseMove(port, (start + stop) / 2)
        qtbot.mouseMove(port, stop)
        qtbot.mouseRelease(port, Qt.MouseButton.LeftButton, pos=stop)
    assert (plot.picture.edges[0], plot.picture.edges[-1]) == pytest.approx((-1, 1), abs=0.1)


def test_a_symmetric_logarithmic_axis_shows_what_is_close_to_zero(qtbot, open_details):
    values = np.concatenate([RANDOM.normal(size=50_000) * 1e-6, RANDOM.normal(size=50_000)]).astype("float32")
    details = open_details(mapping_of({"t": made_from(values)}))
    panel = details.select("/t")
    counts = panel._plot.picture.series[0].counts
    assert max(counts) >= 50_000
    panel.controls.axis.setCurrentText("symlog")
    details.wait()
    picture = panel._plot.picture
    assert picture.exact
    assert max(picture.series[0].counts) < 10_000
    assert sum(picture.series[0].counts) == values.size
    assert "logarithmic beyond ±" in panel._plot._item.getAxis("bottom").labelText
    widths = np.diff(picture.places)
    assert widths == pytest.approx(np.ones(picture.bins), abs=1e-6)
    again = open_details(mapping_of({"t": made_from(values)})).select("/t")
    assert again._plot.picture.axis.linear is not None


def test_whole_numbers_on_a_logarithmic_axis_are_not_cut():
    picture = look_at(made_from(np.arange(10_000)), symlog=True).picture
    assert all(edge % 1 == 0.5 for edge in picture.edges)
    assert sum(picture.series[0].counts) == 10_000
    assert picture.series[0].counts[0] == 1


def test_marks_stand_at_the_statistics_and_can_be_switched(qtbot, open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    plot = panel._plot
    assert {each.mark.kind for each in plot.lettering.placed} == {ZERO, MEAN, SPREAD}
    panel.controls._actions[QUANTILES].trigger()
    found = {each.mark.text: each.at for each in plot.lettering.placed}
    assert set(found) == {"0", "mean", "−std", "+std", "5 %", "25 %", "median", "75 %", "95 %"}
    place = plot._box.mapFromView(QPointF(plot.picture.axis.at(float(NORMAL.mean() + NORMAL.std())), 0))
    assert found["+std"] == pytest.approx(place.x(), abs=1)
    for kind in (ZERO, MEAN, SPREAD, QUANTILES):
        panel.controls._actions[kind].setChecked(False)
    assert not plot.lettering.placed
    again = panel_of(open_details, made_from(NORMAL))
    assert not again._plot.lettering.placed


def test_names_of_marks_do_not_lie_over_one_another(open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    panel.controls._actions[QUANTILES].setChecked(True)
    lettering = panel._plot.lettering
    boxes = [lettering.name_rect(each) for each in lettering.placed if each.row >= 0]
    assert len(boxes) == 9
    for number, one in enumerate(boxes):
        assert lettering.boundingRect().contains(one)
        assert not any(one.intersects(other) for other in boxes[:number])


def test_marks_are_legible_in_both_themes(open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    lettering = panel._plot.lettering
    zero, mean = (next(each.mark for each in lettering.placed if each.mark.kind == kind) for kind in (ZERO, MEAN))
    for theme in (LIGHT, DARK):
        themes().choose(theme.name)
        assert lettering.pen_of(zero).color().name() == theme.text
        assert lettering.pen_of(mean).color().name().lower() == theme.series[1].lower()
    themes().choose("light")


def test_the_pointer_finds_bins_of_a_zoomed_picture(qtbot, open_details):
    panel = panel_of(open_details, made_from(np.repeat([0.0, 0.5, 1.0], [1000, 7, 10])))
    picture = zoom(qtbot, panel, 0.4, 0.6)
    plot = panel._plot
    at = picture.bin_at(picture.axis.at(0.5))
    plot._on_moved(plot._box.mapViewToScene(QPointF(picture.axis.at(0.5), 1.0)))
    assert plot.at == at
    assert "7 values" in panel.hover.text()
    plot.eventFilter(plot.widget, QEvent(QEvent.Type.Leave))
    assert plot.at == -1


EXTREMES = np.array([-(2**63), 2**63 - 1, 0], "int64")
ODD = {
    "int64 extremes": made_from(EXTREMES),
    "uint64": made_from(np.array([2**64 - 1, 0], "uint64")),
    "float64 extremes": made_from(np.array([1.7e308, -1.7e308, 5e-324])),
    "last bits": made_from(np.array([1e20, np.nextafter(1e20, 2e20)])),
    "huge constant": made_from(np.full(9, 1.7e308)),
    "one": floats(3.0),
    "bool": made_from(np.array([True, False])),
    "subnormal": made_from(np.array([1e-310, -2e-310])),
    "7-D": made_from(RANDOM.normal(size=(2, 1, 3, 2, 1, 2, 2)).astype("float32")),
    "0-dim": made_from(np.array(2.5)),
    "complex": made_from(np.array([3 + 4j, 0], "complex64")),
    "float8": made_tensor(bytes(range(120)), "float8_e4m3fn", (120,)),
    "one infinity": floats(1.0, np.inf, np.nan),
}


@pytest.mark.parametrize("symlog", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_every_finite_value_is_in_a_bin_whatever_the_type(name, symlog):
    seen = look_at(ODD[name], symlog=symlog)
    picture = seen.picture
    assert picture.exact
    assert sum(picture.series[0].counts) == seen.profiles[0].census.finite
    assert list(picture.places) == sorted(picture.places)
    assert picture.edges == sorted(picture.edges)
    assert all(tick.text for tick in picture.axis.ticks(0, picture.axis.bins, 6))


@pytest.mark.parametrize("name", ODD)
def test_odd_types_can_be_drawn_and_zoomed(qtbot, open_details, name):
    panel = panel_of(open_details, ODD[name])
    plot = panel._plot
    bins = plot.picture.axis.bins
    with qtbot.waitSignal(panel.settled):
        plot._box.setXRange(bins * 0.3, bins * 0.7, padding=0)
    assert not panel.window().grab().isNull()
