"""Lines with bars: names, shares, amounts; those that stand for an entry are links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QCursor, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)  # fmt: skip

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import tooltip
from ckpt_viewer.gui.theme import theme

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.survey import Bar

Index = QModelIndex | QPersistentModelIndex
NAMES, AMOUNTS = 0.38, 120
"""Share of the width for names, at most; pixels for amounts."""


class BarsModel(QAbstractListModel):
    """Bars by number."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.bars: list[Bar] = []

    def show_bars(self, bars: list[Bar]) -> None:
        """Show others."""
        self.beginResetModel()
        self.bars = bars
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One row a bar."""
        return 0 if parent.isValid() else len(self.bars)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Name and amount: what is read out; the delegate paints the bar."""
        if not index.isValid():
            return None
        bar = self.bars[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{bar.name}: {bar.text}"
        return tooltip(f"{bar.name}: {bar.text}") if role == Qt.ItemDataRole.ToolTipRole else None


class BarDelegate(QStyledItemDelegate):
    """Paints a name, a bar and an amount."""

    @called_by_qt
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Paint one line."""
        model = index.model()
        assert isinstance(model, BarsModel)
        bar, shown, box = model.bars[index.row()], theme(), QRect(option.rect)
        painter.save()
        if option.state & QStyle.StateFlag.State_MouseOver and bar.row >= 0:
            painter.fillRect(box, QColor(shown.raised))
        box.adjust(6, 0, -6, 0)
        width = int(box.width() * NAMES)
        painter.setPen(option.palette.color(QPalette.ColorRole.Link if bar.row >= 0 else QPalette.ColorRole.Text))
        name = option.fontMetrics.elidedText(bar.name, Qt.TextElideMode.ElideMiddle, width - 8)
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRect(box.left(), box.top(), width, box.height()), middle, name)
        room = max(0, box.width() - width - AMOUNTS)
        painter.fillRect(box.left() + width, box.top() + 4, room, box.height() - 8, QColor(shown.raised))
        length = max(1, round(room * bar.share)) if bar.share else 0
        painter.fillRect(box.left() + width, box.top() + 4, length, box.height() - 8, QColor(shown.series[0]))
        painter.setPen(QColor(shown.text))
        amounts = QRect(box.right() - AMOUNTS + 6, box.top(), AMOUNTS - 6, box.height())
        painter.drawText(amounts, middle | Qt.AlignmentFlag.AlignRight, bar.text)
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QColor(shown.accent))
            painter.drawRect(QRect(option.rect).adjusted(0, 0, -1, -1))
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """A line."""
        del index
        return QSize(200, option.fontMetrics.height() + 8)


class BarsView(QListView):
    """Shows all of its bars; never scrolls by itself."""

    chosen = Signal(int)
    """The row of the tree that a bar stands for was clicked, or Enter pressed on."""

    def __init__(self, name: str, words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(words)
        self.bars = BarsModel(self)
        self.setModel(self.bars)
        self.setItemDelegate(BarDelegate(self))
        self.setUniformItemSizes(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setTabKeyNavigation(False)
        self.setMouseTracking(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.clicked.connect(self._choose)
        self.activated.connect(self._choose)

    def show_bars(self, bars: list[Bar]) -> None:
        """Show other bars."""
        self.bars.show_bars(bars)
        self.setFixedHeight(len(bars) * (self.fontMetrics().height() + 8) + 2)
        links = any(bar.row >= 0 for bar in bars)
        self.viewport().setCursor(QCursor(Qt.CursorShape.PointingHandCursor if links else Qt.CursorShape.ArrowCursor))

    def _choose(self, index: QModelIndex) -> None:
        row = self.bars.bars[index.row()].row
        if row >= 0:
            self.chosen.emit(row)
