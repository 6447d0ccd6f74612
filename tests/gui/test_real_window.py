"""The real program in a real window, by keyboard and mouse: open, select, read, remap, drop, export."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckpt_viewer.resources import sample_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 60
READ_CLIPBOARD = """
from PySide6.QtWidgets import QApplication
app = QApplication([])
print(app.clipboard().text(), end="")
"""
READ_PIXELS = """
import sys
from PySide6.QtWidgets import QApplication
app = QApplication([])
image = app.primaryScreen().grabWindow(0).toImage()
print(*(image.pixelColor(int(x), 150).name() for x in sys.argv[1:]))
"""

pytestmark = [
    pytest.mark.xvfb,
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in ("Xvfb", "xdotool")), reason="needs xvfb and xdotool"
    ),
]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server of the test's own; it names its display when it is ready."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
        server.terminate()


class Desk:
    """A user with a display, a folder with a checkpoint, and the programs that run."""

    def __init__(self, folder: Path, display: str) -> None:
        self.file = Path(shutil.copy(sample_checkpoint(), folder / "model_3.pth"))
        self.environ = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX") if name in os.environ},
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
        }
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a Python program on the display."""
        started = subprocess.Popen(
            [sys.executable, *command], env=self.environ, cwd=self.file.parent, stdout=subprocess.PIPE, text=True
        )
        self.running.append(started)
        return started

    def xdotool(self, *command: str) -> str:
        """Be the user's hands."""
        done = subprocess.run(
            ["xdotool", *command], env=self.environ, capture_output=True, text=True, check=True, timeout=SECONDS
        )
        return done.stdout

    def window(self, title: str) -> str:
        """Wait for a window and give it the keyboard, since there is no window manager to do it."""
        found = self.xdotool("search", "--sync", "--onlyvisible", "--name", title).splitlines()[0]
        self.xdotool("windowfocus", "--sync", found)
        return found

    def ask(self, code: str, *arguments: str) -> str:
        """Run a few lines of Python on the display and return what they print."""
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=SECONDS).stdout

    def copied(self) -> str:
        """What is on the clipboard."""
        return self.ask(READ_CLIPBOARD)

    def copy_until(self, keys: tuple[str, ...], wanted: str) -> str:
        """Press keys until what they copy contains something; return it."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            self.xdotool("key", "--delay", "30", *keys)
            text = self.copied()
            if wanted in text:
                return text
        raise AssertionError(f"{wanted!r} was never copied; the last copy was {text!r}")

    def wait_for(self, path: Path) -> None:
        """Wait until a file is there."""
        until = time.monotonic() + SECONDS
        while not path.exists():
            assert time.monotonic() < until, f"{path.name} was never written"
            self.xdotool("getmouselocation")

    def ready(self) -> str:
        """Wait for the window of the checkpoint and its tree."""
        window = self.window("^model_3.pth")
        self.copy_until(("ctrl+shift+c",), "\tdict\t")
        return window


@pytest.fixture
def desk(tmp_path: Path, display: str) -> Iterator[Desk]:
    made = Desk(tmp_path, display)
    yield made
    for program in made.running:
        program.kill()
        program.communicate()


def quit_with_keys(desk: Desk, program: subprocess.Popen[str]) -> None:
    desk.xdotool("key", "ctrl+q")
    assert program.wait(SECONDS) == 0


def test_open_select_read_remap_export_by_keyboard(desk: Desk) -> None:
    torch = pytest.importorskip("torch")
    program = desk.start("-m", "ckpt_viewer", str(desk.file))
    desk.ready()
    desk.xdotool("key", "ctrl+f", "type", "--delay", "20", "fc.weight")
    desk.xdotool("key", "Return")
    assert desk.copy_until(("ctrl+c",), "fc.weight") == "/model/fc.weight"
    saved = torch.load(desk.file, map_location="cpu", weights_only=True)["model"]

    desk.xdotool("key", "Return")
    numbers = desk.copy_until(("Tab", "ctrl+a", "ctrl+c"), "mean")
    mean = next(float(line.split("\t")[1]) for line in numbers.splitlines() if line.startswith("mean"))
    assert mean == pytest.approx(saved["fc.weight"].double().mean().item(), rel=1e-9)

    desk.xdotool("key", "--delay", "100", "ctrl+t", "ctrl+l", "Down", "Return", "ctrl+t")
    assert "cpu" in desk.copy_until(("ctrl+shift+c",), "cpu")

    desk.xdotool("key", "ctrl+e")
    desk.window("^Export state_dict$")
    desk.xdotool("key", "Return")
    target = desk.file.with_name("model_3.state_dict.pth")
    desk.wait_for(target)
    desk.window("^model_3.pth")
    quit_with_keys(desk, program)
    written = torch.load(target, weights_only=True)
    assert list(written) == list(saved)
    assert all(torch.equal(written[name], saved[name]) for name in saved)


def drag(desk: Desk, share: float) -> subprocess.Popen[str]:
    """Drag the file from another program onto an empty window, at a share of its width; return the source."""
    source = desk.start(str(Path(__file__).with_name("drag_source.py")), str(desk.file))
    window = desk.window("^Checkpoint Viewer$")
    desk.xdotool("windowmove", "--sync", window, "150", "90", "windowsize", "--sync", window, "1000", "650")
    handle = desk.xdotool("search", "--sync", "--onlyvisible", "--name", "^drag source$").split()[0]
    desk.xdotool("windowraise", handle)
    desk.xdotool("mousemove", "50", "30", "mousedown", "1")
    for step in range(1, 11):
        desk.xdotool("mousemove", "--sync", str(50 + 15 * step), str(30 + 10 * step))
    x, other = 150 + int(1000 * share), 150 + int(1000 * (0.85 if share < 0.5 else 0.3))
    until = time.monotonic() + SECONDS
    for step in range(1000):  # a source sends a position when the last one was answered: move on until it shows
        desk.xdotool("mousemove", "--sync", str(x + step % 2), "400")
        here, there = desk.ask(READ_PIXELS, str(x), str(other)).split()
        if there == "#ffffff" and here not in ("#ffffff", "#f3f4f6"):
            break
        assert time.monotonic() < until, f"the half under the pointer was never marked: {here}, {there}"
    desk.xdotool("mouseup", "1")
    return source


def test_a_file_dropped_on_the_large_half_opens(desk: Desk) -> None:
    program = desk.start("-m", "ckpt_viewer")
    source = drag(desk, 0.3)
    desk.ready()
    assert source.stdout is not None
    assert source.stdout.readline() == "CopyAction\n"
    quit_with_keys(desk, program)
    assert [path.name for path in desk.file.parent.iterdir() if path.suffix == ".pth"] == ["model_3.pth"]


def test_a_file_dropped_on_the_other_half_is_copied_for_the_cpu(desk: Desk) -> None:
    torch = pytest.importorskip("torch")
    program = desk.start("-m", "ckpt_viewer")
    drag(desk, 0.85)
    desk.ready()
    copy = desk.file.with_name("model_3.cpu.pth")
    desk.wait_for(copy)
    quit_with_keys(desk, program)
    loaded, source = torch.load(copy, weights_only=True), torch.load(desk.file, map_location="cpu", weights_only=True)
    assert loaded["epoch"] == source["epoch"]
    assert all(torch.equal(loaded["model"][name], value) for name, value in source["model"].items())
