"""The storages of a checkpoint as a table: what they hold, what tensors use of it, who shares them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QHeaderView

from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.text import GROUP, bytes_text, grouped
from ckpt_viewer.gui.cells_model import CellsModel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.panels.byte_words import ROLES, line_name
from ckpt_viewer.gui.panels.crumbs import row_pointer
from ckpt_viewer.gui.panels.link_table import LinkTable

if TYPE_CHECKING:
    from ckpt_viewer.analysis.ledger import Line
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.ledger_watch import Accounts
    from ckpt_viewer.gui.session import Session

TENSOR, ROLE, BYTES, UNUSED, SHARED, DTYPE, DEVICE, PLACE = range(8)
HEADERS = ("Tensor", "Part", "Bytes", "Not used", "Shared", "Dtype", "Saved on", "From byte")
NUMBERS = frozenset({BYTES, UNUSED, PLACE})
SPARE = (DEVICE, DTYPE, ROLE, PLACE, SHARED, UNUSED)
"""Columns that go where there is little room, the first of them first."""
NAME_WIDTH = 190
"""Pixels that the names of tensors get at least."""
MOST_NAMED = 16
"""Names that a tool tip lists."""
WIDTHS = {ROLE: "lr_scheduler", BYTES: "888.8 MB", UNUSED: "888.8 MB", SHARED: "8 tied, 8 aliased",
          DTYPE: "complex128", DEVICE: "cuda:88", PLACE: "888 888 888 888"}  # fmt: skip
"""The widest text that each column is made for."""


class StoragesModel(CellsModel):
    """Lines of the ledger in some order; only those that are looked at are written out."""

    titles, numbers, link = HEADERS, NUMBERS, TENSOR

    def __init__(self) -> None:
        super().__init__()
        self._accounts: Accounts | None = None
        self.order: Sequence[int] = ()

    def show_lines(self, accounts: Accounts | None, order: Sequence[int]) -> None:
        """Show other lines."""
        self.beginResetModel()
        self._accounts, self.order = accounts, order if accounts is not None else ()
        self.endResetModel()

    @property
    def accounts(self) -> Accounts | None:
        """What the lines are of."""
        return self._accounts

    def count(self) -> int:
        """One row a storage."""
        return len(self.order)

    def text(self, row: int, column: int) -> str:
        """Return the text of a cell."""
        assert self._accounts is not None
        return cell_text(self._accounts, self.order[row], column)

    def told(self, row: int, column: int) -> str:
        """Return the whole text; of a place also the file, of a shared storage all names that share it."""
        assert self._accounts is not None
        line = self._accounts.book.lines[self.order[row]]
        if column in (TENSOR, SHARED) and len(line.uses) > 1:
            names = [row_pointer(self._accounts.book.outline, use.row) for use in line.uses[:MOST_NAMED]]
            more = [f"and {grouped(len(line.uses) - MOST_NAMED)} more"] if len(line.uses) > MOST_NAMED else []
            return ",  ".join([*names, *more])
        place = self._accounts.maps.places.get(self.order[row]) if column == PLACE else None
        text = self.text(row, column)
        return f"byte {text} of {self._accounts.maps.files[place[0]].name}" if place else text


def cell_text(accounts: Accounts, number: int, column: int) -> str:
    """Return what the table shows of a storage."""
    line = accounts.book.lines[number]
    if column == TENSOR:
        return line_name(accounts.book.outline, line)
    if column == BYTES:
        return bytes_text(line.storage.nbytes)
    if column == UNUSED:
        return bytes_text(line.wasted) if line.wasted else ""
    if column == SHARED:
        return sharing(line)
    if column == DTYPE:
        return line.storage.dtype or "untyped"
    if column == DEVICE:
        return line.storage.location or ""
    if column == PLACE:
        start = place_of(accounts, number)
        return grouped(start) if start >= 0 else ""
    return ROLES.get(line.role, line.role)


def copied_text(accounts: Accounts, numbers: Sequence[int], context: Context) -> str:
    """Return storages as tab-separated lines, numbers of bytes in full, tensors by their pointers; raises Cancelled."""
    pointer, texts = Pointers(accounts.book.outline).of, list[str]()
    for turn, number in enumerate(numbers):
        context.step(turn, len(numbers))
        line = accounts.book.lines[number]
        cells = [cell_text(accounts, number, column) for column in range(len(HEADERS))]
        cells[TENSOR] = pointer(line.uses[0].row) if line.uses else cells[TENSOR]
        cells[BYTES], cells[UNUSED] = str(line.storage.nbytes), str(line.wasted) if line.wasted else ""
        cells[PLACE] = cells[PLACE].replace(GROUP, "")
        texts.append("\t".join(map(plain, cells)))
    return "\n".join(texts)


def sharing(line: Line) -> str:
    """Return ``3 tied`` (names of one tensor), ``2 aliased`` (different tensors), or both."""
    if len(line.uses) < 2:
        return ""
    regions = line.regions
    tied = max(len(rows) for rows in regions)
    words = [f"{tied} tied"] if tied > 1 else []
    return ", ".join([*words, *([f"{len(regions)} aliased"] if len(regions) > 1 else [])])


def place_of(accounts: Accounts, number: int) -> int:
    """Return the byte of its file at which a storage begins; -1 where it has no place."""
    place = accounts.maps.places.get(number)
    return accounts.maps.files[place[0]].bounds[place[1]] if place is not None else -1


def sorted_lines(
    accounts: Accounts, order: Sequence[int], column: int, descending: bool, context: Context
) -> Sequence[int]:
    """Return lines sorted by a column, equal ones in the order of the file; raises Cancelled."""
    lines, outline = accounts.book.lines, accounts.book.outline
    keys: dict[int, Callable[[int], Any]] = {
        TENSOR: lambda number: line_name(outline, lines[number]),
        ROLE: lambda number: lines[number].role,
        BYTES: lambda number: lines[number].storage.nbytes,
        UNUSED: lambda number: lines[number].wasted,
        SHARED: lambda number: len(lines[number].uses),
        DTYPE: lambda number: lines[number].storage.dtype,
        DEVICE: lambda number: lines[number].storage.location or "",
        PLACE: lambda number: accounts.maps.places.get(number, (-1, -1)),
    }
    found, key = dict[int, Any](), keys[column]
    for turn, number in enumerate(order):
        if turn % 32 == 0:
            context.step(turn, len(order))
        found[number] = key(number)
    return array("q", sorted(order, key=found.__getitem__, reverse=descending))


class StorageTable(LinkTable):
    """Shows StoragesModel; a click on a title sorts by it, in a job. Ctrl+C copies whole rows."""

    def __init__(self, session: Session) -> None:
        self.lines = StoragesModel()
        self._widths: dict[int, int] = {}
        self._empty = frozenset[int]()
        super().__init__(session, self.lines, "storagesTable", "Storages")
        self._sorting = Latest(session.jobs, self)
        self._sorting.finished.connect(lambda order: self.lines.show_lines(self.lines.accounts, order))
        self._copying = Latest(session.jobs, self)
        self._copying.finished.connect(lambda text: QGuiApplication.clipboard().setText(text))
        self._sorted = (PLACE, False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        across = self.horizontalHeader()
        across.setSectionsClickable(True)
        across.setSectionResizeMode(TENSOR, QHeaderView.ResizeMode.Stretch)
        across.sectionClicked.connect(self._sort_by)
        for column, text in WIDTHS.items():
            title = self.fontMetrics().horizontalAdvance(HEADERS[column]) + 30
            self._widths[column] = max(title, self.fontMetrics().horizontalAdvance(text) + 18)
            self.setColumnWidth(column, self._widths[column])
        copy = QAction("Copy", self)
        copy.setShortcut(QKeySequence(QKeySequence.StandardKey.Copy))
        copy.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        copy.triggered.connect(self.copy)
        self.addAction(copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def show_lines(self, accounts: Accounts | None, order: Sequence[int], empty: frozenset[int] = frozenset()) -> None:
        """Show other lines, in the order of the file; columns in which none has anything to say are left out."""
        self._empty = empty
        self._choose_columns()
        self._sorting.cancel()
        self._sorted = (PLACE, False)
        self.horizontalHeader().setSortIndicatorShown(False)
        self.lines.show_lines(accounts, order)

    def _sort_by(self, column: int) -> None:
        first_down = column in NUMBERS - {PLACE} or column == SHARED
        descending = not self._sorted[1] if column == self._sorted[0] else first_down
        self._sorted = column, descending
        accounts, order = self.lines.accounts, self.lines.order
        if accounts is None:
            return
        across = self.horizontalHeader()
        across.setSortIndicatorShown(True)
        across.setSortIndicator(column, Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder)
        self._sorting.start(lambda context: sorted_lines(accounts, order, column, descending, context))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave columns out where there is little room."""
        super().resizeEvent(event)
        self._choose_columns()

    def _choose_columns(self) -> None:
        hidden, room = set(self._empty), self.viewport().width() - NAME_WIDTH
        for column in SPARE:
            if sum(self._widths[each] for each in WIDTHS if each not in hidden) <= room:
                break
            hidden.add(column)
        for column in WIDTHS:
            self.setColumnHidden(column, column in hidden)

    def target(self, row: int) -> Callable[[], Any] | None:
        """Return what finds the first tensor of a storage."""
        accounts = self.lines.accounts
        return find_line(self._session, accounts, self.lines.order[row]) if accounts is not None else None

    def copy(self) -> None:
        """Put the selected rows on the clipboard."""
        accounts, rows = self.lines.accounts, sorted({index.row() for index in self.selectionModel().selectedIndexes()})
        if accounts is not None and rows:
            numbers = [self.lines.order[row] for row in rows]
            self._copying.start(lambda context: copied_text(accounts, numbers, context), title="Copying storages")


def find_line(session: Session, accounts: Accounts, number: int) -> Callable[[], Any] | None:
    """Return what finds the first tensor of a storage in the window; None where it has none."""
    checkpoint, tree, uses = session.checkpoint, session.index, accounts.book.lines[number].uses
    if checkpoint is None or tree is None or not uses:
        return None
    row = uses[0].row
    return lambda: tree.subject(tree.rows[row], checkpoint)
