"""Runs of equal sibling blocks: layers 0 to 79 of one shape become one row that can be opened. No Qt.

Blocks are equal if everything below them has the same relative names, types, shapes and dtypes; what differs in value
does not count. They have to stand side by side and be numbered one after another, and hold tensors.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import repeat
from typing import NamedTuple

from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Step
from ckpt_viewer.core.progress import Context, drain
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping
from ckpt_viewer.gui.tree.table import EVERY, PLAIN, RUN, Table

SHORTEST = 3
"""Blocks from which on a run is folded."""
SHORTEST_BY_NUMBER = 12
"""The same below a dict with integer keys: an optimizer's state, where neighbours are equal by chance."""

CHUNK = 256
"""Rows that are moved between two calls of `step`."""

_NUMBERED = re.compile(r"(.*?)(\d{1,9})((?:\..*)?)", re.DOTALL)


class Run(NamedTuple):
    """Blocks `first` ... (rows of the unfolded table), the last of which ends before `end`."""

    first: int
    end: int
    blocks: tuple[int, ...]


def fold(
    table: Table, rows: array[int], ends: array[int], outline: Outline, context: Context
) -> tuple[Table, array[int]]:
    """Return the table with a row before each run of equal blocks, its new parent, and its ends; brings `rows` up to
    date.

    Raises:
        Cancelled: by `context`.
    """
    runs = _runs(table, ends, _signatures(table, outline, context), outline, context)
    return _insert(table, rows, ends, runs, context) if runs else (table, ends)


class _Signatures(NamedTuple):
    """For each row a number for what is below it, and whether that includes a tensor."""

    numbers: list[int]
    tensors: bytearray


def _signatures(table: Table, outline: Outline, context: Context) -> _Signatures:
    names, parents, sources, kinds, values = table.names, table.parents, table.sources, table.kinds, outline.values
    numbers, tensors = [0] * len(table), bytearray(len(table))
    for row in range(len(table) - 1, 0, -1):
        if not row & EVERY:
            context.step(2 * len(table) - row, 4 * len(table))
        parent, own = parents[row], numbers[row]
        if kinds[row] == PLAIN:
            value = values[sources[row]]
            if type(value) is TensorSpec:
                tensors[row] = 1
                own = hash((own, value.shape, value.dtype))
            else:
                own = hash((own, value.type if isinstance(value, Mapping | Instance) else type(value)))
        if tensors[row]:
            tensors[parent] = 1
        numbers[row] = own
        numbers[parent] = hash((numbers[parent], names[row], own))
    return _Signatures(numbers, tensors)


class _Open:
    """The run that is growing below one parent."""

    __slots__ = ("blocks", "end", "number", "signature")

    def __init__(self, signature: tuple[object, ...], number: int, block: int, end: int) -> None:
        self.signature, self.number, self.end, self.blocks = signature, number, end, [block]


def _runs(table: Table, ends: array[int], signatures: _Signatures, outline: Outline, context: Context) -> list[Run]:
    found: list[Run] = []
    growing: dict[int, _Open] = {}
    parents, (numbers, tensors) = table.parents, signatures
    for row in range(1, len(table)):
        if not row & EVERY:
            context.step(2 * len(table) + row, 4 * len(table))
        if not tensors[row] or ends[row] == row + 1 or _is_tensor(table, row, outline):
            continue
        run, behind = growing.get(parents[row]), ends[row]
        if (run is None or run.signature[0] != numbers[row]) and not (
            behind < len(table) and parents[behind] == parents[row] and numbers[behind] == numbers[row]
        ):
            continue  # unlike what stands before and behind it, as nearly all are
        numbered = _numbered(table.names[row])
        if numbered is None:
            continue
        stem, number, tail = numbered
        signature = (numbers[row], stem, tail)
        if run and run.end == row and run.signature == signature and run.number + 1 == number:
            run.blocks.append(row)
            run.end, run.number = ends[row], number
            continue
        _close(run, table, outline, found)
        growing[parents[row]] = _Open(signature, number, row, ends[row])
    for run in growing.values():
        _close(run, table, outline, found)
    drain(growing, context)
    return sorted(found)


def _close(run: _Open | None, table: Table, outline: Outline, found: list[Run]) -> None:
    if run is None or len(run.blocks) < SHORTEST:
        return
    parent = table.parents[run.blocks[0]]
    by_number = isinstance(outline.values[table.sources[parent]], Mapping) and type(table.names[run.blocks[0]]) is int
    if len(run.blocks) >= (SHORTEST_BY_NUMBER if by_number else SHORTEST):
        found.append(Run(run.blocks[0], run.end, tuple(run.blocks)))


def _is_tensor(table: Table, row: int, outline: Outline) -> bool:
    return table.kinds[row] == PLAIN and type(outline.values[table.sources[row]]) is TensorSpec


def _numbered(name: Step) -> tuple[str, int, str] | None:
    """Return what stands before a block's number, the number, and the modules that share its row."""
    if type(name) is int:
        return "[", name, ""
    match = _NUMBERED.fullmatch(name) if isinstance(name, str) and len(name) < 200 else None
    return (match[1], int(match[2]), match[3]) if match else None


def _insert(
    table: Table, rows: array[int], ends: array[int], runs: list[Run], context: Context
) -> tuple[Table, array[int]]:
    folded = Table()
    firsts = array("i", (run.first for run in runs))
    moved = array("i")
    start = 0
    for shift, run in enumerate([*runs, None]):
        stop = run.first if run else len(table)
        for low in range(start, stop, CHUNK):
            high = min(low + CHUNK, stop)
            moved.extend(range(low + shift, high + shift))
            folded.names += table.names[low:high]
            folded.sources += table.sources[low:high]
            folded.kinds += table.kinds[low:high]
            folded.parents.extend(_shifted(table.parents[low:high], firsts))
            context.step(low, len(table))
        start = stop
        if run:
            folded.add(_label(table, run), table.sources[table.parents[run.first]], RUN, -1)
    ends = _moved_ends(ends, moved, runs, context)
    for shift, run in enumerate(runs):
        row = run.first + shift
        folded.parents[row] = folded.parents[row + 1]
        for block in run.blocks:
            folded.parents[moved[block]] = row
    for low in range(0, len(rows), CHUNK):
        rows[low : low + CHUNK] = array("i", map(moved.__getitem__, rows[low : low + CHUNK]))
        context.step(low, len(rows))
    return folded, ends


def _shifted(parents: Iterable[int], firsts: array[int]) -> Iterable[int]:
    return (
        parent + before if parent >= 0 else parent
        for parent, before in zip(parents, map(bisect_right, repeat(firsts), parents), strict=True)
    )


def _moved_ends(ends: array[int], moved: array[int], runs: list[Run], context: Context) -> array[int]:
    """Return the ends of the folded table. A subtree ends where its last row is: a run may have come in behind it."""
    result = array("i")
    start = 0
    for run in [*runs, None]:
        stop = run.first if run else len(ends)
        for low in range(start, stop, CHUNK):
            result.extend(moved[end - 1] + 1 for end in ends[low : min(low + CHUNK, stop)])
            context.step(low, len(ends))
        start = stop
        if run:
            result.append(moved[run.end - 1] + 1)
    return result


def _label(table: Table, run: Run) -> str:
    first, last = (table.names[block] for block in (run.blocks[0], run.blocks[-1]))
    if isinstance(first, str) and isinstance(last, str):
        stem, _, tail = _numbered(last) or ("", 0, "")
        return f"{first.removesuffix(tail)}…{last.removesuffix(tail).removeprefix(stem)}{tail}"
    return f"[{first}…{last}]"
