"""A large pickle read piece by piece, whose most frequent objects are taken in bulk and never made one by one.

A distributed checkpoint of 20,000 tensors on 64 ranks has metadata of 200 MB, nearly all of it the same few dozen
opcodes 1.3 million times over. What is not exactly of the expected form is left to the opcode loop; and whatever goes
wrong on the way, the pickle is read once more, whole and one opcode after another, so that both ways cannot differ.
"""

from __future__ import annotations

import gc
import struct
from typing import TYPE_CHECKING, Any, Protocol

from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import Damaged, Truncated
from ckpt_viewer.unpickle.fastpath import SkippedSlot
from ckpt_viewer.unpickle.machine import BURST, Machine, Stop
from ckpt_viewer.unpickle.opcodes import op_newobj
from ckpt_viewer.unpickle.table import TABLE

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Handler

PIECE = 4 << 20
"""Bytes of the pickle that are read at once."""
MARGIN = 1 << 20
"""With fewer bytes than these ahead, the next piece is read."""


class Bulk(Protocol):
    """Takes objects of certain classes, many at a time."""

    def take(self, m: LongMachine, at: int) -> int:
        """Take what begins with the class and empty arguments on the stack.

        Returns:
            The position behind it; 0 if nothing was taken.

        Args:
            at: behind the NEWOBJ.
        """

    def recall(self, slot: int) -> Value:
        """Return what is in a memo slot that was passed over; raises SkippedSlot where it was not kept."""

    def forget(self) -> None:
        """Drop everything that was taken."""


class LongMachine(Machine):
    """Runs one pickle of a source.

    Attributes:
        base: bytes of the pickle before `data`. total: of the whole.
        bulk: takes objects; None while every opcode is executed. skipped: memo slots that were passed over.
    """

    source: Bytes
    bulk: Bulk | None = None
    base = total = skipped = 0

    @property
    def next_slot(self) -> int:
        """The memo slot that the next MEMOIZE fills."""
        return len(self.memo) + len(self.far_memo) + self.skipped

    def run(self, position: int, table: list[Handler]) -> Value:
        """Execute from `position` to STOP; raises as `Machine.run` does."""
        try:
            return self._run(position, LONG_TABLE)
        except (SkippedSlot, Truncated, Damaged, IndexError, struct.error, ValueError, TypeError, OverflowError):
            self._begin_again()
        except (KeyError, AttributeError, MemoryError, RecursionError):
            self._begin_again()
        return super().run(position, table)

    def _begin_again(self) -> None:
        if self.bulk is not None:
            self.bulk.forget()
        self.bulk, self.skipped, self.base = None, 0, 0
        self.data = self.source.read_at(0, self.total)
        self.notes.clear()
        self.noted.clear()
        self.made.clear()
        self.opcodes = self.charged = self.shortcuts = 0
        self.forget()

    def _run(self, position: int, table: list[Handler]) -> Value:
        if self.bulk is None:
            return super()._run(position, table)
        self.reset()
        at = position
        collecting = gc.isenabled()
        gc.disable()
        try:
            while True:
                for _ in BURST:
                    at = table[self.data[at]](self, at + 1)
                self.meter(at)
                at = self.ahead(at)
        except Stop as stop:
            self.position = self.base + stop.position
            return self.stack[-1]
        finally:
            if collecting:
                gc.enable()

    def ahead(self, at: int) -> int:
        """See to it that there are enough bytes from a position on, and return where it is now."""
        behind = self.base + len(self.data)
        if len(self.data) - at >= MARGIN or behind >= self.total:
            return at
        self.data = self.data[at:] + self.source.read_at(behind, min(PIECE, self.total - behind))
        self.base += at
        return 0

    def meter(self, at: int, bursts: int = 1) -> None:
        """Look at the budget after bursts of opcodes, and let others have their turn; raises OverBudget, Cancelled."""
        self.opcodes += bursts * len(BURST)
        self.check_budget()
        self.context.step(self.base + at, self.total)

    def find_global(self, module: str, name: str, at: int = -1) -> Value:
        """Return the inert record for a name, as `Machine.find_global`."""
        return super().find_global(module, name, at + self.base if at >= 0 else at)

    def put(self, index: int, value: Value) -> None:
        """Store in a memo slot; raises SkippedSlot unless slots are filled in turn, so that none ever changes."""
        if self.bulk is not None and index != self.next_slot:
            raise SkippedSlot
        super().put(index, value)

    def get(self, index: int) -> Value:
        """Read a memo slot; raises Damaged, SkippedSlot."""
        if self.skipped and index >= len(self.memo) and index not in self.far_memo and self.bulk is not None:
            return self.bulk.recall(index)
        return super().get(index)


def _memoize(m: Any, at: int) -> int:
    m.put(m.next_slot, m.stack[-1])
    return at


def _newobj(m: Any, at: int) -> int:
    at = m.ahead(at)
    return m.bulk.take(m, at) or op_newobj(m, at)


LONG_TABLE = list(TABLE)
LONG_TABLE[0x81], LONG_TABLE[0x94] = _newobj, _memoize
