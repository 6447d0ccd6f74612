"""In which order the rows below each row of the tree stand when they are sorted by a column. Worked out on a thread."""

from __future__ import annotations

import re
from array import array
from math import nan
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.progress import stepped
from ckpt_viewer.gui.tree.cells import COLUMNS, FIGURES, PARAMETERS, PICTURE, SIZE, Cells
from ckpt_viewer.gui.tree.figure_cells import value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt_viewer.core.progress import Context

NUMBERS = (PARAMETERS, SIZE, *FIGURES)
"""Columns that are sorted by a number, the largest first where one does not say otherwise."""
SORTABLE = frozenset(range(PICTURE))
TEXT = 64
"""Bytes of a text that it is sorted by."""
_DIGITS = re.compile("[0-9]+")


class Order(NamedTuple):
    """Rows sorted below each row.

    Attributes:
        column, descending: what by. rows: all but the root, those with one parent together and sorted.
        starts: of each row, where in `rows` those directly below it begin; one more at the end.
        places: of each row, its own place in `rows`; -1 for the root.
    """

    column: int
    descending: bool
    rows: Sequence[int]
    starts: Sequence[int]
    places: Sequence[int]

    def below(self, row: int) -> Sequence[int]:
        """Return the rows directly below one, sorted."""
        return self.rows[self.starts[row] : self.starts[row + 1]]


def sort_rows(cells: Cells, column: int, context: Context, *, descending: bool) -> Order:
    """Return the order by a column; equal rows, and behind the others those without a value, stay as saved.

    Raises:
        Cancelled: by `context`.
    """
    import numpy as np

    count = len(cells.index)
    if column in NUMBERS:
        keys = np.array(_numbers(cells, column, context), np.float64)
    else:
        texts = np.array(_texts(cells, column, context), f"S{TEXT}")
        keys = np.unique(texts, return_inverse=True)[1].reshape(-1).astype(np.float64)
        keys[texts == b""] = nan
    keys = -keys if descending else keys
    parents = np.frombuffer(cells.index.parents, np.int32)
    context.step(0, 0)
    rows = np.lexsort((np.arange(count), keys, parents))[1:]  # NaN goes last; the root has the least parent, -1
    context.step(0, 0)
    starts = np.concatenate(([0], np.cumsum(np.bincount(parents[1:], minlength=count))))
    places = np.empty(count, np.int32)
    places[0], places[rows] = -1, np.arange(count - 1)
    return Order(column, descending, _plain(rows), _plain(starts), _plain(places))


def _plain(values: object) -> array[int]:
    made = array("i")
    made.frombytes(values.astype("i4").tobytes())  # type: ignore[attr-defined]
    return made


def _numbers(cells: Cells, column: int, context: Context) -> array[float]:
    totals, keys = cells.index.totals, array("d")
    amount = totals.elements if column == PARAMETERS else totals.nbytes
    title = COLUMNS[column]
    for row in stepped(range(len(cells.index)), context):
        if column in FIGURES:
            figures = cells.figures(row)
            value = None if figures is None else value_of(figures, title)
        else:
            value = amount(row) if totals.tensors(row) else None
        keys.append(nan if value is None else min(float(value), 1e308))
    return keys


def _texts(cells: Cells, column: int, context: Context) -> list[bytes]:
    return [text_key(cells.shown(row, column)) for row in stepped(range(len(cells.index)), context)]


def text_key(text: str, limit: int = TEXT) -> bytes:
    """Return what a text is sorted by: without case, numbers in it by their size, cut to a number of bytes."""
    text = text.lower().lstrip("[\"'")
    return _DIGITS.sub(lambda match: match[0].zfill(9), text).encode("utf-8", "surrogatepass")[:limit]
