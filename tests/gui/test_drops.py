from __future__ import annotations

import os
from pathlib import Path

import pytest
from hand_made import drag_event
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from ckpt_viewer.gui.drop_window import DropWindow
from ckpt_viewer.gui.drop_words import open_sentence, remap_sentence
from ckpt_viewer.gui.drops import (
    OPEN,
    REMAP,
    DropHalf,
    DropOverlay,
    dropped_files,
    leave_drops_to_window,
)

COPY, MOVE, LINK = Qt.DropAction.CopyAction, Qt.DropAction.MoveAction, Qt.DropAction.LinkAction
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class Window(DropWindow):
    """A window with two children that would like to take drops."""

    def __init__(self):
        super().__init__()
        self.resize(600, 400)
        inside = QWidget()
        column = QVBoxLayout(inside)
        self.edit, self.text = QLineEdit(), QPlainTextEdit()
        column.addWidget(self.edit)
        column.addWidget(self.text)
        self.setCentralWidget(inside)


@pytest.fixture
def window(qtbot):
    made = Window()
    qtbot.addWidget(made)
    made.show()
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model_3.pth"
    path.write_bytes(b"x" * 134_000)
    return str(path)


def mime_of(*paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(path) for path in paths])
    return mime


def enter(window, mime, actions=COPY):
    event = drag_event(QDragEnterEvent, QPoint(50, 50), actions, mime, LEFT, NONE)
    event.setDropAction(Qt.DropAction.IgnoreAction)
    event.ignore()
    QApplication.sendEvent(window, event)
    return event


def move(window, mime, at, actions=COPY):
    event = drag_event(QDragMoveEvent, at, actions, mime, LEFT, NONE)
    QApplication.sendEvent(window, event)
    return event


def drop(window, mime, at, actions=COPY):
    event = QDropEvent(QPointF(at), actions, mime, LEFT, NONE)
    QApplication.sendEvent(window, event)
    return event


def test_files_are_taken_and_nothing_else(tmp_path, file):
    assert dropped_files(mime_of(file)) == [file]
    assert dropped_files(mime_of(file, file)) == [file, file]
    assert dropped_files(mime_of(str(tmp_path))) == [str(tmp_path)]
    assert dropped_files(mime_of(file, str(tmp_path))) == [file, str(tmp_path)]
    assert dropped_files(mime_of(file + ".gone")) == []
    text, link = QMimeData(), QMimeData()
    text.setText(file)
    link.setUrls([QUrl("https://example.org/model.pth")])
    assert dropped_files(text) == []
    assert dropped_files(link) == []


def test_a_folder_opens_and_is_not_remapped_as_a_whole(tmp_path, file):
    assert open_sentence([str(tmp_path)]) == f"shows {tmp_path.name}; nothing in it is executed"
    assert remap_sentence([file, str(tmp_path)]).startswith("a folder is not remapped as a whole")


def test_a_refused_drag_shows_nothing(window, tmp_path):
    text, gone = QMimeData(), mime_of(str(tmp_path / "gone.pth"))
    text.setText("hello")
    for mime in (text, gone):
        assert not enter(window, mime).isAccepted()
        assert not window.drops.overlay.isVisible()


def test_a_file_over_the_window_shows_what_each_half_will_do(window, file):
    mime = mime_of(file)
    event = enter(window, mime)
    overlay = window.drops.overlay
    assert event.isAccepted()
    assert event.dropAction() == COPY
    assert overlay.isVisible()
    assert overlay.geometry() == window.rect()
    assert overlay.remap_half.accessibleName() == "Remap to CPU: writes model_3.cpu.pth, 134 kB, beside it"
    assert overlay.open_half.text == "shows model_3.pth; nothing in it is executed"


def test_the_halves_cover_the_window_and_the_large_one_opens(window, file):
    enter(window, mime_of(file))
    overlay = window.drops.overlay
    wide, narrow = overlay.open_half.geometry(), overlay.remap_half.geometry()
    assert wide.width() > narrow.width()
    assert not wide.intersects(narrow)
    halves = {overlay.half_at(QPoint(x, y)) for x in range(0, 600, 7) for y in range(0, 400, 7)}
    assert halves == {OPEN, REMAP}


def test_moving_marks_the_half_under_the_pointer(window, file):
    mime = mime_of(file)
    enter(window, mime)
    overlay = window.drops.overlay
    for half in (overlay.remap_half, overlay.open_half):
        assert move(window, mime, half.geometry().center()).isAccepted()
        assert half.highlighted
    assert not overlay.remap_half.highlighted


@pytest.mark.parametrize(("name", "half"), [("open_half", OPEN), ("remap_half", REMAP)])
def test_dropping_says_which_half_and_which_files(qtbot, window, file, name, half):
    mime = mime_of(file)
    enter(window, mime)
    at = getattr(window.drops.overlay, name).geometry().center()
    with qtbot.waitSignal(window.filesDropped) as got:
        event = drop(window, mime, at)
    assert got.args == [half, [file]]
    assert event.isAccepted()
    assert not window.drops.overlay.isVisible()


