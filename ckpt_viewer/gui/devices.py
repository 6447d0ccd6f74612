"""Which devices torch has on this machine: asked once of the worker process, never before a tree is painted."""

from __future__ import annotations

from typing import Protocol

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.core.progress import Context
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.jobs import JobRunner

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
        self._asked = False
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
        """Give up asking: the process ends."""
        self.jobs.cancel_all()
        if self._asker is not None:
            self._asker.stop()

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
