"""Very many small tensors compared at once: a thousand pairs cost what one costs else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckpt_viewer.analysis.diff import Difference
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.numbers import stored_dtype
from ckpt_viewer.core.progress import stepped
from ckpt_viewer.core.ranges import Range, range_of, read_run, runs
from ckpt_viewer.errors import CheckpointError

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

SMALL = 1 << 14
"""Bytes of a tensor that is compared together with others."""
MANY = 64
"""Pairs from which on that is worth it."""
FEW = 16
"""Pairs between two steps of the progress: some 0.1 ms."""
Key = tuple[int, int]
"""The ids of two tensors."""


class _Pair(NamedTuple):
    """Two tensors whose elements lie in the same order: the bytes of the first, and those of the other."""

    key: Key
    source: Any
    start: int
    stop: int
    other: Range


class _Place(NamedTuple):
    """The bytes of the second tensor of a pair; `number` is that of the pair."""

    start: int
    stop: int
    number: int


def small_differences(
    pairs: Mapping[Key, tuple[TensorSpec, TensorSpec]], context: Context
) -> Iterator[tuple[Key, Difference | None]]:
    """Yield how small tensors differ, None where they do not, as far as they can be compared together.

    Left out are tensors of other kinds, those that have to be decoded, and what cannot be read.

    Raises:
        Cancelled: by `context`.
    """
    for (*_, dtype), group in _groups(pairs, context).items():
        group.sort(key=lambda pair: pair.start)
        numbers = stored_dtype(DTYPES[dtype])
        for run in runs(group):
            try:
                ours, theirs = _read(run)
            except CheckpointError:
                continue  # each of them says why, when it is compared by itself
            yield from _compared(run, ours, theirs, numbers, context)


def _groups(
    pairs: Mapping[Key, tuple[TensorSpec, TensorSpec]], context: Context
) -> dict[tuple[int, int, str], list[_Pair]]:
    """Return the pairs that can be compared together, by the sources of both and by dtype."""
    small = [key for key, pair in stepped(pairs.items(), context) if _is_small(*pair)]
    groups: dict[tuple[int, int, str], list[_Pair]] = {}
    for key in stepped(small if len(small) >= MANY else (), context):
        one, other = pairs[key]
        try:
            ours, theirs = range_of(one), range_of(other)
        except CheckpointError:
            continue
        if ours is not None and theirs is not None:
            place = id(ours.source), id(theirs.source), one.dtype
            groups.setdefault(place, []).append(_Pair(key, *ours, theirs))
    return groups


def _is_small(one: TensorSpec, other: TensorSpec) -> bool:
    row = DTYPES.get(one.dtype)
    if row is None or row.kind not in ("float", "int", "uint", "complex") or not row.numpy or one.dtype != other.dtype:
        return False
    alike = not one.extra and not other.extra and _order(one) == _order(other)
    return alike and 0 < one.nbytes <= SMALL


def _order(tensor: TensorSpec) -> list[tuple[int, int]]:
    """Return sizes and strides, without the dimensions of which the stride does not matter."""
    return [(n, step) for n, step in zip(tensor.shape or (), tensor.stride or (), strict=False) if n != 1]


def _read(run: list[_Pair]) -> tuple[list[memoryview], list[memoryview]]:
    """Return the bytes of both tensors of each pair; raises CheckpointError."""
    memory, first = read_run(run[0].source, run), run[0].start
    ours = [memory[each.start - first : each.stop - first] for each in run]
    theirs = [memory] * len(run)
    places = sorted(_Place(each.other.start, each.other.stop, number) for number, each in enumerate(run))
    for near in runs(places):
        other = read_run(run[0].other.source, near)
        for place in near:
            theirs[place.number] = other[place.start - near[0].start : place.stop - near[0].start]
    return ours, theirs


def _compared(
    run: list[_Pair], ours: list[memoryview], theirs: list[memoryview], numbers: np.dtype[Any], context: Context
) -> Iterator[tuple[Key, Difference | None]]:
    """Yield what pairs have between them: bytes are compared first, and numbers only where these are not the same."""
    differing: list[int] = []
    for number, each in enumerate(run):
        if number % FEW == 0:
            context.step(0, 0)
        if bytes(ours[number]) == bytes(theirs[number]):
            yield each.key, None
        else:
            differing.append(number)
    if differing:
        a, b = (np.frombuffer(b"".join(each[n] for n in differing), numbers) for each in (ours, theirs))
        counts = [len(ours[n]) // numbers.itemsize for n in differing]
        keys = (run[n].key for n in differing)
        yield from zip(keys, _differences(a, b, counts, context), strict=True)


def _differences(a: Array, b: Array, counts: list[int], context: Context) -> Iterator[Difference | None]:
    """Yield the difference of each stretch of two arrays, of so many elements each."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    starts = np.cumsum([0, *counts[:-1]])
    with np.errstate(all="ignore"):
        x, y = a.astype(wide), b.astype(wide)
        same = (a == b) | (np.isnan(x) & np.isnan(y))
        apart = np.where(same, -1.0, np.abs(x - y))  # what is the same is never the farthest
        size = np.maximum(np.abs(x), np.abs(y))
        size[size == 0] = 1.0
        unknown = np.isnan(apart)
        far, relative = np.where(unknown, 0.0, apart), np.where(unknown, 0.0, apart / size)
        relative[np.isnan(relative)] = 0.0
        context.step(0, 0)
        columns = zip(
            np.add.reduceat((~same).astype(np.int64), starts).tolist(),
            np.logical_or.reduceat(unknown, starts).tolist(),
            *(np.maximum.reduceat(each, starts).tolist() for each in (far, relative)),
            *(np.add.reduceat(np.real(each), starts).tolist() for each in (np.conj(x) * y, abs(x) ** 2, abs(y) ** 2)),
            starts.tolist(), counts, strict=True,
        )  # fmt: skip
    for number, (count, one_nan, largest, most, dot, ours, theirs, start, length) in enumerate(columns):
        if number % FEW == 0:
            context.step(0, 0)
        if not count:
            yield None
            continue
        place = start + int(apart[start : start + length].argmax())  # the first NaN, if there is one
        norm = math.sqrt(ours) * math.sqrt(theirs)
        cosine = dot / norm if norm > 0 and math.isfinite(norm) and math.isfinite(dot) else None
        worst, ratio = (math.nan, math.nan) if one_nan else (largest, most)
        values = (each[place].item() for each in (a, b))
        told = [each if isinstance(each, int | float) else str(each) for each in values]
        yield Difference(worst, ratio, cosine, count, *told)
