"""The tree of a checkpoint with check marks: what is exported."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPalette
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStyle, QStyleOptionViewItem, QTreeView, QWidget

from ckpt_viewer.gui.exporting.checks import OFF, ON, PARTLY, Checks
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.tree.cells import COLUMNS, NAME, SIZE, Cells
from ckpt_viewer.gui.tree.delegate import RowHeight
from ckpt_viewer.gui.tree.model import AnyIndex, CheckpointTreeModel

_STATES = {OFF: Qt.CheckState.Unchecked, PARTLY: Qt.CheckState.PartiallyChecked, ON: Qt.CheckState.Checked}
_CHECK, _DISPLAY = int(Qt.ItemDataRole.CheckStateRole), int(Qt.ItemDataRole.DisplayRole)


class CheckModel(CheckpointTreeModel):
    """The tree's model with a check mark at everything that holds tensors."""

    def __init__(self, cells: Cells, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.set_tree(cells)
        self.checks = Checks(cells.index)

    def flags(self, index: AnyIndex) -> Qt.ItemFlag:
        flags = super().flags(index)
        row = self.row_of(index)
        if row >= 0 and index.column() == NAME and self.checks.can(row):
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    @called_by_qt
    def data(self, index: AnyIndex, role: int = _DISPLAY) -> Any:
        if role != _CHECK:
            return super().data(index, role)
        row = self.row_of(index)
        if row < 0 or index.column() != NAME or not self.checks.can(row):
            return None
        return _STATES[self.checks.state(row)]

    def setData(self, index: AnyIndex, value: Any, role: int = int(Qt.ItemDataRole.EditRole)) -> bool:
        row = self.row_of(index)
        if role != _CHECK or row < 0:
            return False
        self.checks.set(row, Qt.CheckState(value) is Qt.CheckState.Checked)
        # marks above and below change too; the view asks again for what it paints
        self.dataChanged.emit(index, index, [_CHECK])
        return True


class _CheckDelegate(RowHeight):
    """Draws a frame around each check mark: the style's own can hardly be seen on a dark ground."""

    @called_by_qt
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        super().paint(painter, option, index)
        if index.flags() & Qt.ItemFlag.ItemIsUserCheckable:
            shown = QStyleOptionViewItem(option)
            self.initStyleOption(shown, index)
            part = QStyle.SubElement.SE_ItemViewItemCheckIndicator
            painter.setPen(shown.palette.color(QPalette.ColorRole.PlaceholderText))
            painter.drawRect(shown.widget.style().subElementRect(part, shown, shown.widget).adjusted(0, 0, -1, -1))


class CheckTree(QTreeView):
    """Shows a CheckModel; Space or a click checks a row."""

    checked = Signal()
    """Something else is checked."""

    def __init__(self, cells: Cells, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("exportSources")
        self.setAccessibleName("What is exported")
        self.check_model = CheckModel(cells, self)
        self.setModel(self.check_model)
        self.setItemDelegate(_CheckDelegate(self))
        self.setUniformRowHeights(True)
        self.setIndentation(14)
        self.setRootIsDecorated(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header = self.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(40)
        for column in range(len(COLUMNS)):
            self.setColumnHidden(column, column not in (NAME, SIZE))
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(SIZE, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(SIZE, self.fontMetrics().horizontalAdvance("999.9 MB") + 16)
        self.expand(self.check_model.index_of(0))
        self.check_model.dataChanged.connect(self._on_changed)
        self.clicked.connect(self._show_more)

    def check(self, rows: list[int]) -> None:
        """Check these rows and nothing else, and show the first of them."""
        self.check_model.checks.set_all(rows)
        for row in rows[:1]:
            index = self.check_model.reveal(row)
            self.setCurrentIndex(index)
            self.scrollTo(index)
        self._on_changed()

    @property
    def pointers(self) -> tuple[str, ...]:
        """JSON Pointers of what is checked."""
        return self.check_model.checks.pointers()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Space checks the current row, in whatever column it is."""
        index = self.currentIndex()
        if event.key() == Qt.Key.Key_Space and index.isValid():
            name = index.siblingAtColumn(NAME)
            if self.check_model.is_more(name):
                self._show_more(name)
            else:
                state = self.check_model.data(name, _CHECK)
                wanted = Qt.CheckState.Unchecked if state is Qt.CheckState.Checked else Qt.CheckState.Checked
                self.check_model.setData(name, wanted, _CHECK)
            event.accept()
            return
        super().keyPressEvent(event)

    def _show_more(self, index: QModelIndex) -> None:
        if self.check_model.is_more(index):
            self.setCurrentIndex(self.check_model.show_more(index))

    def _on_changed(self) -> None:
        self.viewport().update()
        self.checked.emit()
