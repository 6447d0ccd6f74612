"""The plan, entry by entry: names in the file, names in the new file, dtypes, bytes; and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.export.selection import Line, Selection
from ckpt_viewer.gui.exporting.preview import Preview
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import plain, tooltip

NAMELESS = '""'
"""How the empty name is shown, as in the tree."""
HEADS = ("In the file", "As written", "Dtype", "Size")
_DISPLAY = int(Qt.ItemDataRole.DisplayRole)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_NOWHERE = QModelIndex()

AnyIndex = QModelIndex | QPersistentModelIndex


class Cell(NamedTuple):
    """A row of the table: four texts, and whether it is left out or collides."""

    texts: tuple[str, str, str, str]
    left_out: bool = False
    collides: bool = False


class PlanModel(QAbstractTableModel):
    """An adapter over a Selection: what collides first, then what is written, then what is left out."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._selection: Selection | None = None
        self._collided: tuple[Line, ...] = ()
        self._lines: list[Line] = []
        self._omitted: frozenset[str] = frozenset()
        self._tied: Mapping[str, str] = {}
        self._holding: Mapping[str, tuple[int, int]] = {}

    def show_preview(self, preview: Preview | None) -> None:
        """Show another plan."""
        self.beginResetModel()
        self._selection = selection = preview.selection if preview is not None else None
        self._lines = selection.lines if selection is not None else []
        self._collided = preview.collided if preview is not None else ()
        plan = preview.plan if preview is not None else None
        self._omitted = frozenset(plan.recipe.dropped) if plan is not None else frozenset()
        self._tied = preview.tied if preview is not None else {}
        self._holding = preview.holding if preview is not None else {}
        self.endResetModel()

    @property
    def says_more(self) -> bool:
        """Whether the second column says anything but that a name stays as it is."""
        shown = self._selection
        if shown is None:
            return False
        return bool(shown.renamed or shown.dropped or shown.collisions or self._omitted or self._tied)

    def rowCount(self, parent: AnyIndex = _NOWHERE) -> int:
        if parent.isValid() or self._selection is None:
            return 0
        return len(self._collided) + len(self._lines) + len(self._selection.dropped)

    def columnCount(self, parent: AnyIndex = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(HEADS)

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        if orientation is Qt.Orientation.Horizontal and role == _DISPLAY:
            return HEADS[section]
        return None

    def cell(self, row: int) -> Cell:
        """Return what a row says."""
        assert self._selection is not None
        if row < len(self._collided):
            return _cell(self._collided[row], collides=True)
        row -= len(self._collided)
        if row < len(self._lines):
            line = self._lines[row]
            if line.new in self._omitted:
                return Cell((line.name, "left out by the format", "", ""), left_out=True)
            return _cell(line, self._holding.get(line.new), tied=self._tied.get(line.new, ""))
        name, reason = self._selection.dropped[row - len(self._lines)]
        return Cell((name, f"left out: {reason}", "", ""), left_out=True)

    @called_by_qt
    def data(self, index: AnyIndex, role: int = _DISPLAY) -> Any:
        """Text and look of a cell; what is left out comes last."""
        if not index.isValid() or self._selection is None:
            return None
        column = index.column()
        if role == int(Qt.ItemDataRole.TextAlignmentRole):
            return _RIGHT if column == 3 else None
        if role not in (_DISPLAY, int(Qt.ItemDataRole.ToolTipRole), int(Qt.ItemDataRole.FontRole)):
            return None
        cell = self.cell(index.row())
        if role == int(Qt.ItemDataRole.FontRole):
            return _font(bold=cell.collides, italic=cell.left_out) if cell.collides or cell.left_out else None
        text = cell.texts[column]
        return plain(text, 300) if role == _DISPLAY else tooltip(text) if column < 2 and text else None


def _cell(line: Line, held: tuple[int, int] | None = None, *, collides: bool = False, tied: str = "") -> Cell:
    name, called = line.name or NAMELESS, line.new or NAMELESS
    new = f"{called}  (wanted twice)" if collides else called if line.new != line.name else "same"
    if tied:
        new = f"{new}, tied to {tied}"
    if held is not None:
        count, nbytes = held
        text = f"{grouped(count)} tensor{'' if count == 1 else 's'}"
        return Cell((name, new, text, bytes_text(nbytes)), collides=collides)
    if line.old_dtype is None:
        return Cell((name, new, "plain value", ""), collides=collides)
    dtype = line.old_dtype if line.old_dtype == line.dtype else f"{line.old_dtype} → {line.dtype}"
    return Cell((name, new, dtype, bytes_text(line.new_nbytes)), collides=collides)


def _font(*, bold: bool, italic: bool) -> QFont:
    font = QFont()
    font.setBold(bold)
    font.setItalic(italic)
    return font


class PlanTable(QTableView):
    """Shows a PlanModel; where all names stay as they are, once."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("exportPlan")
        self.setAccessibleName("Plan: names in the file, names as written, dtypes, sizes")
        self.plan_model = PlanModel(self)
        self.setModel(self.plan_model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        header.setStretchLastSection(False)
        for column in (0, 1):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        for column, sample in ((2, "bfloat16 → float16"), (3, "999.9 MB")):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, self.fontMetrics().horizontalAdvance(sample) + 16)
        self.plan_model.modelReset.connect(lambda: self.setColumnHidden(1, not self.plan_model.says_more))
