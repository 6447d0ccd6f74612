"""What the walk over a pickle's strings remembers of reads and memo slots, as numbers: objects would take 200 bytes."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.unpickle.origins import Item, Pid, Push

NEAR = 1 << 31
"""Bytes of a pickle whose positions fit into four bytes each."""


class Sources:
    """Numbers for pushes: the few that many others refer to."""

    def __init__(self) -> None:
        self._number_of: dict[Push, int] = {}
        self._pushes: list[Push] = []

    def number(self, push: Push) -> int:
        """Return the number of a push, the same every time."""
        number = self._number_of.setdefault(push, len(self._pushes))
        if number == len(self._pushes):
            self._pushes.append(push)
        return number

    def __getitem__(self, number: int) -> Push:
        return self._pushes[number]


class Reads:
    """Opcodes that read a string from a memo slot, in file order.

    Args:
        push: makes a `Push`. size: bytes of the pickle.
    """

    def __init__(self, push: Callable[[int, int, Push | None], Push], size: int) -> None:
        self._push, self._sources = push, Sources()
        self._starts = array("I" if size < NEAR else "Q")
        self._lengths, self._source_of = array("B"), array("I")
        self._made: dict[int, Push] = {}

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: int, end: int, source: Push) -> int:
        """Note one, and return its number; raises OverflowError where it is longer than any writer makes it."""
        self._lengths.append(end - start)
        self._starts.append(start)
        self._source_of.append(self._sources.number(source))
        return len(self._starts) - 1

    def place(self, number: int) -> tuple[int, int]:
        """Return where the opcode lies."""
        start = self._starts[number]
        return start, start + self._lengths[number]

    def source(self, number: int) -> Push:
        """Return the push whose string was in the slot."""
        return self._sources[self._source_of[number]]

    def made(self, number: int) -> Push | None:
        """Return the `Push` of a read; None while nobody has asked for it."""
        return self._made.get(number)

    def push(self, number: int) -> Push:
        """Return the `Push` of a read, the same every time."""
        made = self._made.get(number)
        if made is None:
            made = self._made[number] = self._push(*self.place(number), self.source(number))
        return made


class Slots:
    """What is in memo slots that are numbered in turn; neither is a read among it.

    Args:
        size: bytes of the pickle.
    """

    def __init__(self, size: int) -> None:
        code = "i" if size < NEAR else "q"
        self._items, self._nothing = array(code), array(code, [-1] * 16)
        self._kept: list[Push | Pid] = []

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, slot: int) -> Item:
        item = self._items[slot]
        return item if item >= 0 else None if item == -1 else self._kept[-2 - item]

    def __setitem__(self, slot: int, item: Item) -> None:
        self._items[slot] = self._number(item)

    def append(self, item: Item) -> None:
        """Fill the next slot."""
        self._items.append(self._number(item))

    def skip(self, count: int) -> None:
        """Fill some slots with what is no string, at most 16."""
        self._items.extend(self._nothing[:count])

    def _number(self, item: Item) -> int:
        if type(item) is int:
            return item
        if item is None:
            return -1
        self._kept.append(item)  # type: ignore[arg-type]  # mypy takes it for an int still
        return -1 - len(self._kept)
