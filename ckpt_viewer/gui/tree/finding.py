"""What a filter leaves of a tree, worked out before it is shown: on a thread where that may take long. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.gui.tree.pages import Pages

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.tree.cells import Cells
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.matches import Matches
    from ckpt_viewer.gui.tree.ordering import Order
    from ckpt_viewer.gui.tree.query import Query

MOST_FOUND = 150
"""Matches that a filter opens the tree for, about."""


class Found(NamedTuple):
    """What a filter leaves.

    Attributes:
        cells, order, query: what was asked for, and of what.
        pages: what is shown below each row. opened: the rows to open, in pre-order; none if nothing is left.
    """

    cells: Cells
    order: Order | None
    query: str | Query
    pages: Pages
    opened: list[int]


def find(
    cells: Cells,
    order: Order | None,
    query: str | Query,
    figures: FigureTable | None = None,
    context: Context = SILENT,
    most: int = MOST_FOUND,
) -> Found:
    """Return what a filter leaves that is not blank, opened so far that about `most` matches show.

    Args:
        figures: what a scan has found, for words about values. context: is told about tensors that were looked at.

    Raises:
        Cancelled: by `context`.
    """
    matches = cells.index.matches(query, figures)
    matches.context = context
    pages = make_pages(cells, order, matches)
    opened = pages.opened(most)
    matches.context = SILENT  # who shows it goes on searching, a page at a time
    return Found(cells, order, query, pages, opened)


def make_pages(cells: Cells, order: Order | None, matches: Matches | None) -> Pages:
    """Return what is shown below each row, sorted or as saved."""
    if order is None:
        return Pages(cells.index, matches)
    from ckpt_viewer.gui.tree.sorted_pages import SortedPages

    return SortedPages(cells.index, order, matches)
