"""Two checkpoints side by side: what only one has, and what both have and is not the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ckpt_viewer.analysis.diff_match import Pairs, left, match
from ckpt_viewer.analysis.listing import scalar_fields
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import kind_of, length_of, type_of
from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import NdArray, Value

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
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
    pairs = match(a, b, context)
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
    left_a, left_b = left(a, pairs.has_a, context), left(b, pairs.has_b, context)
    structure = Diff(left_a, left_b, changed, same, pairs)
    if not values:
        return structure
    from ckpt_viewer.analysis.diff_values import with_values  # numpy is not imported where nothing is read

    return with_values(a, b, structure, context)


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
