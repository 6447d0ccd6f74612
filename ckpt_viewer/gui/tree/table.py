"""The rows of the window's tree while they are laid out: outline rows, module groups, runs of equal blocks. No Qt."""

from __future__ import annotations

from array import array

from ckpt_viewer.core.path import Step

PLAIN, GROUP, RUN = 0, 1, 2
"""Kinds of rows: an entry of the outline; a module of a state_dict; a run of equal sibling blocks."""

EVERY = 63
"""Mask: a loop over rows calls `step` once in 64 rounds, some 0.1 ms."""

PAGE = 1000
"""Rows below one parent that are shown at once; a row "show more" brings the next ones."""


class Table:
    """Rows in pre-order.

    Attributes:
        names: a step of the outline, cut to its last segment inside a module group; a text for groups and runs.
        sources: the row in the outline; for a group, and for a run inside one, that of its state_dict.
        kinds: PLAIN, GROUP or RUN. parents: row of the parent, -1 for the root.
    """

    __slots__ = ("kinds", "names", "parents", "sources")

    def __init__(self) -> None:
        self.names: list[Step] = []
        self.sources = array("i")
        self.kinds = bytearray()
        self.parents = array("i")

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: Step, source: int, kind: int, parent: int) -> int:
        """Append a row and return its number."""
        self.names.append(name)
        self.sources.append(source)
        self.kinds.append(kind)
        self.parents.append(parent)
        return len(self.names) - 1


def zeros(code: str, count: int) -> array[int]:
    """Return an array of `count` zeros."""
    return array(code, bytes(array(code).itemsize * count))
