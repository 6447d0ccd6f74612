"""What is said of a file's entries besides the file itself: by its user, and by a comparison with another file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.gui.jobs import JobRunner, Latest
from ckpt_viewer.gui.reading import Correction, correct_roles
from ckpt_viewer.gui.tree.compared import compared_rows

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.gui.role_memory import RoleMemory
    from ckpt_viewer.gui.tree.compared import Compared
    from ckpt_viewer.gui.tree.index import TreeIndex


class Marking(QObject):
    """Roles that the user gives to entries, and the rows that differ from another file's, in jobs.

    Attributes:
        memory: where roles that the user gives are remembered; None for nowhere.
        given: JSON Pointer -> such a role.
    """

    corrected = Signal()
    """The user said what an entry is: the same index is marked differently."""
    compared = Signal()
    """The index marks other rows as different from those of another file."""
    trouble = Signal(object)
    """An error: what was wanted is not so."""

    def __init__(self, jobs: JobRunner, parent: QObject) -> None:
        super().__init__(parent)
        self.memory: RoleMemory | None = None
        self.given: Mapping[str, str] = {}
        self._checkpoint: Checkpoint | None = None
        self._index: TreeIndex | None = None
        self._differing: dict[int, str] = {}
        self._correcting, self._comparing = Latest(jobs, self), Latest(jobs, self)
        self._correcting.finished.connect(self._on_corrected)
        self._comparing.finished.connect(self._on_compared)
        for latest in (self._correcting, self._comparing):
            latest.failed.connect(self.trouble)

    def open(self, checkpoint: Checkpoint, index: TreeIndex, given: Mapping[str, str]) -> None:
        """Mark the entries of a file that was opened; `given` was remembered, and `index` is marked so."""
        self._checkpoint, self._index, self.given = checkpoint, index, given

    def show_in(self, index: TreeIndex) -> None:
        """The same file is shown by another index, which has the roles; the rows that differ follow."""
        self._index = index
        if self._differing:
            self.show_compared(self._differing)

    def close(self) -> None:
        """There is no file any more."""
        for latest in (self._correcting, self._comparing):
            latest.cancel()
        self._checkpoint = self._index = None
        self.given, self._differing = {}, {}

    def correct(self, pointer: str, role: str) -> None:
        """Have an entry be what the user says (``""``: as recognised) and remember it for this file; see `corrected`.

        Args:
            role: one of `core.model.ROLES`.
        """
        checkpoint, memory = self._checkpoint, self.memory
        if checkpoint is None:
            return
        rest = {other: given for other, given in self.given.items() if other != pointer}
        given = self.given = {**rest, pointer: role} if role else rest
        self._correcting.start(lambda context: correct_roles(checkpoint, given, memory, context))

    def show_compared(self, rows: dict[int, str]) -> None:
        """Have the tree mark rows of the outline as ``changed``, ``added`` or ``removed``; `compared` follows."""
        self._differing, index = rows, self._index
        if index is not None:
            self._comparing.start(lambda context: (index, compared_rows(index, rows, context)))

    def _on_corrected(self, correction: Correction) -> None:
        if correction.problem is not None:
            self.trouble.emit(correction.problem)
        if self._index is not None:
            correction.mark(self._index)
            self.corrected.emit()

    def _on_compared(self, result: tuple[TreeIndex, Compared]) -> None:
        index, rows = result
        index.compared = rows
        if index is self._index:
            self.compared.emit()
