"""The left side of the window: a filter above the tree of the checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QLabel, QStackedLayout, QVBoxLayout, QWidget

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.tree.asking import Asking, nothing_words
from ckpt_viewer.gui.tree.cells import FIGURES, Cells
from ckpt_viewer.gui.tree.filter_edit import FilterEdit
from ckpt_viewer.gui.tree.view import CheckpointTreeView

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.path import Path
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.finding import Found
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.ordering import Order

SCAN_AFTER_MS = 700
"""How long a word about values stands there before they are scanned for it."""
TIP = (
    "Parts of names, and words about tensors: dtype:bf16 ndim:4 shape:64x* size>1MB nan inf zeros>50% max>10 role:model"
)


class TreePanel(QWidget):
    """Filter, tree, and a sentence where the filter leaves nothing.

    Attributes:
        view: the tree. filter: the line edit above it.
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
    textWanted = Signal()
    """Something is looked for before the index has its text (`TreeIndex.has_text`); after it does, `find_again`."""
    searchWanted = Signal(object)
    """Work that takes a context, for a thread: what it returns is to be given to `show_found`."""
    orderWanted = Signal(object, int, bool)
    """Cells, a column, whether descending: an Order shall be worked out and be given to `set_order`."""
    roleChosen = Signal(str, str)
    """See `CheckpointTreeView`; after that `remark`."""
    sparksWanted = Signal(object)
    """Small histograms shall be drawn into the FigureTable, of its `missing` rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._checkpoint: Checkpoint | None = None
        self.filter = FilterEdit()
        self.filter.setObjectName("treeFilter")
        self.filter.setAccessibleName("Filter the entries")
        self.filter.setPlaceholderText("Filter: name, dtype:bf16, size>1MB, nan …")
        self.filter.setToolTip(TIP)
        self.filter.setMaxLength(500)
        self.filter.offer = self._offer
        self._figures: FigureTable | None = None
        self._knows_all = False
        self._asking = Asking()
        self._is_searching = self._leaves = False
        self._hint = QLabel()
        self._hint.setObjectName("treeFilterHint")
        self._hint.setTextFormat(Qt.TextFormat.PlainText)
        self._hint.setWordWrap(True)
        self._hint.hide()
        self._want_scan = QTimer(self)
        self._want_scan.setSingleShot(True)
        self._want_scan.setInterval(SCAN_AFTER_MS)
        self._want_scan.timeout.connect(self.scanWanted)
        self.view = CheckpointTreeView()
        self._nothing = QLabel()
        self._nothing.setObjectName("treeNothing")
        self._nothing.setTextFormat(Qt.TextFormat.PlainText)
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self._nothing.setWordWrap(True)
        self._nothing.setMargin(24)
        self._stack = QStackedLayout()
        self._stack.addWidget(self.view)
        self._stack.addWidget(self._nothing)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.filter)
        layout.addWidget(self._hint)
        layout.addLayout(self._stack)
        self.setFocusProxy(self.view)
        self.filter.setEnabled(False)
        self._connect()

    def _connect(self) -> None:
        self.filter.textChanged.connect(self._on_filter)
        self.filter.left.connect(self._leave_filter)
        self.view.rowSelected.connect(lambda row: self.nodeSelected.emit(self._subject(row)))
        self.view.activatedRow.connect(lambda row: self.nodeActivated.emit(self._subject(row)))
        self.view.rowsPicked.connect(self.picked)
        self.view.said.connect(self.said)
        self.view.flatWanted.connect(lambda flat: self.groupedWanted.emit(not flat))
        self.view.filterCleared.connect(self.filter.clear)
        self.view.columns.changed.connect(self.columnsChanged)
        self.view.columns.figuresWanted.connect(self._want_figures)
        self.view.sparksWanted.connect(self.sparksWanted)
        self.view.sortWanted.connect(self._sort)
        self.view.roleChosen.connect(self.roleChosen)

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
        self.filter.blockSignals(True)
        self.filter.clear()
        self.filter.blockSignals(False)
        self.filter.setEnabled(cells is not None)
        self._want_scan.stop()
        self._figures, self._knows_all, self._asking = None, False, Asking()
        self._is_searching = self._leaves = False
        self._say("")
        self._stack.setCurrentWidget(self.view)
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
        self.find_again()

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

    def focus_filter(self) -> None:
        """Type into the filter (Ctrl+F)."""
        self.filter.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.filter.selectAll()

    def _subject(self, row: int) -> object:
        assert self.index is not None
        assert self._checkpoint is not None
        return self.index.subject(row, self._checkpoint)

    def find_again(self) -> None:
        """Look anew for what is asked for, where words mean something else now or the index has its text at last."""
        if self.filter.text():
            self._on_filter(self.filter.text())

    def _on_filter(self, text: str) -> None:
        self._leaves = False
        if self.index is None:
            return
        if not self.index.has_text and text.strip():
            self._say("the names are being indexed; what you look for shows in a moment")
            self.textWanted.emit()
            return
        try:
            self._asking.parse(text, self.index)
        except CheckpointError as error:  # what was found for the words before stays
            self._say(str(error))
            return
        self._say("")
        if self._asking.needs_scan and not self._knows_all:
            self._want_scan.start()  # not at once: “nan” may become “nano”
        else:
            self._want_scan.stop()
        self._filter()

    def _filter(self) -> None:
        assert self.index is not None
        model = self.view.tree_model
        self._is_searching = False
        if self._asking.is_blank:
            self.show_found(None)
            return
        work = model.find(self._asking.query, self._figures)
        if self._asking.is_quick(self.index, is_sorted=model.order is not None):
            self.show_found(work(SILENT))
        else:
            self._is_searching = True
            self.searchWanted.emit(work)

    def show_found(self, found: Found | None) -> None:
        """Show what the filter leaves, None for everything; nothing happens where it asks for something else by now."""
        if found is not None and not (found.query is self._asking.query and self.view.tree_model.is_of_now(found)):
            return
        self._is_searching = False
        self.view.show_found(found)
        nothing = found is not None and not found.opened
        so_far = self._asking.needs_scan and not self._knows_all
        end = "so far: the values are still to be scanned" if so_far else ""
        self._nothing.setText(nothing_words(self.filter.text().strip(), end) if nothing else "")
        self._nothing.setAccessibleName(self._nothing.text())
        self._stack.setCurrentWidget(self._nothing if nothing else self.view)
        if self._leaves:
            self._leave_filter(True)

    def _say(self, sentence: str) -> None:
        self._hint.setText(sentence)
        self._hint.setVisible(bool(sentence))
        self.filter.setAccessibleDescription(sentence)

    def _offer(self, begun: str) -> list[str]:
        if self.index is None:
            return []
        from ckpt_viewer.gui.tree.completion import completions

        return completions(begun, self.index)

    def set_figures(self, figures: FigureTable | None, *, complete: bool) -> None:
        """Show what a scan has found so far, and whether that is everything."""
        if figures is not None and figures.index is not self.index:
            figures, complete = None, False
        finished = complete and not self._knows_all
        self.view.show_figures(figures)
        self._figures, self._knows_all = figures, complete
        query = self._asking.query
        if not isinstance(query, str) and query.needs_scan and (finished or self.view.is_outdated(query, figures)):
            self._filter()
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
        if not self._asking.is_blank:
            self._filter()

    def _want_figures(self) -> None:
        if not self._knows_all and self.index is not None:
            self.scanWanted.emit()

    def _leave_filter(self, to_match: bool) -> None:
        self._leaves = to_match and self._is_searching
        if self._leaves:  # once it is known where to
            return
        row = self.view.first_match() if to_match else None
        if row is not None:
            self.view.select(row)
        self.view.setFocus(Qt.FocusReason.OtherFocusReason)


def _title(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path
