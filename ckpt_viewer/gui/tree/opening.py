"""Which rows are opened: at the start, so that a tree shows at most 40 rows, and for "Expand subtree". No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.gui.tree.pages import FIRST

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.pages import Pages

MOST_AT_START = 40
"""Rows that show when a tree opens."""


def rows_to_open(index: TreeIndex) -> list[int]:
    """Return the rows that are open at the start: the root, and the models below it as far as there is room.

    Where no model was marked, and in a root with a single entry, the first containers stand in.
    """
    shown = 1 + min(index.count(0), FIRST + 1)
    opened = [0]
    if index.count(0) > FIRST + 1:
        return opened
    models = [row for row, mark in index.marks.items() if mark == "model" and row > 0]
    candidates = [row for model in models for row in (*index.above(model)[1:], model)]
    if not candidates:
        candidates = [row for row in index.children(0) if index.ends[row] > row + 1][:1]
    while candidates:
        row = candidates.pop(0)
        below = index.count(row)
        if shown + below > MOST_AT_START or row in opened or index.parents[row] not in opened:
            continue
        opened.append(row)
        shown += below
        if below == 1 and not models:  # {"state_dict": {"model": {...}}}: go on to where there is something to see
            candidates.extend(child for child in index.children(row) if index.ends[child] > child + 1)
    return opened


def subtree_to_open(pages: Pages, row: int, most: int) -> tuple[list[int], bool]:
    """Return the rows to open so that all below `row` shows, and whether that is all: it ends before `most` rows show
    (but the first page of `row` itself always does).
    """
    ends, opened, shown = pages.index.ends, list[int](), 0
    waiting = [row]
    complete = True
    while waiting:
        each = waiting.pop()
        ids = pages.fetch(each).new if pages.must_fetch(each) else pages.ids(each)
        if opened and shown + len(ids) > most:
            return opened, False
        opened.append(each)
        shown += len(ids)
        complete = complete and not (ids and pages.is_more(ids[-1]))
        waiting.extend(key for key in reversed(ids) if not pages.is_more(key) and ends[key] > key + 1)
    return opened, complete
