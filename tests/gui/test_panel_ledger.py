"""The storages of a file in the window: sentences, table, and the painted map of every byte."""

from __future__ import annotations

import json
import threading

import pytest
import torch
from builders import mapped, pickled, save, tensor, text, zip_checkpoint
from panel_samples import OpenDetails
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QGuiApplication, QWheelEvent
from PySide6.QtWidgets import QPushButton
from safetensors.torch import save_file
from torch import nn, optim

from ckpt_viewer.analysis.byte_map import FRAME, MODEL, UNUSED, WORDS, FileMap
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.ledger_watch import LedgerWatch
from ckpt_viewer.gui.panels.byte_colours import PATTERNS, looks
from ckpt_viewer.gui.panels.byte_strip import BAND, MARK, ByteStrip
from ckpt_viewer.gui.panels.ledger import LedgerPanel
from ckpt_viewer.gui.panels.storage import StoragePanel
from ckpt_viewer.gui.panels.storage_table import BYTES, DEVICE, PLACE, SHARED, TENSOR
from ckpt_viewer.gui.panels.storage_table import UNUSED as WASTED
from ckpt_viewer.gui.theme import DARK, LIGHT, theme, themes


def trained() -> dict:
    model = nn.Linear(20, 30)
    optimizer = optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}


@pytest.fixture
def opened(qtbot, tmp_path, all_classes):
    made = []

    def open_path(path) -> OpenDetails:
        checkpoint = open_checkpoint(path)
        details = OpenDetails(qtbot, checkpoint.contents.root, source=checkpoint.contents.source,
                              notes=checkpoint.contents.notes, format=checkpoint.format)  # fmt: skip
        with qtbot.waitSignal(details.session.described):
            details.session.describe()
        made.append((details, checkpoint))
        return details

    yield lambda value: open_path(value if not isinstance(value, dict) else save(value, tmp_path / "m.pth"))
    for details, checkpoint in made:
        details.close()
        checkpoint.close()


def storage_tab(details, pointer="") -> LedgerPanel | StoragePanel:
    panel = details.select(pointer, "Storage")
    details.wait()
    return panel


def column(panel, number) -> list[str]:
    return [panel.table.lines.text(row, number) for row in range(panel.table.lines.rowCount())]


# --- what is said -------------------------------------------------------------------------------------------------


def test_the_root_says_what_its_bytes_are_for(opened):
    panel = storage_tab(opened(trained()))
    assert isinstance(panel, LedgerPanel)
    said = panel.words.text().replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("7.57 kB in 8 storages, of which tensors use all.")
    assert "Optimizer 5.05 kB (66.7 %), model 2.52 kB (33.3 %)." in said
    assert column(panel, TENSOR)[:2] == ["/model/weight", "/model/bias"]
    assert panel.table.isColumnHidden(WASTED)
    assert panel.table.isColumnHidden(SHARED)


def test_adding_up_can_be_stopped_and_begun_again(opened, qtbot, monkeypatch):
    from ckpt_viewer.analysis import ledger as module

    entered, gate, usual = threading.Event(), threading.Event(), module.ledger

    def slow(checkpoint, roles, context):
        entered.set()
        assert gate.wait(30)
        context.step(0, 0)
        return usual(checkpoint, roles, context)

    monkeypatch.setattr(module, "ledger", slow)
    details = opened(trained())
    panel = details.select("", "Storage", wait=False)
    assert entered.wait(30)
    (job,) = (each for each in details.session.jobs.active if each.title)
    assert job.title == "Adding up the storages"
    with qtbot.waitSignal(LedgerWatch.of(details.session).stopped):
        job.cancel()
        gate.set()
    assert panel.sentence == "Adding up the storages was stopped."
    panel.findChild(QPushButton).click()
    details.wait()
    assert panel.sentence == ""
    assert panel.words.text().startswith("7.57")


