"""A file that consists of several: what its parts describe together, and what they may cost together."""

from __future__ import annotations

from ckpt_viewer.core.finding import GlobalUse, Note
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.base import Opened, described, merged
from ckpt_viewer.unpickle.reader import Unpickled
from ckpt_viewer.unpickle.weights_only import Refusal

MEMORY, OPCODES = 30_000_000, 1_000_000
"""What the parts of a small file may cost together before no further one is opened; the last may add its own budget."""
FAILED = 300_000
"""Opcodes that a part which cannot be read counts for, beside one for each of its bytes: it may break off late."""


class Parts:
    """Gathers what the parts of one file describe.

    Attributes:
        size: bytes of the file. notes: what was noticed about the whole. failure: why the first part that could not be
            read could not; None if all could.
    """

    def __init__(self, size: int, notes: list[Note]) -> None:
        self.size, self.notes = size, list(notes)
        self.failure: CheckpointError | None = None
        self._opened: list[Opened] = []
        self._cost = self._opcodes = 0

    @property
    def full(self) -> bool:
        """Whether the parts so far have cost so much that no further one may be opened."""
        return self._cost > MEMORY + 3 * self.size or self._opcodes > OPCODES + self.size // 8

    def add(self, read: Unpickled, notes: tuple[Note, ...] = ()) -> Value:
        """Count a part in, and return its root."""
        self._opened.append(Opened(read, notes))
        self._cost += read.cost
        self._opcodes += read.opcodes
        return read.value

    def failed(self, name: str, size: int, error: CheckpointError, shown: Value = None) -> None:
        """Count in and note a part of `size` bytes that could not be read; `shown` stands in its place."""
        self.failure = self.failure or error
        self._opcodes += FAILED + size
        self.note("error", "unreadable-member", f"{name!r} cannot be read: {error}", shown)

    def use(self, uses: tuple[GlobalUse, ...]) -> None:
        """Keep the names that something refers to which is not part of the tree."""
        self._opened.append(Opened(described(None)._replace(globals=uses)))

    def note(self, severity: str, code: str, message: str, value: Value = None) -> None:
        """Keep something that was noticed; about the whole file where no value is given."""
        self.notes.append(Note(severity, code, value, message))

    def opened(self, root: Value, refusal: Refusal) -> Opened:
        """Return the whole.

        Args:
            refusal: why ``torch.load(weights_only=True)`` does not read such a file.
        """
        whole = merged(root, self._opened)
        read = whole.unpickled._replace(cost=self._cost, opcodes=self._opcodes).but(refusal)
        return Opened(read, (*self.notes, *whole.notes))
