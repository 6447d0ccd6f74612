"""How long the tree takes: to index, for a keystroke in the filter, and the longest the GUI thread stands still.

    python tests/bench/bench_tree.py [--tensors 100000 1000000] [--file FILE] [--rounds 3] [--width 900]

A keystroke is the model's update, the layout and the repaint of the view, together; its CPU time is that of the GUI
thread alone. Words about tensors are looked for by a job: the answer is there when it is painted. The heartbeat is a
timer of 5 ms on the GUI thread while a job loads FILE (without one: walks and indexes 100,000 hand-made tensors) and
the tree of another checkpoint of that size scrolls with each beat. The targets are 50 ms a keystroke at 100,000 rows
and 300 ms at 1,000,000, and no gap above 50 ms. Runs off screen unless QT_QPA_PLATFORM says otherwise.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtWidgets import QApplication

from ckpt_viewer.core.checkpoint import Checkpoint, Contents
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.gui.jobs import JobRunner, Latest
from ckpt_viewer.gui.tree import build_index
from ckpt_viewer.gui.tree.figures import Columns, FigureTable
from ckpt_viewer.gui.tree.widget import TreePanel
from ckpt_viewer.stats.figures import Figures

PARTS = (
    "self_attn.q_proj.weight", "self_attn.q_proj.bias", "self_attn.k_proj.weight", "self_attn.v_proj.weight",
    "mlp.fc1.weight", "mlp.fc1.bias", "norm.weight", "norm.bias",
)  # fmt: skip
QUERIES = (
    "weight",
    "layers.77",
    "q_proj bias",
    "stage3 q_proj.w",
    "weight bias",
    "q_proj norm",
    "encoder.stage6.layers.12499",
    "zzz",
)
WORDS = (
    "dtype:f32 q_proj",
    "shape:4x4 -bias",
    "size>1MB",
    "role:model norm",
    "max>0.999 weight",
    "zeros>50%",
    "nan",
    "-nan min<-0.5",
    "-weight -bias",
    "-layers.1 -layers.2 -layers.3 -layers.4 -layers.5 -layers.6 -layers.7 -layers.8 -layers.9 -layers.0",
)
"""Words about tensors, some about values that a scan found; the last two leave nothing."""
BEAT_MS = 5
NOTCH = 60
"""Pixels that the tree scrolls with each beat; each twentieth beat is a whole page."""


def make(tensors: int) -> Checkpoint:
    """Return a checkpoint of many small tensors whose neighbouring modules are not equal, so that nothing folds."""
    model = Mapping("collections.OrderedDict")
    for number in range(tensors):
        layer, part = divmod(number, len(PARTS))
        storage = StorageSpec(str(number), "cuda:1", "float32", 16, None)
        shape = (4, 4) if (layer // 7) % 2 else (2, 8)
        tensor = TensorSpec(storage, "float32", shape, (shape[1], 1))
        model.pairs += [f"encoder.stage{layer % 7}.layers.{layer}.{PARTS[part]}", tensor]
    root = Mapping()
    root.pairs += ["model", model, "epoch", 3]
    return Checkpoint("many.pth", 0, Contents("torch-zip", root, (), (), 2, "", lambda: None))


def milliseconds(seconds: list[float]) -> str:
    ordered = sorted(second * 1000 for second in seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"median {statistics.median(ordered):6.1f}   99 % {last:6.1f}   worst {ordered[-1]:6.1f} ms"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def index_of(checkpoint: Checkpoint, rounds: int):
    """Index a checkpoint several times; prints the medians."""
    wall, busy, index = [], [], None
    checkpoint.load_outline()
    for _ in range(rounds):
        start, cpu = time.perf_counter(), time.process_time()
        index = build_index(checkpoint)
        wall.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
    print(f"  index: {statistics.median(wall):.2f} s, {statistics.median(busy):.2f} s CPU, {len(index):,} rows")
    return index


def scanned(index) -> FigureTable:
    """Return figures of every tensor as a scan would leave them; one in a thousand has a NaN."""
    rows = index.totals.tensor_rows
    columns = Columns(len(rows))
    for item in range(len(rows)):
        low = -((item * 7919) % 1000) / 1000
        columns.put(item, Figures(16, item % 16, int(item % 1000 == 7), 0, low, low + 1, low + 0.5, 0.25))
    numbers = {id(index.value(row)): item for item, row in enumerate(rows)}
    return FigureTable(index, numbers, columns, SILENT)


def type_queries(panel: TreePanel, rounds: int, queries: tuple[str, ...]) -> None:
    """Type each query letter by letter and clear it; prints each query's keystrokes, and when the answer is painted."""
    searching, everything = Latest(JobRunner(), panel), list[float]()
    searching.finished.connect(panel.filtering.show_found)
    loop = QEventLoop()
    searching.finished.connect(loop.quit)
    panel.filtering.searchWanted.connect(searching.start)
    for query in queries:
        taken, busy = [], []
        for _ in range(rounds):
            for text in [*(query[: end + 1] for end in range(len(query))), ""]:
                start, cpu = time.perf_counter(), time.thread_time()
                panel.filter.setText(text)
                if searching.job is not None:
                    loop.exec()
                panel.view.viewport().repaint()
                taken.append(time.perf_counter() - start)
                busy.append(time.thread_time() - cpu)
                QApplication.processEvents()
        everything += taken
        print(f"  {query!r:32} {milliseconds(taken)}   CPU of the GUI: {milliseconds(busy)}")
    print(f"  {'all keystrokes':32} {milliseconds(everything)}")
    panel.filtering.searchWanted.disconnect(searching.start)


