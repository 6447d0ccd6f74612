"""The histogram panel: sample, exact numbers, cancelling, the picture, copies and files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from made_tensors import CountingSource, made_from, made_tensor
from panel_samples import Changed, Short, at, facts_of, floats, gated, meta, sparse
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QImage
from tree_samples import mapping_of

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.gui.panels import counting
from ckpt_viewer.gui.panels.counting import Target, first_look
from ckpt_viewer.gui.panels.histogram import HistogramPanel
from ckpt_viewer.gui.panels.picture import Wish
from ckpt_viewer.gui.panels.saving import csv_writer
from ckpt_viewer.gui.panels.statistics import statistics
from ckpt_viewer.gui.theme import DARK, themes
from ckpt_viewer.stats.sampling import sample_of
from ckpt_viewer.stats.summary import profile_tensor

NORMAL = np.random.default_rng(0).normal(size=1000).astype("float32")


def panel_of(open_details, tensor):
    panel = open_details(mapping_of({"t": tensor})).select("/t")
    assert isinstance(panel, HistogramPanel)
    return panel


def table(panel):
    return facts_of(panel.table)


def test_the_numbers_are_exact(open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    shown = table(panel)
    assert shown["values"] == shown["finite"] == "1\u202f000"
    assert shown["min"] == f"{NORMAL.min():.6g}"
    assert shown["max"] == f"{NORMAL.max():.6g}"
    assert shown["mean"] == f"{NORMAL.astype('float64').mean():.6g}"
    assert shown["std"] == f"{NORMAL.astype('float64').std():.6g}"
    assert [shown[name] for name in ("zeros", "NaN", "+Inf", "-Inf")] == ["0"] * 4
    low, high = np.sort(NORMAL)[[490, 510]]
    assert low <= float(shown["median"]) <= high
    assert panel.status.text() == "exact"
    assert panel.hover.text() == "no NaN, no Inf"
    assert sum(panel._plot.picture.series[0].counts) == 1000
    assert panel.is_settled


def test_the_objects_can_be_found_by_name(open_details):
    import pyqtgraph

    panel = panel_of(open_details, made_from(NORMAL))
    window = panel.window()
    plot = window.findChild(pyqtgraph.PlotWidget, "histogramPlot")
    assert plot.isVisible()
    assert plot.accessibleName()
    assert window.findChild(type(panel.table), "statsTable") is panel.table


def test_nan_and_infinities_are_counted_and_left_out(open_details):
    panel = panel_of(open_details, floats(1, np.nan, np.inf, -np.inf, 0, np.nan))
    shown = table(panel)
    assert [shown[name] for name in ("NaN", "+Inf", "-Inf", "zeros", "finite")] == ["2", "1", "1", "1", "2"]
    assert panel.hover.text() == "2 NaN, 2 Inf"


@pytest.mark.parametrize(
    ("tensor", "sentence", "nan"),
    [
        (made_from(np.zeros((0, 5), "float32")), "This tensor is empty: it has no values.", "0"),
        (floats(np.nan, np.nan), "All 2 values are NaN; there is nothing to draw.", "2"),
        (floats(np.nan, np.inf), "All 2 values are not finite: 1 NaN and 1 +Inf; there is nothing to draw.", "1"),
        (floats(-np.inf), "The only value is -Inf; there is nothing to draw.", "0"),
    ],
)
def test_a_sentence_stands_where_there_is_nothing_to_draw(open_details, tensor, sentence, nan):
    panel = panel_of(open_details, tensor)
    assert panel._instead.text.text() == sentence
    assert panel._instead.isVisible()
    assert table(panel)["NaN"] == nan
    assert table(panel)["min"] == "none"
    assert not panel.save.button.isEnabled()
    assert panel.status.text() == ("nothing to count" if tensor.shape == (0, 5) else "exact")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (meta(), "meta"),
        (at(Short(bytes(8)), (2,)), "is cut off"),
        (made_tensor(bytes(4), "bool", (8,)), "needs 8 bytes of a storage of 4"),
    ],
)
def test_what_cannot_be_read_says_so_in_its_place(open_details, tensor, words):
    panel = panel_of(open_details, tensor)
    assert words in panel.sentence
    assert panel.is_settled


def test_a_file_that_changed_offers_to_be_read_again(qtbot, open_details):
    details = open_details(mapping_of({"t": at(Changed(bytes(8)), (2,))}))
    panel = details.select("/t")
    assert panel.sentence.startswith("The file was changed by another program")
    with qtbot.waitSignal(details.session.opened):
        panel._notice.button.click()
    details.wait()


def test_constants_booleans_integers_and_complex_numbers(open_details):
    details = open_details(
        mapping_of({
            "constant": made_from(np.full(10, 0.25)), "bool": made_from(np.array([True, False, True])),
            "int": made_from(np.array([-3, 0, 3, 3])), "complex": made_from(np.array([3 + 4j, 0], "complex64")),
            "half": made_from(np.array([1, 2], "float16")), "sparse": sparse(), "scalar": made_from(np.array(2.5)),
        })
    )  # fmt: skip
    panel = details.select("/constant")
    assert table(panel)["std"] == "0"
    assert (panel._plot.picture.edges[0], panel._plot.picture.edges[-1]) == (-0.25, 0.75)
    details.select("/bool")
    assert panel._plot.picture.series[0].counts == [1, 2]
    assert [tick.text for tick in panel._plot.picture.axis.ticks(0, 2, 5)] == ["False", "True"]
    details.select("/int")
    assert panel._plot.picture.series[0].counts == [1, 0, 0, 1, 0, 0, 2]
    details.select("/complex")
    assert table(panel)["max"] == "5"
    assert panel._plot._item.getAxis("bottom").labelText == "magnitude"
    details.select("/half")
    assert table(panel)["mean"] == "1.5"
    details.select("/sparse")
    assert table(panel)["mean"] == "3.5"
    assert panel.status.text() == "exact, stored values only"
    details.select("/scalar")
    assert table(panel)["values"] == "1"


def test_counts_have_no_marks_between_whole_numbers(open_details):
    panel = panel_of(open_details, floats(1, 2))
    marks = panel._plot._item.getAxis("left")._tickLevels[0]
    assert [text for _, text in marks] == ["0", "1"]


def test_values_at_the_ends_of_float64_are_drawn(open_details):
    panel = panel_of(open_details, made_from(np.array([1e308, -1e308, 5e-324])))
    assert sum(panel._plot.picture.series[0].counts) == 3
    assert not panel.window().grab().isNull()


def test_bins_can_be_chosen(open_details):
    details = open_details(mapping_of({"t": made_from(NORMAL)}))
    panel = details.select("/t")
    panel.controls.bins.setValue(7)
    details.wait()
    assert len(panel._plot.picture.series[0].counts) == 7
    assert sum(panel._plot.picture.series[0].counts) == 1000


def look_at(tensor, **wish):
    return first_look(Target(("t",), (tensor,)), Wish(**wish), {}, SILENT)


def test_whole_numbers_get_a_bin_each_unless_bins_were_chosen():
    tensor = made_from(np.arange(5).repeat(1000))
    assert look_at(tensor).picture.series[0].counts == [1000] * 5
    assert look_at(tensor).picture.edges == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]
    chosen = look_at(tensor, bins=64).picture
    assert chosen.bins == 64
    assert sum(chosen.series[0].counts) == 5000


def test_no_bin_holds_more_whole_numbers_than_its_neighbours():
    picture = look_at(made_from(np.arange(100_000, dtype="int32"))).picture
    assert set(np.diff(picture.edges)) == {1000.0}
    assert set(picture.series[0].counts) == {1000}


def test_a_large_tensor_is_sampled_first_and_then_exact(qtbot, open_details, monkeypatch):
    monkeypatch.setattr(counting, "AT_ONCE", 10)
    data = np.random.default_rng(1).normal(size=200_000).astype("float32")
    data[-1] = np.nan
    gate, entered = threading.Event(), threading.Event()
    real = counting.count_all

    def held(seen, wish, context, *more):
        entered.set()
        assert gate.wait(10)
        return real(seen, wish, context, *more)

    monkeypatch.setattr(counting, "count_all", held)
    details = open_details(mapping_of({"t": made_from(data)}))
    panel = details.select("/t", wait=False)
    qtbot.waitUntil(lambda: entered.is_set() and panel.status.text().startswith("sample of "))
    shown = table(panel)
    assert shown["values"] == shown["NaN"] == shown["zeros"] == "counting …"
    assert shown["mean"].startswith("≈ ")
    assert panel.hover.text() == " "
    assert not panel.is_settled
    with qtbot.waitSignal(panel.settled):
        gate.set()
    assert panel.status.text().startswith("exact")
    assert table(panel)["values"] == "200\u202f000"
    assert panel.hover.text() == "1 NaN, no Inf"
    assert table(panel)["NaN"] == "1"


def test_selecting_another_tensor_drops_the_first(qtbot, open_details):
    first, source = gated(np.zeros(100, "float32"))
    details = open_details(mapping_of({"first": first, "second": floats(1, 2, 3)}))
    panel = details.select("/first", wait=False)
    qtbot.waitUntil(source.asked.is_set)
    shown = []
    panel.settled.connect(lambda: shown.append(table(panel)["values"]))
    details.select("/second", wait=False)
    qtbot.waitUntil(lambda: panel.is_settled)
    source.gate.set()
    details.wait()
    assert shown == ["3"]
    assert table(panel)["max"] == "3"


def test_an_exact_count_that_is_not_wanted_any_more_is_cancelled(qtbot, open_details, monkeypatch):
    monkeypatch.setattr(counting, "AT_ONCE", 10)
    gate, entered = threading.Event(), threading.Event()
    real = counting.count_all

    def held(seen, wish, context, *more):
        entered.set()
        assert gate.wait(10)
        return real(seen, wish, context, *more)

    monkeypatch.setattr(counting, "count_all", held)
    details = open_details(mapping_of({"large": made_from(np.ones(200_000, "float32")), "small": floats(5)}))
    panel = details.select("/large", wait=False)
    qtbot.waitUntil(entered.is_set)
    job = panel.flow._count.job
    details.select("/small", wait=False)
    qtbot.waitUntil(lambda: panel.is_settled)
    assert job.is_cancelled
    gate.set()
    details.wait()
    assert table(panel)["max"] == "5"
    assert panel.status.text() == "exact"


def test_going_back_reads_nothing(open_details):
    source = CountingSource(NORMAL.tobytes())
    details = open_details(mapping_of({"a": made_tensor(b"", "float32", (1000,), source=source), "b": floats(1)}))
    details.select("/a")
    read = source.read
    assert read >= 4000
    details.select("/b")
    panel = details.select("/a")
    assert source.read == read
    assert table(panel)["values"] == "1\u202f000"


def test_hovering_says_the_bin_and_its_count(qtbot, open_details):
    panel = panel_of(open_details, made_from(np.array([0.0, 0.1, 1.0])))
    plot = panel._plot
    heard = []
    plot.hovered.connect(heard.append)
    box = plot._item.getViewBox()
    qtbot.waitUntil(lambda: box.width() > 50)
    plot._on_moved(box.mapViewToScene(QPointF(0.5, 1.0)))
    assert heard == [0]
    bins = len(plot.picture.series[0].counts)
    count = plot.picture.series[0].counts[0]
    expected = f"0 … {1 / bins:.6g}:  {count} value{'s' * (count != 1)}  ({100 * count / 3:.3g} %)"
    assert panel.hover.text() == expected
    qtbot.keyClick(plot.widget, Qt.Key.Key_Right)
    assert plot.at == 1
    plot.eventFilter(plot.widget, QEvent(QEvent.Type.Leave))
    assert (plot.at, panel.hover.text()) == (-1, "no NaN, no Inf")


def test_the_hover_of_whole_numbers_names_them(open_details):
    panel = panel_of(open_details, made_from(np.array([False, True, True])))
    panel._plot.hover(1)
    assert panel.hover.text() == "True:  2 values  (66.7 %)"


def test_counts_can_be_logarithmic(open_details):
    panel = panel_of(open_details, made_from(np.repeat(np.arange(3.0), [1, 1000, 0])))
    panel.controls.scale.setCurrentIndex(1)
    plot = panel._plot
    assert plot.logarithmic
    assert plot._curves[0].yData.max() == pytest.approx(3)
    assert plot._curves[0].yData.min() < 0
    panel.controls.scale.setCurrentIndex(0)
    assert plot._curves[0].yData.max() == 1000


def test_choices_are_remembered(open_details):
    first = panel_of(open_details, floats(1, 2))
    first.controls.scale.setCurrentText("log")
    first.controls.bins.setValue(33)
    second = panel_of(open_details, floats(1, 2))
    assert (second.controls.scale.currentText(), second.controls.bins.value()) == ("log", 33)
    assert second._plot.logarithmic
    assert len(second._plot.picture.series[0].counts) == 33


def test_the_picture_follows_the_theme(open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    assert panel._plot.widget.backgroundBrush().color().name() == "#ffffff"
    themes().choose("dark")
    try:
        assert panel._plot.widget.backgroundBrush().color().name() == DARK.base
        assert panel._plot._curves[0].opts["pen"].color().name().lower() == DARK.series[0].lower()
    finally:
        themes().choose("light")


def test_copies_give_every_digit(qtbot, open_details):
    panel = panel_of(open_details, floats(0.1))
    panel.table.copy_all()
    lines = dict(line.split("\t") for line in QGuiApplication.clipboard().text().splitlines())
    assert lines["min"] == lines["median"] == "0.10000000149011612"
    assert lines["values"] == "1"
    panel.table.selectRow(2)
    panel.table.copy()
    assert QGuiApplication.clipboard().text() == "0.10000000149011612"
    with qtbot.waitSignal(panel.save.said):
        menu_action(panel, "Copy the bins").trigger()
    rows = [line.split("\t") for line in QGuiApplication.clipboard().text().splitlines()]
    assert rows[0] == ["low", "high", "count"]
    assert sum(int(row[2]) for row in rows[1:]) == 1
    menu_action(panel, "Copy the picture").trigger()
    assert not QGuiApplication.clipboard().pixmap().isNull()


def menu_action(panel, text):
    return next(each for each in panel.save.menu.actions() if each.text() == text)


def saved(qtbot, panel, path, kind):
    """Save to a path as one of the menu's entries does; return what is said of it."""
    menu = panel.save
    writers = {"png": menu.png_writer, "svg": menu.svg_writer, "csv": lambda: csv_writer(panel._plot.picture)}
    with qtbot.waitSignal(panel.save.said) as said:
        panel.save.save(str(path), writers[kind]())
    return said.args[0]


