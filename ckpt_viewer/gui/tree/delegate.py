"""Paints the cells of the tree: a name with its note behind it, marks, less important text in a muted colour."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics, QPainter, QPalette
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTreeView

from ckpt_viewer.gui.tree.cells import COLUMNS, NAME, PARAMETERS, SHAPE, SIZE, TYPE
from ckpt_viewer.gui.tree.marks import SIZE as PICTURE
from ckpt_viewer.gui.tree.marks import picture
from ckpt_viewer.gui.tree.model import CheckpointTreeModel, TreeRole

MARGIN = 4
GAP = 8
"""Pixels between a name and its note."""
LEAST_NOTE = 24
"""Pixels below which a note is left out."""

_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_ALIGNMENTS = tuple(_RIGHT if column in (PARAMETERS, SIZE) else _LEFT for column in range(len(COLUMNS)))
_TEXT, _HIGHLIGHTED = QPalette.ColorRole.Text, QPalette.ColorRole.HighlightedText
_MUTED, _LINK = QPalette.ColorRole.PlaceholderText, QPalette.ColorRole.Link
_ONE_LINE = int(_LEFT) | int(Qt.TextFlag.TextSingleLine)

AnyIndex = QModelIndex | QPersistentModelIndex


class TreeDelegate(QStyledItemDelegate):
    """Asks the model itself for what it paints: Qt's own way asks seven roles of each cell through Python."""

    def __init__(self, model: CheckpointTreeModel, view: QTreeView) -> None:
        super().__init__(view)
        self._model, self._view = model, view

    def initStyleOption(self, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        column = index.column()
        option.index = index  # type: ignore[assignment]
        option.features = QStyleOptionViewItem.ViewItemFeature.HasDisplay
        option.displayAlignment = _ALIGNMENTS[column]
        option.textElideMode = Qt.TextElideMode.ElideLeft if column == TYPE else Qt.TextElideMode.ElideRight
        option.text = self._model.data(index) or ""
        if column == TYPE or (column == SHAPE and self._is_summary(index)):
            option.palette.setBrush(_TEXT, option.palette.brush(_MUTED))

    def _is_summary(self, index: AnyIndex) -> bool:
        tree, row = self._model.tree, self._model.row_of(index)
        return tree is not None and row >= 0 and tree.ends[row] > row + 1

    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        metrics: QFontMetrics = option.fontMetrics
        text = self._model.data(index) or ""
        width = metrics.horizontalAdvance(text) + 2 * MARGIN + 2
        if index.column() == NAME:
            width += metrics.horizontalAdvance(self._model.data(index, TreeRole.NOTE) or "") + GAP + PICTURE
        return QSize(width, metrics.height() + 6)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        if index.column() != NAME:
            super().paint(painter, option, index)
            return
        cell = QStyleOptionViewItem(option)
        self.initStyleOption(cell, index)
        name, cell.text = cell.text, ""
        self._view.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, cell, painter, self._view)
        painter.save()
        painter.setClipRect(cell.rect)  # stacked accents reach far into other rows
        self._paint_name(painter, cell, index, name)
        painter.restore()

    def _paint_name(self, painter: QPainter, cell: QStyleOptionViewItem, index: AnyIndex, name: str) -> None:
        rect: QRect = cell.rect.adjusted(MARGIN, 0, -MARGIN, 0)
        palette: QPalette = cell.palette
        state: QStyle.StateFlag = cell.state
        active = QPalette.ColorGroup.Active if state & QStyle.StateFlag.State_Active else QPalette.ColorGroup.Inactive
        selected = bool(state & QStyle.StateFlag.State_Selected)
        plain = palette.color(active, _HIGHLIGHTED if selected else _TEXT)
        row = self._model.row_of(index)
        mark = self._model.data(index, TreeRole.MARK) or ""
        if mark:
            shown = picture(mark, plain.name(), painter.device().devicePixelRatioF())
            painter.drawPixmap(rect.left(), rect.center().y() - PICTURE // 2 + 1, shown)
            rect.setLeft(rect.left() + PICTURE + 5)
        font = QFont(cell.font)
        font.setBold(bool(mark) or row == 0)
        painter.setFont(font)
        painter.setPen(plain if selected or row >= 0 else palette.color(active, _LINK))
        note = self._model.data(index, TreeRole.NOTE) or ""
        used = self._draw(painter, rect, QFontMetrics(font), name, note)
        rect.setLeft(rect.left() + used + GAP)
        if note and rect.width() >= LEAST_NOTE:
            linked = row >= 0 and self._model.tree is not None and self._model.tree.same_as(row) is not None
            painter.setFont(cell.font)
            painter.setPen(plain if selected else palette.color(active, _LINK if linked else _MUTED))
            metrics: QFontMetrics = cell.fontMetrics
            painter.drawText(rect, _ONE_LINE, metrics.elidedText(note, Qt.TextElideMode.ElideRight, rect.width()))

    def _draw(self, painter: QPainter, rect: QRect, metrics: QFontMetrics, name: str, note: str) -> int:
        """Draw a name, leaving its note a third of the place if both do not fit; returns the pixels used."""
        wanted = metrics.horizontalAdvance(name)
        wanted_note = metrics.horizontalAdvance(note) + GAP if note else 0
        most = rect.width() - min(wanted_note, rect.width() // 3) if wanted + wanted_note > rect.width() else wanted
        text = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, most) if wanted > most else name
        painter.drawText(rect, _ONE_LINE, text)
        return min(wanted, most)
