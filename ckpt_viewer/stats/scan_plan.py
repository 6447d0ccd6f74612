"""In which order a file's tensors are counted: as they lie in it, each byte read once whatever looks at it."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import SILENT, drain, stepped
from ckpt_viewer.core.ranges import Range, range_of
from ckpt_viewer.core.stored import open_values
from ckpt_viewer.core.strided import GAP_BYTES
from ckpt_viewer.core.tensor import bottom
from ckpt_viewer.errors import CheckpointError, SourceChanged, Unreadable
from ckpt_viewer.stats.reading import counted_part, plain_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.tensor import TensorSpec

WINDOW = 1 << 20
"""Bytes that are read at once: as many as stay in a core's own cache. Elements never lie across the end of one."""


class Item(NamedTuple):
    """A tensor that is counted; others with the same elements refer to it.

    Attributes:
        tensor: the first of them. plain: whether its elements fill a range of bytes and are counted as they are.
        source, start, stop: the bytes that it lies in; no source where it lies in no file.
    """

    tensor: TensorSpec
    plain: bool
    source: Any
    start: int
    stop: int


class Use(NamedTuple):
    """Bytes of the file that belong to an item: from `start` to `stop`."""

    item: int
    start: int
    stop: int


class Sweep(NamedTuple):
    """Bytes to be read at once, for plain items."""

    source: Any
    start: int
    stop: int
    uses: list[Use]

    @property
    def nbytes(self) -> int:
        """Bytes to be read."""
        return self.stop - self.start

    @property
    def items(self) -> list[int]:
        """Numbers of the items, each once."""
        return [use.item for use in self.uses]


class Joint(NamedTuple):
    """Items that are read piece by piece, together since they lie among each other, through one window."""

    source: Any
    items: list[int]
    nbytes: int


class Plan:
    """What is to be read of some tensors.

    Attributes:
        items: each set of elements once, in file order. of: number of the item of each tensor, by its id.
        errors: why there is no item for a tensor, by its id.
        tasks: in file order. shares: how many tasks each item is part of. nbytes: of all tasks.
    """

    def __init__(self, tensors: Iterable[TensorSpec], context: Context = SILENT) -> None:
        self.of: dict[int, int] = {}
        self.errors: dict[int, CheckpointError] = {}
        found = _in_file_order(self._find(tensors, context), context)
        self.items = [each.item for each in found]
        for number, each in enumerate(stepped(found, context)):
            self.of.update(dict.fromkeys(each.tensors, number))
        drain(found, context)
        self.tasks = list(_tasks(self.items, context))
        self.shares = [0] * len(self.items)
        for task in self.tasks:
            for number in task.items:
                self.shares[number] += 1
        self.nbytes = sum(task.nbytes for task in self.tasks)

    def _find(self, tensors: Iterable[TensorSpec], context: Context) -> list[_Found]:
        sources: dict[int, int] = {}
        found: dict[object, _Found] = {}
        seen: set[int] = set()
        for tensor in stepped(tensors, context):
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            try:
                item = item_of(tensor)
            except (SourceChanged, Unreadable):
                raise
            except CheckpointError as error:
                self.errors[id(tensor)] = error
                continue
            key: object = id(tensor)
            if item.plain:
                key = id(item.source), item.start, item.stop, tensor.dtype
            if key not in found:
                place = sources.setdefault(id(item.source), len(sources)), item.start, item.stop
                found[key] = _Found(place, item, [])
            found[key].tensors.append(id(tensor))
        every = list(found.values())
        drain(found, context)
        drain(seen, context)
        return every


class _Found(NamedTuple):
    place: tuple[int, int, int]
    item: Item
    tensors: list[int]


def _in_file_order(found: list[_Found], context: Context) -> list[_Found]:
    """Sort by place. By numpy, which gives the interpreter up: Python's own holds it, 60 ms for 100,000."""
    places = np.fromiter(chain.from_iterable(each.place for each in stepped(found, context)), np.int64, 3 * len(found))
    source, start, stop = places.reshape(-1, 3).T
    return [found[number] for number in stepped(np.lexsort((stop, start, source)).tolist(), context)]


def item_of(tensor: TensorSpec) -> Item:
    """Return where the counted values of a tensor lie.

    Raises:
        CheckpointError: it has none, or they are not where the file says.
    """
    part, over = counted_part(tensor)
    plain = _plain(part) if not over else None
    if plain is not None:
        return Item(tensor, True, *plain)
    view = open_values(part).view
    if not view.numel:
        return Item(tensor, False, None, 0, 0)
    source, start = bottom(view.source, view.start)
    return Item(tensor, False, source, start, start + view.span * view.item)


def _plain(tensor: TensorSpec) -> Range | None:
    """Return the range of elements that fill a range of bytes and are counted as they are, else None."""
    return range_of(tensor) if plain_kind(tensor.dtype) is not None else None


def _tasks(items: list[Item], context: Context) -> Iterator[Sweep | Joint]:
    """Yield tasks in file order, small ones that follow closely on one another taken together."""
    before: Sweep | None = None
    for task in _spans(items, context):
        if isinstance(task, Sweep) and before is not None and _close(before, task):
            before.uses.extend(task.uses)
            before = Sweep(before.source, before.start, task.stop, before.uses)
            continue
        if before is not None:
            yield before
        before = task if isinstance(task, Sweep) else None
        if isinstance(task, Joint):
            yield task
    if before is not None:
        yield before


def _close(before: Sweep, task: Sweep) -> bool:
    near = before.source is task.source and task.start - before.stop <= GAP_BYTES
    return near and task.stop - before.start <= WINDOW


def _spans(items: list[Item], context: Context) -> Iterator[Sweep | Joint]:
    for cluster in _clusters(items, context):
        first = items[cluster[0]]
        if len(cluster) == 1 and first.plain and first.stop - first.start <= WINDOW:  # nearly all of very many
            yield Sweep(first.source, first.start, first.stop, [Use(cluster[0], first.start, first.stop)])
            continue
        stop = max(items[each].stop for each in cluster)
        if not all(items[each].plain and not _offset(first, items[each]) for each in cluster):
            yield Joint(first.source, cluster, stop - first.start)
            continue
        ahead, active = list(reversed(cluster)), list[int]()
        for start in range(first.start, stop, WINDOW):
            end = min(start + WINDOW, stop)
            while ahead and items[ahead[-1]].start < end:
                active.append(ahead.pop())
            active = [each for each in active if items[each].stop > start]
            uses = [Use(each, max(start, items[each].start), min(end, items[each].stop)) for each in active]
            yield Sweep(first.source, start, end, uses)


def _offset(first: Item, other: Item) -> int:
    """Return by how many bytes elements of `other` lie across the places where the range from `first` on is cut."""
    return (other.start - first.start) % DTYPES[other.tensor.dtype].itemsize


def _clusters(items: list[Item], context: Context) -> Iterator[list[int]]:
    """Yield numbers of items whose bytes overlap, in file order; items without bytes are left out."""
    cluster: list[int] = []
    stop = 0
    for number, item in enumerate(stepped(items, context)):
        if item.start == item.stop:
            continue
        if cluster and (item.start >= stop or item.source is not items[cluster[0]].source):
            yield cluster
            cluster = []
        stop = max(stop, item.stop) if cluster else item.stop
        cluster.append(number)
    if cluster:
        yield cluster
