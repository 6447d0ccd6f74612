"""The panels of channels and of the spectrum: numbers, pictures, links, files."""

from __future__ import annotations

import numpy as np
import pytest
from made_tensors import made_from, made_tensor
from panel_samples import Changed, at, facts_of, floats, gated, meta, sparse
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QImage
from tree_samples import mapping_of

from ckpt_viewer.gui.panels import spectrum_work
from ckpt_viewer.gui.panels.base import UNSUPPORTED
from ckpt_viewer.gui.panels.channels import ChannelsPanel
from ckpt_viewer.gui.panels.spectrum import SpectrumPanel
from ckpt_viewer.gui.theme import themes
from ckpt_viewer.stats.spectrum_plan import plan_spectrum

NORMAL = np.random.default_rng(0).normal(size=(40, 60)).astype("float32")


def panel_of(open_details, tensor, title):
    details = open_details(mapping_of({"t": tensor}))
    return details, details.select("/t", title)


@pytest.mark.parametrize(
    "tensor",
    [floats(1, 2), made_from(np.array(1.0)), made_from(np.zeros((0, 5))), meta(), sparse()],
    ids=["1-D", "scalar", "empty", "meta", "sparse"],
)
def test_what_has_no_channels_has_no_tab(open_details, tensor):
    details = open_details(mapping_of({"t": tensor}))
    for panel in (ChannelsPanel, SpectrumPanel):
        assert panel.rate(details.checkpoint["/t"]) == UNSUPPORTED
        assert panel.rate(details.checkpoint.root) == UNSUPPORTED


def test_integers_and_rows_have_no_spectrum(open_details):
    details = open_details(mapping_of({"i": made_from(np.ones((4, 4), "int64")), "r": made_from(np.ones((1, 9)))}))
    assert SpectrumPanel.rate(details.checkpoint["/i"]) == UNSUPPORTED
    assert SpectrumPanel.rate(details.checkpoint["/r"]) == UNSUPPORTED
    assert ChannelsPanel.rate(details.checkpoint["/i"]) > UNSUPPORTED


def test_each_statistic_along_each_dimension(open_details):
    details, panel = panel_of(open_details, made_from(NORMAL), "Channels")
    wide = NORMAL.astype("float64")
    assert panel.status.text() == "40 channels of 60 values, none is dead"
    assert panel._plot.curve.heights == pytest.approx(np.linalg.norm(wide, axis=1))
    for name, expected in (("mean", wide.mean(0)), ("std", wide.std(0)), ("|max|", np.abs(wide).max(0))):
        panel.axis.setCurrentIndex(1)
        panel.axis.activated.emit(1)
        details.wait()
        panel.choice.setCurrentText(name)
        panel.choice.activated.emit(0)
        details.wait()
        assert panel._plot.curve.heights == pytest.approx(expected, rel=1e-6, abs=1e-9)
    panel.logarithmic.setChecked(True)
    details.wait()
    assert panel._plot.curve.drawn == pytest.approx(np.log10(np.abs(wide).max(0)), rel=1e-6, abs=1e-9)


def test_dead_channels_are_listed_and_lead_to_their_values(qtbot, open_details):
    array = NORMAL.copy()
    array[7], array[20], array[30, 3] = 0, 0.5, np.inf
    details, panel = panel_of(open_details, made_from(array), "Channels")
    model = panel.places.model()
    shown = [model.index(row, 0).data() for row in range(model.rowCount())]
    assert shown == ["channel 7:  all zero", "channel 20:  constant 0.5", "channel 30:  1 value NaN or Inf"]
    assert panel.status.text() == "40 channels of 60 values, 1 all zero, 1 constant, 1 with NaN or Inf"
    assert sorted(panel._plot.curve.marked.tolist()) == [7, 20]
    place = panel.places.visualRect(model.index(1, 0)).center()
    qtbot.mouseClick(panel.places.viewport(), Qt.MouseButton.LeftButton, pos=place)
    details.wait()
    assert details.tabs.panel.title == "Values"
    assert details.tabs.panel.table.currentIndex().row() == 20


