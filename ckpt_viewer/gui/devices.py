"""Which devices torch has on this machine: asked once of the worker process, never before a tree is painted.

They count as well: values of tensors that map_location puts on one of them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.core.progress import Context
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.jobs import JobRunner

if TYPE_CHECKING:
    from ckpt_viewer.stats.kernels import Kernels
    from ckpt_viewer.worker import Worker

LOOKING = "looking for devices"


class Asker(Protocol):
    """Knows torch's devices, or finds out."""

    def ask(self) -> dict[str, str]:
        """Return tag -> name of each device; blocks. Raises CheckpointError."""

    def stop(self) -> None:
        """End an `ask` in another thread."""


class WorkerAsker:
    """Asks the worker process, which has torch, and ends it: it takes 200 MB, and nothing else is asked of it."""

    def __init__(self) -> None:
        from ckpt_viewer.worker import Worker

        self._worker = Worker()

    def ask(self) -> dict[str, str]:
        """Return tag -> name; blocks until the process has imported torch. Raises CheckpointError."""
        with self._worker:
            answer = self._worker.request("device_info")
        return {str(each["tag"]): str(each.get("name") or "") for each in answer}

    def stop(self) -> None:
        """End the process."""
        self._worker.close()


class Devices(QObject):
    """This machine's devices, for every window of the process.

    Attributes:
        names: tag -> what the device is called; None while they are not known. note: why they are not.
    """

    changed = Signal()

    def __init__(self, asker: Asker | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.names: dict[str, str] | None = None
        self.note = LOOKING
        self._asker = asker
        self._asked = self._stopped = False
        self._lock = threading.Lock()
        self._counter: Worker | None = None
        self._kernels: dict[str, Kernels] = {}
        self.jobs = JobRunner(self, threads=1)

    @property
    def tags(self) -> tuple[str, ...] | None:
        """``("cpu", "cuda:0")``; None while they are not known."""
        return None if self.names is None else tuple(self.names)

    def look(self) -> None:
        """Ask, unless that was done before; `changed` follows."""
        if self._asked:
            return
        self._asked = True
        job = self.jobs.start(self._work)
        job.finished.connect(self._learn)
        job.failed.connect(self._fail)

    def stop(self) -> None:
        """Give up asking, and counting: the processes end."""
        self.jobs.cancel_all()
        with self._lock:
            worker, self._counter = self._counter, None
            self._kernels.clear()
            self._stopped = True
        if worker is not None:
            worker.close()
        if self._asker is not None:
            self._asker.stop()

    def kernels_on(self, tag: str) -> Kernels | None:
        """Return what counts on a device; None where torch has none of that name here, and for the CPU.

        On a worker thread: it imports numpy. The process that counts is started with the first block and kept.
        """
        names = self.names or {}
        if tag in ("", "cpu", "meta") or not any(name == tag or name.startswith(f"{tag}:") for name in names):
            return None
        from ckpt_viewer.stats.remote import WorkerKernels
        from ckpt_viewer.worker import Worker

        with self._lock:
            if self._stopped:
                return None
            self._counter = self._counter or Worker()
            return self._kernels.setdefault(tag, WorkerKernels(self._counter, tag))

    def _work(self, context: Context) -> dict[str, str]:
        if self._asker is None:
            self._asker = WorkerAsker()
        context.step(0, 0)
        return self._asker.ask()

    def _learn(self, names: dict[str, str]) -> None:
        self.names = {"cpu": "", **names}
        self.changed.emit()

    def _fail(self, error: BaseException) -> None:
        why = str(error) if isinstance(error, CheckpointError) else type(error).__name__
        self.note = f"devices not known: {why}"
        self.changed.emit()
