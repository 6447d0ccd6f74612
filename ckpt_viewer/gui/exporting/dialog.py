"""The export dialog: what, how and where on the left, the plan that comes of it on the right, live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QHBoxLayout, QPushButton, QSplitter, QVBoxLayout, QWidget

from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.writers import writer_for, writer_named
from ckpt_viewer.gui import asking, collector
from ckpt_viewer.gui.exporting.check_tree import CheckTree
from ckpt_viewer.gui.exporting.form import OptionsForm
from ckpt_viewer.gui.exporting.plan_view import PlanView
from ckpt_viewer.gui.exporting.preview import Preview, make_preview
from ckpt_viewer.gui.exporting.target_line import TargetLine
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, plain
from ckpt_viewer.gui.tree.cells import Cells

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.session import Session

SETTLE_MS = 150
"""How long nothing must change before the plan is worked out anew: a word that is being typed is no plan."""
SIZE, SHARE = QSize(1080, 680), 0.6
"""Its usual size; beside a window of which that is little, this share of it. A screen may be smaller than both."""
FRAME = QSize(16, 48)
"""What a window manager puts around a dialog, about."""


class ExportDialog(QDialog):
    """Asks what to export, and shows what comes of it. It writes nothing itself."""

    exportWanted = Signal(object)
    """A Preview with a plan: it is to be written to its target."""

    def __init__(self, session: Session, target: str, rows: Sequence[int], parent: QWidget | None = None) -> None:
        """Ask about the open checkpoint.

        Args:
            target: proposed path. rows: of the session's tree index that are checked at first.
        """
        super().__init__(parent)
        self.setObjectName("exportDialog")
        self.setWindowTitle("Export")
        self._session = session
        self._checkpoint = session.borrow()
        index = session.index
        assert index is not None
        title = plain(Path(self._checkpoint.path).name, 120)
        self.tree = CheckTree(Cells(index, self._checkpoint.locator, title))
        self.form, self.target, self.plan = OptionsForm(), TargetLine(target), PlanView()
        self._shown: Preview | None = None
        self._work = Latest(session.jobs, self)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._arrange()
        self._connect()
        self.tree.check(list(rows))
        self.tree.setFocus()

    def _arrange(self) -> None:
        questions, left = QWidget(), QVBoxLayout()
        questions.setLayout(left)
        left.setContentsMargins(0, 0, 6, 0)
        left.addWidget(label("What is exported", name="What is exported"))
        left.addWidget(self.tree, 1)
        left.addWidget(self.form)
        sides = QSplitter(Qt.Orientation.Horizontal)
        sides.addWidget(questions)
        sides.addWidget(self.plan)
        sides.setChildrenCollapsible(False)
        sides.setStretchFactor(1, 1)
        sides.setSizes([360, SIZE.width() - 360])
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.export_button = QPushButton("&Export")
        self.export_button.setObjectName("exportButton")
        self._buttons.addButton(self.export_button, QDialogButtonBox.ButtonRole.AcceptRole)
        self.export_button.setDefault(True)
        self._buttons.button(QDialogButtonBox.StandardButton.Cancel).setAutoDefault(False)
        below = QHBoxLayout()
        below.addWidget(self.target, 1)
        below.addSpacing(12)
        below.addWidget(self._buttons)
        column = QVBoxLayout(self)
        column.addWidget(sides, 1)
        column.addLayout(below)
        self.resize(self._usual_size())

    def _usual_size(self) -> QSize:
        parent = self.parentWidget()
        beside = parent.window().size() * SHARE if parent is not None else SIZE
        return SIZE.expandedTo(beside).boundedTo(self.screen().availableSize() - FRAME)

    def _connect(self) -> None:
        self._settle.timeout.connect(self._start)
        self._work.finished.connect(self._show)
        self._work.failed.connect(self._fail)
        self.tree.checked.connect(self._change)
        self.form.changed.connect(self._change)
        self.form.formatChanged.connect(lambda name: self.target.set_suffix(writer_named(name).suffixes))
        self.target.changed.connect(self._on_target)
        self._buttons.accepted.connect(self._export)
        self._buttons.rejected.connect(self.reject)
        for gone in (self._session.loading, self._session.failed):
            gone.connect(self.reject)
        self.finished.connect(self._leave)

    def _on_target(self, path: str) -> None:
        writer = writer_for(Path(path).name)
        if writer is not None and writer.name != self.form.format_name:
            self.form.set_format(writer.name)
        self._change()

    @property
    def is_working(self) -> bool:
        """Whether a plan is still to come."""
        return self._settle.isActive() or self._work.job is not None

    # --- the plan

    def _change(self) -> None:
        """Something else is asked for: what is shown is not it any more."""
        self._work.cancel()
        self.export_button.setEnabled(False)
        self.plan.show_working()
        self._settle.start()

    def _start(self) -> None:
        checkpoint, target = self._checkpoint, self.target.path
        try:
            pointers = self.tree.pointers
            if not pointers:
                raise CannotExport("nothing is checked; check a model or a part of it")
            choice = self.form.choice(pointers)
        except CannotExport as error:
            self._fail(error)
            return

        def work(context: Context) -> Preview:
            return make_preview(checkpoint, choice, target, context)

        self._work.start(work)

    def _show(self, preview: Preview) -> None:
        self._discard()
        collector.keep()  # 100,000 entries would be looked through for garbage at once
        self._shown = preview
        self.plan.show_preview(preview)
        self.export_button.setEnabled(not preview.problem and preview.plan is not None)

    def _fail(self, error: BaseException) -> None:
        self._discard()
        self.plan.show_problem(error)

    def _discard(self) -> None:
        """Let go of what was shown, on a thread: it may be large."""
        old, self._shown = self._shown, None
        if old is not None:
            self.plan.clear()
            self._session.jobs.start(old.discard)

    # --- the end

    def _export(self) -> None:
        preview = self._shown
        if preview is None or not self.export_button.isEnabled():
            return
        if preview.exists and not asking.ask_replace(self, preview.target, count=preview.exists):
            return
        self._shown = None  # it goes to whoever writes it
        self.plan.clear()
        self.accept()
        self.exportWanted.emit(preview)

    def _leave(self) -> None:
        self._settle.stop()
        self._work.cancel()
        self._discard()
        self._session.give_back(self._checkpoint)
