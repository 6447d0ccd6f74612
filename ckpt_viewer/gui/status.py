"""What is being worked on: its title, how far it is, and a button that stops it. Lives in the status bar."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

from ckpt_viewer.core.pace import Pace
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Job, JobRunner
from ckpt_viewer.gui.share_bar import ShareBar

APPEAR_AFTER_MS = 200
"""Work that is done sooner is not announced; it would only flicker."""

TICK_MS = 1000
"""How often a rate is looked at again while there is no news."""
STANDSTILL = 2.0
"""Seconds without news after which the last rate is none any more: a disk can take many for what it was given."""


class JobStatus(QWidget):
    """Shows the newest of the jobs that have a title and run; those that wait for a thread only while none does."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Work in progress")
        self._jobs: list[Job] = []
        self._paces: dict[int, Pace] = {}
        self._title = ElidedLabel(mode=Qt.TextElideMode.ElideMiddle)  # what is at its end changes: the rate, the time
        self._bar = ShareBar()
        self._bar.setObjectName("jobProgress")
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress")
        self._bar.setFixedWidth(180)
        self._bar.setMaximumHeight(14)
        self._cancel = QToolButton()
        self._cancel.setObjectName("jobCancel")
        self._cancel.setAccessibleName("Stop")
        self._cancel.setAutoRaise(True)
        self._cancel.clicked.connect(self._stop)
        icons.tint(self._cancel, "close")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 4, 0)
        row.addWidget(self._title, 1)
        row.addWidget(self._bar)
        row.addWidget(self._cancel)
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(APPEAR_AFTER_MS)
        self._late.timeout.connect(self.refresh)
        self._tick = QTimer(self)
        self._tick.setInterval(TICK_MS)
        self._tick.timeout.connect(self._look_again)
        self.hide()

    def watch(self, runner: JobRunner) -> None:
        """Show the titled jobs of a runner from now on."""
        runner.started.connect(self.add)

    def add(self, job: Job) -> None:
        """Show a job while it runs, if it has a title."""
        if not job.title:
            return
        self._jobs.append(job)
        job.progressed.connect(self._on_progress)
        job.ended.connect(self._on_ended)
        if self.isHidden():
            self._late.start()
        else:
            self.refresh()

    def add_writing(self, job: Job) -> None:
        """Show a job that counts bytes: with how many in a second, and when it will be done."""
        self._paces[job.ticket] = Pace()
        self._tick.start()
        self.add(job)

    @property
    def job(self) -> Job | None:
        """The job that is shown: of those that wait the one whose turn is next."""
        running = [job for job in self._jobs if job.is_begun]
        return running[-1] if running else self._jobs[0] if self._jobs else None

    def refresh(self) -> None:
        """Show what runs now."""
        job = self.job
        self.setVisible(job is not None)
        if job is None:
            self._late.stop()
            return
        more = f" (and {len(self._jobs) - 1} more)" if len(self._jobs) > 1 else ""
        state = "Stopping: " if job.is_cancelled else "" if job.is_begun else "Waiting for other writing: "
        title = f"{state}{job.title}"
        pace = self._paces.get(job.ticket)
        speed = _speed(pace) if pace is not None and job.total else ""
        self._title.setText(title + more + (f" – {speed}" if speed else ""))
        # others in the bar may be cut sooner: a rate that cannot be read is none
        self._title.setMinimumWidth(min(self._title.sizeHint().width(), self.window().width() // 3))
        words = f"Stop: {job.title}"
        self._cancel.setToolTip(words)
        self._cancel.setAccessibleName(words)
        self._cancel.setEnabled(not job.is_cancelled)
        self._bar.setAccessibleName(f"Progress: {job.title}")
        self._bar.show_share(job.done, job.total)

    def _on_progress(self, _done: object, _total: object) -> None:
        for job in self._jobs:
            if job.ticket not in self._paces:
                continue
            if job.total > 0:
                self._paces[job.ticket].note(job.done, job.total)
            else:
                self._paces[job.ticket] = Pace()  # it begins: the time that it waited for its turn is none of its own
        if not self.isHidden():
            self.refresh()

    def _look_again(self) -> None:
        if not self.isHidden():
            self.refresh()

    def _on_ended(self) -> None:
        self._jobs = [job for job in self._jobs if not job.is_ended]
        running = {job.ticket for job in self._jobs}
        self._paces = {ticket: pace for ticket, pace in self._paces.items() if ticket in running}
        if not self._paces:
            self._tick.stop()
        if not self.isHidden() or not self._jobs:
            self.refresh()

    def _stop(self) -> None:
        if self.job is not None:
            self.job.cancel()
            self.refresh()


def _speed(pace: Pace) -> str:
    silence = pace.silence
    return pace.text if silence < STANDSTILL else f"waiting for {int(silence)} s"
