"""Notices that another program has written the open file anew, as a training does.

It looks when the system says so, and when the user comes back: a disk of another computer tells nothing by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QFileSystemWatcher, QObject, Qt, QTimer
from PySide6.QtGui import QGuiApplication

from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.sources import Identity, identity_of

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

TOPIC = "stale"
SETTLE_MS = 300
"""How long a file is left alone before it is looked at: who writes it does so in many pieces."""
SENTENCES = {
    "replaced": "Another program has put a newer file in place of this one; what is shown is the earlier one.",
    "changed": "Another program has changed this file since it was opened; what is shown may be wrong.",
    "gone": "This file was removed or renamed; what is shown can be looked at and exported until it is closed.",
}


def what_became_of(path: str, identity: Identity) -> str:
    """Return ``replaced``, ``changed`` or ``gone`` for a file that had an identity when it was opened; else ``""``."""
    try:
        now = identity_of(Path(path).stat())
    except FileNotFoundError:
        return "gone"
    except OSError:  # a disk that does not answer says nothing about the file; reading it will
        return ""
    if now[:2] != identity[:2]:
        return "replaced"
    return "changed" if now[2:4] != identity[2:4] else ""  # its permissions may be others


class StaleWatch(QObject):
    """Says in a message of one window what became of its file, with a button that reads it again."""

    def __init__(self, session: Session, messages: Messages, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._messages = session, messages
        self._looking = Latest(session.jobs, self)
        self._looking.finished.connect(self._say)
        self._looking.failed.connect(messages.report)
        self._said = ""
        self._watcher = QFileSystemWatcher(self)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self.look)
        self._watcher.fileChanged.connect(lambda _: self._settle.start())
        session.opened.connect(self._forget)
        session.failed.connect(lambda _: self._forget())  # the page that says so offers to try again
        self._forget()
        application = QGuiApplication.instance()
        assert isinstance(application, QGuiApplication)
        application.applicationStateChanged.connect(self._on_state)

    def look(self) -> None:
        """Compare the file with what was opened, in a job: a disk of another computer may take its time."""
        identity, path = self._identity(), self._session.path
        if identity is not None and self._session.opening is None:
            self._looking.start(lambda _: what_became_of(path, identity))

    def _identity(self) -> Identity | None:
        """Return what the file was when it was opened; None where there is none, or several."""
        checkpoint = self._session.checkpoint
        source: Any = checkpoint.contents.source if checkpoint is not None else None
        identity: Identity | None = getattr(source, "identity", None)
        return identity

    def _on_state(self, state: Qt.ApplicationState) -> None:
        if state is Qt.ApplicationState.ApplicationActive:
            self.look()

    def _say(self, became: str) -> None:
        if became == self._said:  # the user may have dismissed it
            return
        self._said = became
        self._messages.drop(TOPIC)
        if became:
            actions = () if became == "gone" else (Action("Reload", self._session.reload),)
            self._messages.post(Message("warning", SENTENCES[became], actions, TOPIC))

    def _forget(self) -> None:
        self._looking.cancel()
        self._said = ""
        self._messages.drop(TOPIC)
        self._settle.stop()
        watched = self._watcher.files()
        if watched:
            self._watcher.removePaths(watched)
        if self._identity() is not None:
            self._watcher.addPath(self._session.path)
