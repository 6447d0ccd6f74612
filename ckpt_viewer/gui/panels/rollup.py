"""What lies below a container, added up. No Qt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ckpt_viewer.core.expand import is_leaf
from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.gui.panels.facts import placed

EVERY = 32
"""Rows between two calls of `step`."""


class Rollup(NamedTuple):
    """What lies below a container.

    Attributes:
        tensors: entries that are tensors; `distinct` of them view other elements than any before.
        elements: of the distinct tensors. nbytes: what those elements take.
        devices: ``cuda:1 → cpu`` -> tensors. dtypes: name -> tensors. Both most frequent first.
        others: entries that are neither tensors nor containers.
    """

    tensors: int
    distinct: int
    elements: int
    nbytes: int
    devices: dict[str, int]
    dtypes: dict[str, int]
    others: int


def roll_up(outline: Outline, rows: Iterable[int], locator: Locator, context: Context = SILENT) -> Rollup:
    """Add up everything at and below `rows`; what is reached twice counts once.

    Raises:
        Cancelled: by `context`.
    """
    adder = _Adder(locator)
    waiting, visited = list(rows), set[int]()
    count = 0
    while waiting:
        top = waiting.pop()
        top = outline.aliases.get(top, top)
        row, end = top, outline.ends[top]
        while row < end:
            if row in visited:
                row = outline.ends[row]
                continue
            value = outline.values[row]
            if row in outline.aliases:
                waiting.append(row)
            elif isinstance(value, TensorSpec):
                adder.add(value)
            elif is_leaf(value):
                adder.others += 1
            else:
                visited.add(row)
            row += 1
            count += 1
            if count % EVERY == 0:
                context.step(count, len(outline))
    return adder.result()


class _Adder:
    def __init__(self, locator: Locator) -> None:
        self.locator = locator
        self.seen: set[tuple[object, ...]] = set()
        self.tensors = self.elements = self.nbytes = self.others = 0
        self.devices: Counter[str] = Counter()
        self.dtypes: Counter[str] = Counter()

    def add(self, tensor: TensorSpec) -> None:
        """Count one tensor."""
        self.tensors += 1
        self.dtypes[tensor.dtype] += 1
        try:
            mapped = self.locator.tensor(tensor)
        except BadMapLocation:
            mapped = "?"
        self.devices[placed(tensor.location, mapped)] += 1
        view: tuple[object, ...] = (id(tensor),)
        if tensor.storage is not None:
            view = (id(tensor.storage), tensor.offset, tensor.shape, tensor.stride)
        if view not in self.seen:
            self.seen.add(view)
            self.elements += tensor.numel
            self.nbytes += tensor.nbytes

    def result(self) -> Rollup:
        devices, dtypes = (dict(counted.most_common()) for counted in (self.devices, self.dtypes))
        return Rollup(self.tensors, len(self.seen), self.elements, self.nbytes, devices, dtypes, self.others)
