"""What `cut` remembers of a pickle: positions, as numbers, since 100,000 tensors have 1.5 million of them."""

from __future__ import annotations

import pickletools
from array import array
from typing import NamedTuple

from ckpt_viewer.errors import CannotExport

STRINGS = frozenset(
    {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
)
_CODES = frozenset(ord(opcode.code) for opcode in pickletools.opcodes if opcode.name in STRINGS)
FRAME = -1
"""What stands for a slot where there is a FRAME."""
MOST_GAP = 1000
"""Numbers of slots that may be left out at once; picklers leave out none."""


class Item:
    """Something on the stack; a MARK too.

    Attributes:
        start: of the opcode that began it. end: where it is whole: the next sibling, or the opcode that takes it.
        text: where the opcode lies that pushed it, if it is a string, -1 otherwise. slots: that it was put into.
        is_mark, is_read: whether it is a MARK, whether it came out of the memo.
    """

    __slots__ = ("end", "is_mark", "is_read", "slots", "start", "text")

    def __init__(self, start: int, text: int = -1, *, is_mark: bool = False, is_read: bool = False) -> None:
        self.start, self.end, self.text = start, -1, text
        self.slots: tuple[int, ...] = ()
        self.is_mark, self.is_read = is_mark, is_read


class Events:
    """Opcodes that fill or read a slot, and FRAMEs, in order.

    Attributes:
        starts: positions in bytes from the start of the pickle.
    """

    def __init__(self) -> None:
        self.starts = array("Q")
        self._lengths, self._slots, self._fills = array("H"), array("q"), bytearray()

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, start: int, end: int, slot: int, *, fills: bool = False) -> None:
        """Append one; raises OverflowError where it is longer than any writer makes it."""
        self.starts.append(start)
        self._lengths.append(end - start)
        self._slots.append(slot)
        self._fills.append(fills)

    def __getitem__(self, number: int) -> Event:
        start = self.starts[number]
        return Event(start, start + self._lengths[number], bool(self._fills[number]), self._slots[number])


class Memo:
    """Where what was put into each slot begins and ends.

    Attributes:
        begins, ends: -1 for a slot that is empty, or where that is not known. texts: slot -> where its string stands,
            if not where it begins. filled: how many slots are.
    """

    def __init__(self) -> None:
        self.begins, self.ends = array("q"), array("q")
        self.texts: dict[int, int] = {}
        self.filled = 0

    def put(self, slot: int, item: Item) -> None:
        """Fill a slot; raises CannotExport where it is filled already."""
        gap = slot - len(self.begins)
        if gap > MOST_GAP or slot < 0:
            raise CannotExport("its memo slots are numbered oddly, so nothing is taken out; load it with torch instead")
        if gap >= 0:
            self.begins.extend([-1] * (gap + 1))
            self.ends.extend([-1] * (gap + 1))
        elif self.begins[slot] >= 0:
            raise CannotExport("a memo slot is used twice, so nothing is taken out; load it with torch instead")
        self.begins[slot] = item.start
        if item.text not in (-1, item.start):
            self.texts[slot] = item.text
        item.slots += (slot,)
        self.filled += 1

    def text(self, slot: int, data: bytes) -> int:
        """Return where the string of a slot stands, -1 if it is none; raises KeyError for an empty slot."""
        begin = self.begins[slot] if 0 <= slot < len(self.begins) else -1
        if begin < 0:
            raise KeyError(slot)
        return self.texts.get(slot, begin if data[begin] in _CODES else -1)


class Event(NamedTuple):
    """An opcode that fills or reads a slot, or a FRAME; positions in bytes from the start of the pickle."""

    start: int
    end: int
    fills: bool
    slot: int
