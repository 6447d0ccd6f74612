"""Where the strings of usual tensors stand in a pickle, as numbers: objects for 100,000 of them would take 40 MB."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from ckpt_viewer.unpickle.origins_records import NEAR, Sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.unpickle.origins import Pid, Push


class Tensors:
    """Tensors that are written as torch.save writes all but the first of a file, in order.

    Each has put its key and its persistent id into memo slots that follow one another, which is found out again when
    somebody reads one of them. That is rare.

    Args:
        push: makes a `Push`. pid: makes a `Pid`. size: bytes of the pickle.
    """

    def __init__(
        self, push: Callable[[int, int, Push | None], Push], pid: Callable[[Push, Push, int], Pid], size: int
    ) -> None:
        self._push, self._pid, self._sources = push, pid, Sources()
        code = "I" if size < NEAR else "Q"
        self._places, self._slots = array(code), array(code)
        self._source_of = array("I")
        self._made: dict[int, Pid] = {}
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, slot: int, key: tuple[int, int], tag: tuple[int, int], source: Push) -> None:
        """Note a tensor.

        Args:
            slot: that its key was put into; the next one has its persistent id.
            key, tag: where the opcodes lie that push them. source: what was in the slot that the tag is read from.
        """
        self._places.extend((*key, *tag))
        self._slots.append(slot)
        self._source_of.append(self._sources.number(source))

    def tag(self, number: int) -> tuple[int, int]:
        """Return where the opcode lies that pushes a tensor's tag."""
        return self._places[4 * number + 2], self._places[4 * number + 3]

    def source(self, number: int) -> Push:
        """Return what was in the slot that it reads."""
        return self._sources[self._source_of[number]]

    def pid(self, number: int) -> Pid:
        """Return a tensor's persistent id: the one that was read again, if it was."""
        made = self._made.get(number)
        if made is not None:
            return made
        start, end = self._places[4 * number : 4 * number + 2]
        return self._pid(self._push(start, end, None), self._push(*self.tag(number), self.source(number)), number)

    def at(self, slot: int) -> Push | Pid | None:
        """Return what a tensor has put into a memo slot, the same every time; None if none has."""
        number = bisect_right(self._slots, slot) - 1
        behind = slot - self._slots[number] if number >= 0 else 2
        if behind > 1 or slot in self._gone:
            return None
        made = self._made.setdefault(number, self.pid(number))
        return made if behind else made.key

    def put(self, slot: int) -> None:
        """Note that a memo slot has been filled anew."""
        self._gone.add(slot)
