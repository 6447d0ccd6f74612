"""Two checkpoints side by side: what only one has, and what both have and is not the same.

Entries are matched by their path, then by their name without what wrappers put before it, then, for the tensors of the
first model of each, by that name in its state_dict alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

from ckpt_viewer.analysis.listing import scalar_fields
from ckpt_viewer.analysis.optimizer_join import plain_name
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import kind_of, length_of, type_of
from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Step, python_repr, same_step
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import NdArray, Value

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
METADATA = "_metadata"
"""What torch writes into a state_dict for itself alone."""
AS_SAVED = Locator(None)
"""Devices are compared as they were saved, whatever map_location was chosen to look at one of both."""
FIELDS = ("kind", "type", "length", "value", "shape", "dtype", "device", "layout", "values")
"""What can differ, in this order."""


class Difference(NamedTuple):
    """How two tensors of one shape differ.

    Attributes:
        max_abs: largest absolute difference; NaN where only one of both is NaN. max_rel: the largest of the differences
            divided by the larger of both magnitudes. cosine: of both as vectors; None where one is zero or not finite.
        elements: how many are not the same. a, b: the values where the absolute difference is largest.
    """

    max_abs: float
    max_rel: float
    cosine: float | None
    elements: int
    a: Any
    b: Any


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


class Change(NamedTuple):
    """One thing that is not the same.

    Attributes:
        row_a, row_b: in both outlines. field: one of `FIELDS`. a, b: what it is, as JSON holds it.
        by: how far values are apart, for ``values`` only. problem: why they could not be compared.
    """

    row_a: int
    row_b: int
    field: str
    a: Any
    b: Any
    by: Difference | None = None
    problem: str = ""


class Diff(NamedTuple):
    """What two checkpoints have in common, and what not.

    Attributes:
        only_a, only_b: rows of entries that the other has not; of a container that only one has, just itself.
        changed: in the order of the first file. same: entries (no containers) that are equal. pairs: what is compared.
    """

    only_a: list[int]
    only_b: list[int]
    changed: list[Change]
    same: int
    pairs: Pairs

    @property
    def uncompared(self) -> int:
        """Tensors whose values could not be compared, which says nothing of whether they differ."""
        return sum(bool(change.problem) for change in self.changed)

    @property
    def equal(self) -> bool:
        """Whether nothing differs, as far as it could be compared."""
        return not (self.only_a or self.only_b) and self.uncompared == len(self.changed)


def diff(a: Checkpoint, b: Checkpoint, context: Context = SILENT, *, values: bool = False) -> Diff:
    """Compare two checkpoints.

    Args:
        values: read and compare the values of tensors too.

    Raises:
        Cancelled: by `context`.
    """
    pairs = _match(a, b, context)
    changed: list[Change] = []
    same = 0
    ours, theirs = a.outline.values, b.outline.values
    for row_a, row_b in stepped(pairs.items(), context, len(pairs)):
        one, other = ours[row_a], theirs[row_b]
        if type(one) is type(other) and type(one) in _PLAIN and one == other:
            same += 1
            continue
        found = list(_changes(a, b, row_a, row_b))
        changed += found
        same += not found and not _is_container(one)
    left_a, left_b = _left(a, pairs.has_a, context), _left(b, pairs.has_b, context)
    structure = Diff(left_a, left_b, changed, same, pairs)
    if not values:
        return structure
    from ckpt_viewer.analysis.diff_values import with_values  # numpy is not imported where nothing is read

    return with_values(a, b, structure, context)


# --- matching -----------------------------------------------------------------------------------------------------


def _match(a: Checkpoint, b: Checkpoint, context: Context) -> Pairs:
    """Return which rows belong together."""
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


def _left(checkpoint: Checkpoint, known: Callable[[int], bool], context: Context) -> list[int]:
    """Return the rows without a partner; of a container without one only itself, unless something in it has one."""
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


# --- comparing ----------------------------------------------------------------------------------------------------


def _is_container(value: Value) -> bool:
    return length_of(value) is not None


def _changes(a: Checkpoint, b: Checkpoint, row_a: int, row_b: int) -> Iterator[Change]:
    """Yield what the file's structure shows to differ; nothing is read."""
    one, other = a.outline.values[row_a], b.outline.values[row_b]
    if one is other:
        return
    kinds = kind_of(one), kind_of(other)
    if kinds[0] != kinds[1] and {*kinds} != {"int", "float"}:
        yield Change(row_a, row_b, "kind", *kinds)
        return
    if isinstance(one, TensorSpec) and isinstance(other, TensorSpec):
        tensors = _tensor_fields(one), _tensor_fields(other)
        yield from (
            Change(row_a, row_b, name, value, tensors[1][name])
            for name, value in tensors[0].items() if value != tensors[1][name]
        )  # fmt: skip
    elif _is_container(one):
        if kinds[0] == "object" and type_of(one) != type_of(other):
            yield Change(row_a, row_b, "type", type_of(one), type_of(other))
    elif isinstance(one, StorageSpec) and isinstance(other, StorageSpec):
        if one.nbytes != other.nbytes:
            yield Change(row_a, row_b, "length", one.nbytes, other.nbytes)
    elif isinstance(one, NdArray) and isinstance(other, NdArray):
        objects = isinstance(one.data, list) and isinstance(other.data, list)  # of which each is an entry of its own
        if (one.shape, one.dtype) != (other.shape, other.dtype) or (not objects and one.data != other.data):
            field = "shape" if one.shape != other.shape else "dtype" if one.dtype != other.dtype else "value"
            yield Change(row_a, row_b, field, _array(one, field), _array(other, field))
    elif not _equal(one, other):
        yield Change(row_a, row_b, "value", scalar_fields(one)["value"], scalar_fields(other)["value"])


def _tensor_fields(tensor: TensorSpec) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"shape": shape, "dtype": tensor.dtype, "device": AS_SAVED.tensor(tensor), "layout": tensor.layout}


def _array(array: NdArray, field: str) -> Any:
    if field != "value":
        return list(array.shape) if field == "shape" else array.dtype
    number = number_of(array)
    return "other numbers" if number is None else scalar_fields(number)["value"]


def _equal(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    if isinstance(one, int | float | str | bytes | bool | complex) or one is None:
        return one == other
    return python_repr(one) == python_repr(other)
