"""The figures that a scan found, by the rows of the tree; made on the scan's thread, read by the window. No Qt.

Numbers are kept in flat columns by item of the scan's plan: a million tensors take 80 MB as objects and 8 a column.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.gui.tree.query import FIGURE_KEYS, OPERATORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.query import Condition
    from ckpt_viewer.stats.figures import Figures

NONE = -1
"""Instead of an item, where a tensor has none: the entry behind the last of each column, which is never filled."""

NUMEL = "numel"
"""How many values there are: a number wherever anything is known."""


class Columns:
    """What was found of each item, NaN where nothing is known."""

    def __init__(self, items: int) -> None:
        self.figures: list[Figures | None] = [None] * (items + 1)
        self.numbers = {key: array("d", [nan]) * (items + 1) for key in (*FIGURE_KEYS, NUMEL)}

    def put(self, item: int, figures: Figures) -> None:
        """Note the figures of one item."""
        self.figures[item] = figures
        told = {
            "min": figures.low, "max": figures.high, "absmax": figures.greatest, "mean": figures.mean,
            "std": figures.std, "zeros": figures.zeros, "nan": figures.nan, "inf": figures.inf, NUMEL: figures.numel,
        }  # fmt: skip
        for key, value in told.items():
            if value is not None:
                self.numbers[key][item] = value

    def flags(self, condition: Condition) -> Array:
        """Return for each item and one behind them whether it is known to satisfy a condition."""
        values, known = (np.frombuffer(self.numbers[key]) for key in (condition.key, NUMEL))
        if condition.share:
            with np.errstate(all="ignore"):
                values = values / known  # of no values: unknown
        compare: Any = OPERATORS[condition.operator]
        found: Array = (compare(values, condition.number) != condition.negated) & (known == known)
        return found


class FigureTable:
    """The columns of a scan under one index.

    Attributes:
        index: whose tensors these are. items: of each tensor of the tree in its order, the scan's item or NONE.
        rolled: row -> figures of all tensors in it; empty until the scan is done.
        sparks: row -> small histogram. missing: rows whose small histogram was asked for and is not made yet.
    """

    def __init__(self, index: TreeIndex, numbers: Mapping[int, int], columns: Columns, context: Context) -> None:
        """Look every tensor up; raises Cancelled.

        Args:
            numbers: id of a TensorSpec -> item. columns: of all items; they fill while the scan runs.
        """
        self.index, self.columns = index, columns
        find, values, sources = numbers.get, index.outline.values, index.sources
        rows = stepped(index.totals.tensor_rows, context)
        self.rolled: dict[int, Figures] = {}
        self.sparks: dict[int, str] = {}
        self.missing: set[int] = set()
        self.items = array("i", (find(id(values[sources[row]]), NONE) for row in rows))

    def mask(self, condition: Condition) -> bytes:
        """Return a byte for each tensor of the tree: 1 where it is known to satisfy a condition."""
        return self.columns.flags(condition)[np.frombuffer(self.items, np.intc)].tobytes()

    def figures(self, row: int) -> Figures | None:
        """Return the figures of the tensor at a row, or of all tensors in it; None where they are not known."""
        item = self.item(row)
        return self.rolled.get(row) if item == NONE else self.columns.figures[item]

    def item(self, row: int) -> int:
        """Return the scan's item of the tensor at a row, NONE where there is none."""
        rows: Sequence[int] = self.index.totals.tensor_rows
        at = bisect_left(rows, row)
        return self.items[at] if at < len(rows) and rows[at] == row else NONE

    def spark(self, row: int) -> str:
        """Return a small histogram, a character for the height of each bar; ``""`` and a note in `missing` without."""
        known = self.sparks.get(row)
        if known is None and self.figures(row) is not None and self.item(row) != NONE:
            self.missing.add(row)
        return known or ""
