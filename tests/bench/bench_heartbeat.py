"""For how long the GUI thread of the real program stands still, at most, while work goes on beside it.

    python tests/bench/bench_heartbeat.py [--many FILE] [--tensor FILE] [--times N] [--platform offscreen|xcb]

A timer of 10 ms on the GUI thread notes how late it comes: 100,000 tensors load while the tree of another window
scrolls, are scanned while their own tree scrolls, it scrolls alone and is filtered letter by letter, a tensor of 400 MB
is counted, a file of 1 GB is scanned, and the state_dict of the 100,000 is written and read back. For each, the largest
gap of a run; medians over the runs. The target is 50 ms. Files that are not given are made by torch.

A gap is what the GUI thread computed, plus what it waited for its timer or the GIL (our threads' doing), plus what it
waited for a processor: that is other programs' doing where more of them run than there are processors, so the second
figure leaves it out.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "e2e")]

BEAT_MS = 10
TARGET_MS = 50
QUERY = "layer.77 weight"
SCROLLS = 300


class Phase(NamedTuple):
    """What is measured: something to begin, something to do with each beat, and whether it is over."""

    title: str
    begin: Callable[[], object]
    beat: Callable[[], object]
    is_over: Callable[[], object]


class Clock(NamedTuple):
    """Milliseconds of the GUI thread: since the start, computing, and waiting for a processor (Linux only)."""

    wall: float
    busy: float
    queued: float

    @classmethod
    def now(cls) -> Clock:
        """Read it; on the GUI thread."""
        schedule = Path("/proc/thread-self/schedstat")
        queued = int(schedule.read_text().split()[1]) / 1e6 if schedule.exists() else 0.0
        return cls(1000 * time.perf_counter(), 1000 * time.thread_time(), queued)

    def since(self, earlier: Clock) -> tuple[float, float, float]:
        """Return the gap, the gap without waiting for a processor, and what of that was computing."""
        gap, queued = self.wall - earlier.wall, self.queued - earlier.queued
        return gap, gap - queued, self.busy - earlier.busy


class Heart:
    """Beats on the GUI thread and goes through the phases; ends the event loop after the last."""

    def __init__(self, phases: Iterator[Phase]) -> None:
        from PySide6.QtCore import QCoreApplication, Qt, QTimer

        self.found: dict[str, list[float]] = {}
        self._phases, self._phase = phases, next(phases)
        self._phase.begin()
        self._quit = QCoreApplication.quit
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._last = Clock.now()
        self._timer.start(BEAT_MS)

    def _beat(self) -> None:
        now, title = Clock.now(), self._phase.title
        seen, worst = now.since(self._last), self.found.setdefault(title, [0.0, 0.0, 0.0])
        worst[0] = max(worst[0], seen[0])
        worst[1:] = max(worst[1:], list(seen[1:]))
        self._last = now
        if not self._phase.is_over():
            self._phase.beat()
            return
        phase = next(self._phases, None)
        if phase is None:
            self._timer.stop()
            self._quit()
        else:
            self._phase = phase
            phase.begin()


def phases(windows: Any, many: str, tensor: str, giant: str, out: str) -> Iterator[Phase]:
    """Yield what is measured, one after the other; the window of the sample is open."""

    def window(number: int) -> Any:
        return windows.all[number] if len(windows.all) > number else None

    def settled(number: int) -> bool:
        shown = window(number)
        calm = shown is not None and shown.session.overview is not None and shown.details is not None
        return bool(calm and shown.details.is_settled and not shown.session.jobs.active)

    def loaded(number: int) -> bool:
        shown = window(number)
        calm = shown is not None and shown.session.overview is not None and shown.details is not None
        return bool(calm and shown.details.panel is not None and shown.details.is_settled)

    def scanned(number: int) -> bool:
        return window(number).session.scan.state.name == "DONE"

    def scroll(number: int) -> None:
        bar = window(number).tree.view.verticalScrollBar()
        bar.setValue((bar.value() + 60) % max(1, bar.maximum()))

    yield Phase("", lambda: None, lambda: None, lambda: settled(0))
    window(0).tree.view.expand_subtree()
    title = "100,000 tensors load, another tree scrolls"
    yield Phase(title, lambda: windows.open([many]), lambda: scroll(0), lambda: loaded(1))
    window(1).tree.view.expand_subtree()
    scan = window(1).session.scan
    yield Phase("they are scanned, their tree scrolls", scan.start, lambda: scroll(1), lambda: scanned(1))
    left = iter(range(SCROLLS))
    yield Phase("the tree of 100,000 scrolls", window(1).tree.view.expand_subtree, lambda: scroll(1),
                lambda: next(left, None) is None)  # fmt: skip
    texts = iter([*(QUERY[: end + 1] for end in range(len(QUERY))), *(QUERY[:end] for end in range(len(QUERY))[::-1])])
    typed = [""]

    def write_letter() -> None:
        typed[0] = next(texts, "over")
        if typed[0] != "over":
            window(1).tree.filter.setText(typed[0])

    yield Phase("the filter is typed and taken back", lambda: None, write_letter, lambda: typed[0] == "over")
    title = "a tensor of 400 MB is counted"
    yield Phase(title, lambda: windows.open([tensor]), lambda: scroll(1), lambda: settled(2))
    yield Phase("", lambda: windows.open([giant]), lambda: None, lambda: loaded(3))
    window(3).tree.view.expand_subtree()
    title = "1 GB in 1,000 tensors is scanned, its tree scrolls"
    yield Phase(title, window(3).session.scan.start, lambda: scroll(3), lambda: scanned(3))
    flow = window(1).export_flow
    done = lambda: not flow.writing and Path(out).exists()  # noqa: E731
    yield Phase("100,000 tensors are exported", flow.export_state_dict, lambda: scroll(1), done)


def run_child(many: str, tensor: str, giant: str, out: str) -> int:
    """Be the program, with a heart; print what was found as JSON."""
    from ckpt_viewer.gui import app, asking, windows
    from ckpt_viewer.resources import sample_checkpoint

    asking.ask_target = lambda *_: out
    hearts: list[Heart] = []
    usual = windows.Windows.on_painted

    def on_painted(self: Any, window: Any) -> None:
        usual(self, window)
        if not hearts:
            hearts.append(Heart(phases(self, many, tensor, giant, out)))

    windows.Windows.on_painted = on_painted  # type: ignore[method-assign]
    code = app.run([str(sample_checkpoint())], app.ViewOptions(map_location="cpu"))
    print(json.dumps(hearts[0].found))
    return code


def make_tensor(folder: Path) -> Path:
    """Write a tensor of 400 MB."""
    import torch

    target = folder / "tensor.pth"
    torch.save(torch.randn(100_000_000), target)
    return target


def make_giant(folder: Path, tensors: int = 1000) -> Path:
    """Write 1 GB and a little more, so that no scan begins by itself: sparse, float32 zeros, a safetensors file."""
    target, nbytes = folder / "giant.safetensors", 1_000_448
    header = {
        f"layers.{n}.{'weight' if n % 2 else 'bias'}": {
            "dtype": "F32", "shape": [nbytes // 4], "data_offsets": [n * nbytes, (n + 1) * nbytes],
        }
        for n in range(tensors)
    }  # fmt: skip
    text = json.dumps(header).encode()
    with target.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + tensors * nbytes)
    return target


def measure(many: Path, tensor: Path, giant: Path, platform: str, times: int) -> dict[str, list[list[float]]]:
    """Run the program some times; return for each phase the largest gap of each run, in milliseconds."""
    from bench_window import platform as home

    found: dict[str, list[list[float]]] = {}
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder, home(platform, folder) as environ:
            environ.pop("CKPT_VIEWER_EXIT")
            command = [sys.executable, __file__, "--child", str(many), str(tensor), str(giant), f"{folder}/out.pth"]
            done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
        for title, gap in json.loads(done.stdout).items():
            found.setdefault(title, []).append(gap)
    return found


def main() -> int:
    """Measure and print."""
    if sys.argv[1:2] == ["--child"]:
        return run_child(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for word in ("many", "tensor"):
        parser.add_argument(f"--{word}", type=Path, metavar="FILE")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--platform", choices=("offscreen", "xcb"), default="offscreen")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from bench_ls import make_many

        many = options.many or make_many(Path(folder))
        tensor = options.tensor or make_tensor(Path(folder))
        found = measure(many, tensor, make_giant(Path(folder)), options.platform, options.times)
    print(f"largest gap in the heartbeat of the GUI thread, {options.platform}   (target: {TARGET_MS} ms)")
    for title, gaps in found.items():
        if title:
            gap, ours, busy = (statistics.median(each) for each in zip(*gaps, strict=True))
            print(f"  {title:44} median {gap:5.0f} ms, worst {max(each[0] for each in gaps):5.0f} ms;   without "
                  f"waiting for a processor {ours:5.0f} ms, of which computing {busy:5.0f} ms")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
