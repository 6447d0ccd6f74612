"""Take entries out of the outermost dict of a pickle, and leave every other opcode as it is.

The opcodes that push a key and its value lie in one piece, so taking them out is deleting that piece. What they leave
behind are reads of memo slots that were filled inside the piece: the string ``"storage"``, the name of a class, a
tensor that something else shares. The first such read gets the opcodes that made the object, with their own reads
resolved in the same way, and fills the slot again: later reads find it, and the object stays one.
Source for the opcodes: CPython's pickletools.
"""

from __future__ import annotations

import pickletools
import struct
from bisect import bisect_left, insort
from collections.abc import Collection
from io import BytesIO
from typing import Any, NamedTuple

from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.errors import CannotExport, Damaged
from ckpt_viewer.unpickle.cut_records import FRAME, LONGEST, NOWHERE, STRINGS, Event, Events, Item, Memo
from ckpt_viewer.unpickle.cut_tensors import pass_tensor

_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_FILLS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
"""Opcodes that change what lies below their arguments, and leave it there."""
_REFUSED = frozenset({"DUP", "EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER", "READONLY_BUFFER"})
EVERY = 32
"""Opcodes between two steps; some 0.1 ms."""


class _Entry(NamedTuple):
    """An entry that was set in a dict alone on the stack; `key` None for one that is no string."""

    holder: Item
    key: str | None
    start: int
    end: int


class _Walk:
    """What there is to know of a pickle before anything is taken out of it.

    Attributes:
        memo, events: see there. entries: of every dict that was alone on the stack.
        odd: positions at which something that came out of the memo was changed.
        root: what the pickle gives. end: position behind STOP.
    """

    def __init__(self, data: bytes, context: Context) -> None:
        """Go through all opcodes; raises Damaged, CannotExport, Cancelled."""
        self.data, self._stream = data, BytesIO(data)
        self.memo, self.events = Memo(), Events(data)
        self.entries: list[_Entry] = []
        self.odd: list[int] = []
        self._stack: list[Item] = []
        try:
            self._go(BytesIO(data), context)
            self.root = self._stack[-1]
        except (IndexError, KeyError, ValueError, OverflowError, struct.error) as error:
            raise Damaged("the pickle is damaged, so nothing can be taken out of it; copy the file again") from error

    def _go(self, stream: BytesIO, context: Context) -> None:
        for number, (op, argument, position) in enumerate(pickletools.genops(stream)):
            if number % EVERY == 0:
                context.step(position or 0, len(self.data))
            self.end = stream.tell()
            if op.name == "MARK" and (behind := self._pass_tensor(position or 0)):
                stream.seek(behind)
            else:
                self._step(op.name, op, argument, position or 0, self.end)

    def _pass_tensor(self, at: int) -> int:
        is_one = self.data[at + 1 : at + 2] == b"("
        return pass_tensor(self.data, at, self._stack, self.memo, self.events) if is_one else 0

    def _step(self, name: str, op: pickletools.OpcodeInfo, argument: Any, start: int, end: int) -> None:
        stack = self._stack
        if name in _GETS:
            stack.append(Item(start, self.memo.text(argument, self.data), is_read=True))
            self.events.add(start, argument)
        elif name in _PUTS:
            slot = self.memo.filled if name == "MEMOIZE" else argument
            self.memo.put(slot, stack[-1])
            self.events.add(start, slot)
        elif name == "MARK":
            stack.append(Item(start, is_mark=True))
        elif name == "FRAME":
            self.events.add(start, FRAME)
        elif name in _REFUSED:
            raise CannotExport(f"the pickle uses {name}, so nothing is taken out of it; load it with torch instead")
        elif name not in ("PROTO", "STOP"):
            self._effect(name, op, start, end)

    def _effect(self, name: str, op: pickletools.OpcodeInfo, start: int, end: int) -> None:
        begin, taken = self._take(name, op, start)
        if name in _FILLS:
            holder = self._stack[-1]
            if holder.is_read:
                self.odd.append(start)
            if name in ("SETITEM", "SETITEMS") and len(self._stack) == 1:
                for key, value in zip(taken[::2], taken[1::2], strict=True):  # a lone SETITEM goes with what it sets
                    stop = end if name == "SETITEM" else value.end
                    self.entries.append(_Entry(holder, self._text(key), key.start, stop))
        elif op.stack_after:
            self._stack.append(Item(begin, begin if name in STRINGS else -1))

    def _text(self, item: Item) -> str | None:
        """Return the string that an item is; None if it is none."""
        if item.text < 0:
            return None
        self._stream.seek(item.text)
        return str(next(pickletools.genops(self._stream))[1])

    def _take(self, name: str, op: pickletools.OpcodeInfo, start: int) -> tuple[int, list[Item]]:
        """Pop what an opcode takes; return where that began, and the items, each with its end."""
        before, taken, stack, begin = op.stack_before, list[Item](), self._stack, start
        count = len(before) - (name in _FILLS)
        if pickletools.markobject in before:
            while not (item := stack.pop()).is_mark:
                taken.append(item)
            begin, count = item.start, before.index(pickletools.markobject) - (name in _FILLS)
        for _ in range(count):
            taken.append(stack.pop())
            begin = taken[-1].start
        following = start
        for item in taken:
            item.end = following
            for slot in item.slots:
                self.memo.ends[slot] = following
            following = item.start
        return begin, taken[::-1]


