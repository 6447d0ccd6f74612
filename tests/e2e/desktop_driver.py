"""An X server of the tests' own, programs in it, and a hand for mouse and keyboard (xdotool).

No window manager runs, so the one who drives does what one would: it gives a window the keyboard.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TOOLS = {"Xvfb": "xvfb", "xdotool": "xdotool"}
"""Program -> the Debian package that has it."""
SIZE = (1500, 900)
SECONDS = 60
"""How long anything may take; a machine that runs tests is a busy one."""
LOOK_EVERY = 0.01
T = TypeVar("T")


def missing_tools() -> str:
    """Return the Debian packages without which no window can be driven; ``""`` if all are there."""
    return " and ".join(package for tool, package in TOOLS.items() if shutil.which(tool) is None)


@contextmanager
def x_server() -> Iterator[str]:
    """Run an X server and yield its display, once it answers."""
    reading, writing = os.pipe()
    screen = f"{SIZE[0]}x{SIZE[1]}x24"
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", screen, "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        try:
            with os.fdopen(reading) as pipe:
                number = pipe.readline().strip()
            assert number, "Xvfb did not start"
            yield f":{number}"
        finally:
            server.terminate()


def environment(home: Path, display: str = "") -> dict[str, str]:
    """Return what a user's session would set, everything below a home of its own; no display where none is named."""
    environ = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    for name in ("config", "data", "cache", "runtime"):
        folder = home / f".{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        environ["XDG_RUNTIME_DIR" if name == "runtime" else f"XDG_{name.upper()}_HOME"] = str(folder)
    return {**environ, "DISPLAY": display} if display else environ


class Watched:
    """A program that answers questions about its windows; see watched.py."""

    def __init__(self, environ: dict[str, str], errors: Path, *words: str) -> None:
        self.environ, self.errors = environ, errors
        ours, theirs = socket.socketpair()
        ours.settimeout(SECONDS)
        command = [sys.executable, str(HERE / "watched.py"), str(theirs.fileno()), *words]
        with theirs, errors.open("wb") as told:
            self.process = subprocess.Popen(
                command, env=environ, cwd=environ["HOME"], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=told,
            )  # fmt: skip
        self._socket, self._lines = ours, ours.makefile("rw")
        assert self._read() == "ready"

    def ask(self, name: str, *arguments: Any) -> Any:
        """Ask one question; it is answered between two events of the program."""
        print(json.dumps([name, *arguments]), file=self._lines, flush=True)
        reply = self._read()
        assert "error" not in reply, f"{name}{arguments}: {reply['error']}"
        return reply["answer"]

    def _read(self) -> Any:
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise AssertionError(f"the program did not answer within {SECONDS} s") from None
        if not line:
            code = self.process.wait(SECONDS)
            raise AssertionError(f"the program ended with code {code}: {self.told()}")
        return json.loads(line)

    def told(self) -> str:
        """Return what it has written to standard error, or the beginning of that."""
        return self.errors.read_text(errors="replace")[:2000]

    def wait(self, look: Callable[[], T], what: str, fits: Callable[[T], object] = bool) -> T:
        """Look again and again until what is seen fits, and return that.

        Raises:
            AssertionError: `what` was not to be seen in time; says what was seen last.
        """
        end = time.monotonic() + SECONDS
        while not fits(seen := look()):
            assert time.monotonic() < end, f"not within {SECONDS} s: {what}; last seen: {seen!r}"
            time.sleep(LOOK_EVERY)
        return seen

    def becomes(self, look: Callable[[], T], expected: T) -> None:
        """Wait until what is seen is what was expected."""
        self.wait(look, repr(expected), lambda seen: seen == expected)

    def close(self) -> None:
        """End it, whatever it does."""
        self._lines.close()
        self._socket.close()
        self.process.kill()
        self.process.wait()


class Hand:
    """Mouse and keyboard of a display."""

    def __init__(self, display: str) -> None:
        self._environ = {"DISPLAY": display, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def do(self, *words: object) -> None:
        """Run an xdotool command, or a chain of them."""
        command = ["xdotool", *map(str, words)]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

    def move(self, x: int, y: int) -> None:
        """Put the pointer there."""
        self.do("mousemove", x, y)

    def click_place(self, place: list[int]) -> None:
        """Click into the middle of a place: left, top, width, height."""
        left, top, width, height = place
        self.do("mousemove", left + width // 2, top + height // 2, "click", 1)

    def keys(self, *keys: str) -> None:
        """Press keys one after another, spelled as X does: ``ctrl+f``, ``Down``."""
        self.do("key", "--delay", 12, *keys)

    def type(self, text: str) -> None:
        """Type a text."""
        self.do("type", "--delay", 12, "--", text)
