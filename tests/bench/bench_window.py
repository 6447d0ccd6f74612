"""How soon a window with the tree painted stands there, against an empty PySide6 window in the same run.

    python tests/bench/bench_window.py [--big FILE] [--times N] [--platforms offscreen xcb]

Both begin as a new process and end themselves at their first paint; ours at the tree's (CKPT_VIEWER_EXIT=painted). The
target is at most twice the CPU time of the empty window; wall time includes the X server's work. Without --big a resume
checkpoint of 40 MB is made by torch: the time does not depend on the size. xcb runs in an Xvfb of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "e2e"))

from bench_ls import make_resume
from common import compare, python
from desktop_driver import x_server

EMPTY = """
import os
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow

class Window(QMainWindow):
    def paintEvent(self, event):
        QTimer.singleShot(0, lambda: os._exit(0))

application = QApplication(["empty"])
window = Window()
window.resize(1180, 760)
window.show()
application.exec()
"""
OURS = "import sys; from ckpt_viewer.cli import main; sys.exit(main())"
"""What pip's script does."""


@contextmanager
def platform(name: str, home: str) -> Iterator[dict[str, str]]:
    """Yield the environment of a user who has nothing set up, on one of Qt's platforms."""
    folders = {f"XDG_{word}_HOME": f"{home}/{word}" for word in ("CONFIG", "DATA", "CACHE")}
    with ExitStack() as stack:
        display = stack.enter_context(x_server()) if name == "xcb" else ""
        yield {"QT_QPA_PLATFORM": name, "DISPLAY": display, "HOME": home, "CKPT_VIEWER_EXIT": "painted", **folders}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--big", type=Path, metavar="FILE")
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--platforms", nargs="+", choices=("offscreen", "xcb"), default=["offscreen", "xcb"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.big or make_resume(Path(folder))[0]
        commands = {"empty window": python(EMPTY), "ckpt-viewer FILE": python(OURS, str(file))}
        for name in options.platforms:
            with platform(name, folder) as environ:
                figures = compare(commands, options.times, environ)
            print(f"\n{file.name}, {file.stat().st_size / 1e6:.0f} MB, {name}   (target: at most 2 times the CPU time)")
            for title, each in figures.items():
                print(f"  {title:18} {each}")
            ours, empty = figures["ckpt-viewer FILE"], figures["empty window"]
            print(f"  {ours.cpu / empty.cpu:.2f} times the CPU time of an empty window")
    return 0


if __name__ == "__main__":
    sys.exit(main())