class _Cutter:
    """Writes a pickle anew without some pieces of it."""

    def __init__(self, walk: _Walk, pieces: list[_Entry], context: Context) -> None:
        self.walk, self.pieces, self.context = walk, pieces, context
        self.out = bytearray()
        self._made: list[tuple[int, int, int]] = []
        self._filled = bytearray(len(walk.memo.begins))

    def cut(self) -> bytes:
        """Return the new pickle; what followed STOP is still there."""
        at = 0
        for piece in self.pieces:
            self._write(at, piece.start)
            at = piece.end
        self._write(at, self.walk.end)
        self.out += self.walk.data[self.walk.end :]
        return bytes(self.out)

    def _write(self, at: int, end: int, *, again: bool = False) -> None:
        """Write a stretch. `again`: it was taken out, and only what is not there yet is to be made."""
        data, events = self.walk.data, self.walk.events
        number, last = (bisect_left(events.starts, each) for each in (at, end))
        while at < end:
            self.context.step(at, len(data))
            if not again:
                number = self._pass(number, last)
            made = self._already_made(at, end) if again else None
            event = events[number] if number < last else None
            if made is not None and (event is None or made[0] <= event.start):
                self.out += data[at : made[0]] + _get(made[2])
                at = -made[1]
                number = bisect_left(events.starts, at)
                continue
            if event is None:
                self.out += data[at:end]
                return
            self.out += data[at : event.start]
            self._write_event(event, again)
            at, number = event.end, number + 1

    def _pass(self, first: int, last: int) -> int:
        """Go over events that stay as they are; return the first of another kind, `last` if there is none."""
        events, filled = self.walk.events, self._filled
        for number in range(first, last):
            if number % EVERY == 0:
                self.context.step(events.starts[number], len(self.walk.data))
            fills, slot = events.plain(number)
            if slot < 0 or not (fills or filled[slot]):
                return number
            filled[slot] = True
        return last

    def _write_event(self, event: Event, again: bool) -> None:
        if event.slot == FRAME:
            return  # it only says how much may be read ahead
        begin, end = self.walk.memo.begins[event.slot], self.walk.memo.ends[event.slot]
        if event.fills:
            self._filled[event.slot] = True
            if again and end != NOWHERE:
                insort(self._made, (begin, -end, event.slot))
            as_it_is = self.walk.data[event.start : event.end]
            self.out += b"r" + struct.pack("<I", event.slot) if as_it_is == b"\x94" else as_it_is
        elif self._filled[event.slot]:
            self.out += self.walk.data[event.start : event.end]
        else:
            self._write(begin, end, again=True)

    def _already_made(self, at: int, end: int) -> tuple[int, int, int] | None:
        """Return the next thing in a stretch that is in a slot already: start, minus its end, slot."""
        number = bisect_left(self._made, (at,))
        made = self._made[number] if number < len(self._made) else None
        return made if made is not None and made[0] < end else None


def _get(slot: int) -> bytes:
    return b"j" + struct.pack("<I", slot)


def cut(data: bytes, keys: Collection[str], context: Context = SILENT) -> bytes:
    """Return a pickle without the entries of its outermost dict that have these keys.

    Raises:
        Damaged: it is no whole pickle. CannotExport: it has no such entry in a dict at its root, or is written in a way
            that is not taken apart. Cancelled: by `context`.
    """
    if len(data) >= LONGEST:
        raise CannotExport("its pickle is longer than any that torch writes, so nothing is taken out of it")
    walk = _Walk(data, context)
    pieces = [entry for entry in walk.entries if entry.holder is walk.root and entry.key in keys]
    if {piece.key for piece in pieces} != set(keys):
        raise CannotExport("the outermost value of this file is no plain dict with these entries; nothing is taken out")
    if any(piece.start <= odd < piece.end for odd in walk.odd for piece in pieces):
        raise CannotExport("what is to be left out changes something outside of it; load the file with torch instead")
    try:
        return _Cutter(walk, pieces, context).cut()
    except RecursionError as error:
        raise CannotExport("what is to be left out is nested too deep; load the file with torch instead") from error
