"""The left side of the window: a filter above the tree of the checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QStackedLayout, QVBoxLayout, QWidget

from ckpt_viewer.gui.tree.cells import FIGURES, Cells
from ckpt_viewer.gui.tree.filtering import Filtering
from ckpt_viewer.gui.tree.view import CheckpointTreeView

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.path import Path
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.ordering import Order


class TreePanel(QWidget):
    """Filter, tree, and a sentence where the filter leaves nothing.

    Attributes:
        view: the tree. filtering: what its rows are filtered by, and `filter` the line edit of that.
    """

    nodeSelected = Signal(object)
    """A `core.node.Node`; for a module of a state_dict a `ModuleGroup`. Emitted for the root when an index is set."""
    nodeActivated = Signal(object)
    """The same on Enter: the focus shall go to the panel that shows it."""
    picked = Signal()
    """Other rows are selected together: `view.picked_rows`."""
    said = Signal(str)
    """A sentence for the user."""
    groupedWanted = Signal(bool)
    """The index shall be built again with `grouped` so, and be given to `set_index`."""
    columnsChanged = Signal()
    """`save_state` returns something new."""
    scanWanted = Signal()
    """What is shown needs the numbers of all tensors: see `set_figures`."""
    orderWanted = Signal(object, int, bool)
    """Cells, a column, whether descending: an Order shall be worked out and be given to `set_order`."""
    roleChosen = Signal(str, str)
    """See `CheckpointTreeView`; after that `remark`."""
    sparksWanted = Signal(object)
    """Small histograms shall be drawn into the FigureTable, of its `missing` rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._checkpoint: Checkpoint | None = None
        self.view = CheckpointTreeView()
        self.filtering = Filtering(self.view, self)
        self.filter = self.filtering.edit
        self._stack = QStackedLayout()
        self._stack.addWidget(self.view)
        self._stack.addWidget(self.filtering.nothing)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.filter)
        layout.addWidget(self.filtering.hint)
        layout.addLayout(self._stack)
        self._connect()

    def _connect(self) -> None:
        self.filtering.emptied.connect(self._show_nothing)
        self.filtering.scanWanted.connect(self.scanWanted)
        self.view.rowSelected.connect(lambda row: self.nodeSelected.emit(self._subject(row)))
        self.view.activatedRow.connect(lambda row: self.nodeActivated.emit(self._subject(row)))
        self.view.rowsPicked.connect(self.picked)
        self.view.said.connect(self.said)
        self.view.flatWanted.connect(lambda flat: self.groupedWanted.emit(not flat))
        self.view.columns.changed.connect(self.columnsChanged)
        self.view.columns.figuresWanted.connect(self._want_figures)
        self.view.sparksWanted.connect(self.sparksWanted)
        self.view.sortWanted.connect(self._sort)
        self.view.roleChosen.connect(self.roleChosen)

    def _show_nothing(self, nothing: bool) -> None:
        self._stack.setCurrentWidget(self.filtering.nothing if nothing else self.view)

    @property
    def index(self) -> TreeIndex | None:
        """What is shown; None while nothing is."""
        return self.view.tree_model.tree

    def set_index(self, checkpoint: Checkpoint, index: TreeIndex) -> None:
        """Show a checkpoint by its index. The root is selected; the same one keeps selection, filter and order."""
        same = checkpoint is self._checkpoint
        order = self.view.tree_model.order if same else None
        pointer, query = (self.current_pointer(), self.filter.text()) if same else ("", "")
        row = index.find(pointer) or index.find(pointer.rpartition("/")[0])  # a module is no row among flat keys
        self._checkpoint = checkpoint
        uses = checkpoint.contents.globals  # they are named in full; a type from builtins is shown bare
        dangerous = frozenset(use.name.removeprefix("builtins.") for use in uses if use.status == "dangerous")
        self._reset(Cells(index, checkpoint.locator, _title(checkpoint.path), dangerous), row or 0)
        self.filter.setText(query)
        if order is not None:
            self.orderWanted.emit(self.view.tree_model.cells, order.column, order.descending)

    def clear(self) -> None:
        """Show nothing."""
        self._checkpoint = None
        self._reset(None)

    def _reset(self, cells: Cells | None, row: int = 0) -> None:
        self.filtering.start(enabled=cells is not None)
        self.view.header().setSortIndicatorShown(False)
        self.view.tree_model.set_tree(cells)
        self.view.start(row)

    def remap(self) -> None:
        """The checkpoint's map_location changed: show where its tensors go now. Nothing is read again."""
        if self._checkpoint is not None:
            self.view.tree_model.set_locator(self._checkpoint.locator, self.view.visible_indexes())

    def remark(self) -> None:
        """The index was marked anew: show it, and find anew what is asked for by its role."""
        self.view.remark()
        self.filtering.find_again()

    def set_grouped(self, grouped: bool) -> None:
        """Ask for state_dicts by module or by flat key: emits `groupedWanted` if it is another way than now."""
        if self.index is not None and self.index.grouped != grouped:
            self.groupedWanted.emit(grouped)

    def select_pointer(self, pointer: str) -> bool:
        """Select what a pointer leads to (also a `ModuleGroup.pointer`), opening what is around it; a filter that hides
        it is cleared. False if it leads nowhere.
        """
        return self._select(self.index.find(pointer) if self.index else None)

    def select_path(self, path: Path) -> bool:
        """Select the node at a path of typed steps, as `select_pointer` does."""
        return self._select(self.index.find_path(path) if self.index else None)

    def _select(self, row: int | None) -> bool:
        if row is None:
            return False
        if not self.view.is_shown(row) and self.view.tree_model.is_filtered:
            self.filter.clear()
        self.view.select(row)
        return True

    def current_pointer(self) -> str:
        """Return the pointer of what is selected; ``""`` for the root and for nothing."""
        return self.index.pointer(self.view.current_row) if self.index and self.view.current_row >= 0 else ""

    def save_state(self) -> str:
        """Return which columns show, and how wide, as a text for the settings."""
        return self.view.columns.save()

    def restore_state(self, text: str) -> bool:
        """Take what `save_state` returned; False for any other text."""
        return self.view.columns.restore(text)

    def _subject(self, row: int) -> object:
        assert self.index is not None
        assert self._checkpoint is not None
        return self.index.subject(row, self._checkpoint)

    def set_figures(self, figures: FigureTable | None, *, complete: bool) -> None:
        """Show what a scan has found so far, and whether that is everything."""
        if figures is not None and figures.index is not self.index:
            figures, complete = None, False
        self.view.show_figures(figures)
        finished = self.filtering.set_figures(figures, complete=complete)
        order = self.view.tree_model.order
        if finished and order is not None and order.column in FIGURES:
            self.orderWanted.emit(self.view.tree_model.cells, order.column, order.descending)

    def _sort(self, column: int, descending: bool) -> None:
        cells = self.view.tree_model.cells
        if column < 0 or cells is None:
            self.set_order(None)
            return
        if column in FIGURES:
            self._want_figures()
        self.orderWanted.emit(cells, column, descending)

    def set_order(self, order: Order | None) -> None:
        """Show the rows in an order, None for the one they were saved in; a filter stays."""
        header = self.view.header()
        header.setSortIndicatorShown(order is not None)
        if order is not None:
            down = Qt.SortOrder.DescendingOrder if order.descending else Qt.SortOrder.AscendingOrder
            header.setSortIndicator(order.column, down)
        self.view.set_order(order)
        if not self.filtering.is_blank:
            self.filtering.find()

    def _want_figures(self) -> None:
        if not self.filtering.knows_all and self.index is not None:
            self.scanWanted.emit()


def _title(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path
