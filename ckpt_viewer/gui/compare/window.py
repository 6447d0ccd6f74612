"""The window of a comparison: what differs between A and B, as a table that leads into both windows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QMainWindow,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.gui import collector
from ckpt_viewer.gui.compare.kinds import KindList
from ckpt_viewer.gui.compare.side import Side
from ckpt_viewer.gui.compare.table import DiffTable
from ckpt_viewer.gui.compare.work import Comparison, arrange, compare, compare_values, write_csv
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import JobRunner, Latest
from ckpt_viewer.gui.labels import NAME_LIMIT, label, larger, plain
from ckpt_viewer.gui.messages import error_text
from ckpt_viewer.gui.panels.base import Notice
from ckpt_viewer.gui.status import JobStatus

if TYPE_CHECKING:
    from ckpt_viewer.analysis.diff_table import Line
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.main_window import MainWindow

SIZE = (1060, 640)
READ_AT_ONCE = 200_000_000
"""Bytes of both files' tensors up to which their values are compared without being asked for."""
DIFFERS_WORD = "differs"
"""The word of a tree's filter for all that a comparison marked."""
TYPED_MS = 150
"""How long a text stands there before the lines are looked through for it."""


class CompareWindow(QMainWindow):
    """Compares what two windows have open; follows them when they read their files again.

    Attributes:
        sides: A and B. comparison: None until there is one.
    """

    closed = Signal(object)
    quitWanted = Signal()

    def __init__(self, a: MainWindow, b: MainWindow) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("compareWindow")
        self.jobs = JobRunner(self)
        self._spared = collector.spare(self.jobs)
        self.comparison: Comparison | None = None
        self._comparing, self._arranging, self._saving = (Latest(self.jobs, self) for _ in range(3))
        self._order = (-1, False)
        self._make()
        self._arrange()
        self._connect()
        self.sides = (Side(a, self), Side(b, self))
        for side in self.sides:
            side.changed.connect(self.start)
        self.resize(*SIZE)
        self.start()

    # --- what it is made of

    def _make(self) -> None:
        self.names = (ElidedLabel(mode=Qt.TextElideMode.ElideLeft), ElidedLabel(mode=Qt.TextElideMode.ElideLeft))
        for name, letter in zip(self.names, "AB", strict=True):
            name.setObjectName(f"compareName{letter}")
        self.swap = _button("Swap", "compareSwap", "Make A of B and B of A")
        self.sentence = label(wrap=True, selectable=True)
        self.sentence.setObjectName("compareSentence")
        larger(self.sentence, 1.1, bold=True)
        self.read = _button("Compare the values", "compareValues", "Read both files and compare all tensors")
        self.filter = QLineEdit()
        self.filter.setObjectName("compareFilter")
        self.filter.setAccessibleName("Filter the differences by path")
        self.filter.setPlaceholderText("Filter: parts of a path")
        self.filter.setClearButtonEnabled(True)
        self.filter.setMaxLength(500)
        self.trees = _button("Filter both trees", "compareFilterTrees", f"Type “{DIFFERS_WORD}” into both filters")
        self.save = _button("Save as CSV …", "compareSave", "Save what shows, in full precision")
        self.kinds = KindList()
        self.table, self.nothing = DiffTable(), Notice()
        self.nothing.text.setObjectName("compareNothing")
        self.status = JobStatus()
        self.status.watch(self.jobs)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPED_MS)

    def _arrange(self) -> None:
        files = QGridLayout()
        files.setColumnStretch(1, 1)
        for row, (letter, name) in enumerate(zip("AB", self.names, strict=True)):
            files.addWidget(label(letter, muted=True), row, 0)
            files.addWidget(name, row, 1)
        files.addWidget(self.swap, 0, 2, 2, 1, Qt.AlignmentFlag.AlignVCenter)
        answer = QHBoxLayout()
        answer.addWidget(self.sentence, 1)
        answer.addWidget(self.read, 0, Qt.AlignmentFlag.AlignTop)
        tools = QHBoxLayout()
        tools.addWidget(self.filter, 1)
        tools.addWidget(self.trees)
        tools.addWidget(self.save)
        lists = QHBoxLayout()
        lists.addWidget(self.kinds)
        self._pages = QStackedLayout()
        self._pages.addWidget(self.table)
        self._pages.addWidget(self.nothing)
        lists.addLayout(self._pages, 1)
        central = QWidget()
        column = QVBoxLayout(central)
        column.setContentsMargins(12, 10, 12, 4)
        for part in (files, answer, tools):
            column.addLayout(part)
        column.addLayout(lists, 1)
        self.setCentralWidget(central)
        self.statusBar().addWidget(self.status, 1)
        self.statusBar().setSizeGripEnabled(False)

    def _connect(self) -> None:
        self._comparing.finished.connect(self._show)
        self._comparing.failed.connect(self._say_error)
        self._arranging.finished.connect(self._show_lines)
        self._saving.finished.connect(lambda words: self.statusBar().showMessage(words))
        self._saving.failed.connect(lambda error: self.statusBar().showMessage(f"Not saved: {plain(str(error), 200)}"))
        self.swap.clicked.connect(self.exchange)
        self.read.clicked.connect(self.read_values)
        self.save.clicked.connect(self._ask_csv)
        self.trees.clicked.connect(self._filter_trees)
        self.filter.textChanged.connect(lambda _: self._typing.start())
        self._typing.timeout.connect(self._rearrange)
        self.kinds.changed.connect(self._rearrange)
        self.table.sortWanted.connect(self._sort)
        self.table.lineChosen.connect(self._follow)
        self.table.activated.connect(self._come_forward)
        keys = {"Ctrl+W": self.close, "Ctrl+F": self.filter.setFocus, "Ctrl+Q": self.quitWanted}
        for key, call in keys.items():
            QShortcut(QKeySequence(key), self).activated.connect(call)

    # --- comparing

    def start(self) -> None:
        """Compare anew, once both files are open."""
        self.comparison = None
        self._comparing.cancel()
        self._show_names()
        self._show_lines(([], []))
        self.kinds.show_counts({})
        self.read.hide()
        for side, letter in zip(self.sides, "AB", strict=True):
            if side.error is not None:
                self._say(f"{letter} could not be opened: {error_text(side.error)}")
                return
        a, b = (side.checkpoint for side in self.sides)
        if a is None or b is None:
            self._say("Opening the file …")
            return
        self._say("Comparing …")
        self._comparing.start(lambda context: compare(a, b, context), title="Comparing")

    def read_values(self) -> None:
        """Compare the values too, in a job that says how far it is and can be stopped."""
        before, (a, b) = self.comparison, (side.checkpoint for side in self.sides)
        if before is None or a is None or b is None:
            return
        self.read.setEnabled(False)
        job = self._comparing.start(lambda context: compare_values(a, b, before, context), title="Comparing the values")
        job.ended.connect(lambda: self.read.setEnabled(True))

    def _show(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self._say(comparison.sentence)
        self.kinds.show_counts(comparison.counts)
        self.table.show_kinds(comparison.counts)
        for side, marks in zip(self.sides, (comparison.marks_a, comparison.marks_b), strict=True):
            side.mark(marks)
        self._rearrange()
        wanted = not comparison.valued and comparison.to_read > 0
        self.read.setText(f"Compare the values ({bytes_text(comparison.to_read)})")
        self.read.setVisible(wanted)
        if wanted and comparison.to_read <= READ_AT_ONCE:
            self.read_values()

    def exchange(self) -> None:
        """Make A of B and B of A."""
        self.sides = (self.sides[1], self.sides[0])
        self.start()

    # --- showing

    def _show_names(self) -> None:
        names = [plain(Path(side.path).name, NAME_LIMIT) for side in self.sides]
        for shown, side in zip(self.names, self.sides, strict=True):
            shown.setText(plain(side.path))
        self.table.differences.show_names((names[0], names[1]))
        self.setWindowTitle(f"{names[0]} and {names[1]} – Comparison")

    def _say(self, text: str) -> None:
        self.sentence.setText(plain(text))
        self.sentence.setAccessibleName(plain(text))

    def _say_error(self, error: BaseException) -> None:
        self._say(f"They could not be compared: {error_text(error)}")

    def _sort(self, column: int, descending: bool) -> None:
        self._order = (column, descending)
        self._rearrange()

    def _rearrange(self) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        lines, hidden, text, order = comparison.lines, self.kinds.left_out, self.filter.text(), self._order

        def work(context: Context) -> tuple[list[Line], list[int]]:
            return lines, arrange(lines, hidden, text, *order, context)

        self._arranging.start(work)

    def _show_lines(self, result: tuple[list[Line], list[int]]) -> None:
        lines, shown = result
        self.table.show_lines(lines, shown)
        self.save.setEnabled(bool(shown))
        self.kinds.setVisible(bool(lines))
        text = plain(self.filter.text().strip(), 100)
        hidden = f"None of the {len(lines)} differences is of a kind that is ticked" if lines else ""
        self.nothing.say(
            f"{hidden} and has “{text}” in its path." if hidden and text else f"{hidden}." if hidden else ""
        )
        self._pages.setCurrentWidget(self.table if shown else self.nothing)
        self.trees.setEnabled(bool(lines))

    def _follow(self, line: Line) -> None:
        for side, row in zip(self.sides, (line.row_a, line.row_b), strict=True):
            side.select(row)

    def _come_forward(self) -> None:
        """Put both windows in front: the entry is selected in them."""
        for side in self.sides:
            side.come_forward()

    def _filter_trees(self) -> None:
        for side in self.sides:
            side.filter_tree(DIFFERS_WORD)

    def _ask_csv(self) -> None:
        from ckpt_viewer.gui.asking import ask_csv

        proposed = str(Path(self.sides[0].path).with_name("differences.csv"))
        path = ask_csv(self, proposed)
        if path:
            self.save_csv(path)

    def save_csv(self, path: str) -> None:
        """Write the lines that show, in a job."""
        model = self.table.differences
        lines, names = [model.lines[number] for number in model.shown], model.names

        def work(context: Context) -> str:
            write_csv(lines, names, path, context)
            return f"Saved {plain(Path(path).name, NAME_LIMIT)}."

        self._saving.start(work, title="Saving the differences")

    # --- closing

    def closeEvent(self, event: QCloseEvent) -> None:
        """Stop what runs, and give both files back."""
        self.jobs.cancel_all()
        self.jobs.wait(5000)
        collector.resume(self._spared)
        for side in self.sides:
            side.let_go()
        self.closed.emit(self)
        super().closeEvent(event)


def _button(text: str, name: str, hint: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(hint)
    return button
