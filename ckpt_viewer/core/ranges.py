"""Tensors whose elements fill a range of bytes as they are, so that many of them can be read at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.strided import View
from ckpt_viewer.core.tensor import TensorSpec, bottom

WINDOW, GAP = 1 << 20, 1 << 16
"""Bytes that are read at once, and between two ranges of one read at the most."""


class Range(NamedTuple):
    """Bytes from `start` to `stop` of a source that is no slice of another."""

    source: Any
    start: int
    stop: int


class HasRange(Protocol):
    """What `runs` puts together."""

    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...


T = TypeVar("T", bound=HasRange)


def range_of(tensor: TensorSpec) -> Range | None:
    """Return the bytes that a tensor's elements fill, in whatever order; None where they do not, or are to be decoded.

    Raises:
        CheckpointError: its storage has no bytes, or they are not where the file says.
    """
    storage, shape, stride = tensor.storage, tensor.shape, tensor.stride
    if tensor.extra or storage is None or shape is None or stride is None or len(shape) != len(stride):
        return None
    row = DTYPES.get(tensor.dtype)
    if row is None or row.per_byte > 1 or row.bits or not tensor.numel:
        return None
    extent = storage.extent()
    before = tensor.offset * row.itemsize
    view = View(extent.source, extent.offset + before, shape, stride, row.itemsize)
    if (extent.big_endian and row.component > 1) or not view.dense or before + tensor.nbytes > extent.nbytes:
        return None
    source, start = bottom(view.source, view.start)
    return Range(source, start, start + tensor.nbytes)


def runs(ranges: Iterable[T]) -> Iterator[list[T]]:
    """Yield ranges that lie close together, each run at most about `WINDOW` long; they come sorted by their starts."""
    run: list[T] = []
    for each in ranges:
        if run and (each.start - run[-1].stop > GAP or each.stop - run[0].start > WINDOW):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def read_run(source: Any, run: list[T]) -> memoryview:
    """Return the bytes of a whole run, from the start of its first range on; raises CheckpointError."""
    start = run[0].start
    return memoryview(source.read_at(start, max(each.stop for each in run) - start))
