"""A double-click, from the file manager's call to the painted tree: the real program in a real window."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckpt_viewer.desktop.linux import FreedesktopBackend
from ckpt_viewer.resources import sample_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("Xvfb", "xdotool", "gio", "update-mime-database", "update-desktop-database")
SECONDS = 60

pytestmark = [
    pytest.mark.xvfb,
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in TOOLS),
        reason="needs xvfb, xdotool, libglib2.0-bin, shared-mime-info and desktop-file-utils",
    ),
]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server of the test's own; it names its display when it is ready."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
        server.terminate()


class Desk:
    """A user who has run `ckpt-viewer desktop install`, and a checkpoint on the desktop."""

    def __init__(self, folder: Path, display: str) -> None:
        self.file = folder / "my run.bin"
        shutil.copy(sample_checkpoint(), self.file)
        self.ended = folder / "ended"
        os.mkfifo(self.ended)
        self.environ = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
            "GIO_USE_VFS": "local",
        }
        script = folder / "bin dir" / "ckpt-viewer"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\n"{sys.executable}" -m ckpt_viewer "$@"\necho $? > "{self.ended}"\n')
        script.chmod(0o755)
        assert FreedesktopBackend(self.environ).install([str(script)]).ok

    def double_click(self, **environ: str) -> subprocess.Popen[str]:
        """Ask GLib to open the file, as a file manager does; the result waits for the program's exit code."""
        waiting = subprocess.Popen(["cat", str(self.ended)], stdout=subprocess.PIPE, text=True)
        subprocess.run(["gio", "open", str(self.file)], env={**self.environ, **environ}, check=True, timeout=SECONDS)
        return waiting

    def exit_code(self, waiting: subprocess.Popen[str]) -> str:
        with waiting:
            try:
                return waiting.communicate(timeout=SECONDS)[0].strip()
            finally:
                waiting.kill()

    def xdotool(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["xdotool", *command], env=self.environ, capture_output=True, text=True, check=False, timeout=SECONDS
        )

    def focused_window(self, name: str) -> str:
        """Give the window of that name the keyboard, as a window manager would; X refuses until it is wholly mapped."""
        end = time.monotonic() + SECONDS
        while True:
            found = self.xdotool("search", "--sync", "--onlyvisible", "--name", name)
            window = found.stdout.split()[0]
            focus = self.xdotool("windowfocus", "--sync", window)
            if focus.returncode == 0:
                return window
            assert time.monotonic() < end, f"{found.stdout!r}: {focus.stderr}"


@pytest.fixture
def desk(tmp_path: Path, display: str) -> Desk:
    return Desk(tmp_path, display)


def test_the_tree_of_the_file_is_painted(desk: Desk) -> None:
    assert desk.exit_code(desk.double_click(CKPT_VIEWER_EXIT="painted")) == "0"


def test_a_window_of_that_name_opens_and_can_be_quit(desk: Desk) -> None:
    waiting = desk.double_click()
    window = desk.focused_window("my run.bin")
    assert desk.xdotool("getwindowname", window).stdout.startswith("my run.bin")
    # to the keyboard and not to the window, which may be gone before the keys are let go
    assert desk.xdotool("key", "ctrl+q").returncode == 0
    assert desk.exit_code(waiting) == "0"
