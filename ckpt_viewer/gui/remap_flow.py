"""A copy for the CPU or other devices: say what it is, ask what has to be asked, write. ExportFlow does the writing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from ckpt_viewer.core.location import Locator, MapLocation, leave_on_cpu
from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.choices import rules_text
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.gui.results import amount
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

    def to(self, map_location: MapLocation) -> None:
        """Work out the copy for some devices, ask what has to be asked, then write it beside the file."""
        where = where_text(map_location)

        def plan(checkpoint: Checkpoint, context: Context) -> Plan:
            from ckpt_viewer.export.plan import plan_remap  # on the job's thread: it takes 40 ms

            return plan_remap(checkpoint, map_location, context)

        title = f"Planning the copy for {where}"
        self._flow.work_out(plan, title, lambda checkpoint, made: self._ask(checkpoint, made, where))

    def _ask(self, checkpoint: Checkpoint, plan: Plan, where: str) -> None:
        name = plain(Path(checkpoint.path).name, NAME_LIMIT)
        if plan.idle:
            self._messages.post(
                Message("info", f"{name}: {plain(plan.idle, 400)}; nothing was written.", topic="remap")
            )
            return
        target = self._target(plan, where)
        if not target or checkpoint is not self._session.checkpoint:  # given up, or reloaded meanwhile
            return
        for warning in plan.warnings:  # whoever loads the copy should know before it is made
            self._messages.post(Message("warning", f"{name}: {plain(warning, 400)}"))
        title = f"Writing {plain(Path(target).name, NAME_LIMIT)}"
        self._flow.carry_out(lambda _: plan, target, title, lambda written: self._say(written, plan, where))

    def _target(self, plan: Plan, where: str) -> str:
        target, title = plan.target, f"Remap to {where.removeprefix('the ')}"
        if not os.access(target.parent, os.W_OK):
            return asking.ask_target(self._window, str(Path.home() / target.name), f"{title}: its folder is read-only")
        if not os.path.lexists(target):
            return str(target)
        if not plan.folder and asking.ask_replace(self._window, str(target), "Another name …"):
            return str(target)  # what is in a folder is never replaced
        return asking.ask_target(self._window, str(target), title)

    def _say(self, written: Written, plan: Plan, where: str) -> None:
        path = written.path
        assert path is not None
        name = plain(path.name, NAME_LIMIT)
        text = f"Wrote {name}, a copy for {where}: {amount(written)}."
        mark = _mark(path)
        delete = Action("Delete copy", lambda: self._delete(path, mark))
        actions = self._flow.results.actions(path)
        self._messages.post(Message("success", text, actions if plan.folder else (*actions, delete)))
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


def where_text(map_location: MapLocation) -> str:
    """Return what a copy is for: ``the CPU``, ``cuda:0``, ``cuda:1 → cpu``."""
    if map_location in ("cpu", leave_on_cpu):
        return "the CPU"
    spec = Locator(map_location).text
    return rules_text(spec) if "=" in spec else plain(spec, 40)
