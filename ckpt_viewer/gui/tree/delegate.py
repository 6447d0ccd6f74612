"""The height of a row: the one thing that the view asks a delegate for, since it paints its rows itself."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSize
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

AIR = 6
"""Pixels of a row's height beside its text."""


class RowHeight(QStyledItemDelegate):
    """Asks the model nothing."""

    def sizeHint(self, option: QStyleOptionViewItem, _index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(40, option.fontMetrics.height() + AIR)
