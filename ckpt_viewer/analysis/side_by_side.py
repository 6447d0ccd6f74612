"""Plain tensors that stand side by side: of hundreds of rows a listing says the same but for names and storages."""

from __future__ import annotations

from operator import attrgetter

from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.tensor import TensorSpec

WORTH, TOGETHER = 16, 512
"""Tensors in one container that are worth listing together, and how many are."""
_EXTRA, _STORAGE = attrgetter("extra"), attrgetter("storage")


class SideBySide:
    """Looks for them while somebody goes through the rows of an outline in order."""

    def __init__(self, outline: Outline) -> None:
        self._outline, self._looked = outline, 0

    def end(self, row: int, *stops: int) -> int:
        """Return the row behind those tensors with names that stand from `row` on; 0 where they are few.

        Args:
            stops: rows that are not to be among them.
        """
        outline = self._outline
        if row < self._looked or not row:
            return 0
        end = min(row + TOGETHER, outline.ends[outline.parents[row]], *stops)
        self._looked = end  # if it is nothing now, it is nothing for the rows until there
        if end - row < WORTH:
            return 0
        names, tensors = outline.steps[row:end], outline.values[row:end]
        if {*map(type, tensors)} != {TensorSpec} or any(map(_EXTRA, tensors)) or not all(map(_STORAGE, tensors)):
            return 0
        alone = outline.parents[row:end] == outline.parents[row : row + 1] * (end - row)
        return end if alone and {*map(type, names)} == {str} else 0
