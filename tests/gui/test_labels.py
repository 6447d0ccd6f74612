"""Fonts of pieces of text, beside whatever font the system has."""

from PySide6.QtGui import QFont, QFontInfo
from PySide6.QtWidgets import QLabel

from ckpt_viewer.gui.labels import NAME_LIMIT, foldable, larger, monospaced


def label_in(qtbot, font):
    made = QLabel("text")
    qtbot.addWidget(made)
    made.setFont(font)
    return made


def test_a_heading_is_larger_in_points_and_in_pixels(qtbot):
    points, pixels = QFont(), QFont()
    points.setPointSizeF(9)
    pixels.setPixelSize(12)
    first, second = label_in(qtbot, points), label_in(qtbot, pixels)
    larger(first, 1.5, bold=True)
    larger(second, 1.5, bold=True)
    assert (first.font().pointSizeF(), first.font().bold()) == (13.5, True)
    assert (second.font().pixelSize(), second.font().bold()) == (18, True)


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
