"""What the bytes of a file, or of a part of it, are for: the storages, who shares them, and a map of the file."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from PySide6.QtWidgets import QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.ledger_watch import Accounts, LedgerWatch
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.byte_map import ByteMapView
from ckpt_viewer.gui.panels.byte_words import account_words
from ckpt_viewer.gui.panels.contents import entries_below, tree_row
from ckpt_viewer.gui.panels.storage_table import DEVICE, SHARED, UNUSED, StorageTable, find_line
from ckpt_viewer.gui.panels.targets import holds_tensors
from ckpt_viewer.gui.tree import ModuleGroup, TreeIndex

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

RATE = 25
"""Behind what a container is."""
ROWS = 4
"""Storages that are visible at least."""


class Part(NamedTuple):
    """The storages of a part of a file.

    Attributes:
        lines: their numbers in the ledger. files: numbers of the files that they lie in. words: some sentences.
        empty: columns of the table in which none of them has anything to say.
    """

    lines: Sequence[int]
    files: Sequence[int]
    words: str
    empty: frozenset[int]


def look_at_part(subject: Node | ModuleGroup, accounts: Accounts, index: TreeIndex, context: Context) -> Part:
    """Put together what a container's storages are; raises Cancelled."""
    book, maps = accounts.book, accounts.maps
    whole = isinstance(subject, Node) and subject.parent is None
    lines = array("q", range(len(book.lines)) if whole else _lines_below(subject, accounts, index, context))
    files = range(len(maps.files)) if whole else sorted({maps.places[n][0] for n in lines if n in maps.places})
    those = [book.lines[n] for n in stepped(lines, context)]
    told = {
        UNUSED: any(line.wasted for line in stepped(those, context)),
        SHARED: any(len(line.uses) > 1 for line in those),
        DEVICE: any(line.storage.location is not None for line in those),
    }
    empty = frozenset(column for column, has_any in told.items() if not has_any)
    return Part(lines, files, account_words(accounts, those, whole), empty)


def _lines_below(subject: Node | ModuleGroup, accounts: Accounts, index: TreeIndex, context: Context) -> list[int]:
    row = tree_row(subject, index)
    if row is None:
        return []
    outline = index.outline
    tops = [index.sources[row]] if isinstance(subject, Node) else entries_below(index, row)
    below = set[int]()
    for top in stepped([outline.aliases.get(top, top) for top in tops], context):
        below.update(range(top, outline.ends[top]))
    lines = enumerate(accounts.book.lines)
    return [n for n, line in stepped(lines, context) if any(use.row in below for use in line.uses)]


class LedgerPanel(Panel):
    """Sentences, a map and a table about the storages of a container."""

    title = "Storage"
    uses_tree = True

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._subject: Any = None
        self._watch = LedgerWatch.of(session)
        self._watch.ready.connect(self._again)
        self._watch.stopped.connect(self._on_stopped)
        session.described.connect(self._again)
        self._looking = Latest(session.jobs, self)
        self._looking.finished.connect(self._show)
        self._looking.failed.connect(self.show_error)
        self._finder = Latest(session.jobs, self)
        self._finder.finished.connect(session.select)
        self.words = label(wrap=True, selectable=True)
        self.words.setObjectName("storageWords")
        self.words.setMinimumWidth(1)
        self.map = ByteMapView()
        self.map.chosen.connect(self._choose)
        self.table = StorageTable(session)
        rows = self.table.verticalHeader().defaultSectionSize()
        self.table.setMinimumHeight(self.table.horizontalHeader().sizeHint().height() + ROWS * rows)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addWidget(self.words)
        layout.addWidget(self.map)
        layout.addWidget(self.table, 1)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """For whatever holds tensors, and for every file."""
        is_file = isinstance(subject, Node) and subject.parent is None and subject.length is not None
        return RATE if is_file or holds_tensors(subject) else UNSUPPORTED

    def show_subject(self, subject: Any) -> None:
        """Show another container, as soon as the ledger is there."""
        self._subject = subject
        accounts, index = self._watch.accounts, self.session.index
        self.begin("Adding up the storages …")
        if accounts is not None and index is not None:
            self._looking.start(lambda context: (accounts, look_at_part(subject, accounts, index, context)))

    def clear(self) -> None:
        """Stop looking."""
        self._looking.cancel()
        self._subject = None

    def _again(self) -> None:
        if self._subject is not None:
            if self.session.overview is None and self.session.error is not None:
                self.show_error(self.session.error)
            else:
                self.show_subject(self._subject)

    def _on_stopped(self) -> None:
        if self._subject is not None:
            self.show_sentence("Adding up the storages was stopped.", "Add them up", self._again)

    def _show(self, found: tuple[Accounts, Part]) -> None:
        accounts, part = found
        self.words.setText(part.words)
        self.map.show_accounts(accounts, part.files)
        self.table.show_lines(accounts, part.lines, part.empty)
        self.table.setVisible(bool(part.lines))
        self.show_body()
        self.settle()

    def _choose(self, number: int) -> None:
        accounts = self._watch.accounts
        find = find_line(self.session, accounts, number) if accounts is not None else None
        if find is not None:
            self._finder.start(lambda _context: find())
