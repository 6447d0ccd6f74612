"""What a scan found, in the rows of the tree: texts, roll-ups, marks, small histograms, columns that ask for a scan."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hand_made import mapping
from made_tensors import made_from
from tree_samples import checkpoint_of, mapping_of

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.gui.scan_work import Harvest, draw_sparks, scan_all
from ckpt_viewer.gui.tree import build_index
from ckpt_viewer.gui.tree.cell_words import copied_row, spoken
from ckpt_viewer.gui.tree.cells import COLUMNS, FIGURES, PICTURE, Cells
from ckpt_viewer.gui.tree.figure_cells import TITLES, figure_text, figure_tip, unsound_words
from ckpt_viewer.gui.tree.sparks import BARS, spark
from ckpt_viewer.gui.tree.widget import TreePanel
from ckpt_viewer.stats.crew import Gate
from ckpt_viewer.stats.figures import Figures
from ckpt_viewer.stats.scan import Scan

RNG = np.random.default_rng(2)
A, B = RNG.standard_normal(300).astype(np.float32), (RNG.standard_normal(500) * 9 + 1e6).astype(np.float64)
BAD = np.array([np.nan, np.inf, 2.0, 0.0], np.float32)


def checkpoint():
    tied = made_from(A.reshape(20, 15))
    model = mapping_of({"x.a": tied, "x.b": made_from(B), "y.tied": tied, "y.bad": made_from(BAD)})
    return checkpoint_of(mapping(model=model, steps=made_from(np.arange(7)), none=made_from(np.zeros(0, np.float32))))


@pytest.fixture
def scanned(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shown = checkpoint()
    index, harvest = build_index(shown), Harvest()
    assert scan_all(index, harvest, Gate(), SILENT, only_kept=False)
    cells = Cells(index, shown.locator, "a.pth")
    cells.table = harvest.table
    return index, cells, harvest, shown


def figures(scanned, pointer):
    index, cells, *_ = scanned
    return cells.figures(index.find(pointer))


def test_a_tensor_has_its_own_figures(scanned):
    found = figures(scanned, "/model/x.a")
    assert (found.numel, found.low, found.high, found.mean) == (300, A.min(), A.max(), A.mean(dtype=np.float64))


def test_a_module_has_those_of_all_in_it_each_once(scanned):
    both = np.concatenate((A.astype(np.float64), B))
    found = figures(scanned, "/model/x.")
    assert (found.numel, found.low, found.high) == (800, both.min(), both.max())
    assert math.isclose(found.mean, math.fsum(both) / 800, rel_tol=1e-15)
    assert math.isclose(found.std, both.std(), rel_tol=1e-9)
    model, root = figures(scanned, "/model"), figures(scanned, "")
    assert (model.numel, model.nan, model.inf) == (804, 1, 1)  # the tied tensor once
    assert (root.numel, root.zeros, root.low) == (811, 2, min(A.min(), 0))
    assert figures(scanned, "/model/y.").numel == 304
    assert figures(scanned, "/none") == Figures(0, 0, 0, 0, None, None, None, None)


def test_rows_with_nan_are_marked_up_to_the_root(scanned):
    index, cells, *_ = scanned
    for pointer in ("", "/model", "/model/y.", "/model/y.bad"):
        row = index.find(pointer)
        assert cells.note(row).endswith("1 NaN, 1 Inf")
        assert cells.mark(row) == "unsound"
        assert "unsound" not in spoken(cells, row, 0)
    assert cells.mark(index.find("/model/x.")) == ""
    assert cells.note(index.find("/model/x.a")) == ""


def test_cells_show_three_digits_and_copy_all(scanned):
    index, cells, *_ = scanned
    row = index.find("/model/y.bad")
    assert [cells.shown(row, column) for column in FIGURES] == ["0", "2", "2", "1", "1", "25 %", "1", "1"]
    assert len(cells.painted(row, figures=False).cells) == FIGURES.start
    assert cells.painted(row).cells[FIGURES.start : PICTURE] == tuple(cells.shown(row, column) for column in FIGURES)
    assert copied_row(cells, row).split("\t")[7:] == ["0.0", "2.0", "2.0", "1.0", "1.0", "0.25", "1", "1"]
    cells.table = None
    assert [cells.shown(row, column) for column in (*FIGURES, PICTURE)] == [""] * 9
    assert len(copied_row(cells, row).split("\t")) == 7


@pytest.mark.parametrize(
    ("zeros", "text"), [(0, "0 %"), (1, "< 0.1 %"), (125_000, "12.5 %"), (999_999, "> 99.9 %"), (1_000_000, "100 %")]
)
def test_a_share_of_zeros_is_never_rounded_to_none_or_all(zeros, text):
    numel = 1_000_000 if zeros != 1 else 10**9
    found = Figures(numel, zeros, 0, 0, 0, 1, 0.5, 0.5)
    assert figure_text(found, "Zeros") == text
    assert "values are 0" in figure_tip(found, "Zeros")[0]


def test_large_integers_are_short_in_a_cell_and_full_in_the_tip():
    found = Figures(1, 0, 0, 0, -(1 << 63), (1 << 63) - 1, 0.0, 0.0)
    assert figure_text(found, "Min") == "-9.22e+18"
    assert figure_tip(found, "Min") == [str(-(1 << 63))]
    assert figure_text(None, "Min") == ""
    assert figure_tip(None, "Min") == []
    assert unsound_words(None) == unsound_words(found) == ""
    assert all(figure_text(found, title) for title in TITLES)


def test_small_histograms_are_made_where_they_are_asked_for(scanned):
    index, cells, harvest, _ = scanned
    row, table = index.find("/model/x.a"), cells.table
    assert cells.shown(row, PICTURE) == ""
    assert table.missing == {row}
    draw_sparks(harvest, table, [row], SILENT)
    heights = cells.shown(row, PICTURE)
    assert len(heights) == BARS
    assert "9" in heights[6:18]


@pytest.mark.parametrize(
    ("array", "heights"),
    [
        (np.zeros(5, np.float32), "0" * 12 + "9" + "0" * 11), (np.array([np.nan]), ""), (np.zeros(0), ""),
        (np.array([0, 1] * 50), "9" + "0" * 22 + "9"), (np.array([-1.7e308, 1.7e308]), "9" + "0" * 22 + "9"),
        (np.array([0.0] * 999 + [1.0], np.float32), "9" + "0" * 22 + "1"),
    ],
)  # fmt: skip
def test_heights_of_small_histograms(array, heights):
    tensor = made_from(array)
    scan = Scan([tensor], cached=False)
    scan.run()
    assert spark(scan.outcome(tensor)) == heights


# --- in the window


@pytest.fixture
def panel(qtbot, scanned):
    *_, shown = scanned
    made = TreePanel()
    qtbot.addWidget(made)
    made.resize(1500, 500)
    made.set_index(shown, scanned[0])
    made.show()
    return made


def test_a_column_that_is_switched_on_asks_for_a_scan_until_all_is_known(qtbot, panel, scanned):
    with qtbot.waitSignal(panel.scanWanted):
        panel.view.columns.show_column(COLUMNS.index("Std"), True)
    panel.set_figures(scanned[1].table, complete=True)
    asked = []
    panel.scanWanted.connect(lambda: asked.append(1))
    panel.view.columns.show_column(COLUMNS.index("Mean"), True)
    assert not asked


def test_columns_with_figures_are_remembered(panel):
    panel.view.columns.show_column(COLUMNS.index("|Max|"), True)
    again = TreePanel()
    again.view.resize(1500, 500)
    assert again.restore_state(panel.save_state())
    again.view.columns.fit()
    assert not again.view.isColumnHidden(COLUMNS.index("|Max|"))
    again.deleteLater()


def test_painting_the_column_of_histograms_asks_for_them_and_draws_them(qtbot, panel, scanned):
    _, _, harvest, _ = scanned
    table = scanned[1].table
    for column in range(1, PICTURE):
        panel.view.columns.show_column(column, False)
    panel.view.columns.show_column(PICTURE, True)
    panel.view.expand_subtree()
    wanted = []
    panel.sparksWanted.connect(lambda asked: wanted.extend(asked.missing))
    panel.set_figures(table, complete=True)
    qtbot.waitUntil(lambda: bool(wanted))
    before = panel.view.viewport().grab().toImage()
    draw_sparks(harvest, table, wanted, SILENT)
    panel.set_figures(table, complete=True)
    assert panel.view.viewport().grab().toImage() != before
    assert not table.missing
