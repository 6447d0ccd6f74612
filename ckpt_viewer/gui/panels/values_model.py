"""A 2-D slice of a tensor as a Qt table: a page of its rows, cells from tiles."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QBrush, QColor

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.panels.digits import every_digit, is_special, six_digits
from ckpt_viewer.gui.panels.tiles import Grid, Key, Tiles
from ckpt_viewer.gui.theme import theme

Index = QModelIndex | QPersistentModelIndex
WAITING = "…"
PAGE_ROWS = 10_000_000
"""Rows that one table holds at a time: Qt counts the pixels of a table in 32 bits. Longer tensors have pages."""
MOST_COLUMNS_SHOWN = 1_000_000
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class ValuesModel(QAbstractTableModel):
    """Shows rows `first` ... of a grid; a cell that has not been read yet says so and fills itself."""

    def __init__(self, tiles: Tiles, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tiles = tiles
        self.first = 0
        self._rows = self._columns = 0
        tiles.arrived.connect(self._on_arrived)

    def show_grid(self, grid: Grid | None, first: int = 0) -> None:
        """Show another slice, from row `first` on; one of the same size keeps place and selection."""
        rows = columns = 0
        if grid is not None:
            rows = min(PAGE_ROWS, grid.slicing.row_count - first)
            columns = min(MOST_COLUMNS_SHOWN, grid.slicing.column_count)
        if rows and columns and (rows, columns, first) == (self._rows, self._columns, self.first):
            self._tiles.show_grid(grid)
            self.dataChanged.emit(self.index(0, 0), self.index(rows - 1, columns - 1))
            return
        self.beginResetModel()
        self._tiles.show_grid(grid)
        self.first, self._rows, self._columns = first, rows, columns
        self.endResetModel()

    def show_page(self, first: int) -> None:
        """Show the rows of the same slice from `first` on; tiles stay."""
        grid = self._tiles.grid
        self.beginResetModel()
        self.first = first
        self._rows = min(PAGE_ROWS, grid.slicing.row_count - first) if grid is not None else 0
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Rows of the page."""
        return 0 if parent.isValid() else self._rows

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Columns of the slice."""
        return 0 if parent.isValid() else self._columns

    def value(self, row: int, column: int) -> Any:
        """The numpy scalar at a cell of the page; None while it is being read."""
        grid = self._tiles.grid
        if grid is None:
            return None
        at = self.first + row
        key = grid.key(at, column)
        tile = self._tiles.get(key)
        return None if tile is None else tile[at - key.down * grid.rows, column - key.across * grid.columns]

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Six digits, every digit as the tooltip, NaN and Inf hatched."""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT
        if not index.isValid() or role not in (
            Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.BackgroundRole,
            Qt.ItemDataRole.ForegroundRole,
        ):  # fmt: skip
            return None
        value = self.value(index.row(), index.column())
        if value is None:
            return WAITING if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.DisplayRole:
            return six_digits(value)
        if role == Qt.ItemDataRole.ToolTipRole:
            return every_digit(value)
        if not is_special(value.item()):
            return None
        if role == Qt.ItemDataRole.ForegroundRole:
            return QColor(theme().error)
        return QBrush(QColor(theme().line), Qt.BrushStyle.BDiagPattern)

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The index along the dimension."""
        if role == Qt.ItemDataRole.DisplayRole:
            return str(section + (self.first if orientation == Qt.Orientation.Vertical else 0))
        if role == Qt.ItemDataRole.TextAlignmentRole and orientation == Qt.Orientation.Vertical:
            return RIGHT
        return None

    def _on_arrived(self, keys: list[Key]) -> None:
        grid = self._tiles.grid
        if grid is None:
            return
        for key in keys:
            rows, columns = grid.span(key)
            top, bottom = max(rows.start - self.first, 0), min(rows.stop - self.first, self._rows)
            if top < bottom and columns.start < self._columns:
                right = min(columns.stop, self._columns) - 1
                self.dataChanged.emit(self.index(top, columns.start), self.index(bottom - 1, right))
