from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from builders import save
from hand_made import drag_event
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QFileOpenEvent
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QFrame,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QToolButton,
    QTreeView,
    QWidget,
)

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.export.part_names import temporary_name
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.shortcuts import ShortcutCard
from ckpt_viewer.gui.windows import MANY, Windows
from ckpt_viewer.resources import sample_checkpoint

COPY, LEFT, NONE = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class Answer:
    """Knows the devices of a pretended machine."""

    def __init__(self, answer, then=lambda: None):
        self.answer, self.then, self.stopped = answer, then, False

    def ask(self):
        self.then()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stop(self):
        self.stopped = True


@pytest.fixture
def windows(qtbot):
    """The windows of one process, closed and shut down at the end."""
    made = Windows(Devices(Answer({"cpu": ""})))
    yield made
    for window in made.all:
        window.close()
    made.shut_down()
    qtbot.waitUntil(lambda: not made.all)


@pytest.fixture
def sample(tmp_path):
    return str(shutil.copy(sample_checkpoint(), tmp_path / "model_3.pth"))


def settled(window):
    """Whether everything that opening starts has come to its end."""
    details = window.details
    filled = details is not None and details.panel is not None
    shown = filled and details.is_settled and window.session.overview is not None
    return shown and not window.session.jobs.active and not window.windows.devices.jobs.active


def show(qtbot, windows, *paths, **more):
    windows.open(paths, **more)
    for window in windows.all:
        if not window.session.is_empty:
            qtbot.waitUntil(lambda each=window: settled(each))
    return windows.all[-1]


def said(window):
    return [message.text for message in window.messages.all]


