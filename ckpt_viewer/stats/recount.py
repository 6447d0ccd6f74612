"""Exact counts between any edges in one further pass: of a tensor that was counted in cells before, or of many.

Only values in cells that an edge runs through have to be compared with it. They are found by their high 16 bits, in a
table; all others are known from their cells, which the pass counts itself where they are not at hand.

The pass stays here for tensors that are mapped to a GPU too: each block has to be read here first, and to look its high
halves up in a table takes about as long as to copy it for the process that would send it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor, inf
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.cells import FINE, Cells, keys_of
from ckpt_viewer.stats.crew import Crew
from ckpt_viewer.stats.histogram import Histogram
from ckpt_viewer.stats.kernels import BLOCK
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.reading import open_reading, plain_kind
from ckpt_viewer.stats.sampling import ENTRIES
from ckpt_viewer.stats.scan_plan import WINDOW, Joint, Plan, Sweep
from ckpt_viewer.stats.stores import PatternStore
from ckpt_viewer.stats.summary import profile_tensor
from ckpt_viewer.stats.window import Buffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

FLOAT64_BITS = 4
"""Bits of the significand among the high 16 bits of a float64; a float32 has 7."""
PART_BLOCKS = 4
LEAST_NORMAL = {"float32": 2.0**-126, "float64": 2.0**-1022}
WHOLE_LIMIT = 1 << 53
"""Whole numbers up to this are float64 numbers."""


def is_exact(profile: Profile) -> bool:
    """Whether every picture of these numbers has exactly the edges that were asked for."""
    low, high = profile.census.low, profile.census.high
    if low is None or high is None:
        return True
    return not profile.snapped and (isinstance(low, float) or max(abs(low), abs(high)) <= WHOLE_LIMIT)


def count_between(tensor: TensorSpec, profile: Profile, edges: Array, context: Context = SILENT) -> Histogram:
    """Return how many finite values lie between each two of the ascending float64 `edges`; the last bin is closed.

    Args:
        profile: of the whole tensor, with its cells. context: is told how many values were looked at.

    Raises:
        CheckpointError: the bytes cannot be read. Cancelled: by `context`.
    """
    reading = open_reading(tensor)
    if isinstance(reading.store, PatternStore) and profile.snapped:  # what a scan kept: too little
        profile = profile_tensor(tensor, context)
    if is_exact(profile):
        return Histogram.of(edges, profile.between(edges), 1)
    counter = EdgeCounter(profile.cells, edges, reading.dtype)

    def count(own: EdgeCounter, part: range) -> Iterator[int]:
        for block in reading.read(part):
            own.add_all(block)
            yield block.size

    counters = Crew(reading.parts(PART_BLOCKS), counter.fresh, count, context, reading.numel).run()
    found = np.sum([each.counts for each in counters], axis=0) if counters else counter.counts
    return Histogram.of(edges, counter.known + found * reading.repeats, 1)


def count_together(tensors: Sequence[TensorSpec], edges: Array, context: Context = SILENT) -> Histogram:
    """Return how many finite values of all `tensors` lie between each two of the ascending float64 `edges`.

    They are read in file order, each byte once, on all cores; the last bin is closed. Memory does not grow with them.

    Args:
        context: is told about bytes.

    Raises:
        CheckpointError: the bytes of one of them cannot be read. Cancelled: by `context`.
    """
    plan = Plan(tensors, context)
    for error in plan.errors.values():
        raise error
    hands = Crew(plan.tasks, lambda: _Hand(plan, edges), _Hand.work, context, plan.nbytes).run()
    counts = np.zeros(edges.size - 1, np.int64)
    for hand in hands:
        counts += hand.total()
    return Histogram.of(edges, counts, 1)


class _Hand(Buffer):
    """What a thread has of its own: a buffer, and counters for each kind of elements."""

    def __init__(self, plan: Plan, edges: Array) -> None:
        super().__init__(WINDOW)
        self._plan, self._edges = plan, edges
        self._counters: dict[str, EdgeCounter] = {}
        self._patterns: dict[str, PatternStore] = {}
        self._found = np.zeros(edges.size - 1, np.int64)

    def work(self, task: Sweep | Joint) -> Iterator[int]:
        """Count what lies in a task; yield bytes."""
        if isinstance(task, Joint):
            yield from self._joint(task)
            return
        memory = self.read(task.source, task.start, task.stop, task.uses[0].start)
        parts: dict[str, list[Array]] = {}
        for use in task.uses:
            part = memory[use.start - task.start : use.stop - task.start]
            parts.setdefault(self._plan.items[use.item].tensor.dtype, []).append(part)
        for dtype, found in parts.items():
            kind = plain_kind(dtype)
            assert kind is not None
            block = (found[0] if len(found) == 1 else np.concatenate(found)).view(kind.dtype)
            if isinstance(kind.store, PatternStore):
                if dtype not in self._patterns:
                    self._patterns[dtype] = kind.store.fresh()
                self._patterns[dtype].add(block, kernels.current())
            else:
                self._counter(kind.dtype).add_all(block if block.flags.aligned else block.copy())
            yield 0
        yield task.nbytes

    def _counter(self, dtype: np.dtype[Any]) -> EdgeCounter:
        counter = self._counters.get(dtype.str)
        if counter is None:
            counter = self._counters[dtype.str] = EdgeCounter(None, self._edges, dtype)
        return counter

    def _joint(self, task: Joint) -> Iterator[int]:
        left = task.nbytes
        for number in task.items:
            reading = open_reading(self._plan.items[number].tensor)
            store = reading.store if isinstance(reading.store, PatternStore) else None
            counter = None
            if store is None:
                counter = self._counter(reading.dtype)
                counter = counter if reading.repeats == 1 else counter.fresh()
            for block in reading:
                if store is not None:
                    store.add(block, kernels.current())
                elif counter is not None:
                    counter.add_all(block)
                amount = min(left, block.nbytes)
                left -= amount
                yield amount
            if store is not None:
                self._found += _of_patterns(store, self._edges) * reading.repeats
            elif counter is not None and reading.repeats != 1:
                self._found += counter.total() * reading.repeats
        yield left

    def total(self) -> Array:
        """Return what was counted in each bin."""
        found: Array = self._found.copy()
        for store in self._patterns.values():
            found += _of_patterns(store, self._edges)
        for counter in self._counters.values():
            found += counter.total()
        return found


def _of_patterns(store: PatternStore, edges: Array) -> Array:
    return Profile.of("", "", store.counted(), entries=ENTRIES).between(edges)


class EdgeCounter:
    """Counts the values of blocks that lie in the cells of edges.

    Args:
        cells: of all values; None to have them counted. edges: ascending float64.
        dtype: of the blocks: float32, float64, an integer type.

    Attributes:
        known: int64, for each bin what is known without another look. counts: what was found in blocks.
    """

    def __init__(self, cells: Cells | None, edges: Array, dtype: np.dtype[np.generic]) -> None:
        self._by = dtype if dtype.kind == "f" else np.dtype(np.float64)
        bits = FINE if self._by == np.float32 else FLOAT64_BITS
        cells = cells if cells is None else cells.coarse(bits)
        bits = bits if cells is None else cells.bits
        self._bins, self._edges = edges.size - 1, edges
        self.counts = np.zeros(self._bins, np.int64)
        self._high = None if cells is not None else np.zeros(1 << 16, np.int64)
        self._unsure = np.unique(keys_of(edges, bits))
        self._least = int(keys_of(np.array([LEAST_NORMAL[self._by.name]]), bits)[0])
        self._look = self._table(bits, self._unsure, self._least)
        self.known = np.zeros(self._bins, np.int64) if cells is None else self._known(cells)
        self._starts, self._used = _starts(edges, dtype)

    def fresh(self) -> EdgeCounter:
        """Return a counter between the same edges that has counted nothing."""
        other = object.__new__(EdgeCounter)
        other.__dict__.update(self.__dict__)
        other.counts = np.zeros_like(self.counts)
        other._high = None if self._high is None else np.zeros_like(self._high)
        return other

    def total(self) -> Array:
        """Return the counts of all bins, where cells were counted too."""
        assert self._high is not None
        values = self._values_of_high()
        used = (self._high > 0) & np.isfinite(values)
        bits = FINE if self._by == np.float32 else FLOAT64_BITS
        return self.counts + self._known(Cells.of(values[used], self._high[used], bits))

    def _values_of_high(self) -> Array:
        """Return the value of least magnitude for each high 16 bits, as float64."""
        patterns = np.arange(1 << 16, dtype=np.uint32)
        wide = patterns << 16 if self._by == np.float32 else patterns.astype(np.uint64) << np.uint64(48)
        with np.errstate(all="ignore"):
            values: Array = wide.view(self._by).astype(np.float64)
        return values

    def _table(self, bits: int, unsure: Array, least: int) -> Array:
        """Return for each high 16 bits whether values with them have to be looked at."""
        patterns, values = np.arange(1 << 16, dtype=np.uint32), self._values_of_high()
        finite = np.isfinite(values)
        negative = (patterns >> 15).astype(bool)
        keys = keys_of(np.where(finite & (values != 0), values, 1.0), bits)
        table: Array = finite & (np.isin(keys, unsure) | (np.where(negative, -1 - keys, keys) < least) | (values == 0))
        return table

    def _known(self, cells: Cells) -> Array:
        """Return what lies in cells that no edge runs through: they are wholly in a bin, or outside of all."""
        keys = cells.keys
        sure = ~np.isin(keys, self._unsure) & (np.where(keys < 0, -1 - keys, keys) >= self._least)
        bins = np.searchsorted(keys_of(self._edges, cells.bits), keys[sure], side="right") - 1
        inside = (bins >= 0) & (bins < self._bins)
        known = np.zeros(self._bins, np.int64)
        np.add.at(known, bins[inside], cells.counts[sure][inside])
        return known

    def add_all(self, block: Array) -> None:
        """Count a block of any size."""
        for start in range(0, block.size, BLOCK):
            self.add(block[start : start + BLOCK])

    @np.errstate(all="ignore")
    def add(self, block: Array) -> None:
        """Count the values of a contiguous block that have to be looked at."""
        values = block if block.dtype == self._by else block.astype(self._by)
        halves = self._by.itemsize // 2
        high = values.view(np.uint16)[halves - 1 :: halves]
        if self._high is not None:
            kernels.current().patterns(np.ascontiguousarray(high), self._high)
        picked = block[np.take(self._look, high)]
        if picked.size:
            places = np.searchsorted(self._starts, picked, side="right")
            found = np.bincount(places, minlength=self._bins + 2)
            self.counts[: self._used] += found[1 : self._used + 1]


def _starts(edges: Array, dtype: np.dtype[Any]) -> tuple[Array, int]:
    """Return the least value of `dtype` in each bin and behind the last one, and how many bins have such a value."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            starts = edges.astype(dtype)
            starts = np.where(starts < edges, np.nextafter(starts, np.asarray(inf, dtype)), starts)
            last = np.asarray(edges[-1]).astype(dtype)
            if last <= edges[-1]:
                last = np.nextafter(last, np.asarray(inf, dtype))
        starts[-1] = last
        return starts, edges.size - 1
    limits = np.iinfo(dtype)
    whole = [ceil(edge) for edge in edges.tolist()]
    whole[-1] = floor(edges[-1]) + 1
    fitting = [max(start, int(limits.min)) for start in whole if start <= limits.max]
    return np.array(fitting, dtype), min(len(fitting), edges.size - 1)
