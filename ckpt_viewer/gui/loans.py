"""Checkpoints that somebody still reads while their window has gone on to another file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint


class Loans:
    """Counts who reads a checkpoint, and closes it once nobody does and its window has let it go."""

    def __init__(self) -> None:
        self._readers: dict[int, int] = {}
        self._retired: dict[int, Checkpoint] = {}

    def lend(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint, and keep its file open until `give_back`."""
        self._readers[id(checkpoint)] = self._readers.get(id(checkpoint), 0) + 1
        return checkpoint

    def give_back(self, checkpoint: Checkpoint) -> None:
        """Undo one `lend`."""
        left = self._readers.pop(id(checkpoint), 1) - 1
        if left:
            self._readers[id(checkpoint)] = left
        elif self._retired.pop(id(checkpoint), None) is not None:
            checkpoint.close()

    def retire(self, checkpoint: Checkpoint) -> None:
        """Close the checkpoint: now, or when the last of its readers has given it back."""
        if id(checkpoint) in self._readers:
            self._retired[id(checkpoint)] = checkpoint
        else:
            checkpoint.close()
