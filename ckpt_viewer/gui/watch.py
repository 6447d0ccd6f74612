"""What a window works out once about its checkpoint and keeps: in a job, when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.gui import collector
from ckpt_viewer.gui.jobs import Latest

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.session import Session

W = TypeVar("W", bound="Watch")


class Watch(QObject):
    """Answers for what the session has open. A subclass says from what and how; there is one for each session."""

    ready = Signal()
    """There is an answer, or another one."""
    stopped = Signal()
    """The user stopped the work; asking for the answer starts it again."""
    title: ClassVar[str] = ""
    """What the status bar says of the work; ``""`` for work that is not announced."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._source: Any = None
        self._answer: Any = None
        self._failed = False
        self._latest = Latest(session.jobs, self)
        self._latest.finished.connect(self._keep)
        self._latest.failed.connect(self._give_up)

    @classmethod
    def of(cls: type[W], session: Session) -> W:
        """Return the session's only one, made when it is first asked for."""
        found = session.findChild(cls)
        return found if found is not None else cls(session)

    def source(self) -> Any:
        """Return what the answer is worked out from; None while that is not there."""
        raise NotImplementedError

    def work(self, source: Any, context: Context) -> Any:
        """Work the answer out, on another thread; raises Cancelled."""
        raise NotImplementedError

    @property
    def answer(self) -> Any:
        """What is known; None until `ready`. Asking starts the work."""
        source = self.source()
        idle = self._answer is None and self._latest.job is None and not self._failed
        if source is not self._source or idle:
            self._source, self._answer, self._failed = source, None, False
            if source is None:
                self._latest.cancel()
            else:
                job = self._latest.start(lambda context: self.work(source, context), title=self.title)
                job.cancelled.connect(self._on_cancelled)
        return self._answer

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being worked out."""
        return self._latest.job is None

    def _on_cancelled(self) -> None:
        if self._latest.job is None and self._answer is None and self._source is not None:
            self.stopped.emit()

    def _give_up(self, error: object) -> None:
        self._failed = True  # asking again would only fail again
        self._session.trouble.emit(error)

    def _keep(self, answer: Any) -> None:
        if self._source is self.source():
            self._answer = answer
            collector.keep()  # it stays, and may be hundreds of thousands of objects
            self.ready.emit()
