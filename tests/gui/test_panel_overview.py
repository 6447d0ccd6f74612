"""The breakdown of a container: shares, links, what the scan found, duplicates."""

from __future__ import annotations

import numpy as np
import pytest
from made_tensors import CountingSource, made_from, made_tensor
from panel_samples import floats
from PySide6.QtCore import Qt
from tree_samples import mapping_of

from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.panels import survey
from ckpt_viewer.gui.panels.base import UNSUPPORTED
from ckpt_viewer.gui.panels.overview import OverviewPanel
from ckpt_viewer.gui.theme import themes

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def model():
    weights = RNG.normal(size=(40, 30)).astype("float32")
    broken = RNG.normal(size=50).astype("float32")
    broken[3], broken[7] = np.nan, np.inf
    state = {
        "body.0.weight": made_from(weights),
        "body.1.weight": made_from(weights),
        "head.weight": made_from(RNG.normal(size=(10, 10)).astype("float16")),
        "head.bias": made_from(broken),
        "head.zeros": made_from(np.zeros(9, "float32")),
        "head.more_zeros": made_from(np.zeros(9, "float32")),
    }
    return mapping_of({"model": mapping_of(state, "collections.OrderedDict"), "epoch": 3})


def scan(qtbot, details):
    with qtbot.waitSignal(details.session.scan.changed, check_params_cb=None):
        details.session.scan.start()
    qtbot.waitUntil(lambda: details.session.scan.state is ScanState.DONE)
    details.wait()


def texts(view):
    source = view.model()
    return [source.index(row, 0).data() for row in range(source.rowCount())]


def test_what_holds_nothing_has_no_breakdown(open_details):
    details = open_details(mapping_of({"t": floats(1), "e": 3, "c": mapping_of({"x": 1})}))
    assert OverviewPanel.rate(details.checkpoint["/t"]) == UNSUPPORTED
    assert OverviewPanel.rate(details.checkpoint["/e"]) == UNSUPPORTED
    assert OverviewPanel.rate(details.checkpoint["/c"]) == UNSUPPORTED
    long = mapping_of({str(number): number for number in range(survey.LOOKED_AT + 1)})
    panel = open_details(mapping_of({"c": long})).select("/c", "Breakdown")
    assert panel.sentence == "There are no tensors below this."


def test_shares_add_up_and_the_largest_module_is_taken_apart(open_details):
    details = open_details(model())
    panel = details.select("/model", "Breakdown")
    bars = {bar.name: bar for bar in panel.modules.bars.bars}
    assert set(bars) == {"body.0", "body.1", "head"}
    assert bars["body.0"].share == pytest.approx(1200 / 2568)
    assert sum(bar.share for bar in bars.values()) == pytest.approx(1)
    assert panel.modules_heading.text() == "2\u202f568 values in 6 tensors, by module"
    dtypes = {bar.name: bar.share for bar in panel.dtypes.bars.bars}
    assert dtypes["float16"] == pytest.approx(200 / (200 + 4 * 2468))
    assert [bar.name for bar in panel.devices.bars.bars] == ["cpu"]
    assert texts(panel.largest)[0] == "/model/body.0.weight   40 × 30   4.8 kB"


def test_a_bar_and_a_link_select_what_they_stand_for(qtbot, open_details):
    details = open_details(model())
    panel = details.select("/model", "Breakdown")
    names = [bar.name for bar in panel.modules.bars.bars]
    place = panel.modules.visualRect(panel.modules.model().index(names.index("head"), 0)).center()
    with qtbot.waitSignal(details.session.selectionChanged) as got:
        qtbot.mouseClick(panel.modules.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert got.args[0].prefix == "head"
    details.wait()
    with qtbot.waitSignal(details.session.selectionChanged) as got:
        details.tabs.panel.largest.follow(details.tabs.panel.largest.model().index(0, 0))
    assert got.args[0].pointer == "/model/head.weight"
    details.wait()


def test_what_the_scan_finds_is_listed_when_it_is_known(qtbot, open_details):
    details = open_details(model())
    panel = details.select("/model", "Breakdown")
    assert panel.scan_button.isVisible()
    assert panel.unsound_heading.text() == "NaN or Inf: 0 so far; 0 of 6 tensors scanned"
    assert panel.twins_heading.text() == "Same content: known once all values were scanned"
    scan(qtbot, details)
    assert not panel.scan_button.isVisible()
    assert texts(panel.unsound) == ["/model/head.bias   50   1 NaN, 1 Inf"]
    assert texts(panel.twins) == [
        "/model/body.0.weight   40 × 30   2 times the same 4.8 kB",
        "/model/body.1.weight   40 × 30   the same",
    ]
    details.session.select(details.session.find("/model/body."))
    details.wait()
    assert panel.unsound_heading.text() == "NaN or Inf: no tensor"
    assert len(texts(panel.twins)) == 2


def test_large_candidates_wait_to_be_asked(qtbot, open_details, monkeypatch):
    monkeypatch.setattr(survey, "AT_ONCE", 100)
    details = open_details(model())
    panel = details.select("/model", "Breakdown")
    scan(qtbot, details)
    assert panel.compare_button.isVisible()
    assert panel.compare_button.text() == "Compare them (9.6 kB)"
    assert texts(panel.twins) == []
    panel.compare_button.click()
    details.wait()
    assert len(texts(panel.twins)) == 2
    assert not panel.compare_button.isVisible()


def test_nothing_is_read_without_being_asked(open_details):
    source = CountingSource(bytes(4000))
    details = open_details(mapping_of({"t": made_tensor(b"", "float32", (1000,), source=source)}))
    panel = details.select("", "Breakdown")
    assert panel.title == "Breakdown"
    assert source.read == 0
    themes().choose("dark")
    details.wait()
    themes().choose("light")
