"""Files that are cut off or damaged: how much is missing, what is left, and whether they are still being written."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.lost import Losses
from ckpt_viewer.core.outline import build_outline
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import RELOAD, CheckpointError, Damaged, Truncated
from ckpt_viewer.formats.base import (
    SALVAGED,
    Format,
    Head,
    Inside,
    Opened,
    Salvaged,
    Salvager,
    open_found,
    was_salvaged,
)
from ckpt_viewer.sources import MemorySource

RECENT = 120
"""Seconds: a file that was written to so short a time ago may not be done."""
_ZEROS = 1024
"""Zeros at the end of a file that tell of space which was reserved and not filled."""


class _Count(NamedTuple):
    """Tensors of a broken file, each once: all, and those whose values are there; the rest as in `Salvaged`."""

    tensors: int
    whole: int
    nameless: bool
    open_end: bool

    @property
    def text(self) -> str:
        """What can be salvaged, in words."""
        if self.nameless:
            of = "1 storage" if self.whole == 1 else f"{self.whole} storages"
            return f"the bytes of {of}, without the names, dtypes and shapes of their tensors"
        if self.open_end:
            return self._before_end
        if not self.tensors:
            return "its structure, which holds no tensors"
        if not self.whole:
            return f"its structure, but none of its {self.tensors} tensors"
        return f"{self.whole} of its {self.tensors} tensors"

    @property
    def _before_end(self) -> str:
        """The same of a file that ends in what describes it, so that there were more."""
        one = self.tensors == 1
        there = "the one tensor that stands" if one else f"the {self.tensors} tensors that stand"
        if not self.tensors:
            return "the values that stand before its end"
        if not self.whole:
            name = "name and shape" if one else "names and shapes"
            return f"the {name} of {there} before its end, but not {'its' if one else 'their'} values"
        return f"{'' if self.whole == self.tensors else f'{self.whole} of '}{there} before its end"


def open_left(found: Format, head: Head, inside: Inside) -> Opened:
    """Open a part of a file or of a set, or what is left of it; raises CheckpointError."""
    try:
        return open_found(found, head, inside)
    except (Damaged, Truncated) as error:
        if not isinstance(found, Salvager):
            raise
        left = found.salvage(head.source, inside)
        return _noted(left, _problem(head.source, left, error), _count(left, inside.context))


def rebuild(
    found: Format, source: Bytes, context: Context, error: CheckpointError, *, wanted: bool
) -> tuple[str, Opened]:
    """Return the format of a file that could not be opened, and what is left of it.

    Args:
        error: why not. wanted: whether salvaging was asked for; if not, the error says what it would give.

    Raises:
        CheckpointError: `error` itself, with a message that says how much is missing and what could be salvaged.
        Cancelled: by `context`.
    """
    left: Salvaged | None = None
    cause: CheckpointError = error
    if isinstance(found, Salvager):
        try:
            left = found.salvage(source, Inside(context, verify=wanted))
        except CheckpointError as worse:
            cause = worse
    if left is None:
        error.args = (_hopeless(source, error, cause),)
        raise error
    count = _count(left, context)
    problem = _problem(source, left, error)
    if not wanted:
        error.args = (f"{problem}; {advice(source, _advice_of(error))}, or salvage {count.text} (--salvage)",)
        error.salvage = count.text
        raise error
    return left.format or found.name, _noted(left, problem, count)


def advice(source: Bytes | None, usual: str = "copy or download it again") -> str:
    """Return what to do with a file that is not whole: wait, if it was written to a moment ago."""
    age = getattr(source, "age", None)
    if age is None or not -RECENT < age < RECENT:
        return usual
    return f"it was changed {max(0, round(age))} s ago and may still be being written, so wait and {RELOAD}"


def without_end(opened: Opened, problem: str, source: Bytes, context: Context, *, wanted: bool) -> Opened:
    """Return what was read of a compressed file that ends too early, with a note that says so.

    Args:
        problem: what is wrong. wanted: as for `rebuild`.

    Raises:
        Truncated: salvaging was not asked for. Cancelled: by `context`.
    """
    left = Salvaged(opened, None)
    count = _count(left, context)
    if wanted:
        return opened if was_salvaged(opened) else _noted(left, problem, count)
    error = Truncated("the file", wanted=source.size + 1, found=source.size, offset=0)
    error.args = (f"{problem}; {advice(source)}, or salvage {count.text} (--salvage)",)
    error.salvage = count.text
    raise error


def cut_short(source: Bytes, what: str = "the file", wanted: int = 0) -> str:
    """Return the sentence for a file that ends before anything could be made of it.

    Args:
        what: it is called. wanted: bytes that it should have at the least, where something says so.
    """
    least, there = wanted - source.size, "1 byte" if source.size == 1 else f"{source.size} bytes"
    cut = f"{what} is cut off after {there}, within what describes its tensors"
    if least < 2:  # something is missing, and nothing says how much
        return f"{cut}, and it is unknown how many bytes are missing; {advice(source)}"
    return f"{cut}: at least {least} bytes are missing; {advice(source)}"


def _count(left: Salvaged, context: Context) -> _Count:
    losses = Losses()
    tensors = {id(tensor): tensor for _, tensor in build_outline(left.opened.unpickled.value, context).tensors()}
    return _Count(len(tensors), sum(not losses.of(tensor) for tensor in tensors.values()), left.nameless, left.open_end)


def _noted(left: Salvaged, problem: str, count: _Count) -> Opened:
    note = Note("warning", SALVAGED, None, f"{problem}; this is what is left: {count.text}")
    return left.opened._replace(notes=(note, *left.opened.notes))


def _problem(source: Bytes, left: Salvaged, error: CheckpointError) -> str:
    """Return what is wrong, without what to do."""
    if left.wanted is None:
        return str(error).partition(";")[0]
    size, about, what = source.size, left.about, _named(source)
    zeros = not left.padded and not source.read_at(max(0, size - _ZEROS), min(size, _ZEROS)).strip(b"\0")
    if zeros and about:
        return f"{what} is not complete: it ends in zeros where data should be, in space that was reserved for them"
    more = ", and its last bytes are zeros that may be no data" if zeros else ""
    missing = left.wanted - size
    are = "is" if missing == 1 else "are"
    return f"{what} is cut off: {size} of {about}{left.wanted} bytes are there, {about}{missing} {are} missing{more}"


def _advice_of(error: CheckpointError) -> str:
    return str(error).partition("; ")[2] or "copy or download it again"


def _hopeless(source: Bytes, error: CheckpointError, cause: CheckpointError) -> str:
    """Return the sentence for a file of which nothing can be salvaged."""
    if isinstance(cause, Truncated):
        return cut_short(source, _named(source), cause.offset + cause.wanted)
    problem, _, usual = str(error).partition("; ")
    return f"{problem}; {advice(source, usual or 'copy or download it again')}"


def _named(source: Bytes) -> str:
    """Return what a file is called: one that was unpacked into memory is the content of the file."""
    return source.name if isinstance(source, MemorySource) and " " in source.name else "the file"
