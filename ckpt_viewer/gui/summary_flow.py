"""Keeps the summary strip saying what is known of the session's file. Made once a tree is painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ckpt_viewer.gui.summary import strip_parts
from ckpt_viewer.gui.training_watch import TrainingWatch

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.gui.summary_strip import SummaryStrip


class SummaryFlow(QObject):
    """Between a session and its strip."""

    def __init__(self, session: Session, strip: SummaryStrip, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._strip = session, strip
        self._watch = TrainingWatch.of(session)
        self._watch.ready.connect(self.refresh)
        session.described.connect(self.refresh)
        session.remapped.connect(self.refresh)

    def refresh(self) -> None:
        """Say it anew."""
        checkpoint, overview, training = self._session.checkpoint, self._session.overview, self._watch.training
        if checkpoint is not None and overview is not None:
            going_on = training.going_on if training is not None else None
            self._strip.show_parts(strip_parts(checkpoint, overview, going_on))
