"""Two checkpoints side by side: what only one has, and what both have and is not the same.

Entries are matched by their path, then by their name without what wrappers put before it, then, for the parameters of
the first model of each, by that name alone: a bare state_dict finds itself in a resume checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ckpt_viewer.analysis.listing import scalar_fields
from ckpt_viewer.analysis.optimizer_join import plain_name
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import kind_of, length_of, type_of
from ckpt_viewer.core.path import Path, python_repr, step_json
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import NdArray, Value

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
        changed: in the order of the first file. same: entries (no containers) that are equal. pairs: row -> row.
    """

    only_a: list[int]
    only_b: list[int]
    changed: list[Change]
    same: int
    pairs: dict[int, int]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.only_a or self.only_b or self.changed)


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
    for row_a, row_b in stepped(pairs.items(), context, len(pairs)):
        found = list(_changes(a, b, row_a, row_b))
        if values and not found:
            found = _values(a, b, row_a, row_b, context)
        changed += found
        same += not found and not _is_container(a.outline.values[row_a])
    taken = set(pairs.values())
    return Diff(
        _left(a, pairs.keys()), _left(b, taken), changed, same, pairs
    )  # fmt: skip


# --- matching -----------------------------------------------------------------------------------------------------


def _match(a: Checkpoint, b: Checkpoint, context: Context) -> dict[int, int]:
    """Return row of `a` -> row of `b`, in the order of `a`."""
    paths_a, paths_b = _paths(a, context), _paths(b, context)
    by_path = {path: row for row, path in paths_b.items()}
    pairs = {row: by_path[path] for row, path in paths_a.items() if path in by_path}
    taken = set(pairs.values())
    for key_of in (_plain_keys, _model_keys):
        left_b = _unique(key_of(b, ((row, path) for row, path in paths_b.items() if row not in taken)))
        left_a = _unique(key_of(a, ((row, path) for row, path in paths_a.items() if row not in pairs)))
        for key, row in left_a.items():
            other = left_b.get(key)
            if other is not None:
                pairs[row] = other
                taken.add(other)
    return dict(sorted(pairs.items()))


def _paths(checkpoint: Checkpoint, context: Context) -> dict[int, Path]:
    """Return row -> path of every entry but second ways to a container, and what is written for torch alone."""
    outline = checkpoint.outline
    paths: dict[int, Path] = {0: ()}
    for row in stepped(range(1, len(outline)), context):
        parent = outline.parents[row]
        if parent in paths and outline.steps[row] != "_metadata":
            paths[row] = (*paths[parent], outline.steps[row])
    return paths


def _unique(keys: Iterator[tuple[object, int]]) -> dict[object, int]:
    """Return key -> row of the keys that are there once."""
    found: dict[object, int] = {}
    twice: set[object] = set()
    for key, row in keys:
        if key in found:
            twice.add(key)
        found[key] = row
    return {key: row for key, row in found.items() if key not in twice}


def _plain_keys(_checkpoint: Checkpoint, rows: Iterable[tuple[int, Path]]) -> Iterator[tuple[object, int]]:
    """Yield each path without what wrappers put before names."""
    for row, path in rows:
        yield tuple(plain_name(step) if type(step) is str else step for step in path), row


def _model_keys(checkpoint: Checkpoint, rows: Iterable[tuple[int, Path]]) -> Iterator[tuple[object, int]]:
    """Yield the names of the first model's tensors, and the model itself."""
    if not checkpoint.models:
        return
    model = checkpoint.models[0]
    depth = len(model.path)
    for row, path in rows:
        if row == model.row:
            yield "", row
        elif path[:depth] == model.path and len(path) == depth + 1 and type(path[-1]) is str:
            yield plain_name(path[-1]), row


def _left(checkpoint: Checkpoint, matched: Iterable[int]) -> list[int]:
    """Return the rows without a partner; of a container without one only itself, unless something in it has one."""
    outline, known = checkpoint.outline, set(matched)
    above = set()
    for row in known:
        parent = outline.parents[row]
        while parent > 0 and parent not in above:
            above.add(parent)
            parent = outline.parents[parent]
    left, row = [], 1
    while row < len(outline):
        if row in known or row in above:
            row += 1
        elif outline.steps[row] == "_metadata":
            row = outline.ends[row]
        else:
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
        tensors = _tensor_fields(a, one), _tensor_fields(b, other)
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
        if (one.shape, one.dtype, one.data) != (other.shape, other.dtype, other.data):
            field = "shape" if one.shape != other.shape else "dtype" if one.dtype != other.dtype else "value"
            yield Change(row_a, row_b, field, _array(one, field), _array(other, field))
    elif not _equal(one, other):
        yield Change(row_a, row_b, "value", scalar_fields(one)["value"], scalar_fields(other)["value"])


def _tensor_fields(checkpoint: Checkpoint, tensor: TensorSpec) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    device = checkpoint.locator.tensor(tensor)
    return {"shape": shape, "dtype": tensor.dtype, "device": device, "layout": tensor.layout}


def _array(array: NdArray, field: str) -> Any:
    return list(array.shape) if field == "shape" else array.dtype if field == "dtype" else "other numbers"


def _equal(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    if isinstance(one, int | float | str | bytes | bool | complex) or one is None:
        return one == other
    return python_repr(one) == python_repr(other)


def _values(a: Checkpoint, b: Checkpoint, row_a: int, row_b: int, context: Context) -> list[Change]:
    one, other = a.outline.values[row_a], b.outline.values[row_b]
    if not isinstance(one, TensorSpec) or not isinstance(other, TensorSpec):
        return []
    from ckpt_viewer.analysis.diff_values import compare  # numpy is not imported where nothing is read
    from ckpt_viewer.errors import CheckpointError

    try:
        by = compare(one, other, context)
    except CheckpointError as error:
        return [Change(row_a, row_b, "values", None, None, None, str(error))]
    return [] if by is None else [Change(row_a, row_b, "values", by.a, by.b, by)]


# --- as JSON ------------------------------------------------------------------------------------------------------


def diff_json(a: Checkpoint, b: Checkpoint, found: Diff) -> dict[str, Any]:
    """Return the document of ``diff --json``."""
    return {
        "schema": 1,
        "only_a": [_path(a, row) for row in found.only_a],
        "only_b": [_path(b, row) for row in found.only_b],
        "changed": [_change(a, b, each) for each in found.changed],
        "same": found.same,
    }


def _path(checkpoint: Checkpoint, row: int) -> list[Any]:
    return [step_json(step) for step in checkpoint.outline.path(row)]


def _change(a: Checkpoint, b: Checkpoint, each: Change) -> dict[str, Any]:
    path, other = _path(a, each.row_a), _path(b, each.row_b)
    told: dict[str, Any] = {"path": path, "field": each.field, "a": each.a, "b": each.b}
    if other != path:
        told["path_b"] = other
    if each.by is not None:
        told.update({name: _number(getattr(each.by, name)) for name in ("max_abs", "max_rel", "cosine", "elements")})
        told.update(a=_number(each.a), b=_number(each.b))
    if each.problem:
        told["problem"] = each.problem
    return told


def _number(value: Any) -> Any:
    return scalar_fields(value)["value"] if isinstance(value, int | float) else value
