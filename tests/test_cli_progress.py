"""Bars that appear on a terminal where opening a file takes long."""

from __future__ import annotations

import io
import json
import sys

import pytest
from builders import floats, mapped, pickled, tensor, text, zip_checkpoint

from ckpt_viewer import cli_progress
from ckpt_viewer.cli import main
from ckpt_viewer.cli_progress import Bar


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self):
        return True


def on_a_terminal(monkeypatch, patience=1.0):
    """Have standard error be a terminal; called in a test itself, since pytest puts its own there before each."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setattr(cli_progress, "REDRAW", 0)
    monkeypatch.setattr(cli_progress, "PATIENCE", patience)
    return made


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(zip_checkpoint(pickled(mapped((text("w"), tensor()))), {"0": floats(1, 2, 3, 4)}))
    return str(path)


@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["check"], ["show"]])
def test_a_file_that_opens_slowly_has_a_bar(path, monkeypatch, capsys, command):
    terminal = on_a_terminal(monkeypatch, patience=0)
    assert main([command[0], path, *command[1:], *([""] if command == ["show"] else [])]) == 0
    assert "working ..." in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    out = capsys.readouterr().out
    assert "working" not in out
    if "--json" in command:
        json.loads(out)


def test_a_file_that_opens_soon_has_none(path, monkeypatch):
    terminal = on_a_terminal(monkeypatch, patience=1e9)
    assert main(["ls", path]) == 0
    assert terminal.getvalue() == ""


def test_the_bar_goes_before_an_error_is_told(tmp_path, monkeypatch):
    terminal = on_a_terminal(monkeypatch, patience=0)
    path = tmp_path / "a.pth"
    path.write_bytes(zip_checkpoint(pickled(mapped((text("w"), tensor()))), {})[:-40])
    assert main(["ls", str(path)]) == 2
    assert terminal.getvalue().rpartition("\x1b[K")[2].startswith("ckpt-viewer: ")


def test_what_is_known_is_drawn_as_a_share(monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    bar = Bar()
    bar.step(0, 0)
    bar.step(1, 4)
    assert terminal.getvalue().endswith("[=======                       ] 25 %\x1b[K")
