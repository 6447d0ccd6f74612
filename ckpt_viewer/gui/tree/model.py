"""The Qt model of a checkpoint's tree: an adapter over the index, the texts of cells and the pages shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.tree.cells import COLUMNS, DEVICE, FIGURES, NAME, PARAMETERS, PICTURE, SIZE, Cells
from ckpt_viewer.gui.tree.finding import Found, find, make_pages
from ckpt_viewer.gui.tree.index import TreeIndex
from ckpt_viewer.gui.tree.pages import Change, Pages

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.ordering import Order
    from ckpt_viewer.gui.tree.query import Query


class TreeRole(IntEnum):
    """What `data` answers beside Qt's own roles."""

    NOTE = int(Qt.ItemDataRole.UserRole) + 1
    """Column Name: what stands behind the name, e.g. a scalar's value."""
    MARK = int(Qt.ItemDataRole.UserRole) + 2
    """Column Name: what was recognised here: ``"model"``, ``"optimizer"`` ...; ``""`` for most rows."""


_DISPLAY, _TIP, _ALIGNMENT, _SPOKEN = (
    int(role)
    for role in (
        Qt.ItemDataRole.DisplayRole,
        Qt.ItemDataRole.ToolTipRole,
        Qt.ItemDataRole.TextAlignmentRole,
        Qt.ItemDataRole.AccessibleTextRole,
    )
)
_NOTE, _MARK = int(TreeRole.NOTE), int(TreeRole.MARK)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_CENTRE = int(Qt.AlignmentFlag.AlignCenter)
_NUMBERS = (PARAMETERS, SIZE, *FIGURES)
_ENABLED = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
_LEAF = _ENABLED | Qt.ItemFlag.ItemNeverHasChildren

AnyIndex = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()


