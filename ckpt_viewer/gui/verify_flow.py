"""Verify checksums: reads the whole file in a job and says in a message what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from ckpt_viewer.core.progress import Context
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.gui.session import Session

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.finding import Finding

TOPIC = "checksums"
SAID = 3
"""Findings that the message quotes; more are counted."""


class VerifyFlow(QObject):
    """What the action does in one window."""

    def __init__(self, session: Session, messages: Messages, window: QObject) -> None:
        super().__init__(window)
        self._session, self._messages = session, messages
        self._work = Latest(session.jobs, self)
        self._work.finished.connect(self._say)
        self._work.failed.connect(messages.report)

    def verify(self) -> None:
        """Compare every record of the open file with its checksum."""
        if self._session.checkpoint is None:
            return
        checkpoint = self._session.borrow()

        def work(context: Context) -> tuple[Checkpoint, tuple[Finding, ...]]:
            from ckpt_viewer.analysis.checksums import verify_checksums

            return checkpoint, verify_checksums(checkpoint, context)

        job = self._work.start(work, title="Verifying checksums")
        job.ended.connect(lambda: self._session.give_back(checkpoint))
        job.cancelled.connect(lambda: self._say_stopped(checkpoint))

    def _say(self, result: Any) -> None:
        checkpoint, findings = result
        if checkpoint is not self._session.checkpoint:  # another file was opened meanwhile
            return
        bad = [finding for finding in findings if finding.severity == "error"]
        if not bad:
            ok = all(finding.code == "crc-ok" for finding in findings)
            text = " ".join(_sentence(finding) for finding in findings)
            self._messages.post(Message("success" if ok else "info", text, topic=TOPIC))
            return
        text = " ".join(_sentence(finding) for finding in bad[:SAID])
        more = f" {len(bad) - SAID} more records are wrong too." if len(bad) > SAID else ""
        show = Action("Show it", lambda: self._show(result[0], bad[0]))
        actions = (show,) if bad[0].path else ()
        self._messages.post(Message("error", text + more, actions, topic=TOPIC))

    def _show(self, checkpoint: Checkpoint, finding: Finding) -> None:
        if checkpoint is self._session.checkpoint:
            self._session.select(checkpoint.node(finding.path))

    def _say_stopped(self, checkpoint: Checkpoint) -> None:
        if checkpoint is self._session.checkpoint:
            self._messages.post(Message("info", "Verifying the checksums was stopped.", topic=TOPIC))


def _sentence(finding: Finding) -> str:
    text = plain(finding.message, 400)
    return f"{text[:1].upper()}{text[1:]}."