def test_leaving_hides_the_halves(window, file):
    enter(window, mime_of(file))
    QApplication.sendEvent(window, QDragLeaveEvent())
    assert not window.drops.overlay.isVisible()


def test_a_file_is_never_moved(qtbot, window, file):
    mime = mime_of(file)
    assert not enter(window, mime, actions=MOVE).isAccepted()
    event = enter(window, mime, actions=MOVE | LINK)
    assert event.isAccepted()
    assert event.dropAction() == LINK


def test_a_file_that_went_away_meanwhile_is_not_opened(qtbot, window, file):
    mime = mime_of(file)
    enter(window, mime)
    Path(file).unlink()
    with qtbot.assertNotEmitted(window.drops.dropped):
        assert not drop(window, mime, QPoint(50, 50)).isAccepted()


def test_no_child_takes_a_drop(window):
    assert window.edit.acceptDrops()
    leave_drops_to_window(window)
    assert not window.edit.acceptDrops()
    assert not window.text.viewport().acceptDrops()
    assert window.acceptDrops()


def test_the_overlay_lies_between_a_drag_and_the_line_edit(window, file):
    enter(window, mime_of(file))
    assert window.childAt(window.edit.geometry().center()).window() is window
    assert window.childAt(window.edit.geometry().center()) is not window.edit


def test_what_is_said_of_several_files_and_of_suffixes(tmp_path):
    paths = []
    for name in ("last.ckpt", "x.pth.tar", "plain"):
        (tmp_path / name).write_bytes(b"x" * 1000)
        paths.append(str(tmp_path / name))
    assert remap_sentence(paths[:1]) == "writes last.cpu.ckpt, 1 kB, beside it"
    assert remap_sentence(paths[1:2]) == "writes x.cpu.pth.tar, 1 kB, beside it"
    assert remap_sentence(paths) == "writes 3 copies, last.cpu.ckpt first, 3 kB in all, beside them"
    assert open_sentence(paths) == "shows 3 files, a window each; nothing in them is executed"


def test_a_copy_that_is_there_is_said_before_the_drop(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.pth", "b.pth")]
    for name in ("a.pth", "b.pth", "b.cpu.pth"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    assert remap_sentence(paths[:1]) == "writes a.cpu.pth, 1 kB, beside it"
    assert remap_sentence(paths[1:]) == "writes b.cpu.pth, 1 kB, beside it; asks before replacing"
    assert remap_sentence(paths).endswith("in all, beside them; asks before replacing")


def test_the_index_of_a_set_becomes_a_folder(tmp_path, file):
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text("{}")
    assert remap_sentence([str(index)]) == "writes the folder pytorch_model.cpu, beside it"
    assert remap_sentence([str(index), file]) == "writes 2 copies, the folder pytorch_model.cpu first, beside them"
    (tmp_path / "pytorch_model.cpu").mkdir()
    assert remap_sentence([str(index)]) == "writes the folder pytorch_model.cpu, beside it; asks for another name"


def test_safetensors_have_nothing_to_remap(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.safetensors", "model.safetensors.index.json")]
    assert remap_sentence(paths).startswith("safetensors files name no devices")


def test_a_read_only_folder_is_said_before_the_drop(monkeypatch, file):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert remap_sentence([file]) == "writes model_3.cpu.pth, 134 kB, and asks where: its folder is read-only"


def test_a_name_is_shown_without_its_control_characters(tmp_path):
    path = tmp_path / "a\u202eb<i>.pth"
    path.write_bytes(b"")
    assert open_sentence([str(path)]) == r"shows a\u202eb<i>.pth; nothing in it is executed"


def test_drag_events_reach_the_window_and_not_its_children(window, file):
    """Qt looks for the innermost widget under the pointer that accepts drops."""
    leave_drops_to_window(window)
    widget = window.childAt(window.edit.geometry().center())
    while widget is not None and not widget.acceptDrops():
        widget = widget.parentWidget()
    assert widget is window


def test_a_file_that_names_no_devices_is_not_remapped(qtbot, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    window = QWidget()
    qtbot.addWidget(window)
    overlay = DropOverlay(window)
    overlay.appear([str(path)])
    assert overlay.remap_half.text == "safetensors files name no devices; they load on the CPU as they are"
    assert (overlay.open_half.able, overlay.remap_half.able) == (True, False)
    overlay.appear([str(path), str(tmp_path / "x.pth")])
    assert overlay.remap_half.able


def test_words_grow_on_a_large_screen(qtbot):
    small, large = DropHalf("a", "open", "Open"), DropHalf("b", "open", "Open")
    for half, size in ((small, (300, 500)), (large, (2000, 2000))):
        qtbot.addWidget(half)
        half.say("shows x.pth")
        half.resize(*size)
        half.show()
    sizes = [[each.font().pointSizeF() for each in half.findChildren(QLabel)[1:]] for half in (small, large)]
    assert [one / other for one, other in zip(sizes[1], sizes[0], strict=True)] == pytest.approx([2.2, 2.2], abs=0.01)
    large.resize(300, 500)
    assert [each.font().pointSizeF() for each in large.findChildren(QLabel)[1:]] == pytest.approx(sizes[0])
