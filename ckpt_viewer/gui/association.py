"""The one-time offer to open .pth files with this program by double-click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.progress import Context
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.messages import Message
from ckpt_viewer.gui.settings import Settings

if TYPE_CHECKING:
    from ckpt_viewer.desktop import Report
    from ckpt_viewer.gui.main_window import MainWindow

ANSWERED = "association"
"""Settings key: set once the offer was taken."""


def is_offered(settings: Settings) -> bool:
    """Whether the empty window still offers it."""
    return not settings.text(ANSWERED)


def associate(window: MainWindow) -> None:
    """Install the association for this user, and say what came of it."""

    def work(context: Context) -> Report:
        from ckpt_viewer.desktop import backend, program_command

        context.step(0, 0)
        return backend().install(program_command())

    def done(report: Report) -> None:
        window.windows.settings.set(ANSWERED, "done")
        if window.session.is_empty:
            window.show_empty()  # without the offer
        text = " ".join(plain(line, 300) for line in report.lines[: 1 if report.ok else 3])
        window.messages.post(
            Message("success" if report.ok else "warning", text or "Checkpoints open with this program now.")
        )

    job = window.session.jobs.start(work, title="Associating checkpoints with this program")
    job.finished.connect(done)
    job.failed.connect(window.messages.report)
