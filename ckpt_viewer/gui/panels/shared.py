"""The window's knowledge of which entries share a storage: worked out once for each checkpoint, in a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.panels.sharing import Sharing, find_sharing

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.gui.session import Session


class SharingWatch(QObject):
    """Answers for the checkpoint that the session has open. One for each session: see `sharing_watch`."""

    ready = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._checkpoint: Checkpoint | None = None
        self._sharing: Sharing | None = None
        self._latest = Latest(session.jobs, self)
        self._latest.finished.connect(self._keep)

    @property
    def sharing(self) -> Sharing | None:
        """What is known; None until `ready`. Asking starts the work."""
        checkpoint = self._session.checkpoint
        if checkpoint is None:
            return None
        if checkpoint is not self._checkpoint or (self._sharing is None and self._latest.job is None):
            self._checkpoint, self._sharing = checkpoint, None
            self._latest.start(lambda context: find_sharing(checkpoint.load_outline(context), context))
        return self._sharing

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being worked out."""
        return self._latest.job is None

    def _keep(self, sharing: Sharing) -> None:
        if self._checkpoint is self._session.checkpoint:
            self._sharing = sharing
            self.ready.emit()


def sharing_watch(session: Session) -> SharingWatch:
    """Return the session's SharingWatch, made when it is first asked for."""
    found = session.findChild(SharingWatch)
    return found if found is not None else SharingWatch(session)
