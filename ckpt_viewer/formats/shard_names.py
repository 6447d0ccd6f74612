"""Which files are parts of one set, by their names: ``model-00001-of-00004.safetensors``. FORMATS section 1.10."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ckpt_viewer.core.text import shorten

_SHARD = re.compile(r"(?P<stem>.*?)(?P<number>\d{1,6})-of-(?P<total>\d{1,6})(?P<rest>.*)", re.DOTALL | re.ASCII)
MOST_PARTS = 100_000
_INDEX = re.compile(r".+\.index(\.[\w-]+)*\.json", re.DOTALL)
_SHOWN = 3
"""File names that a sentence lists."""


class Part(NamedTuple):
    """What a file's name says about the set that it belongs to.

    Attributes:
        name: of the file. number, total: it is `number` of `total`. stem, rest: what the names of all parts share.
        digits: of its number and of the total.
    """

    name: str
    stem: str
    number: int
    total: int
    rest: str
    digits: tuple[int, int]

    @property
    def title(self) -> str:
        """What the set is called, with a star for the numbers of its files."""
        return f"{self.stem}*-of-{self.total:0{self.digits[1]}}{self.rest}"

    def sibling(self, number: int) -> str:
        """Return the name of another part of the set."""
        return f"{self.stem}{number:0{self.digits[0]}}-of-{self.total:0{self.digits[1]}}{self.rest}"


class PartSet(NamedTuple):
    """The files of one set.

    Attributes:
        files: those that are there, by their numbers. missing: names of the others.
        mixed: whether the names disagree on how many parts there are.
    """

    files: tuple[str, ...]
    missing: tuple[str, ...]
    mixed: bool


def part_of(name: str) -> Part | None:
    """Return what a file's name says; None if it is no part of a set."""
    match = _SHARD.fullmatch(name)
    if match is None:
        return None
    number, total = int(match["number"]), int(match["total"])
    if not 0 < total <= MOST_PARTS or number > MOST_PARTS:
        return None
    return Part(name, match["stem"], number, total, match["rest"], (len(match["number"]), len(match["total"])))


def part_set(part: Part, names: Iterable[str]) -> PartSet:
    """Return the set that `part` belongs to.

    Real sets exist whose names disagree on the total. Where no number comes twice they are taken for one set; where
    one does, they are several sets, and the files with the total of `part` are its own.

    Args:
        names: of the files in its folder.
    """
    found = [part_of(name) for name in names]
    family = [each for each in found if each and (each.stem, each.rest) == (part.stem, part.rest)]
    numbers = {each.number for each in family}
    if len(numbers) < len(family):
        family = [each for each in family if each.total == part.total]
        numbers = {each.number for each in family}
    first = 0 if 0 in numbers else 1
    end = first + max([part.total, *(each.total for each in family)])
    absent = [
        number for number in range(first, max([end, *(number + 1 for number in numbers)])) if number not in numbers
    ]
    files = tuple(each.name for each in sorted(family, key=lambda each: each.number))
    mixed = any(each.total != part.total for each in family)
    return PartSet(files, tuple(part.sibling(number) for number in absent), mixed)


def is_index_name(name: str) -> bool:
    """Whether a name is that of a set's index: ``model.safetensors.index.json``, also with a variant."""
    return _INDEX.fullmatch(name) is not None


def listed(names: Iterable[str]) -> str:
    """Return file names for a sentence, the first few of them."""
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(ascii(shorten(name, 80)) for name in shown[:_SHOWN]) + more