def test_everything_that_tests_and_readers_look_for_is_there(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    qtbot.waitUntil(lambda: bool(said(window)))
    names = {
        "checkpointTree": QTreeView,
        "treeFilter": QLineEdit,
        "mapLocationBox": QComboBox,
        "exportStateDictButton": QToolButton,
        "summaryStrip": QFrame,
        "detailTabs": QTabWidget,
        "jobProgress": QProgressBar,
        "jobCancel": QToolButton,
        "messageBar": QFrame,
    }
    for name, kind in names.items():
        found = window.findChild(kind, name)
        assert found is not None, name
        assert found.accessibleName(), name


def test_the_list_of_keys_is_as_wide_as_its_font_needs(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(1600, 900)
    font = window.font()
    font.setPointSize(2 * font.pointSize())
    window.setFont(font)
    window.show()
    card = ShortcutCard(window)
    card.toggle()
    area = card.findChild(QScrollArea)
    assert area.widget().sizeHint().width() <= area.viewport().width()
    assert card.width() > 560


def test_every_widget_that_takes_the_keyboard_has_a_name(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    nameless = [
        (type(widget).__name__, widget.objectName())
        for widget in window.findChildren(QWidget)
        if widget.focusPolicy() != Qt.FocusPolicy.NoFocus
        and widget.isVisible()
        and not widget.accessibleName()
        and not getattr(widget, "text", str)()
        and not widget.objectName().startswith("qt_")
    ]
    assert nameless == []


def test_a_file_opens_with_the_root_selected_and_answered(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    assert window.windowTitle() == "model_3.pth – Checkpoint Viewer"
    assert window.strip.text.startswith("Training checkpoint, epoch 3   |   ")
    assert window.findChild(QLabel, "rootHeading").text() == "Training checkpoint, epoch 3"
    assert window.session.selected.pointer == ""
    assert windows.settings.recent == [sample]


def test_a_tag_that_is_not_here_is_a_message_with_the_way_out(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    qtbot.waitUntil(lambda: bool(said(window)))
    assert said(window)[0].startswith(
        "cuda:1 is not on this computer. Everything is shown all the same. torch.load would"
    )
    message = window.messages.all[0]
    assert message.actions[0].text == "Load onto CPU"
    with qtbot.waitSignal(window.session.problemsChanged):
        message.actions[0].call()
    assert said(window) == []
    assert window.session.map_location == "cpu"
    assert "cuda:1 → cpu" in window.strip.text
    assert window.findChild(QComboBox, "mapLocationBox").currentText() == "CPU (works everywhere)"
    assert window.toolbar.load_onto.code.code == 'torch.load("model_3.pth", map_location="cpu")'


def test_the_panel_of_most_clicks_is_prepared_once_the_tree_stands(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    qtbot.waitUntil(lambda: window.details.is_prepared)
    built = [host.kind.title for host in window.details._hosts.values() if host.panel is not None]
    assert sorted(built) == ["Histogram", "Overview"]
    other = show(qtbot, windows, str(sample_checkpoint()))
    qtbot.waitUntil(lambda: other.details.is_prepared)


def test_choosing_in_the_box_remaps_everything(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    window.toolbar.load_onto.box.choose("cpu")
    window.session.select(window.session.find("/model/conv1.weight"))
    assert window.session.selected.device == "cpu"
    assert window.details.subject is window.session.selected


def test_the_tree_and_the_session_select_together(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    window.session.select(window.session.find("/optimizer"))
    assert window.tree.current_pointer() == "/optimizer"
    window.tree.select_pointer("/model/fc.weight")
    assert window.session.selected.pointer == "/model/fc.weight"
    assert window.details.subject is window.session.selected


def test_reload_keeps_the_selection_and_sees_the_new_file(qtbot, windows, sample):
    window = show(qtbot, windows, sample, select="/model/fc.weight")
    before = window.session.checkpoint
    with qtbot.waitSignal(window.session.opened):
        window.actions_of_window.actions["reload"].trigger()
    qtbot.waitUntil(lambda: settled(window))
    assert window.session.checkpoint is not before
    assert window.session.selected.pointer == "/model/fc.weight"
    assert window.tree.current_pointer() == "/model/fc.weight"


def test_a_file_that_fails_keeps_a_window_that_names_it(qtbot, windows, tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("hello")
    windows.open([str(path)])
    window = windows.all[0]
    qtbot.waitUntil(lambda: window.session.error is not None)
    assert window.windowTitle() == "notes.pth – Checkpoint Viewer"
    assert window.findChild(QLabel, "failedHeading").text() == "notes.pth could not be opened"
    assert window.findChild(QLabel, "failedReason").text().endswith(".")
    assert not window.toolbar.export_button.isEnabled()


def test_trying_again_once_the_file_is_mended(qtbot, windows, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"")
    windows.open([str(path)])
    window = windows.all[0]
    qtbot.waitUntil(lambda: window.session.error is not None)
    shutil.copy(sample_checkpoint(), path)
    window.actions_of_window.actions["reload"].trigger()
    qtbot.waitUntil(lambda: settled(window))
    assert window.pages.currentWidget() is window.splitter
    assert window.session.error is None


def test_open_fills_an_empty_window_and_makes_another_after_that(qtbot, windows, sample, tmp_path):
    other = str(shutil.copy(sample, tmp_path / "other.pth"))
    empty = windows.new()
    empty.come_forward()
    windows.open([sample], empty)
    assert windows.all == (empty,)
    windows.open([other], empty)
    assert len(windows.all) == 2
    assert [Path(window.session.path).name for window in windows.all] == ["model_3.pth", "other.pth"]


def test_a_file_that_is_open_is_raised_under_any_name(qtbot, windows, sample, tmp_path):
    show(qtbot, windows, sample)
    link = tmp_path / "link.pth"
    link.symlink_to(sample)
    windows.open([sample, str(link), str(Path(sample).parent / "." / "model_3.pth")])
    assert len(windows.all) == 1


def test_very_many_windows_are_asked_about(windows, sample, monkeypatch):
    asked = []
    monkeypatch.setattr(asking, "ask_many", lambda parent, count: asked.append(count))
    windows.open([f"{sample}.{number}" for number in range(MANY + 1)])
    assert asked == [MANY + 1]
    assert windows.all == ()


def test_an_unknown_pointer_is_a_message(qtbot, windows, sample):
    window = show(qtbot, windows, sample, select="/nowhere")
    assert "there is nothing at '/nowhere'; the root is selected instead." in said(window)


def test_the_empty_window_asks_for_a_file(windows, sample):
    windows.settings.add_recent(sample)
    window = windows.new()
    window.come_forward()
    assert window._start is not None
    assert window.pages.currentWidget() is window._start
    assert not window.actions_of_window.actions["export"].isEnabled()
    assert window.strip.text == ""


def test_the_sample_opens_from_the_empty_window(qtbot, windows):
    window = windows.new()
    window.come_forward()
    window.actions_of_window.open_sample()
    qtbot.waitUntil(lambda: settled(window))
    assert window.session.path == str(sample_checkpoint())


def test_asking_for_files_remembers_the_folder(qtbot, windows, sample, monkeypatch):
    asked = []
    monkeypatch.setattr(asking, "ask_files", lambda parent, folder, title: asked.append(folder) or [sample])
    window = windows.new()
    window.come_forward()
    window.actions_of_window.actions["open"].trigger()
    assert asked == [""]
    assert windows.settings.text("folder") == str(Path(sample).parent)
    assert window.session.path == sample


def test_keys_reach_what_they_promise(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    control = Qt.KeyboardModifier.ControlModifier
    qtbot.keyClick(window, Qt.Key.Key_F, control)
    assert window.tree.filter.hasFocus()
    qtbot.keyClick(window.tree.filter, Qt.Key.Key_Escape)
    assert window.tree.view.hasFocus()
    qtbot.keyClick(window.tree.view, Qt.Key.Key_2, control)
    assert window.details.tabs.currentIndex() == 1
    window.details.tabs.setFocus()
    qtbot.keyClick(window.details.tabs, Qt.Key.Key_Escape)
    assert window.tree.view.hasFocus()
    qtbot.keyClick(window, Qt.Key.Key_F1)
    card = window.findChild(QFrame, "shortcutCard")
    assert card.isVisible()
    qtbot.keyClick(card, Qt.Key.Key_Escape)
    assert not card.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_L, control)
    assert window.toolbar.load_onto.box.view().isVisible()
    window.toolbar.load_onto.box.hidePopup()


def test_no_two_actions_share_a_key():
    from ckpt_viewer.gui.actions import TABLE, shortcut_rows

    keys = [key for entry in TABLE for key in entry.keys]
    assert len(keys) == len(set(keys))
    wanted = {"Ctrl+O", "Ctrl+F", "Ctrl+L", "Ctrl+E", "Ctrl+Shift+R", "F5", "Ctrl+W", "Ctrl+Q", "F1"}
    assert wanted <= set(keys)
    listed = " ".join(row for row, _ in shortcut_rows())
    assert all(word in listed for word in (*wanted, "Esc", "Enter", "Backspace", "Ctrl+C", "Ctrl+Shift+C", "Ctrl+9"))


def drop(window, paths, half):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(path) for path in paths])
    QApplication.sendEvent(window, drag_event(QDragEnterEvent, QPoint(5, 5), COPY, mime, LEFT, NONE))
    overlay = window.findChild(QWidget, "dropOverlay")
    assert overlay.isVisible()
    at = window.findChild(QFrame, half).geometry().center()
    QApplication.sendEvent(window, QDropEvent(QPointF(at), COPY, mime, LEFT, NONE))
    assert not overlay.isVisible()


def test_dropping_on_the_large_half_opens(qtbot, windows, sample):
    window = windows.new()
    window.come_forward()
    drop(window, [sample], "dropOpen")
    qtbot.waitUntil(lambda: settled(window))
    assert window.session.path == sample
    assert window.session.map_location is None


def test_dropping_on_the_other_half_opens_mapped_and_writes_a_copy(qtbot, windows, sample):
    window = windows.new()
    window.come_forward()
    drop(window, [sample], "dropRemapCpu")
    copy = Path(sample).with_name("model_3.cpu.pth")
    qtbot.waitUntil(copy.exists)
    qtbot.waitUntil(lambda: settled(window) and not windows.writes.active)
    assert window.session.map_location == "cpu"
    assert any(text.startswith("Wrote model_3.cpu.pth, a copy for the CPU") for text in said(window))


def test_dropping_several_queues_their_copies(qtbot, windows, sample, tmp_path):
    paths = [str(shutil.copy(sample, tmp_path / f"{name}.pth")) for name in ("one", "two", "three")]
    window = windows.new()
    window.come_forward()
    drop(window, paths, "dropRemapCpu")
    copies = [tmp_path / f"{name}.cpu.pth" for name in ("one", "two", "three")]
    qtbot.waitUntil(lambda: all(copy.exists() for copy in copies))
    qtbot.waitUntil(lambda: all(settled(each) for each in windows.all) and not windows.writes.active)
    assert len(windows.all) == 3


def test_no_child_of_the_window_accepts_drops(qtbot, windows, sample):
    window = show(qtbot, windows, sample)
    assert [child.objectName() for child in window.findChildren(QWidget) if child.acceptDrops()] == []
    assert window.acceptDrops()


def test_closing_while_writing_asks_and_waits(qtbot, windows, sample, monkeypatch):
    from ckpt_viewer.export import plan

    entered, gate = threading.Event(), threading.Event()

    def slow(*args, context, **more):
        entered.set()
        gate.wait(10)
        context.step(0, 1)
        raise AssertionError("it was not stopped")

    monkeypatch.setattr(plan, "write", slow)
    asked, answer = [], [False]
    monkeypatch.setattr(asking, "ask_stop_writing", lambda parent, what: asked.append(what) or answer[0])
    window = show(qtbot, windows, sample)
    window.export_flow.remap_to_cpu()
    qtbot.waitUntil(entered.is_set)
    assert not window.close()
    assert window.isVisible()
    answer[0] = True
    assert not window.close()
    assert not window.isVisible()
    with qtbot.waitSignal(windows.empty):
        gate.set()
    assert asked == ["Writing model_3.cpu.pth"] * 2
    assert [path.name for path in Path(sample).parent.iterdir()] == ["model_3.pth"]


@pytest.mark.skipif(os.name != "posix", reason="nothing is called a leftover there")
def test_what_a_killed_program_left_is_offered_once_when_a_file_beside_it_is_opened(qtbot, windows, sample):
    part = temporary_name(Path(sample).with_name("out.pth"))
    part.write_bytes(bytes(1_000_000))
    window = show(qtbot, windows, sample)

    def offered():
        return any("left by writing that was broken off" in each.text for each in window.messages.all)

    qtbot.waitUntil(offered)
    window.messages.clear()
    with qtbot.waitSignal(window.session.described):
        window.session.reload()
    qtbot.waitUntil(lambda: settled(window), timeout=30_000)
    assert not offered()
    assert part.exists()


def test_a_file_of_a_set_shows_the_whole_set_and_is_remapped_alone(qtbot, windows, tmp_path):
    import torch

    first, second = (
        save({f"layer{n}.weight": torch.rand(2)}, tmp_path / f"m-{n}-of-2.pth", tag="cuda:0") for n in (1, 2)
    )
    whole = show(qtbot, windows, str(first))
    assert whole.session.checkpoint.format == "sharded"
    assert set(whole.session.checkpoint.state_dict()) == {"layer1.weight", "layer2.weight"}
    windows.open([str(second)], map_location="cpu", remap=True)
    qtbot.waitUntil((tmp_path / "m-2-of-2.cpu.pth").exists)
    alone = windows.find(str(second))
    qtbot.waitUntil(lambda: not alone.export_flow.writing)  # or closing it would ask
    assert set(alone.session.checkpoint.state_dict()) == {"layer2.weight"}
    assert torch.load(tmp_path / "m-2-of-2.cpu.pth").keys() == {"layer2.weight"}
    with qtbot.waitSignal(alone.session.opened):
        alone.session.reload()
    assert alone.session.checkpoint.format == "torch-zip"
    qtbot.waitUntil(lambda: not alone.export_flow.writing, timeout=60_000)  # torch is still reading it, to prove it


def test_size_and_theme_are_remembered(qtbot, windows, sample):
    from ckpt_viewer.gui.actions import choose_theme

    window = show(qtbot, windows, sample)
    window.resize(740, 533)
    choose_theme("dark")
    window.close()
    qtbot.waitUntil(lambda: not windows.all)
    again = windows.new()
    assert (again.width(), again.height()) == (740, 533)
    assert windows.settings.text("theme") == "dark"


def test_a_mac_hands_files_over_as_events(qtbot, windows, sample):
    from ckpt_viewer.gui.application import MacApplication

    class Heard:
        def __init__(self):
            self.files = []

    heard = Heard()
    signal = type("S", (), {"emit": lambda self, paths: heard.files.extend(paths)})()
    fake = type("A", (), {"filesWanted": signal})()
    assert MacApplication.event(fake, QFileOpenEvent(QUrl.fromLocalFile(sample)))
    assert heard.files == [sample]


def test_a_name_that_looks_like_markup_is_shown_as_it_is(qtbot, windows, sample, tmp_path):
    odd = str(shutil.copy(sample, tmp_path / "<b>a&b\u202e\n.pth"))
    window = show(qtbot, windows, odd)
    assert window.windowTitle().startswith(r"<b>a&b\u202e\n.pth – ")
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in window.findChildren(QLabel) if label.text())


def test_a_file_that_was_written_anew_is_told_when_one_comes_back(qtbot, qapp, windows, sample, tmp_path):
    window = show(qtbot, windows, sample)
    Path(shutil.copy(sample, tmp_path / "newer.pth")).replace(sample)
    qapp.applicationStateChanged.emit(Qt.ApplicationState.ApplicationActive)
    qtbot.waitUntil(lambda: any("newer file" in text for text in said(window)))
    with qtbot.waitSignal(window.session.opened):
        next(button for button in window.findChildren(QPushButton) if button.text() == "Reload").click()
    assert not any("newer file" in text for text in said(window))


def test_the_association_answers_in_place(qtbot, windows, monkeypatch):
    from ckpt_viewer.desktop.report import Report

    class Fake:
        def install(self, command):
            return Report(True, True, ["Checkpoints now open with /bin/ckpt-viewer.", "Desktop entry: /x"])

    monkeypatch.setattr("ckpt_viewer.desktop.backend", Fake)
    monkeypatch.setattr("ckpt_viewer.desktop.program_command", lambda: ["/bin/ckpt-viewer"])
    window = windows.new()
    window.come_forward()
    offers = lambda: [each for each in window.findChildren(QPushButton) if each.text().startswith("Open .pth with")]  # noqa: E731
    assert offers()
    window.actions_of_window.associate()
    qtbot.waitUntil(lambda: bool(said(window)))
    qtbot.waitUntil(lambda: not offers())
    assert said(window) == ["Checkpoints now open with /bin/ckpt-viewer."]
    assert windows.settings.text("association") == "done"


def test_devices_are_asked_for_once_and_only_after_the_tree_is_painted(qtbot, sample):
    asked = []
    painted = []
    windows = Windows(Devices(Answer({"cpu": "", "cuda:0": ""}, lambda: asked.append(len(painted)))))
    windows.painted.connect(painted.append)
    window = show(qtbot, windows, sample)
    assert asked == [1]
    assert "cuda:0" in window.toolbar.load_onto.box.specs
    window.close()
    windows.shut_down()


def test_devices_that_cannot_be_asked_leave_the_box_usable(qtbot, sample):
    windows = Windows(Devices(Answer(CheckpointError("torch is not installed; install it"))))
    window = show(qtbot, windows, sample)
    box = window.toolbar.load_onto.box
    assert "devices not known: torch is not installed; install it" in [box.itemText(n) for n in range(box.count())]
    box.choose("cpu")
    assert window.session.map_location == "cpu"
    window.close()
    windows.shut_down()
