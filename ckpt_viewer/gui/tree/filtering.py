"""The filter above the tree: from what is typed to the rows that show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QLabel

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.tree.asking import Asking, nothing_words
from ckpt_viewer.gui.tree.filter_edit import FilterEdit
from ckpt_viewer.gui.tree.view import CheckpointTreeView

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.finding import Found

SCAN_AFTER_MS = 700
"""How long a word about values stands there before they are scanned for it."""
TIP = (
    "Parts of names, and words about tensors: dtype:bf16 ndim:4 shape:64x* size>1MB nan inf zeros>50% max>10 role:model"
)


class Filtering(QObject):
    """Filters the rows of a tree.

    Attributes:
        edit: what is typed into. hint: why it makes no sense, where it does not.
        nothing: in place of the tree where the filter leaves none of it.
        knows_all: whether the numbers of all tensors are known.
    """

    emptied = Signal(bool)
    """Whether `nothing` is to be shown."""
    scanWanted = Signal()
    """What is asked for needs the numbers of all tensors: see `set_figures`."""
    textWanted = Signal()
    """Something is looked for before the index has its text (`TreeIndex.has_text`); after it does, `find_again`."""
    searchWanted = Signal(object)
    """Work that takes a context, for a thread: what it returns is to be given to `show_found`."""

    def __init__(self, view: CheckpointTreeView, parent: QObject) -> None:
        super().__init__(parent)
        self._view = view
        self._figures: FigureTable | None = None
        self._asking = Asking()
        self._is_searching = self._leaves = self.knows_all = False
        self.edit = FilterEdit()
        self.edit.setObjectName("treeFilter")
        self.edit.setAccessibleName("Filter the entries")
        self.edit.setPlaceholderText("Filter: name, dtype:bf16, size>1MB, nan …")
        self.edit.setToolTip(TIP)
        self.edit.setMaxLength(500)
        self.edit.setEnabled(False)
        self.edit.offer = self._offer
        self.hint = _sentence("treeFilterHint")
        self.hint.hide()
        self.nothing = _sentence("treeNothing")
        self.nothing.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self.nothing.setMargin(24)
        self._want_scan = QTimer(self)
        self._want_scan.setSingleShot(True)
        self._want_scan.setInterval(SCAN_AFTER_MS)
        self._want_scan.timeout.connect(self.scanWanted)
        self.edit.textChanged.connect(self._on_text)
        self.edit.left.connect(self._leave)
        view.filterCleared.connect(self.edit.clear)

    @property
    def is_blank(self) -> bool:
        """Whether everything is to be shown."""
        return self._asking.is_blank

    def start(self, *, enabled: bool) -> None:
        """Forget what was asked for: the tree is to show another file, or none."""
        self.edit.blockSignals(True)
        self.edit.clear()
        self.edit.blockSignals(False)
        self.edit.setEnabled(enabled)
        self._want_scan.stop()
        self._figures, self._asking = None, Asking()
        self._is_searching = self._leaves = self.knows_all = False
        self._say("")
        self.emptied.emit(False)

    def focus(self) -> None:
        """Let the user type."""
        self.edit.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.edit.selectAll()

    def find_again(self) -> None:
        """Look anew for what is asked for, where words mean something else now or the index has its text at last."""
        if self.edit.text():
            self._on_text(self.edit.text())

    def find(self) -> None:
        """Show the rows that are asked for, as they are sorted and known now."""
        model = self._view.tree_model
        assert model.tree is not None
        self._is_searching = False
        if self._asking.is_blank:
            self.show_found(None)
            return
        work = model.find(self._asking.query, self._figures)
        if self._asking.is_quick(model.tree, is_sorted=model.order is not None):
            self.show_found(work(SILENT))
        else:
            self._is_searching = True
            self.searchWanted.emit(work)

    def show_found(self, found: Found | None) -> None:
        """Show what the filter leaves, None for everything; nothing happens where it asks for something else by now."""
        if found is not None and not (found.query is self._asking.query and self._view.tree_model.is_of_now(found)):
            return
        self._is_searching = False
        self._view.show_found(found)
        nothing = found is not None and not found.opened
        so_far = self._asking.needs_scan and not self.knows_all
        end = "so far: the values are still to be scanned" if so_far else ""
        self.nothing.setText(nothing_words(self.edit.text().strip(), end) if nothing else "")
        self.nothing.setAccessibleName(self.nothing.text())
        self.emptied.emit(nothing)
        if self._leaves:
            self._leave(True)

    def set_figures(self, figures: FigureTable | None, *, complete: bool) -> bool:
        """Take what a scan has found so far, and whether that is everything; return whether it just became so."""
        finished = complete and not self.knows_all
        self._figures, self.knows_all = figures, complete
        query = self._asking.query
        if not isinstance(query, str) and query.needs_scan and (finished or self._view.is_outdated(query, figures)):
            self.find()
        return finished

    def _on_text(self, text: str) -> None:
        self._leaves = False
        tree = self._view.tree_model.tree
        if tree is None:
            return
        if not tree.has_text and text.strip():
            self._say("the names are being indexed; what you look for shows in a moment")
            self.textWanted.emit()
            return
        try:
            self._asking.parse(text, tree)
        except CheckpointError as error:  # what was found for the words before stays
            self._say(str(error))
            return
        self._say("")
        if self._asking.needs_scan and not self.knows_all:
            self._want_scan.start()  # not at once: “nan” may become “nano”
        else:
            self._want_scan.stop()
        self.find()

    def _say(self, sentence: str) -> None:
        self.hint.setText(sentence)
        self.hint.setVisible(bool(sentence))
        self.edit.setAccessibleDescription(sentence)

    def _offer(self, begun: str) -> list[str]:
        tree = self._view.tree_model.tree
        if tree is None:
            return []
        from ckpt_viewer.gui.tree.completion import completions

        return completions(begun, tree)

    def _leave(self, to_match: bool) -> None:
        self._leaves = to_match and self._is_searching
        if self._leaves:  # once it is known where to
            return
        row = self._view.first_match() if to_match else None
        if row is not None:
            self._view.select(row)
        self._view.setFocus(Qt.FocusReason.OtherFocusReason)


def _sentence(name: str) -> QLabel:
    made = QLabel()
    made.setObjectName(name)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(True)
    return made
