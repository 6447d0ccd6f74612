"""A map of every byte of a file: which storage lies where, and what lies between. `byte_layout` makes it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

MODEL, OPTIMIZER, AVERAGED, OTHER, PICKLE, PLAIN, FRAME, DIRECTORY, UNUSED, DRAGGED = range(10)
"""What a region can be."""
WORDS = ("model", "optimizer", "averaged model (EMA)", "other tensors", "pickle or header", "other records",
         "headers and padding", "directory of the archive", "not referred to",
         "stored, used by no tensor")  # fmt: skip
"""Kind -> what it is called."""
MOST_COMPARED = 4096
"""Regions below one pixel of which the largest is looked for."""


class Region(NamedTuple):
    """A stretch of a file.

    Attributes:
        start, nbytes: bytes from the start of the file. kind: one of those above.
        line: number of its storage in the ledger, -1 without. name: of its record; ``""`` without.
    """

    start: int
    nbytes: int
    kind: int
    line: int
    name: str


class FileMap:
    """Every byte of one file, each in one region, in order.

    Attributes:
        name: of the file. size: bytes of it.
        bounds: where each region starts, and the size at the end. kinds: of each region. lines: see `Region.line`.
        names: number of a region -> name of its record, where it is no storage.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.bounds, self.kinds, self.lines = array("q", (0,)), bytearray(), array("q")
        self.names: dict[int, str] = {}
        self._before: dict[int, array[int]] = {}

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, end: int, kind: int, line: int = -1, name: str = "") -> None:
        """Append a region that reaches to `end`; nothing where that is where the last one ended."""
        if end > self.bounds[-1]:
            if name:
                self.names[len(self.kinds)] = name
            self.bounds.append(end)
            self.kinds.append(kind)
            self.lines.append(line)

    def finish(self) -> None:
        """Prepare to answer `inside`."""
        widths = [end - start for start, end in zip(self.bounds, self.bounds[1:], strict=False)]
        for kind in set(self.kinds):
            mine = (width if each == kind else 0 for width, each in zip(widths, self.kinds, strict=True))
            self._before[kind] = array("q", accumulate(mine, initial=0))

    def region(self, number: int) -> Region:
        """Return a region by its number."""
        start = self.bounds[number]
        name = self.names.get(number, "")
        return Region(start, self.bounds[number + 1] - start, self.kinds[number], self.lines[number], name)

    def at(self, position: int) -> int:
        """Return the number of the region that a byte is in."""
        return min(max(bisect_right(self.bounds, position) - 1, 0), len(self) - 1)

    def inside(self, start: int, end: int) -> dict[int, int]:
        """Return kind -> bytes of what lies between two positions, however many regions that are."""
        first, last = self.at(start), self.at(end - 1)
        if first == last:
            return {self.kinds[first]: end - start}
        found = {}
        for kind, before in self._before.items():
            nbytes = before[last + 1] - before[first]
            if self.kinds[first] == kind:
                nbytes -= start - self.bounds[first]
            if self.kinds[last] == kind:
                nbytes -= self.bounds[last + 1] - end
            if nbytes:
                found[kind] = nbytes
        return found

    def largest(self, start: int, end: int) -> int:
        """Return the number of the region that has most bytes between two positions, a storage before all else.

        Of very many only the first are compared.
        """
        first = self.at(start)
        last = min(self.at(end - 1), first + MOST_COMPARED - 1)

        def share(number: int) -> tuple[bool, int]:
            own = min(end, self.bounds[number + 1]) - max(start, self.bounds[number])
            return self.lines[number] >= 0, own

        return max(range(first, last + 1), key=share)

    @property
    def totals(self) -> dict[int, int]:
        """Kind -> bytes of the whole file."""
        return {kind: before[-1] for kind, before in sorted(self._before.items())}


class Maps(NamedTuple):
    """The files of a checkpoint.

    Attributes:
        files: in the order of their first storages. places: line of the ledger -> file and region it begins with.
        elsewhere, elsewhere_bytes: storages that lie in no file as they are (packed, or inside of the pickle).
        overlapping: regions that claim bytes which another one has.
    """

    files: tuple[FileMap, ...]
    places: dict[int, tuple[int, int]]
    elsewhere: int
    elsewhere_bytes: int
    overlapping: int

    @property
    def unused(self) -> tuple[int, int]:
        """How many regions nothing refers to, and their bytes."""
        count = sum(each.kinds.count(UNUSED) for each in self.files)
        return count, sum(each.totals.get(UNUSED, 0) for each in self.files)