def test_tensors_without_a_finite_value_are_drawn_as_nothing(open_details):
    _, panel = panel_of(open_details, made_from(np.full((3, 4), np.nan, "float32")), "Channels")
    assert panel.status.text() == "3 channels of 4 values, 3 with NaN or Inf"
    assert panel.places.model().rowCount() == 3
    assert panel._plot._instead.isVisible()


def test_a_curve_has_no_words_in_its_place(open_details):
    _, panel = panel_of(open_details, made_from(NORMAL), "Channels")
    assert not panel._plot._instead.isVisible()


def test_keys_move_the_mark_and_enter_follows_it(qtbot, open_details):
    details, panel = panel_of(open_details, made_from(NORMAL), "Channels")
    for _ in range(3):
        qtbot.keyClick(panel._plot.widget, Qt.Key.Key_Right)
    assert panel.hover.text().startswith("channel 2:  norm ")
    qtbot.keyClick(panel._plot.widget, Qt.Key.Key_Return)
    details.wait()
    assert details.tabs.panel.table.currentIndex().row() == 2


def test_channels_are_saved_and_copied_in_full(qtbot, tmp_path, open_details):
    _, panel = panel_of(open_details, made_from(NORMAL), "Channels")
    with qtbot.waitSignal(panel._menu.said):
        panel._menu.save(str(tmp_path / "a.csv"), panel._csv_writer())
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "channel,norm,mean,std,max,min,|max|"
    assert [float(cell) for cell in lines[3].split(",")[4:6]] == [NORMAL[2].max(), NORMAL[2].min()]
    with qtbot.waitSignal(panel._menu.said):
        panel._copy()
    assert QGuiApplication.clipboard().text().splitlines()[1].split("\t")[0] == "0"
    for name, writer in (("a.png", panel._menu.png_writer), ("a.svg", panel._menu.svg_writer)):
        with qtbot.waitSignal(panel._menu.said):
            panel._menu.save(str(tmp_path / name), writer())
    assert not QImage(str(tmp_path / "a.png")).isNull()
    panel.session.checkpoint.path = str(tmp_path / "a.csv")
    with qtbot.waitSignal(panel._menu.said) as said:
        panel._menu.save(str(tmp_path / "a.csv"), panel._menu.png_writer())
    assert "the very file that is read" in said.args[0]
    assert (tmp_path / "a.csv").read_text().splitlines() == lines
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_a_small_matrix_shows_its_spectrum_at_once(open_details):
    details, panel = panel_of(open_details, made_from(NORMAL), "Spectrum")
    expected = np.linalg.svd(NORMAL.astype("float64"), compute_uv=False)
    assert panel.found.values == pytest.approx(expected)
    assert panel.status.text() == "40 × 60, all 40 singular values, exact"
    shown = facts_of(panel.table)
    assert shown["largest"] == f"{expected[0]:.6g}"
    assert shown["numerical rank"] == "40 of 40"
    assert shown["stable rank"] == f"{(expected**2).sum() / expected[0] ** 2:.6g}"
    shares = expected / expected.sum()
    assert shown["effective rank"] == f"{np.exp(-(shares * np.log(shares)).sum()):.6g}"
    panel.choice.setCurrentIndex(1)
    panel.choice.activated.emit(1)
    panel.logarithmic.setChecked(False)
    details.wait()
    assert panel._plot.curve.heights[-1] == pytest.approx(1)
    panel._plot.hover(0)
    assert panel.hover.text().startswith("number 1:  ")


