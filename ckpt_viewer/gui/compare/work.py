"""The work behind the comparison: what differs, which lines show and in which order. No Qt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.analysis.diff import Diff, diff
from ckpt_viewer.analysis.diff_table import ADDED, KINDS, REMOVED, Line, diff_lines, rows_by_kind
from ckpt_viewer.core.progress import stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.panels.facts import count_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.progress import Context

WHAT, ENTRY, SIDE_A, SIDE_B, LARGEST, RELATIVE, COSINE = range(7)
"""Columns."""
WORDS = {
    REMOVED: "only in A", ADDED: "only in B", "type": "type", "shape": "shape", "dtype": "dtype", "device": "device",
    "progress": "progress", "hyper-parameter": "hyper-parameter", "scheduler": "scheduler", "metric": "metric",
    "setting": "setting", "value": "value", "values": "values",
}  # fmt: skip
"""Kind -> what it is called."""
SIGNS = {REMOVED: "\N{MINUS SIGN}", ADDED: "+"}
"""Kind -> a sign for it; all others `DIFFERS`."""
DIFFERS = "\N{NOT EQUAL TO}"
KEY = 256
"""Bytes of a path that lines are sorted by."""


class Comparison(NamedTuple):
    """What is known of two checkpoints.

    Attributes:
        found: the difference by rows. lines: the same for people. counts: kind -> lines, in the order of `KINDS`.
        marks_a, marks_b: rows of both outlines -> ``changed``, ``removed``, ``added``.
        to_read: bytes that comparing the values would read. valued: whether the values were compared.
        sentence: the answer in a line.
    """

    found: Diff
    lines: list[Line]
    counts: dict[str, int]
    marks_a: dict[int, str]
    marks_b: dict[int, str]
    to_read: int
    valued: bool
    sentence: str


def _sentence(found: Diff, lines: list[Line], counts: dict[str, int], valued: bool, context: Context) -> str:
    """Return the answer in a line."""
    same = count_words(found.same, "entry is", "entries are")
    if not lines:
        return f"Nothing differs: {same} the same{'.' if valued else ', the values of tensors aside.'}"
    only_a, only_b = (counts.get(kind, 0) for kind in (REMOVED, ADDED))
    differ = len({change.row_a for change in stepped(found.changed, context)})
    parts = [f"{grouped(differ)} differ" if differ else "", f"{grouped(only_a)} only in A" if only_a else "",
             f"{grouped(only_b)} only in B" if only_b else ""]  # fmt: skip
    rest = "" if valued else " Values of tensors were not compared."
    return f"{', '.join(filter(None, parts))}; {same} the same.{rest}"


def compare(a: Checkpoint, b: Checkpoint, context: Context) -> Comparison:
    """Compare what both files' structures show; reads no weights. Raises Cancelled."""
    a.load_outline(context)
    b.load_outline(context)
    found = diff(a, b, context)
    to_read = 0
    for row_a, row_b in stepped(found.pairs.items(), context):
        one, other = a.outline.values[row_a], b.outline.values[row_b]
        if isinstance(one, TensorSpec) and isinstance(other, TensorSpec) and one.shape == other.shape:
            to_read += one.nbytes + other.nbytes
    return _told(a, b, found, to_read, False, context)


def compare_values(a: Checkpoint, b: Checkpoint, before: Comparison, context: Context) -> Comparison:
    """Compare the values of all tensors too: reads both files; raises Cancelled."""
    from ckpt_viewer.analysis.diff_values import with_values

    return _told(a, b, with_values(a, b, before.found, context), before.to_read, True, context)


def _told(a: Checkpoint, b: Checkpoint, found: Diff, to_read: int, valued: bool, context: Context) -> Comparison:
    lines = diff_lines(a, b, found, context)
    counted = Counter(line.kind for line in stepped(lines, context))
    counts = {kind: counted[kind] for kind in KINDS if counted[kind]}
    marks_a, marks_b = rows_by_kind(lines, of_b=False), rows_by_kind(lines, of_b=True)
    sentence = _sentence(found, lines, counts, valued, context)
    return Comparison(found, lines, counts, marks_a, marks_b, to_read, valued, sentence)


def arrange(
    lines: Sequence[Line], hidden: frozenset[str], text: str, column: int, descending: bool, context: Context
) -> list[int]:
    """Return the numbers of the lines that show, sorted.

    Args:
        hidden: kinds that do not show. text: words that a path has to contain, without case.
        column: what they are sorted by, -1 for the order of the files.

    Raises:
        Cancelled: by `context`.
    """
    words = text.lower().split()
    shown = [
        number
        for number, line in stepped(enumerate(lines), context)
        if line.kind not in hidden and (not words or _has(line, words))
    ]
    return shown if column < 0 else _sorted(lines, shown, column, descending, context)


def _has(line: Line, words: Iterable[str]) -> bool:
    return any(all(word in path for word in words) for path in (line.path_a.lower(), line.path_b.lower()))


def _sorted(lines: Sequence[Line], shown: list[int], column: int, descending: bool, context: Context) -> list[int]:
    import numpy as np

    from ckpt_viewer.gui.tree.ordering import text_key

    numbers = {LARGEST: "max_abs", RELATIVE: "max_rel", COSINE: "cosine"}
    if column == WHAT:
        keys = np.array([KINDS.index(lines[number].kind) for number in stepped(shown, context)], np.float64)
    elif column in numbers:
        values = [getattr(lines[number], numbers[column]) for number in stepped(shown, context)]
        known = np.array([value is not None for value in values], bool)
        keys = np.array([0.0 if value is None else float(value) for value in values])
        keys = np.where(np.isnan(keys), np.inf, keys)  # one side is not a number: as far apart as can be
        keys = -keys if descending else keys
        keys[~known] = np.nan
        return [shown[place] for place in np.argsort(keys, kind="stable").tolist()]
    else:
        told = {ENTRY: "path", SIDE_A: "a", SIDE_B: "b"}[column]
        texts = [text_key(getattr(lines[number], told), KEY) for number in stepped(shown, context)]
        keys = np.unique(np.array(texts, f"S{KEY}"), return_inverse=True)[1].reshape(-1).astype(np.float64)
    context.step(0, 0)
    return [shown[place] for place in np.argsort(-keys if descending else keys, kind="stable").tolist()]


def write_csv(lines: Sequence[Line], names: tuple[str, str], path: str, context: Context) -> None:
    """Write lines as CSV, in full precision, in place of a file that is there; raises Cancelled, WriteFailed."""
    from ckpt_viewer.analysis.diff_table import csv_rows
    from ckpt_viewer.core.text import csv_cell, escape_text
    from ckpt_viewer.export.atomic import AtomicFile

    with AtomicFile(path, force=True) as file:
        for row in stepped(csv_rows(lines, names), context, len(lines)):
            file.write((",".join(csv_cell(escape_text(cell)) for cell in row) + "\n").encode())
