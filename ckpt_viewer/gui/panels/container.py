"""What is in a container, in numbers, and its first entries as links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.contents import Contents, look_into
from ckpt_viewer.gui.panels.entries import EntriesView
from ckpt_viewer.gui.panels.facts_table import FactsTable
from ckpt_viewer.gui.tree import ModuleGroup

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session


class ContainerPanel(Panel):
    """Numbers and first entries of a dict, list, object or module."""

    title = "Contents"
    uses_tree = True

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._subject: Any = None
        self._looking = Latest(session.jobs, self)
        self._looking.finished.connect(self._show)
        self._looking.failed.connect(self.show_error)
        self.table = FactsTable("contentsTable", "Contents of the selection")
        self.heading = label(muted=True, name="Entries")
        self.entries = EntriesView(session)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addWidget(self.table)
        layout.addSpacing(4)
        layout.addWidget(self.heading)
        layout.addWidget(self.entries, 1)
        layout.addStretch()

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The best there is for modules and plain containers; for objects their value comes first."""
        if isinstance(subject, ModuleGroup):
            return 60
        return 60 if isinstance(subject, Node) and subject.length is not None else UNSUPPORTED

    def show_subject(self, subject: Node | ModuleGroup) -> None:
        """Add up another container, in a job."""
        self._subject = subject
        index = self.session.index
        if index is None:
            self.show_sentence("The tree is still being built.")
            return
        self.begin("Adding up …")
        self._looking.start(lambda context: look_into(subject, index, context))

    def clear(self) -> None:
        """Stop adding up."""
        self._looking.cancel()
        self._subject = None

    def remap(self) -> None:
        """Add up anew: the devices changed."""
        if self._subject is not None:
            self.show_subject(self._subject)

    def _show(self, contents: Contents) -> None:
        self.table.show_facts(contents.facts)
        self.entries.show_lines(contents)
        self.heading.setText(contents.heading)
        self.entries.setVisible(bool(contents.lines))
        self.table.fit_height()
        self.show_body()
        self.settle()
