"""Which entries of two checkpoints belong together.

They are matched by their path, then by their name without what wrappers put before it, then, for the tensors of the
first model of each, by that name in its state_dict alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest

from ckpt_viewer.analysis.optimizer_join import plain_name
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Step, same_step
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import TensorSpec

METADATA = "_metadata"
"""What torch writes into a state_dict for itself alone."""


class Pairs:
    """Rows of one outline and those of another that belong to them; some bytes for each row, for there are millions."""

    def __init__(self, rows_a: int, rows_b: int) -> None:
        self._other = array("q", [-1]) * rows_a
        self._taken = bytearray(rows_b)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, row_a: int, row_b: int) -> None:
        """Say that two rows belong together, neither of which has another."""
        self._other[row_a], self._taken[row_b] = row_b, True
        self._count += 1

    def has_a(self, row: int) -> bool:
        """Whether a row of the first outline has another."""
        return self._other[row] >= 0

    def has_b(self, row: int) -> bool:
        """Whether a row of the second outline has another."""
        return bool(self._taken[row])

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield the rows, in the order of the first outline."""
        return ((row, other) for row, other in enumerate(self._other) if other >= 0)


def match(a: Checkpoint, b: Checkpoint, context: Context) -> Pairs:
    """Return which rows of the outlines belong together; raises Cancelled by `context`."""
    pairs = Pairs(len(a.outline), len(b.outline))
    pairs.put(0, 0)
    waiting = [(0, 0)]
    while waiting:
        waiting += _match_below(a.outline, b.outline, *waiting.pop(), pairs, context)
    names: dict[object, int] = {}
    for keys_of in (partial(_plain_keys, names=names), _model_keys):
        if len(pairs) in (len(a.outline), len(b.outline)):
            break
        if keys_of is not _model_keys and not (_is_wrapped(a, context) or _is_wrapped(b, context)):
            continue  # such names are the paths themselves, which were matched
        left_b = _unique(keys_of(b, pairs.has_b, context))
        for key, row in _unique(keys_of(a, pairs.has_a, context)).items():
            other = left_b.get(key)
            if other is not None:
                pairs.put(row, other)
    return pairs


def _match_below(
    a: Outline, b: Outline, row_a: int, row_b: int, pairs: Pairs, context: Context
) -> list[tuple[int, int]]:
    """Match the members of two containers by their steps; return the pairs that have members themselves."""
    deeper: list[tuple[int, int]] = []
    for child, other in _pairs_below(a, b, row_a, row_b, context):
        pairs.put(child, other)
        if a.ends[child] > child + 1 and b.ends[other] > other + 1:
            deeper.append((child, other))
    return deeper


def _pairs_below(a: Outline, b: Outline, row_a: int, row_b: int, context: Context) -> Iterator[tuple[int, int]]:
    """Yield the members of two containers with the same step: first those that stand in the same places."""
    ours, theirs = stepped(a.children(row_a), context), b.children(row_b)
    rest_a: list[int] = []
    rest_b: list[int] = []
    for child, other in zip_longest(ours, theirs, fillvalue=-1):
        if child >= 0 and other >= 0 and _same_step(a.steps[child], b.steps[other]):
            if a.steps[child] != METADATA:
                yield child, other
            continue
        rest_a += (child,) if child >= 0 else ()
        rest_b += (other,) if other >= 0 else ()
    if not rest_a or not rest_b:
        return
    steps: dict[object, int] = {}
    for other in stepped(rest_b, context):
        steps.setdefault(same_step(b.steps[other]), other)
    for child in stepped(rest_a, context):
        found = steps.get(same_step(a.steps[child]))
        if found is not None and a.steps[child] != METADATA:
            yield child, found


def _same_step(one: Step, other: Step) -> bool:
    return type(one) is type(other) and one == other


def _is_wrapped(checkpoint: Checkpoint, context: Context) -> bool:
    """Whether any name has something in it that a wrapper has put there."""
    return any(type(step) is str and plain_name(step) != step for step in stepped(checkpoint.outline.steps, context))


def _unique(keys: Iterator[tuple[object, int]]) -> dict[object, int]:
    """Return key -> row of the keys that are there once."""
    found: dict[object, int] = {}
    twice: set[object] = set()
    for key, row in keys:
        if key in found:
            twice.add(key)
        found[key] = row
    for key in twice:
        del found[key]
    return found


def _plain_keys(
    checkpoint: Checkpoint, known: Callable[[int], bool], context: Context, names: dict[object, int]
) -> Iterator[tuple[object, int]]:
    """Yield a number for each path that is not known without what wrappers put before names.

    Args:
        names: (number of what it is in, step) -> number of a path, the same for both checkpoints. A path of many steps
            for each of many entries would take memory without end.
    """
    outline = checkpoint.outline
    plain: dict[int, int] = {0: 0}
    for row in stepped(range(1, len(outline)), context):
        above, step = plain.get(outline.parents[row]), outline.steps[row]
        is_container = outline.ends[row] > row + 1
        if above is None or step == METADATA or (not is_container and known(row)):
            continue
        key = above, same_step(plain_name(step) if type(step) is str else step)
        number = names.setdefault(key, len(names) + 1)
        if is_container:
            plain[row] = number
        if not known(row):
            yield number, row


def _model_keys(checkpoint: Checkpoint, known: Callable[[int], bool], context: Context) -> Iterator[tuple[object, int]]:
    """Yield the names that the first model's ``state_dict()`` has, and the model itself, as far as they are not known.

    So a bare state_dict finds itself in a resume checkpoint, and in a module that was pickled whole.
    """
    if not checkpoint.models:
        return
    model, outline = checkpoint.models[0], checkpoint.outline
    rows: dict[int, int] = {}
    for row in stepped(range(model.row, outline.ends[model.row]), context):
        if type(outline.values[row]) is TensorSpec:
            rows.setdefault(id(outline.values[row]), row)
    if not known(model.row):
        yield "", model.row
    for name, tensor, _ in stepped(state_dict_entries(outline.values[model.row], context).entries, context):
        at = rows.get(id(tensor))
        if at is not None and not known(at):
            yield plain_name(name), at


def left(checkpoint: Checkpoint, known: Callable[[int], bool], context: Context) -> list[int]:
    """Return the rows without a partner; of a container without one only itself, unless something in it has one.

    Args:
        known: whether a row has one.

    Raises:
        Cancelled: by `context`.
    """
    outline = checkpoint.outline
    above = bytearray(len(outline))
    for row in stepped(range(len(outline)), context):
        parent = outline.parents[row] if known(row) else 0
        while parent > 0 and not above[parent]:
            above[parent] = True
            parent = outline.parents[parent]
    left, row = [], 1
    while row < len(outline):
        context.step(row, len(outline))
        if known(row) or above[row]:
            row += 1
            continue
        if outline.steps[row] != METADATA:
            left.append(row)
        row = outline.ends[row]
    return left
