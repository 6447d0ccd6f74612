"""Writing from the window: ask, write in a job, say what was written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QWidget

from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import parameters_text
from ckpt_viewer.errors import Cancelled, CannotExport, Damaged, SourceError, TargetExists
from ckpt_viewer.gui import asking
from ckpt_viewer.gui.exporting.window_words import window_words
from ckpt_viewer.gui.jobs import Job, JobRunner
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.leftovers import Leftovers
from ckpt_viewer.gui.messages import Message, Messages
from ckpt_viewer.gui.remap_flow import RemapFlow
from ckpt_viewer.gui.results import Results, amount, remarks
from ckpt_viewer.gui.session import Session

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.model import Model
    from ckpt_viewer.export.plan import Plan, Written
    from ckpt_viewer.gui.exporting.dialog import ExportDialog
    from ckpt_viewer.gui.exporting.preview import Preview

AS_SAVED = 'Load onto says "As saved", which is what the file says already; choose a device or rules there first.'


class ExportFlow(QObject):
    """What Export and Remap do in one window.

    Attributes:
        writing: jobs of this window that write a file, oldest first.
        dialog: what asks for an export, while it is open. results: what can be done with what was written.
    """

    started = Signal(object)
    """A Job that writes."""
    written = Signal(object)
    """The path of a file that is there now."""
    idle = Signal()
    """The last writing job of this window has ended."""

    def __init__(self, session: Session, messages: Messages, writes: JobRunner, window: QWidget) -> None:
        super().__init__(window)
        self._session, self._messages, self._writes, self._window = session, messages, writes, window
        self.writing: list[Job] = []
        self.dialog: ExportDialog | None = None
        self.results = Results(session, messages, window)
        self._leftovers = Leftovers(session, messages, window)
        self._remap = RemapFlow(session, messages, self, window)
        session.described.connect(self._propose)

    # --- the state_dict

    def export_state_dict(self) -> None:
        """Ask which model and where, then write its state_dict; where there is none ask what to export."""
        checkpoint, index = self._session.checkpoint, self._session.index
        if checkpoint is None:
            return
        models = checkpoint.models
        if not models and index is not None and index.totals.tensors(0):
            self.ask_export((0,))
            return
        if not models:
            self._messages.post(
                Message("warning", "There is no model in this file, so there is no state_dict to export.")
            )
            return
        model = models[0] if len(models) == 1 else self._ask_model(checkpoint, models)
        if model is None:
            return
        if checkpoint.lost and not self._ask_partial(checkpoint):
            return
        from ckpt_viewer.export.choice import Choice, format_of
        from ckpt_viewer.export.names import export_target

        proposed = str(export_target(checkpoint.path, ".pth"))
        target = asking.ask_target(self._window, proposed, "Export state_dict", asking.EXPORT_FILTER)
        if target:
            choice = Choice((checkpoint.node(model.path).pointer,), format=format_of(target))

            def plan(context: Context) -> Plan:
                from ckpt_viewer.export.plan import plan_export  # on the job's thread: it takes 40 ms

                return plan_export(checkpoint, choice, context)

            self.carry_out(plan, target, f"Exporting {plain(Path(target).name, NAME_LIMIT)}", self._say_exported)

    def ask_export(self, rows: Sequence[int] = ()) -> None:
        """Open the dialog that asks what to export and how.

        Args:
            rows: of the tree's index that are checked at first; the first model without.
        """
        session = self._session
        if session.checkpoint is None or session.index is None or self.dialog is not None:
            return
        checkpoint = session.checkpoint
        job = session.jobs.start(_import_writers)  # on a thread: it takes longer than a window may stand still
        job.finished.connect(lambda _: self._open_dialog(checkpoint, tuple(rows)))
        job.failed.connect(self._messages.report)

    def _open_dialog(self, checkpoint: Checkpoint, rows: tuple[int, ...]) -> None:
        session = self._session
        if checkpoint is not session.checkpoint or session.index is None or self.dialog is not None:
            return
        from ckpt_viewer.export.names import export_target
        from ckpt_viewer.gui.exporting.dialog import ExportDialog

        target = str(export_target(checkpoint.path, ".pth"))
        dialog = self.dialog = ExportDialog(session, target, rows or self._first_model(), self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.exportWanted.connect(self._export_preview)
        dialog.finished.connect(self._forget_dialog)
        dialog.open()

    def _first_model(self) -> tuple[int, ...]:
        """Return the row of the first model; nothing as long as models are being looked for."""
        session, checkpoint = self._session, self._session.checkpoint
        if session.overview is None or session.index is None or checkpoint is None or not checkpoint.models:
            return ()
        row = session.index.find_path(checkpoint.models[0].path)
        return () if row is None else (row,)

    def _propose(self) -> None:
        """The models are known now: the first one is checked where nothing was."""
        if self.dialog is not None and not self.dialog.tree.pointers:
            self.dialog.tree.check(list(self._first_model()))

    def _forget_dialog(self) -> None:
        self.dialog = None

    def _export_preview(self, preview: Preview) -> None:
        plan = preview.plan
        assert plan is not None
        target = preview.leads_to or preview.target
        title = f"Exporting {plain(Path(target).name, NAME_LIMIT)}"
        self.carry_out(lambda _: plan, target, title, self._say_exported, force=preview.exists > 0)

    def _ask_partial(self, checkpoint: Checkpoint) -> bool:
        count = len(checkpoint.lost)
        detail = f"{count} tensor{' of this file is' if count == 1 else 's of this file are'} lost. "
        return asking.ask(
            self._window,
            "Export what is left?",
            f"{detail}They are left out, and named in a message.",
            "Export the rest",
        )

    def _ask_model(self, checkpoint: Checkpoint, models: tuple[Model, ...]) -> Model | None:
        answers = []
        for model in models:
            node = checkpoint.node(model.path)
            size = parameters_text(sum(entry.tensor.numel for entry in state_dict_entries(node.value).entries))
            name = plain(node.pointer, NAME_LIMIT) or "the whole file"
            answers.append(f"{name}: {size}{', an averaged copy (EMA)' if model.ema else ''}")
        chosen = asking.ask_which(self._window, "Export state_dict", "Which model?", answers)
        return None if chosen is None else models[chosen]

    def _say_exported(self, written: Written) -> None:
        path = written.path
        assert path is not None
        text = f"Wrote {plain(path.name, NAME_LIMIT)}: {amount(written)}.{remarks(written)}"
        self._messages.post(Message("success", text, self.results.actions(path)))

    # --- a copy with other device tags

    def remap_to_cpu(self) -> None:
        """Work out the copy for the CPU, ask what has to be asked, then write it beside the file."""
        self._remap.to("cpu")

    def remap_as_loaded(self) -> None:
        """The same with the devices that "Load onto" says."""
        if self._session.map_location is None:
            self._messages.post(Message("info", AS_SAVED, topic="remap"))
        else:
            self._remap.to(self._session.map_location)

    # --- all of them

    def work_out(
        self,
        plan: Callable[[Checkpoint, Context], Plan],
        title: str,
        ask: Callable[[Checkpoint, Plan], None],
    ) -> None:
        """Make a plan in a job, then ask what has to be asked of it."""
        if self._session.checkpoint is None:
            return
        checkpoint = self._session.borrow()
        job = self._session.jobs.start(lambda context: plan(checkpoint, context), title=title)
        job.ended.connect(lambda: self._session.give_back(checkpoint))
        # later: a question within the signal would leave the job unfinished, and its progress showing, until answered
        job.finished.connect(lambda made: QTimer.singleShot(0, self, lambda: ask(checkpoint, made)))
        job.failed.connect(lambda error: self._messages.report(error, about=Path(checkpoint.path).name))

    def carry_out(
        self,
        plan: Callable[[Context], Plan],
        target: str,
        title: str,
        say: Callable[[Written], None],
        *,
        force: bool | None = None,
    ) -> None:
        """Write in a job.

        Args:
            force: what is there may be replaced; without, a file of that name: whoever chose it was asked.
        """
        checkpoint = self._session.borrow()
        may_replace = os.path.lexists(target) if force is None else force

        def work(context: Context) -> Written:
            from ckpt_viewer.export.plan import write
            from ckpt_viewer.export.proof import Prover

            planned = plan(context)
            with Prover() as prover:
                written = write(planned, target, force=may_replace, prover=prover, context=context)
            with suppress(Cancelled):  # too late: the file is there
                planned.recipe.discard(context)
            return written

        job = self._writes.start(work, title=title)
        self.writing.append(job)
        self.started.emit(job)
        job.ended.connect(lambda: self._on_ended(job, checkpoint))
        job.ended.connect(lambda: self._leftovers.look_beside(target))
        job.finished.connect(lambda written: self._on_written(written, say))
        job.failed.connect(lambda error: self._on_failed(error, target, checkpoint.path))
        job.cancelled.connect(
            lambda: self._messages.post(Message("info", f"{title} was stopped; no file was written."))
        )

    def _on_written(self, written: Written, say: Callable[[Written], None]) -> None:
        if written.path is None:
            self._messages.post(Message("info", " ".join(written.warnings) or "Nothing was written."))
            return
        say(written)
        self.written.emit(written.path)

    def _on_failed(self, error: BaseException, target: str, source: str) -> None:
        if isinstance(error, TargetExists):  # made by somebody else since the question
            error = TargetExists("a file of that name is there now and was not replaced; choose another name")
        if isinstance(error, CannotExport):
            error = CannotExport(window_words(str(error)))
        about = source if isinstance(error, SourceError | Damaged) else target
        self._messages.report(error, about=Path(about).name)

    def _on_ended(self, job: Job, checkpoint: Checkpoint) -> None:
        self.writing = [other for other in self.writing if other is not job]
        self._session.give_back(checkpoint)
        if not self.writing:
            self.idle.emit()


def _import_writers(_: Context) -> None:
    import ckpt_viewer.export.plan
    import ckpt_viewer.export.selection  # noqa: F401
