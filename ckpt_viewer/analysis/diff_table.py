"""What differs between two checkpoints as lines of one kind each: for a table, a tree's marks, a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from ckpt_viewer.analysis.diff import Change, Diff
from ckpt_viewer.analysis.roles import find_roles
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import kind_of, length_of, type_of
from ckpt_viewer.core.outline import Outline, Pointers
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import shape_text, shorten

REMOVED, ADDED = "removed", "added"
"""Kinds of entries that only A has, that only B has."""
KINDS = (
    REMOVED, ADDED, "type", "shape", "dtype", "device", "progress", "hyper-parameter", "scheduler", "metric", "setting",
    "value", "values",
)  # fmt: skip
"""Every kind of line, as a reader wants to see them; ``values`` are those of tensors."""
_ROLES = {"optimizer": "hyper-parameter", "lr_scheduler": "scheduler", "metrics": "metric", "config": "setting",
          "progress": "progress"}  # fmt: skip
"""Role of what a plain value lies in -> its kind."""
_FIELDS = {"kind": "type", "length": "shape", "layout": "type"}
"""Fields of changes -> kinds, where they have other names."""
TEXT_LIMIT = 200
"""Characters of a value."""


class Line(NamedTuple):
    """One difference.

    Attributes:
        kind: one of `KINDS`. row_a, row_b: of the entries in both outlines; -1 where there is none.
        path_a, path_b: their JSON Pointers; ``""`` for the root, and where there is none.
        a, b: what is there, as text; ``""`` where nothing is.
        change: with how far values are apart; None for an entry that only one has.
    """

    kind: str
    row_a: int
    row_b: int
    path_a: str
    path_b: str
    a: str
    b: str
    change: Change | None = None

    @property
    def path(self) -> str:
        """The path in A, or in B where only that has it."""
        return self.path_a if self.row_a >= 0 else self.path_b

    @property
    def max_abs(self) -> float | None:
        """The largest absolute difference of values."""
        return self.change.by.max_abs if self.change is not None and self.change.by is not None else None

    @property
    def max_rel(self) -> float | None:
        """The largest relative difference of values."""
        return self.change.by.max_rel if self.change is not None and self.change.by is not None else None

    @property
    def cosine(self) -> float | None:
        """The cosine of both tensors."""
        return self.change.by.cosine if self.change is not None and self.change.by is not None else None


def diff_lines(a: Checkpoint, b: Checkpoint, found: Diff, context: Context = SILENT) -> list[Line]:
    """Return a line for each difference: in the order of A, what only B has after it.

    Raises:
        Cancelled: by `context`.
    """
    pointer_a, pointer_b, kinds = Pointers(a.outline).of, Pointers(b.outline).of, _areas(a, context)
    lines: list[Line] = []
    for row in stepped(found.only_a, context):
        lines.append(Line(REMOVED, row, -1, pointer_a(row), "", entry_text(a.outline, row), ""))
    for change in stepped(found.changed, context):
        rows = change.row_a, change.row_b
        kind = _FIELDS.get(change.field, change.field)
        if kind == "value":
            kind = _area(kinds, a.outline, change.row_a)
        texts = ("", "") if change.problem else (value_text(change.a), value_text(change.b))
        lines.append(Line(kind, *rows, pointer_a(rows[0]), pointer_b(rows[1]), *texts, change))
    lines.sort(key=lambda line: line.row_a)
    for row in stepped(found.only_b, context):
        lines.append(Line(ADDED, -1, row, "", pointer_b(row), "", entry_text(b.outline, row)))
    return lines


def _areas(checkpoint: Checkpoint, context: Context) -> dict[int, str]:
    """Return row -> kind of the plain values at and below it."""
    roles = find_roles(checkpoint.load_outline(context), checkpoint.models, context, checkpoint.given)
    return {row: _ROLES[role.name] for row, role in roles.items() if role.name in _ROLES}


def _area(kinds: dict[int, str], outline: Outline, row: int) -> str:
    while row >= 0:
        if row in kinds:
            return kinds[row]
        row = outline.parents[row]
    return "value"


def entry_text(outline: Outline, row: int) -> str:
    """Return what an entry is in a few words: ``64 × 3 × 7 × 7 float32``, ``dict of 3``, ``0.1``."""
    value = outline.values[row]
    if isinstance(value, TensorSpec):
        return f"{shape_text(value.shape)} {value.dtype}"
    length = length_of(value)
    if length is not None:
        return shorten(f"{type_of(value)} of {length}", TEXT_LIMIT)
    return shorten(python_repr(value), TEXT_LIMIT) if kind_of(value) != "storage" else "storage"


def value_text(value: Any) -> str:
    """Return one side of a change: a shape with crosses, a text bare, all else as Python writes it."""
    if isinstance(value, list):
        return shape_text(tuple(value))
    return shorten(value if isinstance(value, str) else python_repr(value), TEXT_LIMIT)


def rows_by_kind(lines: list[Line], *, of_b: bool) -> dict[int, str]:
    """Return row of one outline -> ``removed``, ``added`` or ``changed``, for the marks of its tree."""
    rows = ((line.row_b if of_b else line.row_a, line.kind) for line in lines)
    return {row: kind if kind in (REMOVED, ADDED) else "changed" for row, kind in rows if row >= 0}


def csv_rows(lines: Iterable[Line], names: tuple[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield the head and a row for each line, in full precision."""
    head = ("what", "path in A", "path in B", f"A: {names[0]}", f"B: {names[1]}", "largest difference",
            "largest relative difference", "cosine", "elements that differ")  # fmt: skip
    return chain([head], map(_csv_row, lines))


def _csv_row(line: Line) -> tuple[str, ...]:
    by = line.change.by if line.change is not None else None
    numbers = (None, None, None, None) if by is None else (by.max_abs, by.max_rel, by.cosine, by.elements)
    problem = line.change.problem if line.change is not None else ""
    texts = (line.kind, line.path_a, line.path_b, line.a, problem or line.b)
    return (*texts, *("" if number is None else repr(number) for number in numbers))
