"""Which devices torch has on this machine: asked once of the worker process, never before a tree is painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.core.progress import Context
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.jobs import JobRunner

LOOKING = "looking for devices"


def ask_worker() -> Sequence[str]:
    """Return torch's device names; blocks until the worker process has imported torch.

    Raises:
        CheckpointError: the worker cannot be started, or torch is not installed.
    """
    from ckpt_viewer.worker import Worker

    with Worker() as worker:
        answer = worker.request("devices")
    return [each for each in answer if isinstance(each, str)]


class Devices(QObject):
    """This machine's devices, for every window of the process.

    Attributes:
        names: ``("cpu", "cuda:0")``; None while they are not known. note: why they are not.
    """

    changed = Signal()

    def __init__(self, ask: Callable[[], Sequence[str]] = ask_worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.names: tuple[str, ...] | None = None
        self.note = LOOKING
        self._ask = ask
        self._asked = False
        self.jobs = JobRunner(self, threads=1)

    def look(self) -> None:
        """Ask, unless that was done before; `changed` follows."""
        if self._asked:
            return
        self._asked = True
        ask = self._ask

        def work(context: Context) -> tuple[str, ...]:
            context.step(0, 0)
            return tuple(ask())

        job = self.jobs.start(work)
        job.finished.connect(self._learn)
        job.failed.connect(self._fail)

    def stop(self) -> None:
        """Give up asking: the process ends."""
        self.jobs.cancel_all()

    def _learn(self, names: tuple[str, ...]) -> None:
        self.names = names if "cpu" in names else ("cpu", *names)
        self.changed.emit()

    def _fail(self, error: BaseException) -> None:
        why = str(error) if isinstance(error, CheckpointError) else type(error).__name__
        self.note = f"devices not known: {why}"
        self.changed.emit()
