"""Pictures of the window, taken by the program itself on a real display (tests/gui/test_app.py has the rest)."""

from __future__ import annotations

import subprocess
import sys

import pytest
from desktop_driver import SECONDS, environment
from PySide6.QtGui import QImage


def run(home, *words, **environ):
    """Run the program to its end and return what came of it."""
    command = [sys.executable, "-m", "ckpt_viewer", *map(str, words)]
    return subprocess.run(
        command, env={**environment(home), **environ}, cwd=home, capture_output=True, text=True, timeout=3 * SECONDS
    )


def test_a_screenshot_can_be_taken_on_a_display(home, checkpoint_file, display):
    path = home / "shot.png"
    words = ("--screenshot", path, "--size", "1000x640", "--select", "/model/fc.weight")
    done = run(home, checkpoint_file, *words, DISPLAY=display, QT_QPA_PLATFORM="xcb")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    picture = QImage(str(path))
    assert (picture.width(), picture.height()) == (1000, 640)
    colours = {picture.pixel(x, y) for x in range(0, 1000, 3) for y in range(0, 640, 3)}
    assert len(colours) > 20


@pytest.mark.parametrize(("option", "value"), [("--map-location", "gpu"), ("--size", "large")])
def test_an_option_that_cannot_be_is_a_sentence(home, checkpoint_file, option, value):
    done = run(home, checkpoint_file, "--screenshot", home / "shot.png", option, value)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("ckpt-viewer: ")
    assert value in line
    assert not (home / "shot.png").exists()
