"""Where the strings of a pickle come from: a walk over its opcodes that follows nothing but strings and persistent ids.

Everything else on the stack is None, so the walk is quick, nothing recurses, and memory grows with the number of
strings. What each opcode does is in `origins_table`.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.errors import Damaged

if TYPE_CHECKING:
    Item: TypeAlias = "Push" | "Pid" | None
    Handler: TypeAlias = Callable[["Origins", int], int]

BURST = range(128)
"""Opcodes between two calls of the context's `step`; about 0.1 ms."""

STRINGS = {b"X": 4, b"\x8c": 1, b"\x8d": 8, b"U": 1, b"T": 4}
"""Opcodes that push a string, and the width in bytes of their length field; `V` and `S` have theirs on a line."""


class Push:
    """One opcode that put a string on the stack: a literal, or a read of a memo slot.

    Attributes:
        start, end: where the opcode lies, bytes from the start of the pickle.
        source: for a read, the push whose string was in the slot; None for a literal.
    """

    __slots__ = ("_first", "end", "source", "start")

    def __init__(self, start: int, end: int, source: Push | None = None) -> None:
        self.start, self.end, self.source = start, end, source
        # None, not itself: a million of them would be cycles, which nobody frees in time
        self._first = source.literal if source is not None else None

    @property
    def literal(self) -> Push:
        """Where the text stands; the push itself for a literal."""
        return self._first or self


class Pid:
    """A tuple in the form of a storage's persistent id.

    Attributes:
        key, tag: the pushes of its third and fourth item.
        uses: how many references to it went anywhere but into a persistent id.
    """

    __slots__ = ("key", "tag", "uses")

    def __init__(self, key: Push, tag: Push) -> None:
        self.key, self.tag, self.uses = key, tag, 1


class Origins:
    """The state of the walk, and its result.

    Attributes:
        data: the pickle. reads: every push that is not a literal, in file order.
        taken: the persistent ids of storages, one for each reference. frames: position and length of each FRAME.
        end: position behind STOP.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = 0
        self.reads: list[Push] = []
        self.taken: list[Pid] = []
        self.frames: list[tuple[int, int]] = []
        self.stack: list[Item] = []
        self.below: list[list[Item]] = []
        self.memo: list[Item] = []
        self.far_memo: dict[int, Item] = {}

    def text(self, push: Push) -> str:
        """Return the string that `push` pushes; raises Damaged if its bytes are no text."""
        data, start, end = self.data, push.literal.start, push.literal.end
        code = data[start : start + 1]
        try:
            if code in STRINGS:
                raw = data[start + 1 + STRINGS[code] : end]
                return raw.decode("latin-1") if code in b"UT" else raw.decode("utf-8", "surrogatepass")
            if code == b"V":
                return data[start + 1 : end - 1].decode("raw-unicode-escape")
        except UnicodeDecodeError as error:
            raise Damaged(f"the pickle is damaged near byte {start}: a string that is no text") from error
        return data[start + 2 : end - 2].decode("latin-1")

    def push_again(self, item: Item, start: int, end: int) -> int:
        """Push what a memo slot holds; return `end`."""
        if type(item) is Push:
            item = Push(start, end, item)
            self.reads.append(item)
        elif type(item) is Pid:
            item.uses += 1
        self.stack.append(item)
        return end

    def get(self, slot: int, start: int, end: int) -> int:
        """Read a memo slot."""
        if 0 <= slot < len(self.memo):
            return self.push_again(self.memo[slot], start, end)
        return self.push_again(self.far_memo[slot], start, end)

    def put(self, slot: int, end: int) -> int:
        """Fill a memo slot. Huge slot numbers must cost nothing, hence the dict."""
        if slot == len(self.memo):
            self.memo.append(self.stack[-1])
        elif 0 <= slot < len(self.memo):
            self.memo[slot] = self.stack[-1]
        else:
            self.far_memo[slot] = self.stack[-1]
        return end

    def group(self) -> list[Item]:
        """Return everything above the last MARK."""
        items, self.stack = self.stack, self.below.pop()
        return items


class Stop(Exception):
    """Ends the walk at STOP."""


def trace(data: bytes, context: Context = SILENT) -> Origins:
    """Walk one pickle.

    Raises:
        Damaged: it is no whole pickle. Cancelled: by `context`.
    """
    from ckpt_viewer.unpickle.origins_table import TABLE

    origins, at = Origins(data), 0
    collecting = gc.isenabled()
    gc.disable()  # a million records without cycles: collecting them takes longer than making them
    try:
        while True:
            for _ in BURST:
                at = TABLE[data[at]](origins, at)
            context.step(at, len(data))
    except Stop:
        return origins
    except (IndexError, KeyError, struct.error, ValueError) as error:
        raise Damaged(f"the pickle is damaged near byte {at}; its device tags cannot be rewritten") from error
    finally:
        if collecting:
            gc.enable()


def storage_keys(data: bytes, context: Context = SILENT) -> set[str]:
    """Return the keys of all storages that a pickle refers to, in whatever it describes; raises as `trace` does."""
    origins = trace(data, context)
    return {origins.text(pid.key) for pid in stepped(origins.taken, context)}
