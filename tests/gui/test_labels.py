"""Fonts of pieces of text, beside whatever font the system has."""

import pytest
from PySide6.QtGui import QFont, QFontInfo
from PySide6.QtWidgets import QLabel

from ckpt_viewer.gui.labels import NAME_LIMIT, foldable, larger, monospaced


def label_in(qtbot, font):
    made = QLabel("text")
    qtbot.addWidget(made)
    made.setFont(font)
    return made


@pytest.fixture
def fonts(qapp):
    """Sets the font of the system, until the test is over."""
    before = qapp.font()
    yield qapp.setFont
    qapp.setFont(before)


@pytest.mark.parametrize("pixels", [False, True])
def test_a_heading_is_larger_than_the_systems_font_and_follows_it(qtbot, fonts, pixels):
    def usual(size):
        font = QFont()
        (font.setPixelSize if pixels else font.setPointSizeF)(size)
        return font

    def size():
        return heading.font().pixelSize() if pixels else heading.font().pointSizeF()

    fonts(usual(12))
    heading = QLabel("heading")
    qtbot.addWidget(heading)
    larger(heading, 1.5, bold=True)
    assert (size(), heading.font().bold()) == (18, True)
    larger(heading, 2.0, bold=True)  # of the usual size, not of what it is
    assert size() == 24
    fonts(usual(21))
    assert (size(), heading.font().bold()) == (42, True)


def test_code_has_a_fixed_pitch_and_the_size_of_the_text(qtbot):
    font = QFont()
    font.setPixelSize(15)
    code = label_in(qtbot, font)
    monospaced(code)
    assert code.font().pixelSize() == 15
    assert code.font().styleHint() == QFont.StyleHint.Monospace
    metrics = code.fontMetrics()
    assert metrics.horizontalAdvance("iiii") == metrics.horizontalAdvance("WWWW"), QFontInfo(code.font()).family()


def test_what_no_line_can_be_broken_in_is_cut():
    assert foldable(f"'{'n' * 200}' is long") == f"'{'n' * 38}…{'n' * 19}' is long"
    path = "/".join(["folder" * 6] * 5)
    assert len(path) > NAME_LIMIT
    assert foldable(path) == path
