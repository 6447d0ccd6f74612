"""The desktop entry's text: escaping, and that GLib and desktop-file-validate read it as meant."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ckpt_viewer.desktop.entry import desktop_entry, escape_string, exec_argument, unescape_string
from ckpt_viewer.errors import DesktopError


def exec_line(entry: str) -> str:
    return next(line for line in entry.splitlines() if line.startswith("Exec="))


def test_a_plain_path_is_not_quoted() -> None:
    assert exec_line(desktop_entry(["/opt/a-b_c.d/bin/ckpt-viewer"])) == "Exec=/opt/a-b_c.d/bin/ckpt-viewer view -- %F"


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        ("/a b/c", '"/a b/c"'),
        ("/a$b", '"/a\\\\$b"'),
        ('/a"b', '"/a\\\\"b"'),
        ("/a`b", '"/a\\\\`b"'),
        ("/a\\b", '"/a\\\\\\\\b"'),
        ("/50%/x", "/50%%/x"),
        ("/a'b", '"/a\'b"'),
        ("/ä/x", "/ä/x"),
        ("", '""'),
    ],
)
def test_arguments_are_quoted_where_they_must_be(argument: str, written: str) -> None:
    assert exec_argument(argument) == written


def test_more_arguments_follow_the_program() -> None:
    assert exec_line(desktop_entry(["/usr/bin/python3", "-m", "ckpt_viewer"])) == (
        "Exec=/usr/bin/python3 -m ckpt_viewer view -- %F"
    )


def test_a_program_with_a_percent_sign_is_not_the_first_word() -> None:
    assert exec_line(desktop_entry(["/50%/ckpt-viewer"])) == "Exec=env /50%%/ckpt-viewer view -- %F"


@pytest.mark.parametrize("text", ["/plain", "/a\\b", "/a\\nb", "tab\tnew\nline", "end\\"])
def test_string_escapes_come_back(text: str) -> None:
    assert "\n" not in escape_string(text)
    assert unescape_string(escape_string(text)) == text


@pytest.mark.parametrize("program", ["/a=b/ckpt-viewer", "/a\nb/ckpt-viewer", "/a\x1bb/ckpt-viewer"])
def test_a_path_that_an_entry_cannot_name_is_refused(program: str) -> None:
    with pytest.raises(DesktopError, match=r"^a desktop entry cannot name the program .*; install it in .*"):
        desktop_entry([program])


@pytest.mark.skipif(shutil.which("desktop-file-validate") is None, reason="needs desktop-file-utils")
@pytest.mark.parametrize("program", ["/opt/bin/ckpt-viewer", "/opt/a b/$x/ckpt-viewer", "/opt/50%/ckpt-viewer"])
def test_desktop_file_validate_accepts_it(tmp_path: Path, program: str) -> None:
    file = tmp_path / "ckpt-viewer.desktop"
    file.write_text(desktop_entry([program]))
    done = subprocess.run(["desktop-file-validate", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
