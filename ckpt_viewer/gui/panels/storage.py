"""How a tensor lies in its storage, and which other entries lie there too."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QVBoxLayout, QWidget

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.ledger_watch import Accounts, LedgerWatch
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.byte_map import ByteMapView
from ckpt_viewer.gui.panels.crumbs import outline_row
from ckpt_viewer.gui.panels.facts import count_words
from ckpt_viewer.gui.panels.facts_table import Fact, FactsTable
from ckpt_viewer.gui.panels.links import LinksView
from ckpt_viewer.gui.panels.shared import SharingWatch
from ckpt_viewer.gui.panels.sharing import storages_of
from ckpt_viewer.gui.panels.storage_facts import place_rows, storage_rows, tensor_rows
from ckpt_viewer.gui.panels.storage_table import find_line

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session


MOST_LINKS = 1_000
"""Entries that are listed as links."""


class StoragePanel(Panel):
    """Facts of a tensor or a storage, and links to the entries that share its bytes."""

    title = "Storage"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._node: Node | None = None
        self._place: list[Fact] = []
        self._watch = SharingWatch.of(session)
        self._watch.ready.connect(self._show_sharing)
        self._placing = Latest(session.jobs, self)
        self._placing.finished.connect(self._on_place)
        self._placing.failed.connect(self.show_error)
        self._accounts = LedgerWatch.of(session)
        self._accounts.ready.connect(self._show_map)
        self._finder = Latest(session.jobs, self)
        self._finder.finished.connect(session.select)
        self.table = FactsTable("storageTable", "Storage of the selection")
        self.map = ByteMapView()
        self.map.chosen.connect(self._choose)
        self.heading = label(name="Entries that share the storage")
        self.heading.setObjectName("sharingHeading")
        self.links = LinksView(session, "sharingList", "Entries that share the storage")
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addWidget(self.table, 3)
        layout.addSpacing(4)
        layout.addWidget(self.map)
        layout.addWidget(self.heading)
        layout.addWidget(self.links, 1)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """All there is to say of a storage, the last of a tensor."""
        if not isinstance(subject, Node):
            return UNSUPPORTED
        return {TensorSpec: 50, StorageSpec: BEST}.get(type(subject.value), UNSUPPORTED)

    def show_subject(self, subject: Node) -> None:
        """Show another tensor or storage."""
        self._node, self._place = subject, []
        self._fill()
        self._show_sharing()
        self._show_map()
        self.show_body()
        storage = subject.value if isinstance(subject.value, StorageSpec) else subject.tensor.storage
        if storage is None or storage.home is None:
            self.settle()
            return
        self.begin("")
        self._placing.start(lambda context: place_rows(storage, context))

    def clear(self) -> None:
        """Stop looking."""
        self._placing.cancel()
        self._node = None

    def remap(self) -> None:
        """Show the device anew."""
        if self._node is not None:
            self._fill()

    def _fill(self) -> None:
        node = self._node
        assert node is not None
        if isinstance(node.value, StorageSpec):
            rows = [*storage_rows(node.value), *self._place]
        else:
            rows = tensor_rows(node, node.tensor, self._place)
        self.table.show_facts(rows)

    def _on_place(self, rows: list[Fact]) -> None:
        self._place = rows
        if self._node is not None:
            self._fill()
        self.settle()

    def _show_map(self) -> None:
        """Show where in its file it lies, once that is known."""
        accounts, numbers = self._accounts.accounts, list[int]()
        if self._node is not None and accounts is not None:
            numbers = [accounts.numbers[id(each)] for each in self._storages() if id(each) in accounts.numbers]
        places = accounts.maps.places if accounts is not None else {}
        files = sorted({places[number][0] for number in numbers if number in places})
        self.map.setVisible(bool(files))
        if accounts is not None and files:
            self.map.show_accounts(accounts, files, self._own_region(accounts, numbers[0]), legend=False)

    def _own_region(self, accounts: Accounts, number: int) -> tuple[int, int] | None:
        """Return file and region in which the first of its bytes lies: not all of a storage need be its own."""
        place = accounts.maps.places.get(number)
        if place is None or self._node is None:
            return None
        file, region = accounts.maps.files[place[0]], place[1]
        value = self._node.value
        if isinstance(value, TensorSpec) and value.storage is not None:
            row = DTYPES.get(value.dtype)
            inside = file.at(file.bounds[region] + value.offset * (row.itemsize if row is not None else 1))
            region = inside if file.lines[inside] == number else region
        return place[0], region

    def _choose(self, number: int) -> None:
        accounts = self._accounts.accounts
        find = find_line(self.session, accounts, number) if accounts is not None else None
        if find is not None:
            self._finder.start(lambda _context: find())

    def _storages(self) -> list[StorageSpec]:
        """Return the storages of what is shown."""
        assert self._node is not None
        value = self._node.value
        return [value] if isinstance(value, StorageSpec) else list(storages_of(self._node.tensor))

    def _show_sharing(self) -> None:
        node = self._node
        if node is None:
            return
        storages = self._storages()
        sharing, index = self._watch.sharing, self.session.index
        if sharing is None or index is None:
            self.heading.setText("Looking for entries that share the storage …" if storages else "It has no storage.")
            self.links.show_rows(())
            return
        own = outline_row(index.outline, node)
        every = [sharing.rows(storage) for storage in storages]
        rows = list(dict.fromkeys(row for each in every for row in islice(each, MOST_LINKS) if row != own))
        self.links.setVisible(bool(rows))
        self.links.show_rows(rows)
        total = max((len(each) for each in every), default=0)
        if rows:
            limit = f", the first {grouped(MOST_LINKS)} of them" if total > MOST_LINKS else ""
            words = count_words(max(total - 1, len(rows)), "other entry", "other entries")
            self.heading.setText(f"Shared with {words}{limit}:")
        else:
            self.heading.setText("No other entry shares the storage." if storages else "It has no storage.")