def test_a_larger_one_waits_to_be_asked_and_says_how_it_is_reshaped(open_details, monkeypatch):
    monkeypatch.setattr(spectrum_work, "MOST_AT_ONCE", 100)
    array = np.random.default_rng(1).normal(size=(20, 3, 4)).astype("float32")
    details, panel = panel_of(open_details, made_from(array), "Spectrum")
    assert panel.sentence.startswith("The tensor as a matrix of 20 × 12, dimension 0 by all others.")
    panel._notice.button.click()
    details.wait()
    assert panel.sentence == ""
    assert panel.status.text() == "reshaped to 20 × 12 (dimension 0 by all others), all 12 singular values, exact"


def test_what_rounding_left_is_not_in_a_logarithmic_picture(open_details):
    _, panel = panel_of(open_details, made_from(np.full((64, 64), 0.25, "float32")), "Spectrum")
    drawn = panel._plot.curve.drawn
    assert panel.logarithmic.isChecked()
    assert drawn[0] == pytest.approx(np.log10(16))
    assert np.nanmin(drawn) > -18


def test_what_takes_long_says_so_before_it_begins(monkeypatch):
    offer = lambda *shape: spectrum_work.offer(plan_spectrum(made_tensor(b"", "float32", shape)))  # noqa: E731
    monkeypatch.setattr(spectrum_work.os, "cpu_count", lambda: 2)
    assert offer(500, 400) == "A matrix of 500 × 400. All 400 singular values can be computed."
    assert offer(23_000, 23_000).endswith("can be computed by random projection. That takes about 2 minutes.")
    assert offer(8192, 8192).endswith("That takes about 20 seconds.")
    assert offer(1_000_000, 512).endswith("All 512 singular values can be computed. That takes about 2 minutes.")
    monkeypatch.setattr(spectrum_work.os, "cpu_count", lambda: 64)
    assert offer(8192, 8192).endswith("random projection.")


def test_a_randomised_spectrum_says_so_with_rank_and_error(open_details, monkeypatch):
    from ckpt_viewer.stats import spectrum_plan

    monkeypatch.setattr(spectrum_plan, "EXACT", 10)
    monkeypatch.setattr(spectrum_plan, "RANK", 8)
    _, panel = panel_of(open_details, made_from(NORMAL), "Spectrum")
    expected = np.linalg.svd(NORMAL.astype("float64"), compute_uv=False)
    left = np.sqrt((expected[8:] ** 2).sum() / (expected**2).sum())
    assert "the 8 largest singular values, randomised: rank 8 leaves out " in panel.status.text()
    assert panel.found.error == pytest.approx(left, rel=0.02)
    low, high = panel.found.effective_rank
    shares = expected / expected.sum()
    assert low < np.exp(-(shares * np.log(shares)).sum()) < high
    assert facts_of(panel.table)["effective rank"] == f"about {low:.3g} to {high:.3g}"


@pytest.mark.parametrize("title", ["Channels", "Spectrum"])
def test_what_cannot_be_read_says_so_in_its_place(open_details, title):
    _, panel = panel_of(open_details, at(Changed(bytes(4800)), (40, 30)), title)
    assert "changed by another program" in panel.sentence


def test_a_matrix_with_nan_has_a_sentence(open_details):
    array = NORMAL.copy()
    array[0, 0] = np.nan
    details, panel = panel_of(open_details, made_from(array), "Spectrum")
    assert panel.sentence.startswith("A matrix with NaN or infinities has no singular values")
    assert details.tabs.is_settled


@pytest.mark.parametrize("title", ["Channels", "Spectrum"])
def test_leaving_cancels_and_the_theme_is_followed(qtbot, open_details, title):
    tensor, source = gated(NORMAL)
    details = open_details(mapping_of({"t": tensor, "u": made_from(NORMAL)}))
    panel = details.select("/t", title, wait=False)
    qtbot.waitUntil(source.asked.is_set)
    details.select("/u", title, wait=False)
    source.gate.set()
    details.wait()
    assert panel.sentence == ""
    themes().choose("dark")
    details.wait()
    themes().choose("light")
