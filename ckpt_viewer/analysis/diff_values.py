"""How far the values of two tensors are apart, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np

from ckpt_viewer.analysis.diff import Change, Diff, Difference
from ckpt_viewer.analysis.diff_small import small_differences
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.decode import read_slice
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.stored import AMPLIFIED, MATERIALISED
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.errors import CheckpointError, OverBudget

BLOCK = 1 << 19
"""Elements that are read at once."""
PIECE = 1 << 13
"""Elements that are compared at once: for more numpy's dot product starts threads, which cost more than they give."""


def with_values(a: Checkpoint, b: Checkpoint, found: Diff, context: Context) -> Diff:
    """Return what `diff` found with the values of the tensors that have one shape; reads both files.

    Raises:
        Cancelled: by `context`, which is told of bytes.
    """
    pairs = list(_comparable(a, b, found, context))
    known = _outcomes(pairs, context)
    differing = {change.row_a for change in stepped(found.changed, context)}
    more: list[Change] = []
    same = found.same
    for row_a, row_b, one, other in stepped(pairs, context):
        by = known[id(one), id(other)]
        if by is not None:
            change = Change(row_a, row_b, "values", None, None)
            more.append(change._replace(problem=by) if isinstance(by, str) else change._replace(a=by.a, b=by.b, by=by))
            same -= row_a not in differing
    changed = sorted([*found.changed, *more], key=lambda change: change.row_a)
    return found._replace(changed=changed, same=same)


def _comparable(
    a: Checkpoint, b: Checkpoint, found: Diff, context: Context
) -> Iterator[tuple[int, int, TensorSpec, TensorSpec]]:
    for row_a, row_b in stepped(found.pairs.items(), context):
        one, other = a.outline.values[row_a], b.outline.values[row_b]
        if not isinstance(one, TensorSpec) or not isinstance(other, TensorSpec) or one is other:
            continue
        if (one.shape, one.layout) == (other.shape, other.layout) and not (_is_empty(one) and _is_empty(other)):
            yield row_a, row_b, one, other


def _is_empty(tensor: TensorSpec) -> bool:
    """Whether a tensor never had values, as those on the device meta."""
    has_parts = tensor.extra is not None and bool(tensor.extra.parts)
    return not has_parts and (tensor.storage is None or tensor.storage.home is None)


def _outcomes(
    pairs: list[tuple[int, int, TensorSpec, TensorSpec]], context: Context
) -> dict[tuple[int, int], Difference | str | None]:
    """Return the ids of two tensors -> how they differ, None where they do not, or why they cannot be compared."""
    distinct = {(id(one), id(other)): (one, other) for _, _, one, other in stepped(pairs, context)}
    part = _Part(context, sum(one.nbytes + other.nbytes for one, other in stepped(distinct.values(), context)))
    known: dict[tuple[int, int], Difference | str | None] = {}
    for key, by in small_differences(distinct, part):
        known[key] = by
        part.finish(sum(each.nbytes for each in distinct[key]))
    for key, (one, other) in distinct.items():
        if key not in known:
            known[key] = _outcome(one, other, part)
            part.finish(one.nbytes + other.nbytes)
    return known


def _outcome(one: TensorSpec, other: TensorSpec, context: Context) -> Difference | str | None:
    try:
        return compare(one, other, context)
    except CheckpointError as error:
        return str(error)


class _Part:
    """Progress through one pair after the other, in bytes of all."""

    def __init__(self, context: Context, total: int) -> None:
        self._context, self._total, self._before = context, total, 0

    def step(self, done: int, total: int) -> None:
        """Report the bytes of one pair that were read, of `total`; those of a second reading do not count."""
        self._context.step(min(self._before + (done if total else 0), self._total), self._total)

    def finish(self, nbytes: int) -> None:
        """One pair is compared."""
        self._before += nbytes
        self.step(0, 0)


def compare(a: TensorSpec, b: TensorSpec, context: Context) -> Difference | None:
    """Return how two tensors of one shape differ; None if they do not. Sparse ones are compared part by part.

    Tensors of several dtypes are compared by their values. What is equal or small is read once, all else twice.

    Raises:
        CheckpointError: one of them has no values, or they cannot be read. Cancelled: by `context`, told of bytes.
    """
    parts_a, parts_b = (each.extra.parts if each.extra else {} for each in (a, b))
    if parts_a and parts_a.keys() == parts_b.keys():
        if any(parts_a[name].shape != parts_b[name].shape for name in parts_a):
            return Difference(math.nan, math.nan, None, 0, "other places", "other places")
        found = [compare(parts_a[name], parts_b[name], context) for name in parts_a]
        return max((each for each in found if each is not None), key=lambda each: each.max_abs, default=None)
    if 0 in (a.shape or ()):  # of the other dimensions a file can state anything
        return None
    a, b, times = _once(a, b)
    _check_budget(a, b)
    blocks: Iterable[tuple[Any, Any]] = _blocks(a, b, context)
    if a.numel <= BLOCK:
        blocks = list(blocks)
    if all(_is_equal(one, other) for one, other in blocks):
        return None
    sums = _Sums()
    for one, other in blocks if isinstance(blocks, list) else _blocks(a, b, context):
        sums.add(one, other)
    sums.count *= times
    return sums.difference()


