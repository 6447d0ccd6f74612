"""A table of two columns, name and value, whose copies give every digit."""

from __future__ import annotations

from typing import Any, NamedTuple

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QPalette
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QSizePolicy, QTableView, QWidget

from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import NAME_LIMIT, plain, tooltip

Index = QModelIndex | QPersistentModelIndex
SHOWN = 400
"""Characters of a value that a row shows; its copy is whole."""


TITLE_WIDEST = 130
"""Pixels that the title of a column claims where its values need less."""


class Fact(NamedTuple):
    """One row.

    Attributes:
        name: what it is. shown: for the screen. copied: every digit; ``""`` if it is what is shown.
        more: shown and copied in further columns.
    """

    name: str
    shown: str
    copied: str = ""
    more: tuple[tuple[str, str], ...] = ()

    @property
    def exact(self) -> str:
        """What a copy of the value gives."""
        return self.copied or self.shown

    @property
    def line(self) -> str:
        """What a copy of the row gives: name, tab, values."""
        return "\t".join((self.name, self.exact, *(copied or shown for shown, copied in self.more)))


class FactsModel(QAbstractTableModel):
    """Rows of Facts.

    Attributes:
        facts: the rows. headers: titles of the columns, at least two.
    """

    def __init__(self, headers: tuple[str, ...], numeric: bool) -> None:
        super().__init__()
        self.headers, self._numeric = headers, numeric
        self.facts: list[Fact] = []

    def show_facts(self, facts: list[Fact], headers: tuple[str, ...] = ()) -> None:
        """Show other rows. Rows that keep their names keep their place and selection."""
        headers = headers or self.headers[:2]
        if headers == self.headers and [fact.name for fact in facts] == [fact.name for fact in self.facts]:
            self.facts = facts
            if facts:
                self.dataChanged.emit(self.index(0, 1), self.index(len(facts) - 1, len(headers) - 1))
            return
        self.beginResetModel()
        self.facts, self.headers = facts, headers
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One row a fact."""
        return 0 if parent.isValid() else len(self.facts)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Name and values."""
        return 0 if parent.isValid() else len(self.headers)

    @called_by_qt
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, tooltip and look of a cell."""
        if not index.isValid():
            return None
        fact, is_value = self.facts[index.row()], index.column() > 0
        shown, exact = fact.shown, fact.exact
        if index.column() > 1:
            shown, exact = fact.more[index.column() - 2]
        if role == Qt.ItemDataRole.DisplayRole:
            return plain(shown, SHOWN) if is_value else fact.name
        if role == Qt.ItemDataRole.ToolTipRole and is_value:
            return tooltip(exact or shown)
        if role == Qt.ItemDataRole.ForegroundRole and not is_value:
            return QGuiApplication.palette().brush(QPalette.ColorRole.PlaceholderText)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if is_value and self._numeric else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    @called_by_qt
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The titles of the columns."""
        if orientation == Qt.Orientation.Horizontal and 0 <= section < len(self.headers):
            if role == Qt.ItemDataRole.DisplayRole:
                return plain(self.headers[section], NAME_LIMIT)
            if role == Qt.ItemDataRole.ToolTipRole:
                return tooltip(self.headers[section])
        return None


class FactsTable(QTableView):
    """Shows Facts; Ctrl+C copies the selected rows, tab-separated, in full."""

    def __init__(
        self, name: str, words: str, headers: tuple[str, str] = ("Fact", "Value"), *, numeric: bool = False,
        parent: QWidget | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(words)
        self.facts = FactsModel(headers, numeric)
        self.facts.setParent(self)
        self.setModel(self.facts)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.horizontalHeader().hide()
        self.horizontalHeader().setStretchLastSection(True)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 7)
        self._add_action("Copy", self.copy, QKeySequence(QKeySequence.StandardKey.Copy))
        self._add_action("Copy all", self.copy_all)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def _add_action(self, text: str, call: Any, keys: QKeySequence | None = None) -> None:
        action = QAction(text, self)
        if keys is not None:
            action.setShortcut(keys)
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(call)
        self.addAction(action)

    def show_facts(self, facts: list[Fact], headers: tuple[str, ...] = ()) -> None:
        """Show other rows; with `headers` under these titles, for facts that have `more` columns."""
        self.facts.show_facts(facts, headers)
        self.horizontalHeader().setVisible(len(headers) > 2)
        for column in range(1, len(headers)):  # the last one as well: it is stretched, but never made narrower
            self.setColumnWidth(column, self._width_of(column))
        widest = max((self.fontMetrics().horizontalAdvance(fact.name) for fact in facts), default=0)
        self.setColumnWidth(0, widest + 22)

    def fit_height(self) -> None:
        """Be as high as all rows, no higher, and let go of the last ones where there is no room."""
        rows = self.verticalHeader()
        height = rows.count() * rows.defaultSectionSize() + 2 * self.frameWidth() + 1
        self.setMaximumHeight(height)
        self.setMinimumHeight(min(height, 4 * rows.defaultSectionSize()))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.MinimumExpanding)

    def sizeHint(self) -> QSize:
        """All rows, where `fit_height` was asked for."""
        hint = super().sizeHint()
        return hint if self.maximumHeight() > 10_000 else QSize(hint.width(), self.maximumHeight())

    def wanted_width(self) -> int:
        """Pixels in which every value is shown whole."""
        columns = range(1, len(self.facts.headers))
        return self.columnWidth(0) + sum(self._width_of(column) for column in columns)

    def _width_of(self, column: int) -> int:
        """Pixels in which the values of a column are shown whole, and its title if there is one, up to a limit."""
        advance = self.fontMetrics().horizontalAdvance
        texts = (fact.shown if column == 1 else fact.more[column - 2][0] for fact in self.facts.facts)
        titled = len(self.facts.headers) > 2
        title = min(advance(self.facts.headers[column]), TITLE_WIDEST) if titled else 0
        return max(title, 0, *map(advance, texts)) + 30

    def text(self, facts: list[Fact]) -> str:
        """Return rows as they are copied: name, tab, value, newline."""
        head = "\t".join(self.facts.headers)
        return "\n".join(([head] if len(self.facts.headers) > 2 else []) + [fact.line for fact in facts])

    def copy(self) -> None:
        """Put the selected rows on the clipboard; all of them where none is selected."""
        rows = sorted({index.row() for index in self.selectionModel().selectedIndexes()})
        facts = [self.facts.facts[row] for row in rows] or self.facts.facts
        alone = len(facts) == 1 and len(self.facts.headers) == 2
        QGuiApplication.clipboard().setText(facts[0].exact if alone else self.text(facts))

    def copy_all(self) -> None:
        """Put every row on the clipboard."""
        QGuiApplication.clipboard().setText(self.text(self.facts.facts))
