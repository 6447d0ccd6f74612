"""Which rows of a tree differ from those of another file, and how many lie in each row. No Qt."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.progress import Context, stepped

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.index import TreeIndex

CHANGED, ADDED, REMOVED = "changed", "added", "removed"
"""Both files have it and it is not the same; only the second has it; only the first."""
DIFFERS = "differs"
"""Any of them, as a word of the filter."""
KINDS = ("", CHANGED, ADDED, REMOVED)
WORDS = (DIFFERS, CHANGED, ADDED, REMOVED)
"""What the filter takes for a word while another file is compared."""
SIGNS = {CHANGED: "\N{NOT EQUAL TO}", ADDED: "+", REMOVED: "\N{MINUS SIGN}"}
"""What stands before the word: a colour would not be seen by all."""


class Compared(NamedTuple):
    """Rows of a TreeIndex.

    Attributes:
        rows: row -> CHANGED, ADDED or REMOVED; all below what only one file has too.
        notes: rows that such ones lie in -> how many, in words.
        order: the rows, ascending. kinds: of each of them a byte, its place in `KINDS`.
        tensors: of each tensor of the tree such a byte.
    """

    rows: Mapping[int, str] = {}
    notes: Mapping[int, str] = {}
    order: array[int] = array("i")
    kinds: bytes = b""
    tensors: bytes = b""


def compared_rows(index: TreeIndex, marks: Mapping[int, str], context: Context) -> Compared:
    """Return the rows for marks of the outline's rows; raises Cancelled."""
    rows: dict[int, str] = {}
    above: dict[int, Counter[str]] = {}
    for outline_row, kind in stepped(marks.items(), context):
        row = index.rows[outline_row]
        rows[row] = kind
        if kind != CHANGED:
            for below in stepped(range(row + 1, index.ends[row]), context):
                rows[below] = kind
        while (row := index.parents[row]) >= 0:
            above.setdefault(row, Counter())[kind] += 1
    notes = {
        row: ", ".join(f"{counts[kind]} {kind}" for kind in SIGNS if counts[kind]) for row, counts in above.items()
    }
    code = {kind: number for number, kind in enumerate(KINDS)}
    order = _sorted(rows, len(index), context)
    kinds = bytes(code[rows[row]] for row in stepped(order, context))
    tensors = bytes(code[rows.get(row, "")] for row in stepped(index.totals.tensor_rows, context))
    return Compared(rows, notes, order, kinds, tensors)


def _sorted(rows: Mapping[int, str], count: int, context: Context) -> array[int]:
    """Return rows ascending; sorting very many at once would hold the interpreter up."""
    marked = bytearray(count)
    for row in stepped(rows, context):
        marked[row] = 1
    return array("i", (row for row in stepped(range(count), context) if marked[row]))


def mask_of_word(kinds: bytes, word: str, *, negated: bool) -> bytes:
    """Return 1 for each byte of `Compared.kinds` or `.tensors` that a word of the filter fits, or does not."""
    fits = [kind != "" if word == DIFFERS else kind == word for kind in KINDS]
    return kinds.translate(bytes(fit != negated for fit in fits) + bytes(256 - len(KINDS)))
