from __future__ import annotations

from PySide6.QtCore import QByteArray

from ckpt_viewer.gui.settings import RECENT_LIMIT, Settings


def test_recent_files_are_newest_first_without_repeats(own_settings, tmp_path):
    settings = Settings()
    assert settings.recent == []
    settings.add_recent(str(tmp_path / "a.pth"))
    assert Settings().recent == [str(tmp_path / "a.pth")]
    settings.add_recent(str(tmp_path / "b.pth"))
    settings.add_recent(str(tmp_path / "a.pth"))
    settings.save()
    assert Settings().recent == [str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]
    settings.forget_recent()
    assert Settings().recent == []


def test_only_so_many_are_remembered(own_settings):
    settings = Settings()
    for number in range(30):
        settings.add_recent(f"/x/{number}.pth")
    assert len(settings.recent) == RECENT_LIMIT
    assert settings.recent[0] == "/x/29.pth"


def test_names_with_commas_quotes_and_percents_come_back(own_settings):
    odd = '/x/a,b";%20 \u00e4\u4e2d=.pth'
    settings = Settings()
    settings.add_recent(odd)
    settings.save()
    assert Settings().recent == [odd]


def test_a_name_that_is_no_text_is_not_remembered(own_settings):
    settings = Settings()
    settings.add_recent("/x/\udcff.pth")
    assert settings.recent == []


def test_bytes_and_texts_come_back(own_settings):
    settings = Settings()
    settings.set("window/geometry", QByteArray(b"\0\1\2"))
    settings.set("theme", "dark")
    settings.save()
    assert Settings().bytes("window/geometry") == QByteArray(b"\0\1\2")
    assert Settings().text("theme") == "dark"
    assert Settings().text("nothing", "x") == "x"
    assert Settings().bytes("theme").isEmpty()


def test_they_are_kept_where_the_test_says(own_settings):
    settings = Settings()
    settings.set("theme", "dark")
    settings.save()
    assert [path.suffix for path in own_settings.rglob("*") if path.is_file()] == [".ini"]