def _once(a: TensorSpec, b: TensorSpec) -> tuple[TensorSpec, TensorSpec, int]:
    """Return both without the dimensions along which both only repeat themselves, and how often they do."""
    if a.extra is not None or b.extra is not None or None in (a.shape, a.stride, b.stride):
        return a, b, 1
    sizes, strides = a.shape or (), (a.stride or (), b.stride or ())
    if any(len(each) != len(sizes) for each in strides):  # reading says what is wrong
        return a, b, 1
    repeated = [not one and not other for one, other in zip(*strides, strict=True)]
    shape = tuple(1 if each else size for each, size in zip(repeated, sizes, strict=True))
    one, other = (TensorSpec(each.storage, each.dtype, shape, each.stride, each.offset) for each in (a, b))
    return one, other, math.prod(sizes) // math.prod(shape)


def _check_budget(a: TensorSpec, b: TensorSpec) -> None:
    """Raise OverBudget where views of few bytes stand for more elements than can be gone through."""
    stored = max(0 if each.storage is None else each.storage.nbytes for each in (a, b))
    if a.nbytes > max(MATERIALISED, AMPLIFIED * stored):
        raise OverBudget(
            f"the values would take {a.nbytes} bytes, made of {stored} in the file; compare their storages"
        )


def _is_equal(one: Any, other: Any) -> bool:
    """Whether all bits of two arrays of one shape are the same."""
    return bool(one.dtype == other.dtype and one.tobytes() == other.tobytes())


def _blocks(a: TensorSpec, b: TensorSpec, context: Context) -> Iterator[tuple[Any, Any]]:
    done, item = 0, a.nbytes // max(a.numel, 1) + b.nbytes // max(b.numel, 1)
    for index in boxes(a.shape or ()):
        context.step(done, a.nbytes + b.nbytes)
        yield read_slice(a, index), read_slice(b, index)
        done += BLOCK * item


def boxes(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield slices that cover a tensor in row-major order, each of about `BLOCK` elements."""
    steps = list(shape)
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        steps[axis] = 1 if inner >= BLOCK else min(shape[axis], max(1, BLOCK // max(inner, 1)))
        if inner < BLOCK:
            break
    ranges = [range(0, size, step) if step else range(1) for size, step in zip(shape, steps, strict=True)]
    for starts in product(*ranges):
        yield tuple(slice(start, start + max(step, 1)) for start, step in zip(starts, steps, strict=True))


class _Sums:
    """What is known of the elements so far."""

    def __init__(self) -> None:
        self.count = 0
        self.max_abs = self.max_rel = 0.0
        self.one_nan = False
        self.at: tuple[Any, Any] = (None, None)
        self.dot = self.square_a = self.square_b = 0.0

    def add(self, a: Any, b: Any) -> None:
        """Add two arrays of one shape, piece by piece: what a piece is turned into stays in the processor's cache."""
        wide = np.complex128 if np.iscomplexobj(a) or np.iscomplexobj(b) else np.float64
        one, other = np.asarray(a).ravel(), np.asarray(b).ravel()
        with np.errstate(all="ignore"):
            for start in range(0, one.size, PIECE):
                piece = slice(start, start + PIECE)
                self._add(one[piece], other[piece], wide)

    def _add(self, a: Any, b: Any, wide: Any) -> None:
        x, y = a.astype(wide), b.astype(wide)
        self.dot += float(np.real(np.vdot(x, y)))
        self.square_a += float(np.real(np.vdot(x, x)))
        self.square_b += float(np.real(np.vdot(y, y)))
        if a.dtype != b.dtype:  # numpy cannot compare all of them, and two of one size not by their values
            a, b = x, y
        apart = np.abs(x - y)
        if np.isfinite(apart.max()):
            different = a != b
            differing = int(np.count_nonzero(different))
            if differing:  # integers may be too large for their difference to show
                self._far(x, y, np.where(different, apart, -1.0) if a.dtype.kind in "iu" else apart, a, b, differing)
        else:
            same = (a == b) | (np.isnan(x) & np.isnan(y))
            self._far(x, y, np.where(same, 0.0, apart), a, b, int((~same).sum()))

    def _far(self, x: Any, y: Any, apart: Any, a: Any, b: Any, differing: int) -> None:
        """Note how far the elements of a piece are apart; what is equal is by 0."""
        self.count += differing
        self.one_nan = self.one_nan or bool(np.isnan(apart).any())
        place = int(np.argmax(apart))  # the first NaN, if there is one
        far = float(apart[place])
        if differing and (self.at[0] is None or far > self.max_abs or math.isnan(far)):
            self.at = (a[place].item(), b[place].item())
        size = np.maximum(np.abs(x), np.abs(y))
        size[size == 0] = 1.0
        self.max_abs = max(self.max_abs, float(np.nanmax(apart, initial=0.0)))
        self.max_rel = max(self.max_rel, float(np.nanmax(apart / size, initial=0.0)))

    def difference(self) -> Difference | None:
        """Return the result; None where every element is the same."""
        if not self.count:
            return None
        norm = math.sqrt(self.square_a) * math.sqrt(self.square_b)
        cosine = self.dot / norm if norm > 0 and math.isfinite(norm) and math.isfinite(self.dot) else None
        worst = math.nan if self.one_nan else self.max_abs
        a, b = (each if isinstance(each, int | float) else str(each) for each in self.at)
        return Difference(worst, math.nan if self.one_nan else self.max_rel, cosine, self.count, a, b)
