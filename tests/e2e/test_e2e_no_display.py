"""The program where there is no display, and where one is not needed: exit codes, sentences, pictures."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from desktop_driver import SECONDS, environment
from PySide6.QtGui import QImage

ROOT_AND_TREE = (1280, 800)
PAINTED_MODULES = """
import os, sys
def end(code):
    print(*sorted({"torch", "numpy", "pyqtgraph"} & set(sys.modules)), "then", code, flush=True)
    leave(code)
leave, os._exit = os._exit, end
from ckpt_viewer.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(home, *words, code="", **environ):
    """Run the program, or some code in its place, and return what came of it."""
    command = [sys.executable, *(("-c", code) if code else ("-m", "ckpt_viewer")), *map(str, words)]
    whole = {**environment(home), **environ}
    return subprocess.run(
        command, env=whole, cwd=home, capture_output=True, text=True, timeout=3 * SECONDS, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize(
    "environ",
    [{}, {"DISPLAY": ":4999"}, {"DISPLAY": "nonsense"}, {"WAYLAND_DISPLAY": "wayland-9"}, {"QT_QPA_PLATFORM": "xcb"}],
    ids=lambda environ: ",".join(environ) or "none",
)
def test_without_a_display_it_says_so_in_one_sentence(home, checkpoint_file, environ):
    done = run(home, checkpoint_file, **environ)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("ckpt-viewer: ")
    assert "there is no display" in line
    assert "--screenshot" in line


def test_offscreen_paints_when_it_is_asked_for(home, checkpoint_file):
    done = run(home, checkpoint_file, QT_QPA_PLATFORM="offscreen", CKPT_VIEWER_EXIT="painted")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_painted_tree_has_imported_nothing_heavy(home, checkpoint_file):
    done = run(home, checkpoint_file, code=PAINTED_MODULES, QT_QPA_PLATFORM="offscreen", CKPT_VIEWER_EXIT="painted")
    assert (done.returncode, done.stdout, done.stderr) == (0, "then 0\n", "")


def test_a_file_that_fails_has_an_exit_code_where_a_paint_was_asked_for(home):
    file = home / "notes.pth"
    file.write_text("just some notes")
    done = run(home, file, QT_QPA_PLATFORM="offscreen", CKPT_VIEWER_EXIT="painted")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"ckpt-viewer: {file}: ")


def looks_like_a_window(path, size):
    """Whether a PNG has a size and more than a blank page on it."""
    picture = QImage(str(path))
    colours = {picture.pixel(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)}
    return (picture.width(), picture.height()) == size and len(colours) > 20


def test_a_screenshot_needs_no_display(home, checkpoint_file):
    picture = home / "shot.png"
    select = ("--select", "/model/fc.weight", "--size", "1000x640")
    done = run(home, checkpoint_file, "--screenshot", picture, *select)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert looks_like_a_window(picture, (1000, 640))


def test_a_screenshot_can_be_taken_on_a_display(home, checkpoint_file, display):
    picture = home / "shot.png"
    words = ("--screenshot", picture, "--size", "1280x800")
    done = run(home, checkpoint_file, *words, DISPLAY=display, QT_QPA_PLATFORM="xcb")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert looks_like_a_window(picture, (1280, 800))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--select", "/nowhere"), "there is nothing at '/nowhere'"),
        (("--map-location", "gpu"), "gpu"),
        (("--size", "large"), "--size"),
    ],
)
def test_a_screenshot_that_cannot_be_is_a_sentence(home, checkpoint_file, words, sentence):
    done = run(home, checkpoint_file, "--screenshot", home / "shot.png", *words)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert sentence in line
    assert not (home / "shot.png").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_picture_that_cannot_be_written_is_a_sentence(home, checkpoint_file):
    locked = home / "locked"
    locked.mkdir(mode=0o500)
    done = run(home, checkpoint_file, "--screenshot", locked / "shot.png")
    assert done.returncode == 2
    assert "could not be written" in done.stderr
