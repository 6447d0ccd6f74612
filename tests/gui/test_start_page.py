from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton

from ckpt_viewer.gui.drops import DropHalf
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.start_page import StartPage


@pytest.fixture
def page(qtbot):
    made = StartPage()
    qtbot.addWidget(made)
    return made


def shown(page, kind):
    return list(page.currentWidget().findChildren(kind))


def texts(page):
    return [each.text() for each in shown(page, QLabel)]


def press(qtbot, page, text):
    button = next(each for each in shown(page, QPushButton) if each.text() == text)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_an_empty_window_offers_everything_there_is_to_do(qtbot, page):
    page.show_empty(["/a/one.pth", "/b/two.pth"], offer_association=True)
    assert [each.text() for each in shown(page, QPushButton)] == [
        "Open …",
        "Open the sample",
        "Open .pth with this program",
    ]
    assert [each.text() for each in shown(page, LinkButton)] == ["one.pth", "two.pth"]
    assert any(text.startswith("Nothing in a file is executed") for text in texts(page))
    assert len(shown(page, DropHalf)) == 2
    for text, signal in (("Open …", page.openWanted), ("Open the sample", page.sampleWanted)):
        with qtbot.waitSignal(signal):
            press(qtbot, page, text)
    with qtbot.waitSignal(page.associateWanted):
        press(qtbot, page, "Open .pth with this program")


def test_the_association_is_offered_until_it_is_answered(page):
    page.show_empty([], offer_association=False)
    assert "Open .pth with this program" not in [each.text() for each in shown(page, QPushButton)]
    assert "Recent files" not in texts(page)


def test_a_recent_file_opens(qtbot, page):
    page.show_empty(["/a/one.pth", "/b/two.pth"], offer_association=False)
    with qtbot.waitSignal(page.recentWanted) as got:
        qtbot.mouseClick(shown(page, LinkButton)[1], Qt.MouseButton.LeftButton)
    assert got.args == ["/b/two.pth"]


def test_the_resting_drop_areas_answer_a_click(qtbot, page):
    page.show_empty([], offer_association=False)
    first, second = shown(page, DropHalf)
    with qtbot.waitSignal(page.openWanted):
        qtbot.mouseClick(first, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(page.remapWanted):
        qtbot.mouseClick(second, Qt.MouseButton.LeftButton)


def test_loading_names_the_file_and_can_be_stopped(qtbot, page):
    page.show_loading("/a/model\n.pth")
    assert texts(page)[0] == r"Opening model\n.pth"
    with qtbot.waitSignal(page.stopWanted):
        press(qtbot, page, "Stop")


def test_a_failure_names_the_file_the_reason_and_what_to_do(qtbot, page):
    page.show_failed("/a/<b>x.pth", "It is cut off; copy it again.")
    assert page.findChild(QLabel, "failedHeading").text() == "<b>x.pth could not be opened"
    assert page.findChild(QLabel, "failedHeading").textFormat() == Qt.TextFormat.PlainText
    assert page.findChild(QLabel, "failedReason").text() == "It is cut off; copy it again."
    with qtbot.waitSignal(page.retryWanted):
        press(qtbot, page, "Try again")
    with qtbot.waitSignal(page.openWanted):
        press(qtbot, page, "Open another file …")


def test_one_state_replaces_another(page):
    for _ in range(3):
        page.show_loading("/a/b.pth")
        page.show_failed("/a/b.pth", "No.")
    assert page.count() == 1
