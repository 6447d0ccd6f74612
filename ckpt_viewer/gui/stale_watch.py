"""Notices that another program has written the open file anew, as a training does: looks when the user comes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QGuiApplication

from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.sources import Identity, identity_of

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

TOPIC = "stale"
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
        session.opened.connect(self._forget)
        application = QGuiApplication.instance()
        assert isinstance(application, QGuiApplication)
        application.applicationStateChanged.connect(self._on_state)

    def look(self) -> None:
        """Compare the file with what was opened, in a job: a disk of another computer may take its time."""
        session = self._session
        source: Any = session.checkpoint.contents.source if session.checkpoint is not None else None
        identity, path = getattr(source, "identity", None), session.path
        if identity is not None and session.opening is None:
            self._looking.start(lambda _: what_became_of(path, identity))

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