class Heartbeat:
    """A timer on the GUI thread that scrolls a tree and notes how late it comes."""

    def __init__(self, panel: TreePanel) -> None:
        self.panel, self.gaps, self._beats = panel, list[float](), 0
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self._beat)
        self._last = 0.0

    def run(self, work) -> float:
        """Scroll until `work`, a job, has ended; return the seconds it took."""
        runner, loop = JobRunner(), QEventLoop()
        self._last = start = time.perf_counter()
        self.timer.start(BEAT_MS)
        job = runner.start(work)
        job.failed.connect(lambda error: print(f"  the job failed: {error!r}"))
        job.ended.connect(loop.quit)
        loop.exec()
        self.timer.stop()
        runner.wait(10_000)
        return time.perf_counter() - start

    def _beat(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now
        bar = self.panel.view.verticalScrollBar()
        self._beats += 1
        step = self.panel.view.viewport().height() if self._beats % 20 == 0 else NOTCH
        bar.setValue((bar.value() + step) % max(1, bar.maximum()))


def loading(file: str | None, tensors: int):
    """Return the work of a job that loads something large."""
    if file:

        def work(context):
            from ckpt_viewer.formats import open_checkpoint

            with open_checkpoint(file) as checkpoint:
                checkpoint.load_outline(context)
                return len(build_index(checkpoint, context))

        return work
    checkpoint = make(tensors)

    def work(context):
        checkpoint.load_outline(context)
        return len(build_index(checkpoint, context))

    return work


def heartbeat(panel: TreePanel, file: str | None, tensors: int, rounds: int) -> None:
    """Scroll an open tree while another checkpoint loads; prints the gaps."""
    panel.view.expand_subtree()
    QApplication.processEvents()
    idle, busy, took = Heartbeat(panel), Heartbeat(panel), []
    idle.run(lambda _: time.sleep(1))
    print(f"  beat, nothing else runs          {milliseconds(idle.gaps)}")
    for _ in range(rounds):
        took.append(busy.run(loading(file, tensors)))
    print(f"  beat while {tensors:,} tensors load {milliseconds(busy.gaps)}")
    print(f"  the job took {statistics.median(took):.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensors", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--file", help="a checkpoint of many tensors, to be loaded under the heartbeat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=900)
    options = parser.parse_args()
    application = QApplication(sys.argv[:1])
    sys.setswitchinterval(1e-4)
    for tensors in options.tensors:
        print(f"\n{tensors:,} tensors")
        gc.disable()
        checkpoint = make(tensors)
        index = index_of(checkpoint, options.rounds)
        gc.freeze()
        gc.enable()
        panel = TreePanel()
        panel.resize(options.width, 700)
        panel.show()
        start = time.perf_counter()
        panel.set_index(checkpoint, index)
        panel.view.viewport().repaint()
        print(f"  shown and painted in {(time.perf_counter() - start) * 1000:.1f} ms, peak {peak_mb():.0f} MB")
        application.processEvents()
        type_queries(panel, options.rounds, QUERIES)
        panel.set_figures(scanned(index), complete=True)
        type_queries(panel, options.rounds, WORDS)
        if tensors <= 200_000:
            heartbeat(panel, options.file, tensors, options.rounds)
        panel.close()


if __name__ == "__main__":
    main()
