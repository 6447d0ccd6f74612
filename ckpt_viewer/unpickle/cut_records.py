"""What `cut` remembers of a pickle: positions, as numbers of four bytes; 100,000 tensors have 1.5 million of them."""

from __future__ import annotations

import pickletools
from array import array
from bisect import bisect_left
from collections.abc import Iterable
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
LONGEST = (1 << 32) - 1
"""Bytes of a pickle whose positions fit; `NOWHERE` is none of them."""
NOWHERE = LONGEST
_LENGTHS = {b"q": 2, b"h": 2, b"r": 5, b"j": 5, b"\x94": 1, b"\x95": 9}
"""Bytes of opcodes that fill or read a slot, and of FRAME; that of PUT and GET is on a line."""
_FILL, _SHORT, _LONG = b"qrp\x94", b"qh", b"rj"


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


class Event(NamedTuple):
    """An opcode that fills or reads a slot, or a FRAME; positions in bytes from the start of the pickle."""

    start: int
    end: int
    fills: bool
    slot: int


class Events:
    """Opcodes that fill or read a slot, and FRAMEs, in order. All but a MEMOIZE say themselves which slot they mean.

    Attributes:
        starts: positions in bytes from the start of the pickle.
    """

    def __init__(self, data: bytes) -> None:
        self.starts = array("I")
        self._data = data
        self._memoized, self._slots = array("I"), array("I")

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, start: int, slot: int) -> None:
        """Append one that means `slot`."""
        self.starts.append(start)
        if self._data[start] == 0x94:
            self._memoized.append(start)
            self._slots.append(slot)

    def extend(self, starts: Iterable[int]) -> None:
        """Append some, none of which is a MEMOIZE."""
        self.starts.extend(starts)

    def __getitem__(self, number: int) -> Event:
        start = self.starts[number]
        code = self._data[start : start + 1]
        length = _LENGTHS.get(code)
        end = self._data.index(b"\n", start) + 1 if length is None else start + length
        return Event(start, end, code in _FILL, self._slot(code, start, end))

    def plain(self, number: int) -> tuple[bool, int]:
        """Return whether an opcode of the usual four fills a slot, and which it means; -1 for another opcode."""
        start, data = self.starts[number], self._data
        code = data[start]
        if code in _SHORT:
            return code == _SHORT[0], data[start + 1]
        return code == _LONG[0], int.from_bytes(data[start + 1 : start + 5], "little") if code in _LONG else -1

    def _slot(self, code: bytes, start: int, end: int) -> int:
        if code == b"\x95":
            return FRAME
        if code == b"\x94":
            return self._slots[bisect_left(self._memoized, start)]
        number = self._data[start + 1 : end]
        return int(number) if code in b"pg" else int.from_bytes(number, "little")


class Memo:
    """Where what was put into each slot begins and ends.

    Attributes:
        begins, ends: `NOWHERE` for a slot that is empty, or where that is not known. texts: slot -> where its string
            stands, if not where it begins. filled: how many slots are.
    """

    def __init__(self) -> None:
        self.begins, self.ends = array("I"), array("I")
        self.texts: dict[int, int] = {}
        self.filled = 0

    def put(self, slot: int, item: Item) -> None:
        """Fill a slot; raises CannotExport where it is filled already."""
        gap = slot - len(self.begins)
        if gap > MOST_GAP or slot < 0:
            raise CannotExport("its memo slots are numbered oddly, so nothing is taken out; load it with torch instead")
        if gap >= 0:
            self.begins.extend([NOWHERE] * (gap + 1))
            self.ends.extend([NOWHERE] * (gap + 1))
        elif self.begins[slot] != NOWHERE:
            raise CannotExport("a memo slot is used twice, so nothing is taken out; load it with torch instead")
        self.begins[slot] = item.start
        if item.text not in (-1, item.start):
            self.texts[slot] = item.text
        item.slots += (slot,)
        self.filled += 1

    def extend(self, begins: list[int], ends: list[int]) -> None:
        """Fill the slots that are next, none of them with a string that stands elsewhere."""
        self.begins.extend(begins)
        self.ends.extend(ends)
        self.filled += len(begins)

    def text(self, slot: int, data: bytes) -> int:
        """Return where the string of a slot stands, -1 if it is none; raises KeyError for an empty slot."""
        begin = self.begins[slot] if 0 <= slot < len(self.begins) else NOWHERE
        if begin == NOWHERE:
            raise KeyError(slot)
        return self.texts.get(slot, begin if data[begin] in _CODES else -1)