def test_a_part_has_its_own_storages_only(opened):
    panel = storage_tab(opened(trained()), "/model")
    assert column(panel, TENSOR) == ["/model/weight", "/model/bias"]
    assert "2.52 kB in 2 storages" in panel.words.text()


def test_what_is_dragged_along_tied_and_aliased(opened):
    base, tied = torch.rand(1000), torch.rand(50)
    panel = storage_tab(opened({"a": base[:10], "b": base[20:30], "c": tied, "d": tied, "e": torch.rand(3)}))
    said = panel.words.text()
    assert "1 storage is larger than the tensors in it: an export saves 3.92 kB." in said
    assert "1 tensor has several names (tied)." in said
    assert "1 storage is seen by several different tensors (aliased)." in said
    assert column(panel, SHARED) == ["2 aliased", "2 tied", ""]
    assert column(panel, WASTED) == ["3.92 kB", "", ""]
    assert column(panel, TENSOR)[0] == "/a and 1 more"


def test_a_slice_is_marked_where_it_lies_in_its_storage(opened):
    base = torch.rand(10_000)
    details = opened({"a": base[1000:1100], "b": base[5000:5200]})
    panel = storage_tab(details, "/b")
    strip = panel.map.strips[0]
    first = next(n for n, line in enumerate(strip.file.lines) if line == 0)
    region = strip.file.region(strip.current)
    assert (region.nbytes, region.start - strip.file.bounds[first]) == (800, 20_000)
    tip = storage_tab(details).table.lines.index(0, SHARED).data(Qt.ItemDataRole.ToolTipRole)
    assert "/a,  /b" in tip


def test_a_click_on_a_title_sorts_and_a_row_leads_to_its_tensor(opened, qtbot):
    details = opened(trained())
    panel = storage_tab(details)
    across = panel.table.horizontalHeader()
    across.sectionClicked.emit(BYTES)
    details.wait()
    assert column(panel, BYTES) == sorted(column(panel, BYTES), key=lambda each: "kB" not in each)
    assert column(panel, TENSOR)[0] == "/model/weight"
    across.sectionClicked.emit(BYTES)
    details.wait()
    assert column(panel, BYTES)[0] == "4 B"
    with qtbot.waitSignal(details.session.selectionChanged) as got:
        panel.table.follow(panel.table.lines.index(0, TENSOR))
    assert got.args[0].pointer == "/optimizer/state/0/step"


def test_a_copy_has_pointers_and_bytes_in_full(opened):
    details = opened(trained())
    panel = storage_tab(details)
    panel.table.selectAll()
    panel.table.copy()
    details.wait()
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().split("\n")]
    assert column(panel, BYTES)[0] == "2.4 kB"
    assert lines[0][:3] == ["/model/weight", "model", "2400"]
    assert "/optimizer/state/0/step" in [line[TENSOR] for line in lines]
    assert int(lines[0][PLACE]) < int(lines[-1][PLACE])


def test_the_table_leaves_columns_out_where_there_is_no_room(opened):
    panel = storage_tab(opened(trained()))
    panel.table.resize(1200, 300)
    assert not panel.table.isColumnHidden(DEVICE)
    panel.table.resize(330, 300)
    assert panel.table.isColumnHidden(DEVICE)
    assert not panel.table.isColumnHidden(TENSOR)


