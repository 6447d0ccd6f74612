"""The numbers of every tensor of the open file: one scan in the background, asked for by whoever shows them. No widget.

What the scan finds is written by its thread into `Harvest`, which only ever grows, and read from there at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QThreadPool, Signal

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.jobs import JobRunner, Latest
from ckpt_viewer.gui.scan_work import Below, Harvest, put_together, scan_all, tabulate

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.errors import CheckpointError
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.stats.crew import Gate
    from ckpt_viewer.stats.figures import Figures
    from ckpt_viewer.stats.profile import Profile

EVERY_S = 0.2
"""Seconds between two `changed` while a scan runs."""


class ScanState(Enum):
    """How far the scan of a file is."""

    NONE = auto()
    RUNNING = auto()
    PAUSED = auto()
    DONE = auto()
    CANCELLED = auto()
    FAILED = auto()


class FileScan(QObject):
    """Scans the file of a session when it is asked to, and keeps what was found until the file is closed.

    Attributes:
        state: see `ScanState`. error: why it failed. harvest: what was found so far.
    """

    changed = Signal()
    """More tensors are done, or the state is another one; at most about five times a second while it runs."""
    failed = Signal(object)
    """The file cannot be read any more: the error."""

    def __init__(self, jobs: JobRunner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = ScanState.NONE
        self.error: BaseException | None = None
        self.harvest = Harvest()
        self._jobs = jobs
        self._pool = QThreadPool(self)  # a paused scan keeps its thread, the panels need theirs
        self._pool.setMaxThreadCount(1)
        self._checkpoint: Checkpoint | None = None
        self._index: TreeIndex | None = None
        self._gate: Gate | None = None
        self._told = 0.0
        self._job = Latest(jobs, self)
        self._job.finished.connect(self._on_finished)
        self._job.failed.connect(self._on_failed)
        self._job.progressed.connect(self._on_progress)
        self._tabulating = Latest(jobs, self)
        self._tabulating.finished.connect(lambda _: self._become(self.state))

    # --- the file

    def open(self, checkpoint: Checkpoint, index: TreeIndex) -> None:
        """Be ready to scan a checkpoint; the same one with another index keeps what was found."""
        if checkpoint is self._checkpoint:
            self._follow_index()
        else:
            self.close()
            self._checkpoint, self._index = checkpoint, index
            self.harvest.total_bytes = index.totals.nbytes(0)
            self.harvest.total = index.totals.tensors(0)
            self._become(ScanState.NONE)

    def close(self) -> None:
        """Stop, and forget the checkpoint and all that was found."""
        self._stop()
        self._checkpoint = self._index = self.error = None
        self.harvest = Harvest()
        self._become(ScanState.NONE)

    def wait(self, milliseconds: int) -> bool:
        """Wait until the thread has ended; False if it was not in time."""
        return self._pool.waitForDone(milliseconds)

    # --- what it is told

    def start(self) -> None:
        """Scan everything; what an earlier scan of the same bytes has found is taken from the disk."""
        if self.state is ScanState.PAUSED:
            self.resume()
        elif self.state not in (ScanState.RUNNING, ScanState.DONE) and self._checkpoint is not None:
            self._start(ScanState.RUNNING, only_kept=False)

    def recall(self) -> None:
        """Take what an earlier scan has found, if it was kept; nothing is read otherwise, and `state` stays NONE."""
        if self.state is ScanState.NONE and self._job.job is None and self._checkpoint is not None:
            self._start(ScanState.NONE, only_kept=True)

    def pause(self) -> None:
        """Hold the scan up where it is."""
        if self.state is ScanState.RUNNING and self._gate is not None:
            self._gate.pause()
            self._become(ScanState.PAUSED)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self.state is ScanState.PAUSED and self._gate is not None:
            self._gate.resume()
            self._become(ScanState.RUNNING)

    def cancel(self) -> None:
        """Give the scan up; what was found so far stays."""
        if self.state in (ScanState.RUNNING, ScanState.PAUSED):
            self._stop()
            self._become(ScanState.CANCELLED)

    # --- what it answers

    @property
    def is_done(self) -> bool:
        """Whether every tensor was scanned."""
        return self.state is ScanState.DONE

    @property
    def done(self) -> int:
        """Tensors that are done, those without numbers included."""
        return self.harvest.done

    @property
    def total(self) -> int:
        """Tensors of the file."""
        return self.harvest.total

    @property
    def done_bytes(self) -> int:
        """Bytes that were read, about."""
        return self.harvest.done_bytes

    @property
    def total_bytes(self) -> int:
        """Bytes to be read."""
        return self.harvest.total_bytes

    def profile(self, tensor: TensorSpec) -> Profile | CheckpointError | None:
        """Return the numbers of a tensor, or why it has none; None while it is not done."""
        scan = self.harvest.scan
        return scan.outcome(tensor) if scan is not None else None

    def figures(self, tensor: TensorSpec) -> Figures | None:
        """Return the few numbers that a row shows; None while there are none."""
        scan, columns = self.harvest.scan, self.harvest.columns
        if scan is None or scan.plan is None or columns is None:
            return None
        number = scan.plan.of.get(id(tensor))
        return columns.figures[number] if number is not None else None

    @property
    def table(self) -> FigureTable | None:
        """The figures by rows of the tree that is shown; None while there is none."""
        table = self.harvest.table
        return table if table is not None and table.index is self._index else None

    def below(self, subject: Any) -> Callable[[Context], Below] | None:
        """Return what puts together the numbers of all tensors at and below a subject of the tree: work for a job.

        None until the scan is done.
        """
        scan, index = self.harvest.scan, self._index
        if self.state is not ScanState.DONE or scan is None or index is None:
            return None
        row = index.find(getattr(subject, "pointer", ""))
        if row is None:
            return None
        return lambda context: put_together(scan, index, row, context)

    # --- inside

    def _start(self, state: ScanState, *, only_kept: bool) -> None:
        index, harvest = self._index, Harvest()
        assert index is not None
        from ckpt_viewer.stats.crew import Gate

        harvest.total, harvest.total_bytes = self.total, self.total_bytes
        self.harvest, self.error = harvest, None
        gate = self._gate = Gate()
        self._job.start(lambda context: scan_all(index, harvest, gate, context, only_kept=only_kept), pool=self._pool)
        self._become(state)

    def _stop(self) -> None:
        if self._gate is not None:
            self._gate.resume()
        self._job.cancel()
        self._tabulating.cancel()

    def _follow_index(self) -> None:
        """Make the table anew if the tree was arranged in another way since."""
        index, harvest = self._index, self.harvest
        if harvest.table is not None and index is not None and harvest.table.index is not index:
            self._tabulating.start(lambda context: tabulate(index, harvest, context))

    def _become(self, state: ScanState) -> None:
        self.state = state
        self._told = time.monotonic()
        self.changed.emit()

    def _on_progress(self, _done: object, _total: object) -> None:
        if self.state is ScanState.RUNNING and time.monotonic() - self._told >= EVERY_S:
            self._become(ScanState.RUNNING)

    def _on_finished(self, complete: object) -> None:
        self._follow_index()
        if complete:
            self._become(ScanState.DONE)

    def _on_failed(self, error: BaseException) -> None:
        self.error = error
        self._become(ScanState.FAILED)
        self.failed.emit(error)
