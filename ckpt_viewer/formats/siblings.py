"""A file that is one of several, by its name: whose rank or shard it is, and which others are beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import product
from math import prod
from typing import NamedTuple

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.text import shorten
from ckpt_viewer.sources.folder import MOST_NAMES

MOST_MISSING = 10_000
"""Numbers of a set that is said to be larger are not looked for."""
_NUMBERED = re.compile(
    r"(?:(?:^|[^a-z])(?P<word>rank|shard|part)s?[-_]?(?P<number>\d+)|^(?:rng_state|random_states)_(?P<state>\d+)"
    r"|(?P<first>\d+)(?=[-_]of[-_]?\d))",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"\d[-_]?of[-_]?(\d+)|world[-_]?size[-_]?(\d+)", re.IGNORECASE)
_RANK_FOLDER = re.compile(r"(?:[a-z]+_)?rank_?\d+(?:_\d+)*")
"""Megatron: ``mp_rank_00``, or ``mp_rank_00_001`` with the pipeline's rank, and the expert's behind that."""
_DATA = re.compile(r"__[0-9]+_[0-9]+\.distcp")


class Family(NamedTuple):
    """The files whose names differ only in the numbers of ranks or shards.

    Attributes:
        word: ``rank``, ``shard`` or ``part``. mine: the numbers in this name.
        present, missing: those of the others, sorted. total: how many the name says there are; None where it does not.
    """

    word: str
    mine: tuple[int, ...]
    present: list[tuple[int, ...]]
    missing: list[tuple[int, ...]]
    total: int | None


def family(name: str, neighbours: Iterable[str]) -> Family | None:
    """Return the set that a file belongs to by its name; None where the name tells of none."""
    found = list(_NUMBERED.finditer(name))
    if not found:
        return None
    numbered = [name for name in ("number", "state", "first") for each in found if each[name] is not None]
    spans = [each.span(group) for each in found for group in ("number", "state", "first") if each[group] is not None]
    word = next((each["word"].lower() for each in found if each["word"]), "rank" if "state" in numbered else "shard")
    pattern, at = "", 0
    for start, end in spans:
        pattern += re.escape(name[at:start]) + r"(\d+)"
        at = end
    same = re.compile(pattern + re.escape(name[at:])).fullmatch
    members = {tuple(map(int, match.groups())) for match in map(same, neighbours) if match is not None}
    mine = tuple(int(name[start:end]) for start, end in spans)
    total = next((int(a or b) for a, b in _TOTAL.findall(name) if len(a or b) < 7), None)
    missing = _missing(members | {mine}, total, one_based="first" in numbered)
    return Family(word, mine, sorted(members - {mine}), missing, total)


def _missing(members: set[tuple[int, ...]], total: int | None, *, one_based: bool) -> list[tuple[int, ...]]:
    """Return the combinations of numbers that nobody has."""
    ranges = []
    for numbers in zip(*members, strict=True):
        first = 1 if one_based and 0 not in numbers else 0
        ranges.append(range(first, max(max(numbers) + 1, first + (total or 0))))
    count = prod(each.stop - each.start for each in ranges)
    return [each for each in product(*ranges) if each not in members] if count <= MOST_MISSING else []


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which the numbers in names count as numbers: rank 2 comes before rank 10."""
    parts = re.split(r"([0-9]{1,18})", name)
    return tuple((0, int(part), "") if at % 2 else (1, 0, part) for at, part in enumerate(parts) if part)


def is_rank_folder(name: str) -> bool:
    """Whether a folder is called as one that holds the files of one rank."""
    return _RANK_FOLDER.fullmatch(name) is not None


def rank_text(name: str) -> str:
    """Return the rank that the name of such a folder tells, in words: ``0``, or ``0/1`` with the pipeline's."""
    return _number(tuple(map(int, re.findall(r"\d+", name))))


