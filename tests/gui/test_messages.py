from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from ckpt_viewer.errors import Damaged
from ckpt_viewer.gui import icons, message_bar
from ckpt_viewer.gui.message_bar import MessageBar
from ckpt_viewer.gui.messages import Action, Message, Messages, error_text
from ckpt_viewer.gui.theme import theme


@pytest.fixture
def messages(qapp):
    return Messages()


@pytest.fixture
def bar(qtbot, messages):
    made = MessageBar(messages)
    qtbot.addWidget(made)
    return made


def button(bar, text):
    return next(each for each in bar.findChildren(QPushButton) if each.text() == text and not each.isHidden())


def test_the_newest_comes_first(messages):
    first, second = messages.post(Message("info", "one")), messages.post(Message("error", "two"))
    assert messages.all == (second, first)


def test_a_topic_has_one_message(messages):
    messages.post(Message("warning", "cuda:1 is missing", topic="load"))
    messages.post(Message("info", "other"))
    messages.post(Message("warning", "cuda:2 is missing", topic="load"))
    assert [message.text for message in messages.all] == ["cuda:2 is missing", "other"]
    messages.drop("load")
    assert [message.text for message in messages.all] == ["other"]


def test_saying_the_same_again_does_not_pile_up(messages):
    for _ in range(3):
        messages.report(Damaged("the directory is torn; copy the file again"), about="x.pth")
    assert [message.text for message in messages.all] == ["x.pth: the directory is torn; copy the file again."]


def test_what_was_not_expected_says_so():
    text = error_text(ValueError("boom\x1b[31m"), "x.pth")
    assert (
        text
        == r"x.pth: something went wrong that this program did not expect (ValueError: boom\x1b[31m). Please report it."
    )


def test_names_are_shown_without_their_control_characters():
    assert error_text(Damaged("no"), "a\u202eb\n.pth").startswith(r"a\u202eb\n.pth: ")


@pytest.mark.parametrize(
    ("message", "stays"),
    [
        (Message("info", "a"), False),
        (Message("success", "a"), False),
        (Message("success", "a", (Action("Show in folder", print),)), True),
        (Message("warning", "a"), True),
        (Message("error", "a"), True),
    ],
)
def test_what_can_be_answered_stays(message, stays):
    assert message.stays is stays


def test_the_bar_is_hidden_while_there_is_nothing_to_say(bar, messages):
    assert bar.isHidden()
    message = messages.post(Message("info", "hello"))
    assert not bar.isHidden()
    messages.dismiss(message)
    assert bar.isHidden()


def test_the_bar_counts_and_turns(qtbot, bar, messages):
    for text in ("one", "two", "three"):
        messages.post(Message("error", text))
    assert bar.shown.text == "three"
    assert bar._count.text() == "1 of 3"
    qtbot.mouseClick(bar._next, Qt.MouseButton.LeftButton)
    assert bar.shown.text == "two"
    qtbot.mouseClick(bar._dismiss, Qt.MouseButton.LeftButton)
    assert [message.text for message in messages.all] == ["three", "one"]
    messages.post(Message("error", "four"))
    assert bar.shown.text == "four"


def test_an_action_is_called_once_and_the_message_goes(qtbot, bar, messages):
    called = []
    messages.post(Message("warning", "not here", (Action("Load onto CPU", lambda: called.append(1)),)))
    qtbot.mouseClick(button(bar, "Load onto CPU"), Qt.MouseButton.LeftButton)
    assert called == [1]
    assert not messages.all


def test_an_action_may_leave_the_message(qtbot, bar, messages):
    messages.post(Message("success", "written", (Action("Show in folder", lambda: None, dismisses=False),)))
    qtbot.mouseClick(button(bar, "Show in folder"), Qt.MouseButton.LeftButton)
    assert len(messages.all) == 1


def test_markup_in_a_message_is_text(bar, messages):
    messages.post(Message("error", "<b>bold</b>"))
    assert bar._text.textFormat() == Qt.TextFormat.PlainText


def test_a_message_is_announced(monkeypatch, bar, messages):
    said = []
    monkeypatch.setattr(message_bar, "announce", lambda widget, text, urgent: said.append((text, urgent)))
    messages.post(Message("error", "the disk is full"))
    messages.post(Message("success", "written"))
    assert said == [("Error: the disk is full", True), ("Done: written", False)]


def test_a_transient_message_leaves_by_itself(monkeypatch, qtbot, bar, messages):
    monkeypatch.setattr(message_bar, "TRANSIENT_MS", 1)
    messages.post(Message("info", "short"))
    qtbot.waitUntil(lambda: not messages.all)


class Paints(QObject):
    """Keeps which parts of a widget were painted."""

    def __init__(self, watched):
        super().__init__()
        self.parts = []
        watched.installEventFilter(self)

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            self.parts.append(event.region())
        return False


def test_the_stripe_is_painted_anew_for_another_severity(qtbot, messages):
    bar, window = MessageBar(messages), QWidget()
    qtbot.addWidget(window)
    window.resize(900, 200)
    column = QVBoxLayout(window)
    column.addWidget(bar)
    column.addStretch()
    window.show()
    paints = Paints(bar)
    for severity in ("warning", "warning", "success"):
        paints.parts.clear()
        messages.post(Message(severity, "text"))
        qtbot.waitUntil(lambda: any(part.contains(QPoint(1, bar.height() // 2)) for part in paints.parts))
    assert bar.grab().toImage().pixelColor(1, bar.height() // 2) == icons.colour_of("success", theme())
