"""The tensors that are selected together in the tree, to be compared. No widget."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.core.tensor import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckpt_viewer.gui.tree.index import TreeIndex

MOST = 8
"""Tensors that are compared at once."""


class Pick(NamedTuple):
    """A selected tensor and its JSON Pointer."""

    pointer: str
    tensor: TensorSpec


class Picks(QObject):
    """What is selected besides the one entry that the panels show.

    Attributes:
        tensors: the first MOST of the selected tensors, in the order of the tree. total: how many are selected.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.tensors: tuple[Pick, ...] = ()
        self.total = 0

    def set_rows(self, index: TreeIndex | None, rows: Iterable[int]) -> None:
        """Take the selected rows of the tree."""
        found: list[Pick] = []
        total = 0
        for row in rows if index is not None else ():
            assert index is not None
            value = index.value(row) if index.is_entry(row) else None
            if isinstance(value, TensorSpec):
                total += 1
                if len(found) < MOST:
                    found.append(Pick(index.pointer(row), value))
        if [id(each.tensor) for each in found] != [id(each.tensor) for each in self.tensors] or total != self.total:
            self.tensors, self.total = tuple(found), total
            self.changed.emit()


def short_names(pointers: list[str]) -> list[str]:
    """Return what tells entries apart: their pointers without the modules and containers that all of them lie in."""
    if len(set(pointers)) < 2:
        return pointers
    shared = 0
    for at, letters in enumerate(zip(*pointers, strict=False)):
        if len(set(letters)) > 1:
            break
        if letters[0] in "/.":
            shared = at + 1
    return [pointer[shared:] or pointer for pointer in pointers]