def folder_family(name: str, neighbours: Iterable[str]) -> Family | None:
    """Return the set of a rank's folder by its name; None where the name tells of none."""
    if not is_rank_folder(name):
        return None
    pattern = re.compile(re.sub(r"\d+", r"(\\d{1,9})", re.escape(name)))
    members = {tuple(map(int, match.groups())) for each in neighbours if (match := pattern.fullmatch(each)) is not None}
    mine = tuple(map(int, re.findall(r"\d+", name)))
    return Family("rank", mine, sorted(members - {mine}), _missing(members | {mine}, None, one_based=False), None)


def missing_ranks(names: Iterable[str]) -> str:
    """Return a sentence about the ranks whose folders are not among those of a folder; ``""`` if none is missing."""
    ranks = [name for name in names if is_rank_folder(name)]
    found = folder_family(ranks[0], ranks) if ranks else None
    if found is None or not found.missing:
        return ""
    shown = ", ".join(map(_number, found.missing[:10])) + (", ..." if len(found.missing) > 10 else "")
    if len(found.missing) == 1:
        return f"the folder of rank {shown} is missing"
    return f"the folders of {len(found.missing)} ranks are missing: {shown}"


def note_for(path: str) -> Note | None:
    """Return what a person who opened one file of several should know; None for a whole file."""
    folder, name = os.path.split(path)
    if _DATA.fullmatch(name):
        return Note("warning", "one-of-several", None, data_file(path))
    if not _NUMBERED.search(name):
        return _note_for_folder(folder, name)
    found = family(name, _names(folder))
    if found is None or not (found.present or found.missing):
        return None
    return Note("warning", "one-of-several", None, _sentence(found))


def _note_for_folder(folder: str, name: str) -> Note | None:
    """Return the same where it is the folder of a file that tells its rank: the others' files have the same name."""
    above, own = os.path.split(os.path.abspath(folder or "."))  # noqa: PTH100
    if not is_rank_folder(own):
        return None
    there = [each for each in _names(above) if is_rank_folder(each)]
    neighbours = [each for each in there if os.path.isfile(os.path.join(above, each, name))]  # noqa: PTH113, PTH118
    found = folder_family(own, neighbours)
    if found is None or not (found.present or found.missing):
        return None
    where = ascii(shorten(os.path.basename(above), 100))  # noqa: PTH119
    return Note(
        "warning", "one-of-several", None, _sentence(found).replace("open the folder", f"open the folder {where}")
    )


def data_file(path: str) -> str:
    """Return the sentence about a data file of a distributed checkpoint that was opened by itself."""
    folder = os.path.dirname(path) or "."  # noqa: PTH120  pathlib would cost every start 7 ms
    there = any(name.endswith(".metadata") for name in _names(folder))
    where = ascii(shorten(os.path.basename(os.path.abspath(folder)), 100))  # noqa: PTH100, PTH119
    beside = "open the folder" if there else "its .metadata is not there, so copy that file too and open the folder"
    return f"this is one data file of a distributed checkpoint, with parts of its tensors; {beside} {where}"


def _names(folder: str) -> list[str]:
    names = []
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) == MOST_NAMES:
                    break
    except OSError:  # it can be read, and not listed
        return []
    return names


def _sentence(found: Family) -> str:
    of = f" of {found.total}" if found.total is not None else ""
    parts = [f"this file is {found.word} {_number(found.mine)}{of}"]
    if found.present:
        parts.append(f"{_numbers(found.word, found.present)} beside it")
    if found.missing:
        parts.append(f"{_numbers(found.word, found.missing)} missing")
    return ", ".join(parts) + ("; open the folder to see them as one" if found.present else "; look for the others")


def _number(numbers: tuple[int, ...]) -> str:
    return "/".join(map(str, numbers))


def _numbers(word: str, members: list[tuple[int, ...]]) -> str:
    if len(members) == 1:
        return f"{word} {_number(members[0])} is"
    if len(members) > 6:
        return f"{len(members)} other {word}s are"
    shown = ", ".join(map(_number, members[:-1]))
    return f"{word}s {shown} and {_number(members[-1])} are"
