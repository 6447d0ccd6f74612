"""Marks tensors of a salvaged file whose values are lost, and counts them in everything that they lie in. No Qt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.gui.tree.index import TreeIndex

LOST = "lost"
"""The mark of a tensor whose values a broken file does not have any more."""


def mark_lost(index: TreeIndex, lost: Iterable[int], context: Context) -> None:
    """Mark the rows of lost tensors, and say in the rows above how many there are.

    Args:
        lost: rows of the outline.

    Raises:
        Cancelled: by `context`.
    """
    above = Counter[int]()
    for outline_row in stepped(lost, context):
        row = index.rows[outline_row]
        index.marks[row] = LOST
        while row > 0:
            row = index.parents[row]
            above[row] += 1
    for row, count in above.items():
        index.notes[row] = ", ".join(filter(None, (index.notes.get(row, ""), f"{count} lost")))
