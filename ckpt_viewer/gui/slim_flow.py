"""Save without optimizer: say what it saves, ask where to, write. The writing is ExportFlow's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from ckpt_viewer.gui import asking
from ckpt_viewer.gui.export_flow import ExportFlow
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.messages import Message, Messages
from ckpt_viewer.gui.results import amount, remarks
from ckpt_viewer.gui.session import Session

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.export.plan import Plan, Written


class SlimFlow(QObject):
    """What the action does in one window."""

    def __init__(self, session: Session, messages: Messages, flow: ExportFlow, window: QWidget) -> None:
        super().__init__(window)
        self._session, self._messages, self._flow, self._window = session, messages, flow, window

    def ask(self) -> None:
        """Work out what leaving out the optimizer saves, say it, ask where to, then write."""

        def plan(checkpoint: Checkpoint, context: Context) -> Plan:
            from ckpt_viewer.export.plan import plan_slim  # on the job's thread: it takes 40 ms

            return plan_slim(checkpoint, None, context)

        self._flow.work_out(plan, "Working out what the optimizer takes", self._ask)

    def _ask(self, checkpoint: Checkpoint, plan: Plan) -> None:
        saving = plain(f"{plan.saving[:1].upper()}{plan.saving[1:]}", 400)
        detail = f"{saving}. Everything else is kept as it is; this file is not altered."
        if checkpoint is not self._session.checkpoint or not asking.ask(
            self._window, "Save a copy without the optimizer?", detail, "Save a copy …"
        ):
            return
        target = asking.ask_target(self._window, str(plan.target), "Save without optimizer")
        if target and checkpoint is self._session.checkpoint:
            title = f"Writing {plain(Path(target).name, NAME_LIMIT)}"
            self._flow.carry_out(lambda _: plan, target, title, lambda written: self._say(written, plan))

    def _say(self, written: Written, plan: Plan) -> None:
        path = written.path
        assert path is not None
        saving = plain(plan.saving, 300)
        text = f"Wrote {plain(path.name, NAME_LIMIT)}, {saving}: {amount(written)}.{remarks(written)}"
        self._messages.post(Message("success", text, self._flow.results.actions(path)))
