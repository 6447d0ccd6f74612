"""The work behind `FileScan`, on its thread: scans, and takes in what is found. No Qt, and numpy only once it runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import TensorSpec

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.figures import Columns, FigureTable
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.stats.crew import Gate
    from ckpt_viewer.stats.profile import Profile
    from ckpt_viewer.stats.scan import Scan

TAKE_EVERY = 0.1
"""Seconds between two looks at what was finished."""
TAKEN = 16
"""Tensors whose figures are worked out between two steps."""


class Below(NamedTuple):
    """The numbers of all tensors below something together, each region of bytes once.

    Attributes:
        profile: of all that could be read. regions: how many there are. unread: how many tensors could not be read.
        tensors: one of each region, to count them once more.
    """

    profile: Profile
    regions: int
    unread: int
    tensors: tuple[TensorSpec, ...] = ()


class Harvest:
    """What a scan has found so far; written by the scan's thread, read by any.

    Attributes:
        scan: None until it was planned. columns: the figures of each item that is done, by its number in the plan.
        table: the same by rows of the tree; None until it was made.
        done, total: tensors, each TensorSpec once. done_bytes, total_bytes: that are read.
        complete: whether every tensor is done. unread: tensors that have no numbers.
        nan, inf: tensors with a NaN, with an infinity.
    """

    def __init__(self) -> None:
        self.scan: Scan | None = None
        self.columns: Columns | None = None
        self.table: FigureTable | None = None
        self.done = self.total = self.done_bytes = self.total_bytes = 0
        self.nan = self.inf = self.unread = 0
        self.complete = False
        self._taken = 0
        self._shares: Counter[int] = Counter()

    def planned(self, scan: Scan) -> None:
        """The scan knows what it will read."""
        from ckpt_viewer.gui.tree.figures import Columns

        assert scan.plan is not None
        self._shares = Counter(scan.plan.of.values())
        self.done = self.unread = len(scan.plan.errors)
        self.total, self.total_bytes = self.done + len(scan.plan.of), scan.plan.nbytes
        self.columns = Columns(len(scan.plan.items))
        self.scan = scan

    def take(self, context: Context) -> None:
        """Work out the figures of what was finished since the last time; raises Cancelled."""
        from ckpt_viewer.stats.figures import figures_of
        from ckpt_viewer.stats.profile import Profile

        assert self.scan is not None
        assert self.columns is not None
        finished, outcomes = self.scan.finished, self.scan.outcomes
        while self._taken < len(finished):
            number = finished[self._taken]
            self._taken += 1
            outcome, share = outcomes[number], self._shares[number]
            if isinstance(outcome, Profile):
                figures = figures_of(outcome)
                self.columns.put(number, figures)
                self.nan += share * (figures.nan > 0)
                self.inf += share * (figures.inf > 0)
            else:
                self.unread += share
            self.done += share
            if self._taken % TAKEN == 0:
                context.step(self.done_bytes, self.total_bytes)


class Watch:
    """The context of a scan: takes what was finished whenever progress is due."""

    def __init__(self, harvest: Harvest, context: Context) -> None:
        self._harvest, self._context, self._due = harvest, context, 0.0

    def step(self, done: int, total: int) -> None:
        self._context.step(done, total)
        if self._harvest.scan is not None and time.monotonic() >= self._due:
            self._harvest.done_bytes = min(done, self._harvest.total_bytes)
            self._harvest.take(self._context)
            self._due = time.monotonic() + TAKE_EVERY


def draw_sparks(harvest: Harvest, table: FigureTable, rows: Iterable[int], context: Context) -> None:
    """Make the small histograms of some rows of the tree; raises Cancelled."""
    from ckpt_viewer.gui.tree.sparks import spark
    from ckpt_viewer.stats.profile import Profile

    for row in rows:
        context.step(0, 0)
        outcome = harvest.scan.outcomes[table.item(row)] if harvest.scan is not None else None
        table.sparks[row] = spark(outcome) if isinstance(outcome, Profile) else ""


def scan_all(index: TreeIndex, harvest: Harvest, gate: Gate, context: Context, *, only_kept: bool) -> bool:
    """Scan every tensor of a checkpoint; return whether all is known now.

    Args:
        index: of its tree.
        gate: where to pause. only_kept: read nothing, take only what an earlier scan has left on the disk.

    Raises:
        SourceChanged, Unreadable: the file cannot be read any more. Cancelled: by `context`.
    """
    from ckpt_viewer.stats.preparing import prepare
    from ckpt_viewer.stats.scan import Scan

    watch = Watch(harvest, context)
    scan = Scan([tensor for _, tensor in index.outline.tensors()], gate)
    scan.prepare(context)
    harvest.planned(scan)
    tabulate(index, harvest, context)
    known = scan.recall(watch)
    if not known and only_kept:
        return False
    if not known:
        prepare(harvest.total_bytes)
        scan.run(watch)
    harvest.done_bytes = harvest.total_bytes
    harvest.take(context)
    harvest.complete = True
    if harvest.table is not None:
        roll_up_into(harvest.table, scan, context)
    return True


def roll_up_into(table: FigureTable, scan: Scan, context: Context) -> None:
    """Add up what lies in each row of a table; raises Cancelled."""
    from ckpt_viewer.gui.tree.figure_rollup import roll_up

    table.rolled = roll_up(table.index, table.items, scan.outcomes, context)


def tabulate(index: TreeIndex, harvest: Harvest, context: Context) -> None:
    """Make the table for an index, if the scan was planned; raises Cancelled."""
    from ckpt_viewer.gui.tree.figures import FigureTable

    if harvest.scan is not None and harvest.scan.plan is not None and harvest.columns is not None:
        table = FigureTable(index, harvest.scan.plan.of, harvest.columns, context)
        if harvest.complete:
            roll_up_into(table, harvest.scan, context)
        harvest.table = table


def put_together(scan: Scan, index: TreeIndex, row: int, context: Context) -> Below:
    """Return the numbers of all tensors at and below a row of the tree, each region of bytes once.

    Where one tensor is a part of another one there, only the larger is counted.

    Raises:
        Cancelled: by `context`.
    """
    from ckpt_viewer.stats.profile import Profile
    from ckpt_viewer.stats.together import together

    assert scan.plan is not None
    numbers, unread = set[int](), 0
    for tensor in tensors_below(index, row, context):
        number = scan.plan.of.get(id(tensor))
        if number is not None and isinstance(scan.outcomes[number], Profile):
            numbers.add(number)
        else:
            unread += 1
    outermost = list(_outermost(scan, numbers))
    profiles = [scan.outcomes[number] for number in outermost]
    whole = together([each for each in profiles if isinstance(each, Profile)], context)
    tensors = tuple(scan.plan.items[number].tensor for number in outermost)
    return Below(whole, len(profiles), unread, tensors)


def tensors_below(index: TreeIndex, row: int, context: Context) -> Iterator[TensorSpec]:
    """Yield each tensor at and below a row once, also behind second ways to a container; raises Cancelled."""
    waiting, entered, seen = [row], set[int](), set[int]()
    while waiting:
        top = waiting.pop()
        if top in entered:
            continue
        entered.add(top)
        for each in stepped(range(top, index.ends[top]), context):
            value = index.value(each) if index.is_entry(each) else None
            if isinstance(value, TensorSpec):
                if id(value) not in seen:
                    seen.add(id(value))
                    yield value
            elif (target := index.same_as(each)) is not None:
                waiting.append(target)


def _outermost(scan: Scan, numbers: Iterable[int]) -> Iterator[int]:
    """Yield the numbers of items that are no part of another one of the same type."""
    assert scan.plan is not None
    items, sources = scan.plan.items, dict[int, int]()
    reach: dict[tuple[int, str], int] = {}

    def place(number: int) -> tuple[int, int, int]:
        item = items[number]
        return sources.setdefault(id(item.source), len(sources)), item.start, -item.stop

    for number in sorted(numbers, key=place):
        item = items[number]
        if item.plain:
            kind = id(item.source), item.tensor.dtype
            if item.stop <= reach.get(kind, -1):
                continue
            reach[kind] = item.stop
        yield number
