"""The numbers of every tensor of a file, in one pass over it: in file order, each byte once, on all cores."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError, SourceChanged, Unreadable
from ckpt_viewer.stats import cache
from ckpt_viewer.stats.batch import batches, profiles
from ckpt_viewer.stats.crew import Crew, Gate
from ckpt_viewer.stats.joint import Reader
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.reading import open_reading, plain_kind
from ckpt_viewer.stats.scan_plan import WINDOW, Joint, Plan, Sweep, Use
from ckpt_viewer.stats.sketch import Sketch
from ckpt_viewer.stats.window import Buffer, Window

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

ENTRIES, MOST, LEAST = 3_000_000, 4096, 32
"""Cells that are kept of all tensors together, and of each at most and at least."""
SHARED = 1 << 15
"""Bytes of an item on average from which several threads are faster: below, they only wait for the GIL."""
EVERY = 8
"""Tensors counted together between two looks at the context: more would hold the GIL for longer than 0.2 ms."""
Outcome = Profile | CheckpointError


class Scan:
    """Counts tensors, all of them in one pass.

    Args:
        tensors: what to count. gate: where to pause it. cached: whether results are kept on disk and taken from there.

    Attributes:
        plan: what is read; None until it is made by `run`. outcomes: by number of the item in the plan, None for those
            that are not done yet. finished: numbers of the items that are done, in that order, only ever appended to.
            All may be looked at from any thread while the scan runs.
    """

    def __init__(self, tensors: Iterable[TensorSpec], gate: Gate | None = None, *, cached: bool = True) -> None:
        self._tensors, self._cached = tensors, cached
        self.gate = gate or Gate()
        self._key: str | None = None
        self.plan: Plan | None = None
        self.outcomes: list[Outcome | None] = []
        self.finished: list[int] = []

    def prepare(self, context: Context = SILENT) -> Plan:
        """Make the plan, if there is none; raises Cancelled."""
        if self.plan is None:
            plan = Plan(self._tensors, context)
            self.outcomes = [None] * len(plan.items)
            self._entries = max(LEAST, min(MOST, ENTRIES // max(1, len(plan.items))))
            self.plan = plan
        return self.plan

    def run(self, context: Context = SILENT) -> None:
        """Count everything; `context` is told about bytes.

        Raises:
            SourceChanged, Unreadable: the file cannot be read any more. Cancelled: by `context`.
        """
        plan = self.prepare(context)
        if not self.recall(context):
            self._count_all(plan, context)
            context.step(plan.nbytes, plan.nbytes)  # what was given up must not be kept
            profiles = [each for each in self.outcomes if isinstance(each, Profile)]
            if self._key is not None and len(profiles) == len(plan.items):
                cache.save(self._key, profiles, _Unmoved(context, plan.nbytes))
        context.step(plan.nbytes, plan.nbytes)

    def recall(self, context: Context = SILENT) -> bool:
        """Take the results of an earlier scan of the same bytes; return whether there are any. Raises as `run`."""
        plan = self.prepare(context)
        if len(self.finished) == len(plan.items):
            return True
        self._key = self._find_key(plan, context) if self._cached else None
        kept = cache.load(self._key, _Unmoved(context, 0)) if self._key is not None else None
        if kept is None or len(kept) != len(plan.items):
            return False
        self.outcomes = [*kept]
        self.finished.extend(range(len(kept)))
        return True

    def _find_key(self, plan: Plan, context: Context) -> str | None:
        try:
            return cache.key_of(plan, _Unmoved(context, 0))
        except (SourceChanged, Unreadable):
            raise
        except CheckpointError:  # something is missing: counting will say what
            return None

    def _count_all(self, plan: Plan, context: Context) -> None:
        self._lock = threading.Lock()
        self._left = list(plan.shares)
        self._sketches: dict[int, list[Sketch]] = {}
        for number, left in enumerate(self._left):
            if not left:
                self._conclude(number, self._empty(plan.items[number].tensor))
        most = 1 if plan.nbytes < SHARED * len(plan.items) else 0
        Crew(plan.tasks, _Hand, self._work, context, plan.nbytes, gate=self.gate, most=most).run()

    def outcome(self, tensor: TensorSpec) -> Outcome | None:
        """Return the numbers of a tensor, or why it has none; None while it is not done."""
        if self.plan is None:
            return None
        number = self.plan.of.get(id(tensor))
        return self.plan.errors.get(id(tensor)) if number is None else self.outcomes[number]

    @property
    def done(self) -> int:
        """How many items are done."""
        return len(self.finished)

    def _conclude(self, number: int, outcome: Outcome) -> None:
        """Note what became of an item."""
        self.outcomes[number] = outcome
        self.finished.append(number)

    def _empty(self, tensor: TensorSpec) -> Outcome:
        reading = open_reading(tensor)
        return Profile.of(tensor.dtype, reading.over, Sketch(reading.store).counted())

    def _work(self, hand: _Hand, task: Sweep | Joint) -> Iterator[int]:
        return self._sweep(hand, task) if isinstance(task, Sweep) else self._joint(task)

    # --- plain elements, window by window -----------------------------------------------------------------------------

    def _sweep(self, hand: _Hand, task: Sweep) -> Iterator[int]:
        assert self.plan is not None
        if all(isinstance(self.outcomes[use.item], CheckpointError) for use in task.uses):
            for use in task.uses:  # a part of each could not be read, so that the rest is of no use
                self._finish(use.item)
            yield task.nbytes
            return
        try:
            memory = hand.read(task.source, task.start, task.stop, task.uses[0].start)
        except (SourceChanged, Unreadable):
            raise
        except CheckpointError:
            for use in task.uses:  # perhaps only some of them cannot be read
                self._alone(hand, task, use)
        else:
            alone, together = batches(self.plan, task.uses)
            for use in alone:
                self._count(hand, use, memory[use.start - task.start : use.stop - task.start])
                yield 0
            for dtype, uses in together:
                yield from self._count_together(
                    dtype, uses, [memory[a - task.start : b - task.start] for _, a, b in uses]
                )
        yield task.nbytes

    def _alone(self, hand: _Hand, task: Sweep, use: Use) -> None:
        try:
            memory = hand.read(task.source, use.start, use.stop, use.start)
        except (SourceChanged, Unreadable):
            raise
        except CheckpointError as error:
            self.outcomes[use.item] = error
            self._finish(use.item)
        else:
            self._count(hand, use, memory)

    def _count(self, hand: _Hand, use: Use, memory: Array) -> None:
        assert self.plan is not None
        kind = plain_kind(self.plan.items[use.item].tensor.dtype)
        assert kind is not None
        block = memory.view(kind.dtype)
        if not block.flags.aligned:
            block = block.copy()
        if self.plan.shares[use.item] == 1:
            sketch = Sketch(kind.store.fresh())
            sketch.add(block)
            self._finish(use.item, sketch)
            return
        mine = hand.sketches.get(use.item)
        if mine is None:
            hand.sketches = {number: each for number, each in hand.sketches.items() if self._left[number]}
            mine = hand.sketches[use.item] = Sketch(kind.store.fresh())
            with self._lock:
                self._sketches.setdefault(use.item, []).append(mine)
        mine.add(block)
        self._finish(use.item)

    def _count_together(self, dtype: str, uses: list[Use], blocks: list[Array]) -> Iterator[int]:
        kind = plain_kind(dtype)
        assert kind is not None
        for number, profile in enumerate(profiles(dtype, kind, blocks, self._entries)):
            self._conclude(uses[number].item, profile)
            if number % EVERY == 0:
                yield 0

    def _finish(self, number: int, sketch: Sketch | None = None) -> None:
        """Note that one task more of an item is done; after the last one, put its numbers together."""
        assert self.plan is not None
        with self._lock:
            self._left[number] -= 1
            if self._left[number]:
                return
            parts = self._sketches.pop(number, [])
        failed = self.outcomes[number]
        if isinstance(failed, CheckpointError):
            self._conclude(number, failed)
            return
        whole, *others = [sketch] if sketch is not None else parts
        for other in others:
            whole.merge(other)
        tensor = self.plan.items[number].tensor
        self._conclude(number, Profile.of(tensor.dtype, "", whole.counted(), 1, self._entries))

    # --- everything else, piece by piece ------------------------------------------------------------------------------

    def _joint(self, task: Joint) -> Iterator[int]:
        assert self.plan is not None
        window, readers, done = Window(task.source), list[Reader](), 0
        for number in task.items:
            try:
                readers.append(Reader(number, self.plan.items[number].tensor, window))
            except CheckpointError as error:
                self._conclude(number, error)
        for _, reader in merge(*(reader.places() for reader in readers), key=itemgetter(0)):
            try:
                reader.count()
            except (SourceChanged, Unreadable):
                raise
            except CheckpointError as error:
                self.outcomes[reader.number] = error
            now = min(window.done, task.nbytes)
            yield now - done
            done = now
        for reader in readers:
            failed = self.outcomes[reader.number]
            self._conclude(reader.number, reader.profile(self._entries) if failed is None else failed)
        yield task.nbytes - done


class _Unmoved:
    """A context for what comes before and after counting: the progress stays where it is."""

    def __init__(self, context: Context, done: int) -> None:
        self._context, self._done = context, done

    def step(self, done: int, total: int) -> None:
        del done, total
        self._context.step(self._done, self._done)


class _Hand(Buffer):
    """What a thread has of its own: a buffer, and sketches of the items that others count as well."""

    def __init__(self) -> None:
        super().__init__(WINDOW)
        self.sketches: dict[int, Sketch] = {}
