"""Pickles that torch.load never reads, but other programs do: behind the first of a file, or beside it in an archive.

They are read for what they name. A pickle that breaks off counts with all that it named before: whoever unpickles it
runs that first and meets the error afterwards. FORMATS H2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckpt_viewer.core.finding import GlobalUse, Note, merged
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.core.text import shorten
from ckpt_viewer.errors import CheckpointError, Damaged
from ckpt_viewer.formats.raw_pickle import Nowhere
from ckpt_viewer.unpickle.budget import budget_for
from ckpt_viewer.unpickle.reader import PickleReader

LOOK = 16 << 20
"""Bytes behind a legacy stream that are looked into."""
MOST, TOLD = 1000, 5
"""Pickles that are read behind each other, and those with a finding of their own."""
_NAMED = 4
"""Names that a finding lists."""


class Found(NamedTuple):
    """One pickle that was found.

    Attributes:
        at: bytes from the start of the data. shown: what it describes, ``""`` if it breaks off.
        uses: what it names. opcodes: executed. end: position behind it, or the end of the data.
    """

    at: int
    shown: str
    uses: tuple[GlobalUse, ...]
    opcodes: int
    end: int


def pickles(data: bytes, at: int, place: str, context: Context, justified: int) -> Iterator[Found]:
    """Yield the pickles that lie behind each other in `data` from `at` on, as far as there are any.

    Args:
        place: what the data are called in the window. justified: bytes of the file that answer for the cost.

    Raises:
        Cancelled: by `context`.
    """
    left = budget_for(justified).opcodes
    for _ in range(MOST):
        if at >= len(data) or left < 0:
            return
        reader = PickleReader(data, Nowhere(), context=context, justified=justified, place=place)
        try:
            read = reader.read(at)
        except CheckpointError:
            uses = reader.names()
            if uses or data[at] == 0x80:
                yield Found(at, "", uses, reader.machine.opcodes, len(data))
            return
        yield Found(at, shorten(python_repr(read.value), 120), read.globals, read.opcodes, read.end)
        left -= read.opcodes
        at = read.end


def look_behind(
    data: bytes, at: int, what: str, place: str, context: Context, justified: int
) -> tuple[list[Note], tuple[GlobalUse, ...]]:
    """Return what is to be said of the bytes behind a pickle, and the names in the pickles among them.

    Args:
        what: after which the bytes come, for people: ``"the pickle"``.
    """
    notes = [Note("warning", "trailing-bytes", None, f"{len(data) - at} bytes follow {what}; torch.load ignores them")]
    uses: list[GlobalUse] = []
    count = 0
    for count, found in enumerate(pickles(data, at, place, context, justified), 1):
        uses += found.uses
        if count <= TOLD:
            notes.append(_note(found, "behind " + what))
    if count > TOLD:
        notes.append(Note("warning", "extra-pickle", None, f"{count - TOLD} more pickles follow behind {what}"))
    return notes, merged(uses)


def look_into(name: str, data: bytes, context: Context, justified: int) -> tuple[list[Note], tuple[GlobalUse, ...]]:
    """Return the same for a pickle that lies in a record of its own beside the one that torch reads."""
    found = list(pickles(data, 0, shorten(name, 80), context, justified))
    notes = [_note(each, f"in {shorten(name, 80)!r}") for each in found[:TOLD]]
    return notes, merged(use for each in found for use in each.uses)


def _note(found: Found, where: str) -> Note:
    dangerous = [use.name for use in found.uses if use.status == "dangerous"]
    describes = f"it describes {found.shown}" if found.shown else "it breaks off"
    names = ", ".join(shorten(name, 80) for name in (dangerous or [use.name for use in found.uses])[:_NAMED])
    more = " and more" if len(dangerous or found.uses) > _NAMED else ""
    message = f"a further pickle stands {where} at byte {found.at}, where torch.load does not read it; {describes}"
    if names:
        message += f" and names {names}{more}"
    return Note("error" if dangerous else "warning", "extra-pickle", None, message)


def refuse_archive(source: Bytes, at: int, what: str) -> None:
    """Raise Damaged if a zip archive begins at `at`, behind what torch reads: other programs would read that one."""
    if source.read_at(at, min(4, source.size - at)) == b"PK\3\4":
        raise Damaged(
            f"{what} is followed by a zip archive at byte {at}, so the file is two things at once and programs "
            "disagree about it; do not load it",
            code="polyglot",
        )