def test_records_that_nothing_refers_to_are_told(opened, tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes(zip_checkpoint(pickled(mapped((text("a"), tensor((4,))))), {"0": bytes(16), "left": bytes(7000)}))
    panel = storage_tab(opened(path))
    assert "1 stretch with 7 kB is not referred to; an export leaves it out." in panel.words.text()
    strip = panel.map.strips[0]
    number = strip.file.kinds.index(UNUSED)
    strip.mark(number)
    strip.pointed.emit(strip._marked())
    assert panel.map.words.text().startswith("not referred to · archive/data/left · 7 kB")


def test_each_file_of_a_set_has_a_strip(opened, tmp_path):
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for number, name in enumerate(names):
        save_file({f"w{number}": torch.rand(3)}, tmp_path / name)
    weight_map = {f"w{n}": name for n, name in enumerate(names)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": weight_map}))
    details = opened(index)
    panel = storage_tab(details)
    assert [strip.file.name for strip in panel.map.strips] == names
    tips = [panel.table.lines.index(row, PLACE).data(Qt.ItemDataRole.ToolTipRole) for row in range(2)]
    assert all(f"of {name}" in tip for name, tip in zip(names, tips, strict=True))
    alone = storage_tab(details, "/w1")
    assert [strip.file.name for strip in alone.map.strips] == names[1:]


def test_the_tab_stays_when_a_region_is_chosen(opened, qtbot):
    details = opened(trained())
    panel = storage_tab(details)
    line = next(n for n, each in enumerate(panel._watch.accounts.book.lines) if each.storage.nbytes == 120)
    with qtbot.waitSignal(details.session.selectionChanged) as got:
        panel.map.chosen.emit(line)
    assert got.args[0].pointer == "/model/bias"
    details.wait()
    assert isinstance(details.tabs.panel, StoragePanel)
    strip = details.tabs.panel.map.strips[0]
    assert strip.file.region(strip.current).line == line
    assert "/model/bias" in strip.accessibleDescription()


def test_a_file_that_is_not_described_yet_is_waited_for(open_details):
    details = open_details(opened_root())
    panel = details.select("", "Storage", wait=False)
    assert not panel.is_settled
    with details.qtbot.waitSignal(panel.settled):
        details.session.describe()
    assert "in 1 storage" in panel.words.text()


def opened_root():
    from panel_samples import floats
    from tree_samples import mapping_of

    return mapping_of({"a": floats(1, 2)})


# --- the strip ----------------------------------------------------------------------------------------------------


def a_file(*regions) -> FileMap:
    """Return a file of regions (bytes, kind)."""
    made = FileMap("m.pth", sum(nbytes for nbytes, _ in regions))
    for number, (nbytes, kind) in enumerate(regions):
        made.add(made.bounds[-1] + nbytes, kind, number if kind == MODEL else -1)
    made.finish()
    return made


@pytest.fixture
def strip(qtbot):
    made = ByteStrip()
    qtbot.addWidget(made)
    made.resize(400, made.sizeHint().height())
    made.show()
    made.show_file(a_file((4000, FRAME), (8000, MODEL), (4000, UNUSED)))
    return made


def shown(strip) -> tuple[int, int]:
    return strip.scale.start, strip.scale.end


def colours(strip, x) -> set[str]:
    picture = strip.grab().toImage()
    return {picture.pixelColor(x, y).name() for y in range(MARK + 2, MARK + BAND - 2)}


@pytest.mark.parametrize("name", ["light", "dark"])
def test_regions_are_painted_where_they_lie(strip, name):
    themes().choose(name)
    assert colours(strip, 50) == {QColor(theme().line).name()}
    assert colours(strip, 200) == {QColor(theme().series[0]).name()}
    assert colours(strip, 350) == {QColor(theme().base).name(), QColor(theme().error).name()}  # hatched


def test_no_two_kinds_look_alike_even_without_colour():
    for wanted in (LIGHT, DARK):
        known = looks(wanted)
        assert set(known) == set(PATTERNS) == set(range(len(WORDS)))
    patterns = [style for kind, style in PATTERNS.items() if kind not in (MODEL, FRAME)]
    assert len(set(patterns)) == len(patterns)


def test_a_column_of_many_regions_is_divided_by_their_bytes(strip):
    strip.show_file(a_file(*[(30, MODEL), (10, FRAME)] * 4000))
    for x in (3, 200, 397):
        picture = strip.grab().toImage()
        blue = sum(picture.pixelColor(x, y).name() == theme().series[0].lower() for y in range(MARK, MARK + BAND))
        assert blue == pytest.approx(0.75 * BAND, abs=2)


def test_a_little_of_what_matters_is_never_lost(strip):
    strip.show_file(a_file((400_000, FRAME), (1, UNUSED), (400_000, FRAME)))
    parts = [strip._divide(*strip.scale.stretch(x)) for x in range(strip.width())]
    assert sum(any(kind == UNUSED and height >= 1 for kind, _, height in each) for each in parts) == 1
    assert all(sum(height for _, _, height in each) == BAND for each in parts)


def test_keys_walk_over_the_regions_and_choose(strip, qtbot):
    said, chosen = [], []
    strip.pointed.connect(said.append)
    strip.chosen.connect(chosen.append)
    for key in (
        Qt.Key.Key_Right,
        Qt.Key.Key_Right,
        Qt.Key.Key_Return,
        Qt.Key.Key_End,
        Qt.Key.Key_Right,
        Qt.Key.Key_Home,
    ):
        qtbot.keyClick(strip, key)
    assert said == [(0, 4000), (4000, 12_000), (12_000, 16_000), (12_000, 16_000), (0, 4000)]
    assert chosen == [(4000, 12_000)]


def test_the_mouse_says_points_chooses_and_drags(strip, qtbot):
    said, chosen = [], []
    strip.pointed.connect(said.append)
    strip.chosen.connect(chosen.append)
    qtbot.mouseMove(strip, QPoint(200, MARK + 5))
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(200, MARK + 5))
    assert said[-1] == chosen[-1] == (8000, 8040)
    strip.zoom(8)
    before = shown(strip)
    qtbot.mousePress(strip, Qt.MouseButton.LeftButton, pos=QPoint(200, MARK + 5))
    qtbot.mouseMove(strip, QPoint(100, MARK + 5))
    qtbot.mouseRelease(strip, Qt.MouseButton.LeftButton, pos=QPoint(100, MARK + 5))
    assert shown(strip)[0] == before[0] + 500
    assert len(chosen) == 1  # a drag chooses nothing


def test_zoom_keeps_what_is_below_the_mouse_and_ends_at_a_byte_a_pixel(strip, qtbot):
    at = strip.scale.position(100)
    strip.zoom(4, 100)
    assert strip.scale.position(100) == pytest.approx(at, abs=2)
    for _ in range(40):
        strip.zoom(2, 100)
    assert strip.scale.span == strip.width()
    qtbot.keyClick(strip, Qt.Key.Key_0)
    assert shown(strip) == (0, 16_000)
    assert not strip.is_zoomed
    strip.zoom(10, 0)
    strip.mark(2)
    assert shown(strip)[0] <= 14_000 < shown(strip)[1]  # what is marked is in view


def wheel(strip, modifiers=Qt.KeyboardModifier.NoModifier) -> QWheelEvent:
    where = QPointF(100, MARK + 5)
    return QWheelEvent(where, strip.mapToGlobal(where), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton, modifiers,
                       Qt.ScrollPhase.NoScrollPhase, False)  # fmt: skip


def test_among_several_strips_the_wheel_scrolls_and_zooms_with_ctrl(strip):
    strip.wheel_zooms = False
    strip.wheelEvent(wheel(strip))
    assert not strip.is_zoomed
    strip.wheelEvent(wheel(strip, Qt.KeyboardModifier.ControlModifier))
    assert strip.is_zoomed


def test_an_empty_file_is_no_trouble(strip, qtbot):
    strip.show_file(a_file())
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    strip.zoom(2)
    strip.grab()
    assert strip.current is None


def test_names_from_the_file_are_never_markup(opened):
    name = "<b>&\u202e" + "x" * 500
    details = opened({name: torch.rand(3)})
    panel = storage_tab(details)
    strip = panel.map.strips[0]
    strip.mark(strip.file.lines.index(0))
    strip.pointed.emit(strip._marked())
    assert "\u202e" not in panel.map.words.text()
    assert "<b>" in panel.map.words.text()
    assert "&lt;b&gt;" in panel.map.words.toolTip()
    assert column(panel, PLACE)
