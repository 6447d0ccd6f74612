"""Very many small tensors at once, for what `health` asks of them: a thousand of them cost what one costs else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.numbers import stored_dtype
from ckpt_viewer.core.progress import stepped
from ckpt_viewer.core.ranges import read_run, runs
from ckpt_viewer.errors import CheckpointError, SourceChanged, Unreadable
from ckpt_viewer.stats.scan_plan import item_of

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

MANY, SMALL = 2000, 4096
"""From so many tensors of at most so many bytes on they are looked at together."""


class Seen(NamedTuple):
    """What was found in a tensor: how many values of each kind, and the least and greatest of the finite ones."""

    numel: int
    nan: int
    posinf: int
    neginf: int
    low: float | int | None
    high: float | int | None


class _Place(NamedTuple):
    start: int
    stop: int
    tensor: TensorSpec


def look(tensors: Iterable[TensorSpec], context: Context) -> dict[int, Seen]:
    """Return what is in small tensors of plain numbers, by their ids; nothing where they are few.

    Left out is what has to be decoded, and what cannot be read.

    Raises:
        SourceChanged, Unreadable: the file cannot be read any more. Cancelled: by `context`.
    """
    small = [each for each in tensors if each.extra is None and 0 < each.nbytes <= SMALL and _number(each.dtype)]
    if len(small) < MANY:
        return {}
    places: dict[tuple[int, str], tuple[Any, list[_Place]]] = {}
    for tensor in stepped(small, context):
        try:
            item = item_of(tensor)
        except (SourceChanged, Unreadable):
            raise
        except CheckpointError:
            continue
        if item.plain:
            group = places.setdefault((id(item.source), tensor.dtype), (item.source, []))
            group[1].append(_Place(item.start, item.stop, tensor))
    seen: dict[int, Seen] = {}
    for (_, dtype), (source, found) in places.items():
        found.sort(key=lambda place: place[:2])
        for run in runs(found):
            context.step(0, 0)
            try:
                memory = read_run(source, run)
            except (SourceChanged, Unreadable):
                raise
            except CheckpointError:
                continue
            seen.update(_look(memory, run, stored_dtype(DTYPES[dtype])))
    return seen


def _number(dtype: str) -> bool:
    row = DTYPES.get(dtype)
    return row is not None and row.kind in ("float", "int", "uint", "complex") and bool(row.numpy) and row.per_byte == 1


def _look(memory: memoryview, run: list[_Place], dtype: np.dtype[Any]) -> Iterator[tuple[int, Seen]]:
    first = run[0].start
    values = np.frombuffer(b"".join(memory[each.start - first : each.stop - first] for each in run), dtype)
    counts = [(each.stop - each.start) // dtype.itemsize for each in run]
    starts = np.cumsum([0, *counts[:-1]])
    if dtype.kind not in "iu":
        with np.errstate(all="ignore"):
            values = np.abs(values.astype(np.complex128)) if dtype.kind == "c" else values.astype(np.float64)
    kinds: list[list[Any]] = [_sums(kind(values), starts) for kind in _KINDS] if dtype.kind not in "iu" else _NO_KINDS
    nans, ups, downs = kinds if kinds else ([0] * len(run),) * 3
    with np.errstate(all="ignore"):
        lows = (np.fmin.reduceat(_finite(values, np.inf), starts) + 0).tolist()  # no -0.0
        highs = (np.fmax.reduceat(_finite(values, -np.inf), starts) + 0).tolist()
    for each, numel, nan, up, down, low, high in zip(run, counts, nans, ups, downs, lows, highs, strict=True):
        has = nan + up + down < numel
        yield id(each.tensor), Seen(numel, nan, up, down, low if has else None, high if has else None)


_KINDS = (np.isnan, np.isposinf, np.isneginf)
_NO_KINDS: list[list[Any]] = []


def _sums(flags: Array, starts: Array) -> list[int]:
    sums: list[int] = np.add.reduceat(flags.astype(np.int64), starts).tolist()
    return sums


def _finite(values: Array, instead: float) -> Array:
    """Return the values with those that are not finite replaced."""
    return values if values.dtype.kind in "iu" else np.where(np.isfinite(values), values, instead)
