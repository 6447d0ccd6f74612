"""Where the strings of a pickle come from: a walk over its opcodes that follows nothing but strings and persistent ids.

Everything else on the stack is None, so the walk is quick, nothing recurses, and memory grows with the number of
strings. What each opcode does is in `origins_table`.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.errors import Damaged
from ckpt_viewer.unpickle.origins_records import Reads, Slots
from ckpt_viewer.unpickle.origins_tensors import Tensors

if TYPE_CHECKING:
    Item: TypeAlias = "Push" | "Pid" | int | None
    """An int is where a literal lies that has been no more than pushed: there may be 100,000 names. Of a read it is the
    number, inverted."""
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
        number: among `Origins.tensors`; -1 for another one.
    """

    __slots__ = ("key", "number", "tag", "uses")

    def __init__(self, key: Push, tag: Push, number: int = -1) -> None:
        self.key, self.tag, self.number = key, tag, number
        self.uses = 1 if number < 0 else 0


class Origins:
    """The state of the walk, and its result.

    Attributes:
        data: the pickle. tensors: those in the usual form.
        reads: pushes that are no literals, without the tags of these.
        taken: the persistent ids of storages, one for each reference; None for the next one of these.
        frames: position and length of each FRAME.
        end: position behind STOP.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = 0
        self.reads = Reads(Push, len(data))
        self.taken: list[Pid | None] = []
        self.tensors = Tensors(Push, Pid, len(data))
        self.frames: list[tuple[int, int]] = []
        self.stack: list[Item] = []
        self.below: list[list[Item]] = []
        self.memo = Slots(len(data))
        self.far_memo: dict[int, Item] = {}
        self._literals: dict[int, Push] = {}
        self._word: Push | None = None

    def literal(self, start: int) -> Push:
        """Return the push of the literal at `start`, the same every time."""
        push = self._literals.get(start)
        if push is None:
            width = STRINGS.get(self.data[start : start + 1])
            if width is None:
                end = self.data.index(b"\n", start) + 1
            else:
                text = start + 1 + width
                end = text + int.from_bytes(self.data[start + 1 : text], "little")
            push = self._literals[start] = Push(start, end)
        return push

    def push_of(self, item: Item) -> Push | None:
        """Return the push that an item is, if it is one."""
        if type(item) is int:
            return self.literal(item) if item >= 0 else self.reads.push(~item)
        return item if type(item) is Push else None

    def is_storage(self, item: Item) -> bool:
        """Whether an item is the string that a storage's persistent id begins with."""
        push = self.reads.source(~item) if type(item) is int and item < 0 else self.push_of(item)
        if push is not None and push is not self._word and self.text(push) == "storage":
            self._word = push  # asked for each of 100,000 tensors, and nearly always the same
        return push is not None and push is self._word

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

    def references(self) -> Iterator[Pid]:
        """Yield the persistent ids of storages, one for each reference, in file order."""
        following = count()
        for pid in self.taken:
            yield self.tensors.pid(next(following)) if pid is None else pid

    def push_again(self, item: Item, start: int, end: int) -> int:
        """Push what a memo slot holds; return `end`."""
        source = self.push_of(item)
        if source is not None:
            item = ~self.reads.add(start, end, source)
        elif type(item) is Pid:
            item.uses += 1
        self.stack.append(item)
        return end

    def get(self, slot: int, start: int, end: int) -> int:
        """Read a memo slot."""
        if 0 <= slot < len(self.memo):
            item = self.memo[slot]
            return self.push_again(self.tensors.at(slot) if item is None else item, start, end)
        return self.push_again(self.far_memo[slot], start, end)

    def put(self, slot: int, end: int) -> int:
        """Fill a memo slot. Huge slot numbers must cost nothing, hence the dict."""
        item = self.stack[-1]
        if type(item) is int and item < 0:
            item = self.reads.push(~item)
        if slot == len(self.memo):
            self.memo.append(item)
        elif 0 <= slot < len(self.memo):
            self.memo[slot] = item
            self.tensors.put(slot)
        else:
            self.far_memo[slot] = item
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
        origins.memo = Slots(0)
        return origins
    except (IndexError, KeyError, OverflowError, struct.error, ValueError) as error:
        raise Damaged(f"the pickle is damaged near byte {at}; its device tags cannot be rewritten") from error
    finally:
        if collecting:
            gc.enable()


def storage_keys(origins: Origins, context: Context = SILENT) -> set[str]:
    """Return the keys of all storages that a pickle refers to, in whatever it describes; raises Damaged, Cancelled."""
    return {origins.text(pid.key) for pid in stepped(origins.references(), context)}
