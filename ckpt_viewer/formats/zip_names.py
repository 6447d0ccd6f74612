"""The names in a zip's directory, and the entry of each.

torch numbers storages, so that 100,000 names are one word and a range of numbers; as texts in a dict they would take
15 MB. Whatever is called otherwise is kept in one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

FEWEST = 32
"""Names that are worth keeping as a range."""
TOGETHER = 1024
"""Names that are joined at once."""
_DIGITS = "0123456789"
_MOST_DIGITS = 18


class _Run(NamedTuple):
    """Names that end in numbers which follow each other.

    Attributes:
        prefix: what stands before the numbers. first: the first of them. length: how many. row: entry of the first.
    """

    prefix: str
    first: int
    length: int
    row: int

    @property
    def names(self) -> Iterator[str]:
        """The names in order."""
        return map(self.prefix.__add__, map(str, range(self.first, self.first + self.length)))

    @property
    def end(self) -> tuple[str, int, int]:
        """Prefix, number and entry of a name that would follow."""
        return self.prefix, self.first + self.length, self.row + self.length


class Names:
    """Names in order; each is there once. Entries are counted from 0."""

    def __init__(self) -> None:
        self._count = 0
        self._alone: dict[str, int] = {}
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        row, alone = 0, iter(self._alone)
        for run in sorted(self._runs, key=lambda run: run.row):
            yield from islice(alone, run.row - row)
            yield from run.names
            row = run.row + run.length
        yield from alone

    def row(self, name: str) -> int | None:
        """Return the entry of a name; None if it is not there."""
        row = self._alone.get(name)
        if row is not None or not self._runs:
            return row
        prefix, number = _split(name)
        found = self._before(prefix, number)
        if found is None or number - found.first >= found.length:
            return None
        return found.row + number - found.first

    def follow(self, prefix: str, numbers: list[str]) -> int | None:
        """Return the entry of the first of some names, if they are those of a range, in order; None if not.

        Args:
            prefix: what all of them begin with. numbers: what follows it in each.
        """
        before, number = _split(numbers[0])
        found = self._before(prefix, number)
        if before or number < 0 or found is None or number + len(numbers) > found.first + found.length:
            return None
        if numbers != [*map(str, range(number, number + len(numbers)))]:
            return None
        return found.row + number - found.first

    def joined(self, between: str) -> str:
        """Return all names in order, with something between them."""
        return between.join(self._pieces(between))

    def _pieces(self, between: str) -> Iterator[str]:
        """Yield the names, those of ranges some together: 100,000 texts at once would be 10 MB."""
        row, alone = 0, iter(self._alone)
        for run in sorted(self._runs, key=lambda run: run.row):
            yield from islice(alone, run.row - row)
            for start in range(run.first, run.first + run.length, TOGETHER):
                numbers = range(start, min(start + TOGETHER, run.first + run.length))
                yield run.prefix + f"{between}{run.prefix}".join(map(str, numbers))
            row = run.row + run.length
        yield from alone

    def add(self, names: list[str]) -> str | None:
        """Append names; return the first that is there already, and append none then. None if all are new."""
        run = _as_run(names, self._count)
        if run is None:
            new = len({*names}) == len(names) and not (self._runs and any(self.row(name) is not None for name in names))
        else:
            new = self._fits(run)
        if not new or not self._alone.keys().isdisjoint(names):
            seen: set[str] = set()
            return next(name for name in names if self.row(name) is not None or name in seen or seen.add(name))  # type: ignore[func-returns-value]
        if run is None:
            self._alone.update(zip(names, range(self._count, self._count + len(names)), strict=True))
        else:
            self._insert(run)
        self._count += len(names)
        return None

    def _before(self, prefix: str, number: int) -> _Run | None:
        """Return the last range of names with this prefix that begins with `number` or before it."""
        at = bisect_left(self._runs, (prefix, number + 1, 0, 0)) - 1
        return self._runs[at] if at >= 0 and self._runs[at].prefix == prefix else None

    def _fits(self, run: _Run) -> bool:
        """Whether no other range has one of the names."""
        last = self._before(run.prefix, run.first + run.length - 1)
        return last is None or last.first + last.length <= run.first

    def _insert(self, run: _Run) -> None:
        at = bisect_left(self._runs, run)
        before = self._runs[at - 1] if at else None
        if before is not None and before.end == (run.prefix, run.first, run.row):
            self._runs[at - 1] = before._replace(length=before.length + run.length)
        else:
            self._runs.insert(at, run)


def _split(name: str) -> tuple[str, int]:
    """Return what stands before the number at the end of a name, and that; -1 where it is not written as usual."""
    prefix = name.rstrip(_DIGITS)
    digits = name[len(prefix) :]
    if not digits or len(digits) > _MOST_DIGITS or (digits[0] == "0" and digits != "0"):
        return prefix, -1
    return prefix, int(digits)


def _as_run(names: list[str], row: int) -> _Run | None:
    if len(names) < FEWEST:
        return None
    prefix, number = _split(names[0])
    run = _Run(prefix, number, len(names), row)
    return run if number >= 0 and names == [*run.names] else None
