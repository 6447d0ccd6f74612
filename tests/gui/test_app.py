"""The program as a process: displays, screenshots, how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

from ckpt_viewer.resources import sample_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
IMPORTED = """
import sys
from ckpt_viewer.gui import windows
from ckpt_viewer.gui.app import ViewOptions, run
import os
def leave(code):
    print("\\n".join(sorted(sys.modules)))
    sys.stdout.flush()
    usual(code)
usual, os._exit = os._exit, leave
run([sys.argv[1]], ViewOptions())
"""

SAYS_WHEN_PAINTED = """
import sys
from ckpt_viewer.gui import windows
from ckpt_viewer.gui.app import ViewOptions, run
usual = windows.Windows.on_painted
def painted(self, window):
    usual(self, window)
    print("painted", flush=True)
windows.Windows.on_painted = painted
sys.exit(run([sys.argv[1]], ViewOptions()))
"""

STILL_SHOWN = """
import sys
from ckpt_viewer.gui.app import ViewOptions, run
run([sys.argv[1]], ViewOptions(screenshot=sys.argv[2]))
from PySide6.QtWidgets import QApplication
print([type(each).__name__ for each in QApplication.topLevelWidgets() if each.isVisible()])
"""


@pytest.fixture
def sample(tmp_path):
    return Path(shutil.copy(sample_checkpoint(), tmp_path / "model_3.pth"))


def viewer(folder, *arguments, code=None, **environ):
    """Run the program in a process of its own and return what it did."""
    base = {name: os.environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX", "LD_LIBRARY_PATH") if name in os.environ}
    start = ["-m", "ckpt_viewer"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        env={**base, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), **environ},
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there always is a display")
@pytest.mark.parametrize("environ", [{}, {"DISPLAY": ":4711"}, {"QT_QPA_PLATFORM": "xcb"}, {"WAYLAND_DISPLAY": "no"}])
def test_without_a_display_it_says_so_in_one_sentence(tmp_path, sample, environ):
    done = viewer(tmp_path, sample, **environ)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"ckpt-viewer: {sample}: there is no display to open a window on (")
    assert "--screenshot PNG" in done.stderr


def test_where_qt_would_abort_it_says_so_in_one_sentence(tmp_path):
    code = """
from ckpt_viewer.gui.application import make_application
made = make_application()
from PySide6.QtCore import qFatal
qFatal("PySide has words of its own instead")
"""
    done = viewer(tmp_path, code=code, QT_QPA_PLATFORM="offscreen")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ckpt-viewer: Qt cannot go on (")
    assert len(done.stderr.splitlines()) == 1


def test_off_screen_is_taken_when_it_is_asked_for(tmp_path, sample):
    done = viewer(tmp_path, sample, QT_QPA_PLATFORM="offscreen", CKPT_VIEWER_EXIT="painted")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_screenshot_needs_no_display(tmp_path, sample):
    picture = tmp_path / "shot.png"
    done = viewer(tmp_path, sample, "--screenshot", picture, "--size", "900x600")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert (width, height) == (900, 600)
    image = QImage(str(picture))
    colours = {image.pixelColor(x, y).name() for x in range(0, 900, 5) for y in range(0, 600, 5)}
    assert len(colours) > 10


def test_a_screenshot_of_a_selected_tensor_waits_for_its_histogram(tmp_path, sample):
    picture = tmp_path / "shot.png"
    done = viewer(tmp_path, sample, "--screenshot", picture, "--select", "/model/fc.weight", "--map-location", "cpu")
    assert (done.returncode, done.stderr) == (0, "")
    image = QImage(str(picture))
    blue = [
        (x, y)
        for x in range(image.width() // 2, image.width(), 3)
        for y in range(0, image.height(), 3)
        if image.pixelColor(x, y).name().lower() == "#0072b2"
    ]
    assert len(blue) > 50


def test_no_window_is_left_to_the_end_of_the_interpreter(tmp_path, sample):
    """It would be hidden there, among models that are half gone: a segmentation fault in half of the runs."""
    done = viewer(tmp_path, sample, tmp_path / "shot.png", code=STILL_SHOWN, QT_QPA_PLATFORM="offscreen")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere every name of a file is text")
def test_a_screenshot_gets_the_very_name_that_was_asked_for(tmp_path, sample):
    picture = tmp_path / os.fsdecode(b"shot\xff.png")
    done = viewer(tmp_path, sample, "--screenshot", picture)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--screenshot", "shot.png", "--select", "/nowhere"], "there is nothing at '/nowhere'; "),
        (
            ["--screenshot", "no/such/folder/shot.png"],
            "the picture could not be written to 'no/such/folder/shot.png': there is no folder 'no/such/folder'; ",
        ),
    ],
)
def test_a_screenshot_that_cannot_be_made_is_a_sentence(tmp_path, sample, arguments, sentence):
    done = viewer(tmp_path, sample, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ckpt-viewer: {sample}: {sentence}")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.glob("*.png")] == []


def test_a_screenshot_never_takes_the_place_of_the_file_that_is_shown(tmp_path, sample):
    before, link = sample.read_bytes(), tmp_path / "shot.png"
    link.symlink_to(sample)
    for picture in (sample, link):
        done = viewer(tmp_path, sample, "--screenshot", picture)
        assert done.returncode == 2
        assert "the target is the very file that is read; choose another name" in done.stderr
        assert sample.read_bytes() == before


@pytest.mark.parametrize("environ", [{"CKPT_VIEWER_EXIT": "painted"}, {}])
def test_a_file_that_cannot_be_opened_is_a_sentence(tmp_path, environ):
    notes = tmp_path / "notes.pth"
    notes.write_text("hello")
    more = [] if environ else ["--screenshot", tmp_path / "shot.png"]
    done = viewer(tmp_path, notes, *more, QT_QPA_PLATFORM="offscreen", **environ)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ckpt-viewer: {notes}: ")
    assert len(done.stderr.splitlines()) == 1


def test_nothing_heavy_is_imported_on_the_way_to_a_painted_tree(tmp_path, sample):
    done = viewer(tmp_path, sample, code=IMPORTED, QT_QPA_PLATFORM="offscreen", CKPT_VIEWER_EXIT="painted")
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert "ckpt_viewer.gui.main_window" in modules
    heavy = {
        "numpy", "torch", "pyqtgraph", "dataclasses", "json", "email", "html", "PySide6.QtSvg", "PySide6.QtNetwork",
        "ckpt_viewer.export.plan", "ckpt_viewer.gui.panels", "ckpt_viewer.gui.asking", "ckpt_viewer.gui.export_flow",
        "ckpt_viewer.worker", "ckpt_viewer.stats",
    }  # fmt: skip
    assert modules & heavy == set()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_in_the_terminal_ends_the_window(tmp_path, sample, number, code):
    environ = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", SAYS_WHEN_PAINTED, str(sample)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "painted\n"
        program.send_signal(number)
        _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (code, "")
