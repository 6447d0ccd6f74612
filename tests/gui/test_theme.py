from __future__ import annotations

import pytest
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication

from ckpt_viewer.gui import theme as module
from ckpt_viewer.gui.theme import DARK, LIGHT, Theme, Themes


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_text_can_be_read_and_series_told_from_the_background(theme: Theme):
    for ground in (theme.window, theme.base, theme.raised):
        assert contrast(theme.text, ground) >= 7
        assert contrast(theme.muted, ground) >= 4.5
        assert contrast(theme.link, ground) >= 4.5
        for severity in (theme.error, theme.warning, theme.success):
            assert contrast(severity, ground) >= 4.5
    assert contrast(theme.on_accent, theme.accent) >= 4
    for series in theme.series:
        assert contrast(series, theme.base) >= 3


def test_the_series_are_those_of_the_interface():
    assert LIGHT.series == ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    assert DARK.series == ("#56B4E9", "#E69F00", "#009E73", "#CC79A7")
    assert LIGHT.heat_map == DARK.heat_map == "CET-CBD1"


def test_choosing_changes_the_palette_and_says_so_once(qtbot, qapp):
    themes = Themes()
    themes.start("light")
    assert QApplication.palette().color(QPalette.ColorRole.Base).name() == LIGHT.base
    with qtbot.waitSignal(themes.changed) as got:
        themes.choose("dark")
    assert got.args == [DARK]
    assert QApplication.palette().color(QPalette.ColorRole.Base).name() == DARK.base
    with qtbot.assertNotEmitted(themes.changed):
        themes.choose("dark")
    themes.choose("light")


def test_an_unknown_choice_is_refused(qapp):
    with pytest.raises(ValueError, match="no such theme: 'pink'"):
        Themes().choose("pink")


def test_there_is_one_theme_for_the_process(qapp):
    assert module.themes() is module.themes()
    assert module.theme() in (LIGHT, DARK)
