"""The right side of the export dialog: what would be written, entry by entry, and what there is to say about it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from ckpt_viewer.core.text import grouped
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.exporting.plan_table import PlanTable
from ckpt_viewer.gui.exporting.preview import Preview, room_text
from ckpt_viewer.gui.labels import foldable, label, larger, plain
from ckpt_viewer.gui.messages import error_text
from ckpt_viewer.gui.theme import theme

MOST_WARNINGS = 20
WARNINGS_HEIGHT, SCROLLBAR = 96, 20
"""Pixels that the warnings take at most before they scroll, and that are left for that."""
WORKING = "Working out the plan …"


class PlanView(QWidget):
    """Facts, problem, warnings and the table."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._facts = label(wrap=True, selectable=True)
        self._facts.setObjectName("exportSummary")
        larger(self._facts, 1.08, bold=True)
        self._room = label(wrap=True, muted=True)
        self._room.setObjectName("exportRoom")
        self._problem = _Remark("error", "exportProblem")
        self._warnings = _Remark("warning", "exportWarnings")
        self.table = PlanTable()
        scrolled = QScrollArea()
        scrolled.setFrameShape(QFrame.Shape.NoFrame)
        scrolled.setWidgetResizable(True)
        scrolled.setWidget(self._warnings)
        scrolled.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scrolled.setAccessibleName("Warnings")
        self._scrolled = scrolled
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 0, 0, 0)
        for widget in (self._facts, self._room, self._problem, scrolled):
            column.addWidget(widget)
        column.addWidget(self.table, 1)
        self.show_working()
        self._say("", [])

    def show_working(self) -> None:
        """A new plan is being worked out; what is shown stays until it comes, but for what was wrong with it."""
        self._facts.setText(WORKING)
        self._problem.say("")

    def show_preview(self, preview: Preview) -> None:
        """Show what a choice comes to."""
        self._facts.setText(foldable(", ".join(preview.facts)) or "Nothing would be written")
        self._room.setText(foldable(room_text(preview)))
        source = preview.plan or preview.selection
        self._say(preview.problem, list(source.warnings) if source is not None else [])
        self.table.plan_model.show_preview(preview)

    def show_problem(self, error: BaseException) -> None:
        """Say why there is no plan."""
        text = error_text(error)
        self._facts.setText("Nothing would be written")
        self._room.setText("")
        self._say(f"{text[:1].upper()}{text[1:]}" if isinstance(error, CheckpointError) else text, [])
        self.table.plan_model.show_preview(None)

    def clear(self) -> None:
        """Let go of the entries."""
        self.table.plan_model.show_preview(None)

    def _say(self, problem: str, warnings: list[str]) -> None:
        self._problem.say(plain(problem, 600))
        more = len(warnings) - MOST_WARNINGS
        shown = [plain(f"{text[:1].upper()}{text[1:]}.", 400) for text in warnings[:MOST_WARNINGS]]
        if more > 0:
            shown.append(f"And {grouped(more)} more warnings.")
        self._warnings.say("\n".join(shown))
        self._scrolled.setVisible(bool(shown))
        self._fit_warnings()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_warnings()

    def _fit_warnings(self) -> None:
        """Give the warnings the height that their text takes, as far as that goes."""
        layout = self._warnings.layout()
        wanted = layout.totalHeightForWidth(self.width() - SCROLLBAR) if layout is not None else 0
        self._scrolled.setFixedHeight(max(0, min(WARNINGS_HEIGHT, wanted)))


class _Remark(QWidget):
    """A severity's icon and a text; hidden while there is none."""

    def __init__(self, severity: str, name: str) -> None:
        super().__init__()
        self._severity = severity
        self._icon = QLabel()
        self._text = label(wrap=True, selectable=True)
        self._text.setObjectName(name)
        self._text.setAlignment(Qt.AlignmentFlag.AlignTop)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 2, 0, 2)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self._text, 1)

    def say(self, text: str) -> None:
        picture = icons.pixmap(self._severity, 32, icons.colour_of(self._severity, theme()))
        picture.setDevicePixelRatio(2)
        self._icon.setPixmap(picture)
        self._text.setText(foldable(text))
        self.setVisible(bool(text))
