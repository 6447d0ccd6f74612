"""A copy for the CPU: say what it is, ask where to if that has to be asked, write. The writing is ExportFlow's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export.words import amount_text
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.gui.session import Session

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.export.plan import Plan, Written
    from ckpt_viewer.gui.export_flow import ExportFlow


class RemapFlow(QObject):
    """What Remap does in one window."""

    def __init__(self, session: Session, messages: Messages, flow: ExportFlow, window: QWidget) -> None:
        super().__init__(window)
        self._session, self._messages, self._flow, self._window = session, messages, flow, window

    def to_cpu(self) -> None:
        """Work out the copy for the CPU, ask what has to be asked, then write it beside the file."""

        def plan(checkpoint: Checkpoint, context: Context) -> Plan:
            from ckpt_viewer.export.plan import plan_remap  # on the job's thread: it takes 40 ms

            return plan_remap(checkpoint, "cpu", context)

        self._flow.work_out(plan, "Planning the copy for the CPU", self._ask)

    def _ask(self, checkpoint: Checkpoint, plan: Plan) -> None:
        name = plain(Path(checkpoint.path).name, NAME_LIMIT)
        if plan.idle:
            self._messages.post(
                Message("info", f"{name}: {plain(plan.idle, 400)}; nothing was written.", topic="remap")
            )
            return
        target = self._target(plan)
        if not target or checkpoint is not self._session.checkpoint:  # given up, or reloaded meanwhile
            return
        for warning in plan.warnings:  # whoever loads the copy should know before it is made
            self._messages.post(Message("warning", f"{name}: {plain(warning, 400)}"))
        title = f"Writing {plain(Path(target).name, NAME_LIMIT)}"
        self._flow.carry_out(lambda _: plan, target, title, lambda written: self._say(written, plan))

    def _target(self, plan: Plan) -> str:
        target = plan.target
        if not os.access(target.parent, os.W_OK):
            return asking.ask_target(
                self._window, str(Path.home() / target.name), "Remap to CPU: its folder is read-only"
            )
        if not os.path.lexists(target):
            return str(target)
        if not plan.folder and asking.ask_replace(self._window, str(target), "Another name …"):
            return str(target)  # what is in a folder is never replaced
        return asking.ask_target(self._window, str(target), "Remap to CPU")

    def _say(self, written: Written, plan: Plan) -> None:
        path = written.path
        assert path is not None
        name = plain(path.name, NAME_LIMIT)
        text = f"Wrote {name}, a copy for the CPU: {plain(amount_text(written), 500)}."
        mark = _mark(path)
        actions = (self._flow.show_action(path), Action("Delete copy", lambda: self._delete(path, mark)))
        self._messages.post(Message("success", text, actions[:1] if plan.folder else actions))
        for warning in written.warnings[len(plan.warnings) :]:  # found while it was copied
            self._messages.post(Message("warning", f"{name}: {plain(warning, 400)}"))

    def _delete(self, path: Path, mark: tuple[int, int]) -> None:
        name = plain(path.name, NAME_LIMIT)
        try:
            if _mark(path) != mark:
                raise WriteFailed("it was changed since it was written, so it was not deleted; delete it yourself")
            path.unlink()
        except OSError as error:
            self._messages.report(
                WriteFailed(f"it could not be deleted ({error.strerror}); check the folder"), about=name
            )
        except WriteFailed as error:
            self._messages.report(error, about=name)
        else:
            self._messages.post(Message("info", f"Deleted {name}."))


def _mark(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