def test_pictures_and_bins_are_saved(qtbot, open_details, tmp_path):
    panel = panel_of(open_details, made_from(NORMAL))
    plot = panel._plot
    saved(qtbot, panel, tmp_path / "a.png", "png")
    image = QImage(str(tmp_path / "a.png"))
    assert image.size() == plot.widget.size()
    saved(qtbot, panel, tmp_path / "a.svg", "svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert "<path" in (tmp_path / "a.svg").read_text()
    saved(qtbot, panel, tmp_path / "a.csv", "csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "low,high,count"
    assert sum(int(line.split(",")[2]) for line in lines[1:]) == 1000
    assert float(lines[1].split(",")[0]) == NORMAL.min().item()
    assert panel.status.text() == "Saved a.csv."
    for kind in ("png", "svg", "csv"):
        assert "was not saved" in saved(qtbot, panel, tmp_path / "missing" / "a", kind)
        assert "was not saved" in panel.status.text()


def test_a_picture_that_does_not_fit_on_the_disk_harms_none(qtbot, monkeypatch, open_details, tmp_path):
    panel = panel_of(open_details, made_from(NORMAL))
    full = SimpleNamespace(free=0)
    for kind in ("png", "svg", "csv"):
        path = tmp_path / "a"
        path.write_bytes(b"an earlier one")
        monkeypatch.setattr("shutil.disk_usage", lambda _: full)
        assert "a was not saved: " in saved(qtbot, panel, path, kind)
        assert "too little space" in panel.status.text()
        assert [each.name for each in tmp_path.iterdir()] == ["a"]
        assert path.read_bytes() == b"an earlier one"


def test_the_file_that_is_shown_is_never_saved_over(qtbot, open_details, tmp_path):
    panel = panel_of(open_details, made_from(NORMAL))
    path = tmp_path / "model.pth"
    path.write_bytes(b"the only copy")
    (tmp_path / "link.png").symlink_to(path)
    panel.session.checkpoint.path = str(path)
    for name in ("model.pth", "link.png"):
        assert "the very file that is read" in saved(qtbot, panel, tmp_path / name, "png")
    assert path.read_bytes() == b"the only copy"


def test_a_right_click_opens_the_menu(qtbot, qapp, open_details):
    panel = panel_of(open_details, made_from(NORMAL))
    viewport = panel._plot.widget.viewport()
    at = viewport.rect().center()
    qapp.sendEvent(viewport, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, viewport.mapToGlobal(at)))
    qtbot.waitUntil(panel.save.menu.isVisible)
    texts = [action.text() for action in panel.save.menu.actions() if action.text()]
    assert texts[0] == "Show all values"
    assert "Save as CSV …" in texts
    panel.save.menu.close()


def test_of_a_sample_no_count_is_told():
    sample = sample_of(made_from(np.zeros(1_000_000, "float32")))
    assert sample.partial
    shown = {fact.name: fact.shown for fact in statistics(sample.profile, True)}
    assert shown["zeros"] == shown["values"] == "counting …"
    assert shown["max"] == "≈ 0"
    assert shown["zeros %"] == "≈ 100 %"


def test_the_first_look_at_little_is_exact_at_once():
    assert not look_at(floats(1, 2)).sample
    seen = look_at(made_from(np.random.default_rng(2).normal(size=50_000).astype("float32")))
    assert seen.picture.exact


def test_statistics_have_units_and_every_digit_in_copies():
    tensor = made_from(np.array([0, 0.1, -3, 0], "float16"))
    seen = look_at(tensor)
    facts = {fact.name: fact for fact in statistics(seen.profiles[0], False, tensor)}
    assert (facts["size"].shown, facts["size"].exact) == ("8 B", "8 B")
    assert (facts["|max|"].shown, facts["|max|"].exact) == ("3", "3.0")
    assert (facts["zeros %"].shown, facts["zeros %"].exact) == ("50 %", "50.0")
    assert facts["distinct"].shown == "3"
    assert facts["95 %"].exact == "0.0999755859375"


def test_a_share_that_is_not_quite_none_or_all_says_so():
    values = np.zeros(1 << 28, "uint8")
    values[0] = 1
    facts = {fact.name: fact for fact in statistics(profile_tensor(made_from(values)), False)}
    assert facts["zeros %"].shown == "< 100 %"
    assert facts["distinct"].shown == "2"


CHILD = """
import json, sys, threading
sys.path[:0] = json.loads(sys.argv[1])
from PySide6.QtWidgets import QApplication
application = QApplication([])
imported = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("numpy", "pyqtgraph"):
            imported[name] = threading.current_thread() is threading.main_thread()
sys.meta_path.insert(0, Watch())
import array
from ckpt_viewer.core.tensor import Extent, StorageSpec, TensorSpec
from ckpt_viewer.sources import MemorySource
from hand_made import make_checkpoint, mapping
from ckpt_viewer.gui.session import Loaded, Session
from ckpt_viewer.gui.panels import DetailTabs
from ckpt_viewer.gui.tree import build_index
class Home:
    prefix = ""
    def extent(self, key):
        return Extent(MemorySource(array.array("f", [1, 2, 3]).tobytes()), 0, 12)
tensor = TensorSpec(StorageSpec("0", "cpu", "float32", 3, Home()), "float32", (3,), (1,))
checkpoint = make_checkpoint(root=mapping(t=tensor))
session = Session(reader=lambda path, *rest: Loaded(checkpoint, build_index(checkpoint, rest[-1])))
tabs = DetailTabs(session)
session.selectionChanged.connect(tabs.show_node)
tabs.settled.connect(lambda: application.exit(0) if session.selected.value is tensor else None)
session.opened.connect(lambda: session.select(checkpoint["/t"]))
session.open("x.pth", "/t")
tabs.show()
application.exec()
tabs.close()
session.close()
print(json.dumps(imported))
"""


def test_neither_numpy_nor_pyqtgraph_is_imported_on_the_gui_thread():
    paths = json.dumps([path for path in sys.path if path])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, paths], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"numpy": False, "pyqtgraph": False}
