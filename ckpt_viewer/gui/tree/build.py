"""Builds the index of a checkpoint's tree, on a worker thread. No Qt, no numpy."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.gui.tree.folding import fold
from ckpt_viewer.gui.tree.grouping import lay_out
from ckpt_viewer.gui.tree.index import TreeIndex
from ckpt_viewer.gui.tree.rollup import add_up
from ckpt_viewer.gui.tree.table import EVERY, PAGE, Table

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.outline import Outline


def build_index(
    checkpoint: Checkpoint,
    context: Context = SILENT,
    grouped: bool = True,
    marks: Mapping[int, str] | None = None,
    notes: Mapping[int, str] | None = None,
    *,
    text: bool = True,
) -> TreeIndex:
    """Return the index of everything in a checkpoint: about a second for 100,000 tensors.

    Args:
        context: `step` is called at least every 0.2 ms.
        grouped: whether the keys of state_dicts are grouped into modules by their dots.
        marks: rows of the outline -> what was recognised there: model, optimizer, lr_scheduler, progress ...
        notes: rows of the outline -> a few words about it, e.g. ``"SGD, momentum 0.9"``.
        text: whether the text that the filter searches is written too, a fourth of the work; see `TreeIndex.has_text`.

    Raises:
        Cancelled: by `context`.
    """
    outline = checkpoint.load_outline(context)
    collecting = gc.isenabled()
    gc.disable()  # nothing here is ever part of a cycle, and one pass over a large outline holds the GIL for 0.1 s
    try:
        index = _build(outline, context, grouped, marks or {}, notes or {})
        if text and not index.has_text:
            index.keep_text(index.write_text(context))
        return index
    finally:
        if collecting:
            gc.enable()


def _build(
    outline: Outline, context: Context, grouped: bool, marks: Mapping[int, str], notes: Mapping[int, str]
) -> TreeIndex:
    table, rows = lay_out(outline, context, grouped=grouped)
    table, ends = fold(table, rows, find_ends(table, context), outline, context)
    totals = add_up(table, ends, outline, context)
    index = TreeIndex(outline, table, rows, ends, totals, grouped)
    index.large = count_children(ends, context)
    index.mark({rows[row]: mark for row, mark in marks.items()})
    index.notes = {rows[row]: note for row, note in notes.items()}
    return index


def find_ends(table: Table, context: Context) -> array[int]:
    """Return for each row one past the last row of its subtree."""
    total, parents = len(table), table.parents
    ends = array("i", range(1, total + 1))
    for row in range(total - 1, 0, -1):
        if not row & EVERY:
            context.step(total - row, 4 * total)
        if ends[row] > ends[parents[row]]:
            ends[parents[row]] = ends[row]
    return ends


def count_children(ends: array[int], context: Context) -> dict[int, int]:
    """Return how many rows are directly below each row that has more than `PAGE` of them."""
    large: dict[int, int] = {}
    waiting = [0]
    while waiting:
        row = waiting.pop()
        child, count = row + 1, 0
        while child < ends[row]:
            end = ends[child]
            if end - child > PAGE:
                waiting.append(child)
            child = end
            count += 1
            if not count & EVERY:
                context.step(child, len(ends))
        if count > PAGE:
            large[row] = count
    return large
