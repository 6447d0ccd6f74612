"""How far the values of two tensors are apart, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ckpt_viewer.analysis.diff import Difference
from ckpt_viewer.core.decode import read_slice
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec

BLOCK = 1 << 19
"""Elements that are compared at once."""


def compare(a: TensorSpec, b: TensorSpec, context: Context) -> Difference | None:
    """Return how two tensors of one shape differ; None if they do not. Sparse ones are compared part by part.

    Raises:
        CheckpointError: one of them has no values, or they cannot be read. Cancelled: by `context`.
    """
    parts_a, parts_b = (each.extra.parts if each.extra else {} for each in (a, b))
    if parts_a and parts_a.keys() == parts_b.keys():
        if any(parts_a[name].shape != parts_b[name].shape for name in parts_a):
            return Difference(math.nan, math.nan, None, 0, "other places", "other places")
        found = [compare(parts_a[name], parts_b[name], context) for name in parts_a]
        return max((each for each in found if each is not None), key=lambda each: each.max_abs, default=None)
    total, sums = a.numel, _Sums()
    done = 0
    for index in boxes(a.shape or ()):
        sums.add(read_slice(a, index), read_slice(b, index))
        done += BLOCK
        context.step(min(done, total), total)
    return sums.difference()


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
        """Add two arrays of one shape."""
        complex_ = np.iscomplexobj(a) or np.iscomplexobj(b)
        wide = np.complex128 if complex_ else np.float64
        exact = not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc" and b.dtype.kind in "fc")
        x, y = np.asarray(a).astype(wide).ravel(), np.asarray(b).astype(wide).ravel()
        with np.errstate(all="ignore"):
            self.dot += float(np.real(np.vdot(x, y)))
            self.square_a += float(np.real(np.vdot(x, x)))
            self.square_b += float(np.real(np.vdot(y, y)))
            if exact:
                self._far(x, y, np.asarray(a).ravel(), np.asarray(b).ravel())

    def _far(self, x: Any, y: Any, a: Any, b: Any) -> None:
        same = (a == b) | (np.isnan(x) & np.isnan(y))
        apart = np.where(same, 0.0, np.abs(x - y))
        self.count += int((~same).sum())
        self.one_nan = self.one_nan or bool(np.isnan(apart).any())
        place = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
        far = float(apart[place])
        if self.at[0] is None or far > self.max_abs or math.isnan(far):
            self.at = (a[place].item(), b[place].item())
        size = np.maximum(np.abs(x), np.abs(y))
        share = np.where(same, 0.0, apart / np.where(size > 0, size, 1.0))
        self.max_abs = max(self.max_abs, float(np.nanmax(apart, initial=0.0)))
        self.max_rel = max(self.max_rel, float(np.nanmax(share, initial=0.0)))

    def difference(self) -> Difference | None:
        """Return the result; None where every element is the same."""
        if not self.count:
            return None
        norm = math.sqrt(self.square_a) * math.sqrt(self.square_b)
        cosine = self.dot / norm if norm > 0 and math.isfinite(norm) and math.isfinite(self.dot) else None
        worst = math.nan if self.one_nan else self.max_abs
        a, b = (each if isinstance(each, int | float) else str(each) for each in self.at)
        return Difference(worst, math.nan if self.one_nan else self.max_rel, cosine, self.count, a, b)
