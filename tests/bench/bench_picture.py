"""How soon after a click on a tensor its histogram is painted, in the real window: a sample of a large one.

    python tests/bench/bench_picture.py [--file FILE] [--times N] [--platforms offscreen xcb]

Each run is a new process: once its window has nothing left to do, rows of the tree are clicked with the mouse, and the
time goes on until the widget of the histogram has been painted with a picture. Each kind of tensor is clicked first in
a process of its own, when the panel and the plot have not been used yet, and then the others, one after the other. The
target is 50 ms for a tensor of any size. Beside the time stand the CPU time of the process (all threads) and of the
GUI thread alone: on a busy machine the first is other programs' doing. Without --file one of 1.2 GB is made by torch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "e2e")]

TARGET_MS = 50
KINDS = ("small", "large", "strided", "bfloat16", "quantised")
POLL_MS = 5


class Took(NamedTuple):
    """Milliseconds from a click to a painted picture: on the clock, of all threads, of the GUI thread."""

    wall: float
    process: float
    gui: float

    @classmethod
    def now(cls) -> Took:
        """Read the clocks; on the GUI thread."""
        return cls(1000 * time.perf_counter(), 1000 * time.process_time(), 1000 * time.thread_time())

    def since(self, earlier: Took) -> Took:
        """Return what went by."""
        return Took(*(now - then for now, then in zip(self, earlier, strict=True)))


class Clicker:
    """Clicks rows of the only window, one after the other, each once nothing is left to do; ends the program."""

    def __init__(self, windows: Any, names: list[str]) -> None:
        from PySide6.QtCore import QTimer

        self.found: dict[str, Took] = {}
        self._windows, self._names = windows, iter(names)
        self._name, self._start, self._watched = "", Took(0, 0, 0), False
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(POLL_MS)

    @property
    def _is_calm(self) -> bool:
        window = self._windows.all[0]
        details, session = window.details, window.session
        ready = self._windows.panels_are_ready and not self._windows.background.active
        shown = details is not None and details.is_prepared and details.is_settled
        return bool(ready and session.overview is not None and shown and not session.jobs.active)

    def _look(self) -> None:
        if self._name or not self._is_calm:
            return
        self._name = next(self._names, "")
        if self._name:
            self._click()
        else:
            self._timer.stop()
            self._windows.all[0].close()

    def _click(self) -> None:
        from PySide6.QtCore import Qt
        from PySide6.QtTest import QTest

        from ckpt_viewer.gui.panels import plot

        if not self._watched:
            self._watched = True
            self._watch(plot.HistogramPlot)
        view, index = self._windows.all[0].tree.view, self._windows.all[0].session.index
        place = view.visualRect(view.tree_model.index_of(index.find("/" + self._name))).center()
        self._start = Took.now()
        QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

    def _watch(self, plot: type[Any]) -> None:
        """Have the first paint after each new picture end the time."""
        from PySide6.QtCore import QEvent, QObject, QTimer

        clicker, usual = self, plot.show_picture

        class Eye(QObject):
            def eventFilter(self, watched: QObject, event: QEvent) -> bool:
                if event.type() == QEvent.Type.Paint:
                    watched.removeEventFilter(self)
                    QTimer.singleShot(0, clicker._painted)
                return False

        eye = self._eye = Eye()

        def show_picture(shown: Any, picture: Any) -> None:
            usual(shown, picture)
            if clicker._name and clicker._name not in clicker.found:
                shown.widget.viewport().installEventFilter(eye)

        plot.show_picture = show_picture

    def _painted(self) -> None:
        if self._name and self._name not in self.found:
            self.found[self._name] = Took.now().since(self._start)
            self._name = ""


def run_child(file: str, names: list[str]) -> int:
    """Be the program, with a hand; print what was found as JSON."""
    from ckpt_viewer.gui import app, windows

    clickers: list[Clicker] = []
    usual = windows.Windows.on_painted

    def on_painted(self: Any, window: Any) -> None:
        usual(self, window)
        if not clickers:
            clickers.append(Clicker(self, names))

    windows.Windows.on_painted = on_painted  # type: ignore[method-assign]
    code = app.run([file], app.ViewOptions(map_location="cpu"))
    print(json.dumps(clickers[0].found))
    return code


def make_file(folder: Path) -> Path:
    """Write a tensor of each kind."""
    import torch

    target = folder / "kinds.pth"
    base = torch.randn(100_000_000)
    kinds = {
        "small": torch.randn(64, 64), "large": base, "strided": base[: 5000 * 20_000].clone().view(5000, 20_000).t(),
        "bfloat16": base.bfloat16(), "quantised": torch.quantize_per_tensor(base[:50_000_000], 0.05, 3, torch.qint8),
    }  # fmt: skip
    torch.save(kinds, target)
    return target


def measure(file: Path, first: str, platform: str) -> dict[str, Took]:
    """Click all kinds in a new process, `first` first."""
    from bench_window import platform as home

    with tempfile.TemporaryDirectory() as folder, home(platform, folder) as environ:
        environ.pop("CKPT_VIEWER_EXIT")
        names = [first, *(name for name in KINDS if name != first)]
        command = [sys.executable, __file__, "--child", str(file), *names]
        done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
    return {name: Took(*took) for name, took in json.loads(done.stdout).items()}


def show(title: str, took: list[Took]) -> None:
    """Print a line."""
    wall, process, gui = (statistics.median(each) for each in zip(*took, strict=True))
    worst = max(each.wall for each in took)
    print(f"  {title:22} {wall:6.0f} ms (worst {worst:4.0f}), CPU {process:5.0f} ms, of the GUI thread {gui:5.0f} ms")


def main() -> int:
    """Measure and print."""
    if sys.argv[1:2] == ["--child"]:
        return run_child(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, metavar="FILE", help="with tensors " + ", ".join(KINDS))
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--platforms", nargs="+", choices=("offscreen", "xcb"), default=["offscreen", "xcb"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or make_file(Path(folder))
        for platform in options.platforms:
            first: dict[str, list[Took]] = {name: [] for name in KINDS}
            later: dict[str, list[Took]] = {name: [] for name in KINDS}
            for _ in range(options.times):
                for name in KINDS:
                    for kind, took in measure(file, name, platform).items():
                        (first if kind == name else later)[kind].append(took)
            print(f"\nfrom the click to the painted picture, {platform}   (target: {TARGET_MS} ms)")
            for kind in KINDS:
                show(f"{kind}, the first one", first[kind])
            for kind in KINDS:
                show(f"{kind}, later", later[kind])
    return 0


if __name__ == "__main__":
    sys.exit(main())
