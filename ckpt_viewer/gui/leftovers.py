"""Offers to remove what writers that were killed left beside a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ckpt_viewer.core.progress import Context
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.gui.session import Session

if TYPE_CHECKING:
    from ckpt_viewer.export.leftovers import Leftover

TOPIC = "leftovers"


class Leftovers(QObject):
    """Looks for them in one window, once something was written there."""

    def __init__(self, session: Session, messages: Messages, window: QObject) -> None:
        super().__init__(window)
        self._session, self._messages = session, messages

    def look_beside(self, target: str) -> None:
        """Look into the folder of a target; a message offers to remove what is found."""
        folder = Path(target).parent

        def work(context: Context) -> list[Leftover]:
            from ckpt_viewer.export.leftovers import find_leftovers

            context.step(0, 0)
            return find_leftovers(folder)

        job = self._session.jobs.start(work)
        job.finished.connect(lambda found: self._offer(folder, found))

    def _offer(self, folder: Path, found: list[Leftover]) -> None:
        if not found:
            return
        from ckpt_viewer.export.leftovers import leftovers_text

        put_back = " What was not replaced is put back then." if any(each.replaced for each in found) else ""
        lie = "lies" if len(found) == 1 else "lie"
        where = plain(str(folder), 300)
        text = f"{leftovers_text(found)} {lie} in {where}, left by writing that was broken off.{put_back}"
        remove = Action("Remove", lambda: self._remove(found))
        self._messages.post(Message("warning", text, (remove,), topic=TOPIC), behind=True)

    def _remove(self, found: list[Leftover]) -> None:
        def work(context: Context) -> list[Leftover]:
            from ckpt_viewer.export.leftovers import remove_leftovers

            context.step(0, 0)
            return remove_leftovers(found)

        job = self._session.jobs.start(work)
        job.finished.connect(self._say_removed)
        job.failed.connect(self._messages.report)

    def _say_removed(self, removed: list[Leftover]) -> None:
        from ckpt_viewer.export.leftovers import leftovers_text

        text = f"Cleared {leftovers_text(removed)}." if removed else "They were gone already, or could not be removed."
        self._messages.post(Message("info", text, topic=TOPIC))
