"""The lines of a whole module as a tree with columns, and the view that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QGuiApplication, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QWidget,
)

from ckpt_viewer.analysis.module_tree import BUFFER, MODULE, Line
from ckpt_viewer.core.text import grouped, shape_text
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import plain, tooltip

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.node import Node
    from ckpt_viewer.gui.panels.module_report import ModuleReport
    from ckpt_viewer.gui.session import Session

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("Name", "Class", "Shape", "Values", "Mode", "Hooks and settings")
NAME, CLASS, SHAPE, VALUES, MODE, DETAILS = range(6)
SHOWN = 300
"""Characters of a cell that are painted."""
AIR = 4
"""Pixels of a row's height beside its text."""
_NOWHERE = QModelIndex()
LEAST_WIDE, MOST_WIDE = 110, 240
"""Pixels that a column but the last may ask for at first, in a narrow window and in a wide one."""


class ModuleModel(QAbstractItemModel):
    """Lines of a ModuleReport; the internal id of an index is the number of its line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.report: ModuleReport | None = None
        self._places: dict[int, int] = {}

    def show_report(self, report: ModuleReport | None) -> None:
        """Show another module."""
        self.beginResetModel()
        self.report = report
        below = report.below if report is not None else []
        self._places = {number: place for numbers in below for place, number in enumerate(numbers)}
        self.endResetModel()

    def line(self, index: Index) -> Line | None:
        """Return the line at an index."""
        return self.report.tree.lines[index.internalId()] if self.report is not None and index.isValid() else None

    def text(self, number: int, column: int) -> str:
        """Return the whole text of a cell, unescaped."""
        assert self.report is not None
        tree, line = self.report.tree, self.report.tree.lines[number]
        if column == NAME:
            return line.name or "(this module)"
        if column == CLASS:
            return line.type if line.kind == MODULE else line.kind if line.saved else f"{line.kind}, not saved"
        if column == SHAPE:
            return f"{shape_text(line.tensor.shape)} {line.tensor.dtype}" if line.tensor is not None else ""
        if column == VALUES:
            count = tree.buffers[number] if line.kind == BUFFER else tree.parameters[number]
            return grouped(count) if count else ""
        if column == MODE:
            return {True: "training", False: "eval", None: ""}[line.training]
        again = ("the same as an earlier one",) if line.same_as is not None else ()
        return "; ".join(filter(None, (*again, *line.hooks, line.settings)))

    # what follows is called by Qt

    def index(self, row: int, column: int, parent: Index = _NOWHERE) -> QModelIndex:
        """The line at a place below another."""
        if self.report is None or not 0 <= column < len(COLUMNS) or row < 0:
            return QModelIndex()
        if not parent.isValid():
            return self.createIndex(0, column, 0) if row == 0 else QModelIndex()
        numbers = self.report.below[parent.internalId()] if parent.column() == 0 else []
        return self.createIndex(row, column, numbers[row]) if row < len(numbers) else QModelIndex()

    def parent(self, index: Index = _NOWHERE) -> QModelIndex:  # type: ignore[override]
        """The line above."""
        line = self.line(index)
        if line is None or line.parent < 0:
            return QModelIndex()
        return self.createIndex(self._places.get(line.parent, 0), 0, line.parent)

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Lines below a line."""
        if self.report is None:
            return 0
        if not parent.isValid():
            return 1
        return len(self.report.below[parent.internalId()]) if parent.column() == 0 else 0

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """See COLUMNS."""
        del parent
        return len(COLUMNS)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text and look of a cell."""
        line, column = self.line(index), index.column()
        if line is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            text = self.text(index.internalId(), column)
            return plain(text.rpartition(".")[2] if column == CLASS else text, SHOWN)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip(self.text(index.internalId(), column)) or None
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{COLUMNS[column]}: {plain(self.text(index.internalId(), column), SHOWN)}"
        if role == Qt.ItemDataRole.TextAlignmentRole and column == VALUES:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and column == NAME:
            return QGuiApplication.palette().brush(QPalette.ColorRole.Link)
        if role == Qt.ItemDataRole.ForegroundRole and (not line.saved or column == DETAILS):
            return QGuiApplication.palette().brush(QPalette.ColorRole.PlaceholderText)
        return None

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The titles of the columns."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return None


class Airy(QStyledItemDelegate):
    """Rows as high as those of the other tables."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Some pixels more than Qt's."""
        return super().sizeHint(option, index) + QSize(0, AIR)


class ModuleView(QTreeView):
    """Shows a ModuleModel. A click on a name, or Enter, selects the entry in the window."""

    lineChanged = Signal(object)
    """The Line that is current."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setObjectName("moduleTree")
        self.setAccessibleName("Modules, their parameters and buffers")
        self.lines = ModuleModel(self)
        self.setModel(self.lines)
        self._finder = Latest(session.jobs, self)
        self._finder.finished.connect(session.select)
        self.clicked.connect(lambda index: self.follow(index) if index.column() == NAME else None)
        self.activated.connect(self.follow)
        self.selectionModel().currentChanged.connect(lambda index, _: self.lineChanged.emit(self.lines.line(index)))
        self.setItemDelegate(Airy(self))
        self.setUniformRowHeights(True)
        self.setAllColumnsShowFocus(True)
        self.setAlternatingRowColors(True)
        self.setExpandsOnDoubleClick(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setIndentation(14)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.header().setStretchLastSection(True)
        self.header().setSectionsMovable(False)

    def show_report(self, report: ModuleReport) -> None:
        """Show another module, its first levels open."""
        self.lines.show_report(report)
        self.expandToDepth(report.levels - 1)
        most = max(LEAST_WIDE, min(MOST_WIDE, self.viewport().width() * 3 // 10))
        for column in range(DETAILS):
            self.resizeColumnToContents(column)
            self.setColumnWidth(column, min(most, self.columnWidth(column) + 8))
        self.header().setSectionResizeMode(DETAILS, QHeaderView.ResizeMode.Interactive)
        self.setCurrentIndex(self.lines.index(0, 0))

    def follow(self, index: QModelIndex) -> None:
        """Select the entry of a line; finding its place may pass many siblings, so in a job."""
        line, checkpoint, tree = self.lines.line(index), self._session.checkpoint, self._session.index
        if line is not None and checkpoint is not None and tree is not None:
            row = line.row if line.same_as is None else line.same_as
            self._finder.start(lambda _context: _node(tree.node, row, checkpoint))


def _node(find: Any, row: int, checkpoint: Checkpoint) -> Node:
    found: Node = find(row, checkpoint)
    return found
