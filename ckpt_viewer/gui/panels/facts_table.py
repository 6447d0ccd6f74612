"""A table of two columns, name and value, whose copies give every digit."""

from __future__ import annotations

from typing import Any, NamedTuple

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QPalette
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QSizePolicy, QTableView, QWidget

from ckpt_viewer.gui.labels import plain, tooltip

Index = QModelIndex | QPersistentModelIndex
SHOWN = 400
"""Characters of a value that a row shows; its copy is whole."""


class Fact(NamedTuple):
    """One row.

    Attributes:
        name: what it is. shown: for the screen. copied: every digit; ``""`` if it is what is shown.
    """

    name: str
    shown: str
    copied: str = ""

    @property
    def exact(self) -> str:
        """What a copy of the value gives."""
        return self.copied or self.shown


class FactsModel(QAbstractTableModel):
    """Rows of Facts."""

    def __init__(self, headers: tuple[str, str], numeric: bool) -> None:
        super().__init__()
        self._headers, self._numeric = headers, numeric
        self.facts: list[Fact] = []

    def show_facts(self, facts: list[Fact]) -> None:
        """Show other rows. Rows that keep their names keep their place and selection."""
        if [fact.name for fact in facts] == [fact.name for fact in self.facts]:
            self.facts = facts
            if facts:
                self.dataChanged.emit(self.index(0, 1), self.index(len(facts) - 1, 1))
            return
        self.beginResetModel()
        self.facts = facts
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """One row a fact."""
        return 0 if parent.isValid() else len(self.facts)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Name and value."""
        return 0 if parent.isValid() else 2

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, tooltip and look of a cell."""
        if not index.isValid():
            return None
        fact, is_value = self.facts[index.row()], index.column() == 1
        if role == Qt.ItemDataRole.DisplayRole:
            return plain(fact.shown, SHOWN) if is_value else fact.name
        if role == Qt.ItemDataRole.ToolTipRole and is_value:
            return tooltip(fact.exact)
        if role == Qt.ItemDataRole.ForegroundRole and not is_value:
            return QGuiApplication.palette().brush(QPalette.ColorRole.PlaceholderText)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if is_value and self._numeric else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The titles of the columns."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole and 0 <= section < 2:
            return self._headers[section]
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

    def show_facts(self, facts: list[Fact]) -> None:
        """Show other rows."""
        self.facts.show_facts(facts)
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
        widest = max((self.fontMetrics().horizontalAdvance(fact.shown) for fact in self.facts.facts), default=0)
        return self.columnWidth(0) + widest + 30

    def text(self, facts: list[Fact]) -> str:
        """Return rows as they are copied: name, tab, value, newline."""
        return "\n".join(f"{fact.name}\t{fact.exact}" for fact in facts)

    def copy(self) -> None:
        """Put the selected rows on the clipboard; all of them where none is selected."""
        rows = sorted({index.row() for index in self.selectionModel().selectedIndexes()})
        facts = [self.facts.facts[row] for row in rows] or self.facts.facts
        QGuiApplication.clipboard().setText(facts[0].exact if len(facts) == 1 else self.text(facts))

    def copy_all(self) -> None:
        """Put every row on the clipboard."""
        QGuiApplication.clipboard().setText(self.text(self.facts.facts))