class CheckpointTreeModel(QAbstractItemModel):
    """Rows of one TreeIndex under one filter. The internal id of an index is an id of `pages.Pages`.

    `multiData` is left alone on purpose: iterating its span from Python crashes the interpreter.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cells: Cells | None = None
        self._pages: Pages | None = None
        self._all: Pages | None = None
        self._order: Order | None = None
        self._rows = 0

    @property
    def tree(self) -> TreeIndex | None:
        """The index that is shown; None while nothing is."""
        return self._cells.index if self._cells else None

    @property
    def cells(self) -> Cells | None:
        """The texts that are shown; None while nothing is."""
        return self._cells

    @property
    def pages(self) -> Pages | None:
        """Which rows are shown; None while nothing is."""
        return self._pages

    @property
    def is_filtered(self) -> bool:
        """Whether a filter hides rows."""
        return self._pages is not None and self._pages.matches is not None

    def set_tree(self, cells: Cells | None) -> None:
        """Show another index, without a filter; None shows nothing."""
        self.beginResetModel()
        self._cells = cells
        self._rows = len(cells.index) if cells else 0
        self._order = None
        self._pages = self._all = Pages(cells.index) if cells else None
        self.endResetModel()

    @property
    def order(self) -> Order | None:
        """What the rows are sorted by; None as they were saved."""
        return self._order

    def set_order(self, order: Order | None) -> None:
        """Sort the rows below each row, or have them as saved; a filter is to be set again."""
        if self._cells is None:
            return
        self.beginResetModel()
        self._order = order
        self._pages = self._all = make_pages(self._cells, order, None)
        self.endResetModel()

    def find(self, query: str | Query, figures: FigureTable | None = None) -> Callable[[Context], Found]:
        """Return work for any thread: what a filter that is not blank leaves; see `finding.find`."""
        assert self._cells is not None
        cells, order = self._cells, self._order
        return lambda context: find(cells, order, query, figures, context)

    def is_of_now(self, found: Found) -> bool:
        """Whether what was found is of the tree that is shown, in its order."""
        return found.cells is self._cells and found.order is self._order

    def show_found(self, found: Found | None) -> None:
        """Show only what a filter leaves and what is above it; everything for None."""
        if self._cells is None or self._all is None:
            return
        self.beginResetModel()
        self._pages = self._all if found is None else found.pages
        self.endResetModel()

    def set_locator(self, locator: Locator, visible: Iterable[QModelIndex]) -> None:
        """Map the devices anew; tells of the rows in `visible` only, all others are asked for again when they show."""
        if self._cells is None:
            return
        self._cells.locator = locator
        for each in visible:
            cell = each.siblingAtColumn(DEVICE)
            self.dataChanged.emit(cell, cell, [_DISPLAY, _TIP, _SPOKEN])

    def row_of(self, index: AnyIndex) -> int:
        """Return the row of the TreeIndex at a model index; -1 for a "show more" and for nowhere."""
        if not index.isValid() or self._pages is None:
            return -1
        key = index.internalId()
        return key if key < self._rows else -1

    def depth(self, index: AnyIndex) -> int:
        """Return how many rows are above a row or a "show more"."""
        if self._cells is None or self._pages is None:
            return 0
        parents, depth, row = self._cells.index.parents, 0, self._pages.parent_of(index.internalId())
        while row >= 0:
            row, depth = parents[row], depth + 1
        return depth

    def index_of(self, row: int, column: int = 0) -> QModelIndex:
        """Return the model index of a row of the TreeIndex; an invalid one if it is not shown."""
        return self._index_of_key(row, column)

    def _index_of_key(self, key: int, column: int = 0) -> QModelIndex:
        position = self._pages.position(key) if self._pages and key >= 0 else -1
        return self.createIndex(position, column, key) if position >= 0 else QModelIndex()

    def reveal(self, row: int) -> QModelIndex:
        """Load the pages that a row and those above it are on, and return its model index; without a filter only."""
        assert self._cells is not None
        assert self._pages is not None
        for each in [*self._cells.index.above(row), row]:
            change = self._pages.reveal(each)
            if change:
                self._apply(change)
        return self.index_of(row)

    def is_more(self, index: AnyIndex) -> bool:
        """Whether an index is a "show more" row."""
        return index.isValid() and self._pages is not None and self._pages.is_more(index.internalId())

    def show_more(self, index: AnyIndex) -> QModelIndex:
        """Load the next page for a "show more" row; returns the index of the first row that came."""
        assert self._pages is not None
        change = self._pages.more(index.internalId())
        self._apply(change)
        return self._index_of_key(change.new[0])

    def _apply(self, change: Change) -> None:
        assert self._pages is not None
        parent = self.index_of(change.parent)
        last = change.position + len(change.new)
        self.beginInsertRows(parent, change.position, last - 1)
        self._pages.apply(change)
        self.endInsertRows()
        if change.removed:
            self.beginRemoveRows(parent, last, last)
            self._pages.remove(change)
            self.endRemoveRows()

    # what follows is called by Qt

    def index(self, row: int, column: int, parent: AnyIndex = _NOWHERE) -> QModelIndex:
        if self._pages is None or row < 0 or not 0 <= column < len(COLUMNS):
            return QModelIndex()
        if not parent.isValid():
            return self.createIndex(0, column, 0) if row == 0 else QModelIndex()
        above = parent.internalId()
        ids = self._pages.ids(above) if above < self._rows and parent.column() == 0 else ()
        return self.createIndex(row, column, ids[row]) if row < len(ids) else QModelIndex()

    def parent(self, index: AnyIndex = _NOWHERE) -> QModelIndex:  # type: ignore[override]
        if not index.isValid() or self._pages is None:
            return QModelIndex()
        above = self._pages.parent_of(index.internalId())
        return self.createIndex(self._pages.position(above), 0, above) if above >= 0 else QModelIndex()

    def rowCount(self, parent: AnyIndex = _NOWHERE) -> int:
        if self._pages is None or not parent.isValid():
            return int(self._pages is not None)
        row = parent.internalId()
        return len(self._pages.ids(row)) if row < self._rows and parent.column() == 0 else 0

    def columnCount(self, parent: AnyIndex = _NOWHERE) -> int:  # noqa: ARG002 - Qt's signature
        return len(COLUMNS)

    def hasChildren(self, parent: AnyIndex = _NOWHERE) -> bool:
        if self._cells is None or not parent.isValid():
            return self._cells is not None
        row = parent.internalId()
        if row >= self._rows or self._cells.index.ends[row] == row + 1 or parent.column() > 0:
            return False
        # nothing at all is below the root if nothing matches; every other row that shows has what it shows for
        return row > 0 or bool(self._pages and (self._pages.must_fetch(0) or self._pages.ids(0)))

    def canFetchMore(self, parent: AnyIndex) -> bool:
        row = self.row_of(parent)
        return row >= 0 and parent.column() == 0 and self._pages is not None and self._pages.must_fetch(row)

    def fetchMore(self, parent: AnyIndex) -> None:
        if self.canFetchMore(parent):
            assert self._pages is not None
            change = self._pages.fetch(self.row_of(parent))
            if change.new:
                self._apply(change)

    def flags(self, index: AnyIndex) -> Qt.ItemFlag:
        if not index.isValid() or self._cells is None:
            return Qt.ItemFlag.NoItemFlags
        row = index.internalId()
        return _ENABLED if row < self._rows and self._cells.index.ends[row] > row + 1 else _LEAF

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(COLUMNS):
            return None
        if role == _DISPLAY:
            return COLUMNS[section]
        if role != _ALIGNMENT:
            return None
        return _RIGHT if section in _NUMBERS else _CENTRE if section == PICTURE else None

    @called_by_qt
    def data(self, index: AnyIndex, role: int = _DISPLAY) -> Any:
        """What `Cells` says of a cell, and `cell_words` where it is not painted."""
        # asked for seven roles a cell and paint, most of which have no answer: the order of the tests is that of haste
        if role == _DISPLAY:
            return self._shown(index)
        if role == _ALIGNMENT:
            return _RIGHT if index.column() in _NUMBERS else None
        if role not in _OTHERS or not index.isValid() or self._cells is None:
            return None
        row, column = self.row_of(index), index.column()
        if row < 0:
            return self._data_of_more(index, role)
        if role in (_TIP, _SPOKEN):
            from ckpt_viewer.gui.tree.cell_words import spoken, tip

            return tip(self._cells, row, column) if role == _TIP else spoken(self._cells, row, column)
        if column != NAME:
            return None
        return self._cells.note(row) if role == _NOTE else self._cells.mark(row)

    def _shown(self, index: AnyIndex) -> str | None:
        if self._cells is None or not index.isValid():
            return None
        key, column = index.internalId(), index.column()
        if key < len(self._cells.index):
            return self._cells.shown(key, column)
        return "Show more" if column == NAME else None

    def _data_of_more(self, index: AnyIndex, role: int) -> str | None:
        """A "show more" keeps its text while rows come in; only the note behind it counts down."""
        assert self._pages is not None
        if index.column() != NAME or role not in (_NOTE, _SPOKEN):
            return None
        hidden = self._pages.hidden(index.internalId())
        note = "" if hidden is None else f"{grouped(hidden)} not shown"
        return note if role == _NOTE else ", ".join(filter(None, ("Show more", note)))


_OTHERS = frozenset((_TIP, _SPOKEN, _NOTE, _MARK))
