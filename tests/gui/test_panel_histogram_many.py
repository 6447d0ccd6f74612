"""Histograms of several tensors over one another, and of all below a container."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hand_made import make_checkpoint
from made_tensors import made_from
from panel_samples import facts_of, floats
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from tree_samples import mapping_of

from ckpt_viewer.errors import Cancelled
from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.panels import counting
from ckpt_viewer.gui.panels.histogram import HistogramPanel
from ckpt_viewer.gui.panels.saving import csv_writer
from ckpt_viewer.gui.panels.targets import holds_tensors
from ckpt_viewer.gui.picks import MOST, Picks, short_names
from ckpt_viewer.gui.tree import build_index
from ckpt_viewer.gui.tree.widget import TreePanel

RANDOM = np.random.default_rng(5)
SMALL = RANDOM.normal(size=1000).astype("float32")
LARGE = RANDOM.normal(size=100_000).astype("float32") * 2 + 1


def many(**tensors):
    return mapping_of({"model": mapping_of(tensors, "collections.OrderedDict"), "epoch": 3})


def pick(details, *pointers):
    """Select entries together, as the tree would."""
    index = details.session.index
    details.session.picks.set_rows(index, [index.find(pointer) for pointer in pointers])


@pytest.fixture
def overlaid(open_details):
    details = open_details(many(a=made_from(SMALL), b=made_from(LARGE)))
    panel = details.select("/model/a")
    pick(details, "/model/a", "/model/b")
    details.wait()
    return panel


def test_selected_tensors_lie_over_one_another_as_shares_on_shared_edges(overlaid):
    picture = overlaid._plot.picture
    assert [each.name for each in picture.series] == ["a", "b"]
    assert picture.exact
    for values, each in zip((SMALL, LARGE), picture.series, strict=True):
        assert list(each.counts) == np.histogram(values.astype("float64"), picture.edges)[0].tolist()
        assert sum(each.heights) == pytest.approx(100)
    assert picture.edges[0] == min(SMALL.min(), LARGE.min())
    assert picture.edges[-1] == max(SMALL.max(), LARGE.max())


def test_series_differ_in_colour_and_in_lines(open_details):
    tensors = {f"t{number}": floats(number, number + 1) for number in range(10)}
    details = open_details(many(**tensors))
    panel = details.select("/model/t0")
    pick(details, *(f"/model/t{number}" for number in range(10)))
    details.wait()
    pens = [curve.opts["pen"] for curve in panel._plot._curves]
    looks = {(pen.color().name(), pen.style()) for pen in pens}
    assert len(pens) == len(looks) == MOST
    assert panel.status.text() == "exact; the first 8 of 10 selected tensors"
    assert panel._plot.lettering.names == [f"t{number}" for number in range(MOST)]


def test_names_in_the_legend_are_plain_text_and_never_leave_the_picture(qtbot, open_details, tmp_path):
    details = open_details(many(**{"<b>x</b>": floats(1), "\u202ey" * 200: floats(2)}))
    panel = details.select("/model/<b>x<~1b>")
    pick(details, "/model/<b>x<~1b>", "/model/" + "\u202ey" * 200)
    details.wait()
    assert panel._plot.lettering.names[0] == "<b>x<~1b>"
    assert "\u202e" not in panel._plot.lettering.names[1]
    with qtbot.waitSignal(panel.save.said):
        panel.save.save(str(tmp_path / "a.svg"), panel.save.svg_writer())
    assert "&lt;b&gt;x&lt;~1b&gt;" in (tmp_path / "a.svg").read_text()


def test_the_pointer_reads_every_series(overlaid):
    plot = overlaid._plot
    plot.hover(plot.picture.bin_at(plot.picture.axis.at(0.0)))
    assert ":  a " in overlaid.hover.text()
    assert ",  b " in overlaid.hover.text()


def test_statistics_stand_side_by_side(overlaid):
    model = overlaid.table.facts
    assert model.headers == ("Statistic", "a", "b")
    rows = {fact.name: fact for fact in model.facts}
    assert rows["max"].shown == f"{SMALL.max():.6g}"
    assert rows["max"].more[0][0] == f"{LARGE.max():.6g}"
    assert not overlaid.table.horizontalHeader().isHidden()
    overlaid.table.copy_all()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[0] == "Statistic\ta\tb"
    assert f"max\t{SMALL.max().item()!r}\t{LARGE.max().item()!r}" in lines


def test_numbers_of_all_series_are_saved(qtbot, overlaid, tmp_path):
    with qtbot.waitSignal(overlaid.save.said):
        overlaid.save.save(str(tmp_path / "a.csv"), csv_writer(overlaid._plot.picture))
    lines = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()]
    assert lines[0] == ["low", "high", "a", "b"]
    assert sum(int(line[2]) for line in lines[1:]) == SMALL.size
    assert sum(int(line[3]) for line in lines[1:]) == LARGE.size


def test_the_table_takes_what_its_columns_need_and_gives_it_back(open_details):
    details = open_details(many(first=made_from(SMALL), second=made_from(LARGE), third=made_from(SMALL * 1e-7)))
    panel = details.select("/model/first")
    panel.window().resize(1200, 800)
    alone = panel.table.width()
    pick(details, "/model/first", "/model/second", "/model/third")
    details.wait()
    assert panel.table.width() == panel.table.wanted_width() > alone
    assert panel.table.horizontalScrollBar().maximum() == 0
    pick(details, "/model/first")
    details.wait()
    assert panel.table.width() == alone


def test_one_tensor_alone_is_counted_again(open_details):
    details = open_details(many(a=made_from(SMALL), b=made_from(LARGE)))
    panel = details.select("/model/a")
    pick(details, "/model/a", "/model/b")
    details.wait()
    pick(details, "/model/a")
    details.wait()
    assert [each.name for each in panel._plot.picture.series] == ["a"]
    assert panel.table.horizontalHeader().isHidden()
    assert facts_of(panel.table)["max"] == f"{SMALL.max():.6g}"


def test_several_tensors_can_be_zoomed_and_bent(qtbot, overlaid):
    plot = overlaid._plot
    with qtbot.waitSignal(overlaid.settled):
        plot._box.setXRange(plot.picture.axis.at(0.5), plot.picture.axis.at(0.6), padding=0)
    assert list(plot.picture.series[1].counts) == np.histogram(LARGE.astype("float64"), plot.picture.edges)[0].tolist()
    with qtbot.waitSignal(overlaid.settled):
        overlaid.controls.axis.setCurrentText("symlog")
    assert plot.picture.axis.linear is not None


def test_names_leave_out_what_all_have_in_common():
    assert short_names(["/model/layer1.0.weight", "/model/layer1.1.weight"]) == ["0.weight", "1.weight"]
    assert short_names(["/a", "/a.b"]) == ["a", "a.b"]
    assert short_names(["/a"]) == ["/a"]


def test_rows_of_the_tree_are_selected_together_by_keys(qtbot):
    checkpoint = make_checkpoint(root=many(**{f"t{number}": floats(number) for number in range(12)}))
    panel = TreePanel()
    qtbot.addWidget(panel)
    index = build_index(checkpoint)
    panel.set_index(checkpoint, index)
    panel.show()
    picks = Picks()
    panel.picked.connect(lambda: picks.set_rows(panel.index, panel.view.picked_rows))
    view = panel.view
    view.open_rows([0, index.find("/model")])
    view.selectAll()
    assert picks.total == 12
    assert [each.pointer for each in picks.tensors] == [f"/model/t{number}" for number in range(MOST)]
    view.copy_path()
    assert QGuiApplication.clipboard().text().splitlines()[-2:] == ["/model/t11", "/epoch"]
    first = index.find("/model/t0")
    view.select(first)
    assert picks.total == 1
    qtbot.keyClick(view, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert view.picked_rows == [first, first + 1]
    assert [each.pointer for each in picks.tensors] == ["/model/t0", "/model/t1"]


def test_a_container_shows_a_sample_of_all_below_it_until_the_file_is_scanned(qtbot, open_details, monkeypatch):
    monkeypatch.setattr(counting, "AT_ONCE", 10_000)
    huge = RANDOM.normal(size=300_000).astype("float32")
    details = open_details(many(a=made_from(SMALL), b=made_from(huge), c=made_from(huge * np.nan)))
    panel = details.select("/model", "Histogram")
    assert isinstance(panel, HistogramPanel)
    assert panel.status.text().startswith("sample of ")
    assert panel.is_settled
    assert panel.controls.scan.isVisibleTo(panel)
    assert panel.controls.scan.text() == "Scan all values (2.4 MB)"
    assert facts_of(panel.table)["values"] == "counting …"
    panel.controls.scan.click()
    qtbot.waitUntil(lambda: details.session.scan.state is ScanState.DONE)
    details.wait()
    assert facts_of(panel.table)["values"] == "601\u202f000"
    assert facts_of(panel.table)["NaN"] == "300\u202f000"
    qtbot.waitUntil(lambda: panel.is_settled)
    picture = panel._plot.picture
    assert picture.exact
    values = np.concatenate([SMALL, huge]).astype("float64")
    assert list(picture.series[0].counts) == np.histogram(values, picture.edges)[0].tolist()
    assert panel.status.text() == "exact"
    assert not panel.controls.scan.isVisibleTo(panel)


def scanned_container(qtbot, open_details, monkeypatch):
    """Open a container whose values are counted already, but not between exact edges; return its bytes as well."""
    monkeypatch.setattr(counting, "AT_ONCE", 10_000)
    huge = made_from(RANDOM.normal(size=300_000).astype("float32"))
    details = open_details(many(a=made_from(SMALL), b=huge))
    details.session.scan.start()
    qtbot.waitUntil(lambda: details.session.scan.state is ScanState.DONE)
    return details, huge.storage.extent().source


def test_a_container_says_that_edges_were_moved_until_they_are_counted(qtbot, open_details, monkeypatch):
    details, _ = scanned_container(qtbot, open_details, monkeypatch)
    started, gate, settled = threading.Event(), threading.Event(), counting.settled

    def held(seen, context):
        started.set()
        assert gate.wait(10)
        return settled(seen, context)

    monkeypatch.setattr(counting, "settled", held)
    panel = details.select("/model", "Histogram", wait=False)
    qtbot.waitUntil(lambda: started.is_set() and panel.status.text().startswith("exact counts"))
    assert panel.status.text() == "exact counts; edges moved by less than 1/128"
    assert panel._plot.picture.snapped
    title = details.session.jobs.active[-1].title
    assert title == "Counting the values of model between exact edges"
    gate.set()
    details.wait()
    assert panel.status.text() == "exact"
    assert not panel._plot.picture.snapped


def test_going_back_to_a_container_reads_nothing(qtbot, open_details, monkeypatch):
    details, source = scanned_container(qtbot, open_details, monkeypatch)
    panel = details.select("/model", "Histogram")
    picture = panel._plot.picture
    assert picture.exact
    details.select("/model/a")
    source.read = 0
    panel = details.select("/model", "Histogram")
    assert panel._plot.picture == picture
    assert source.read == 0


def test_another_selection_stops_the_counting_between_exact_edges(qtbot, open_details, monkeypatch):
    details, _ = scanned_container(qtbot, open_details, monkeypatch)
    started, ended = threading.Event(), []

    def endless(seen, context):
        started.set()
        try:
            while True:
                context.step(0, 1)
        except Cancelled:
            ended.append("stopped")
            raise

    monkeypatch.setattr(counting, "settled", endless)
    details.select("/model", "Histogram", wait=False)
    qtbot.waitUntil(started.is_set)
    details.select("/epoch")
    qtbot.waitUntil(lambda: ended == ["stopped"])


def test_below_a_module_and_at_the_root_are_histograms_too(open_details):
    details = open_details(many(**{"layer1.weight": made_from(SMALL), "layer1.bias": floats(1, 2)}))
    panel = details.select("", "Histogram")
    assert sum(panel._plot.picture.series[0].counts) == 1002
    group = details.session.find("/model/layer1.")
    details.session.select(group)
    details.wait()
    assert sum(details.tabs.panel._plot.picture.series[0].counts) == 1002


def test_only_containers_with_tensors_have_a_histogram(open_details):
    details = open_details(
        mapping_of(
            {"none": mapping_of({"a": 1, "b": [1, 2, {"c": 3}]}), "deep": [[[floats(1)]]], "long": list(range(500))}
        )
    )
    assert not holds_tensors(details.checkpoint["/none"])
    assert holds_tensors(details.checkpoint["/deep"])
    assert holds_tensors(details.checkpoint.root)
    assert not holds_tensors(details.checkpoint["/none/a"])


def test_what_a_scan_has_found_is_not_counted_again(qtbot, open_details):
    tensor = made_from(LARGE)
    details = open_details(many(a=tensor, b=floats(1)))
    details.select("/model/b")
    details.session.scan.start()
    qtbot.waitUntil(lambda: details.session.scan.state is ScanState.DONE)
    source = tensor.storage.extent().source
    source.read = 0
    panel = details.select("/model/a")
    assert panel._plot.picture.exact
    assert source.read == LARGE.nbytes
