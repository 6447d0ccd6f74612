"""Files that are cut off or damaged: how much is missing, what is left, and whether they are still being written."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.lost import Losses
from ckpt_viewer.core.outline import build_outline
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CheckpointError, Truncated
from ckpt_viewer.formats.base import Format, Opened, Salvaged, Salvager

RECENT = 120
"""Seconds: a file that was written to so short a time ago may not be done."""
_ZEROS = 1024
"""Zeros at the end of a file that tell of space which was reserved and not filled."""


class _Count(NamedTuple):
    """Tensors of a broken file, each once: all, and those whose values are there."""

    tensors: int
    whole: int

    @property
    def text(self) -> str:
        """What can be salvaged, in words."""
        if not self.tensors:
            return "its structure, which holds no tensors"
        if not self.whole:
            return f"its structure, but none of its {self.tensors} tensors"
        return f"{self.whole} of its {self.tensors} tensors"


def rebuild(found: Format, source: Bytes, context: Context, error: CheckpointError, *, wanted: bool) -> Opened:
    """Return what is left of a file that could not be opened.

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
            left = found.salvage(source, context, verify=wanted)
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
    message = f"{problem}; this is what is left: {count.text}"
    return left.opened._replace(notes=(Note("warning", "salvaged", None, message), *left.opened.notes))


def advice(source: Bytes | None, usual: str = "copy or download it again") -> str:
    """Return what to do with a file that is not whole: wait, if it was written to a moment ago."""
    age = getattr(source, "age", None)
    if age is None or not -RECENT < age < RECENT:
        return usual
    return f"it was changed {max(0, round(age))} s ago and may still be being written, so wait and reload it (F5)"


def _count(left: Salvaged, context: Context) -> _Count:
    losses = Losses()
    tensors = {id(tensor): tensor for _, tensor in build_outline(left.opened.unpickled.value, context).tensors()}
    return _Count(len(tensors), sum(not losses.of(tensor) for tensor in tensors.values()))


def _problem(source: Bytes, left: Salvaged, error: CheckpointError) -> str:
    """Return what is wrong, without what to do."""
    if left.wanted is None:
        return str(error).partition(";")[0]
    size, about = source.size, "" if left.exact else "about "
    zeros = not source.read_at(max(0, size - _ZEROS), min(size, _ZEROS)).strip(b"\0")
    if zeros and not left.exact:
        return "the file is not complete: it ends in zeros where data should be, in space that was reserved for them"
    more = ", and its last bytes are zeros that may be no data" if zeros else ""
    missing = left.wanted - size
    return f"the file is cut off: {size} of {about}{left.wanted} bytes are there, {about}{missing} are missing{more}"


def _advice_of(error: CheckpointError) -> str:
    return str(error).partition("; ")[2] or "copy or download it again"


def _hopeless(source: Bytes, error: CheckpointError, cause: CheckpointError) -> str:
    """Return the sentence for a file of which nothing can be salvaged."""
    if isinstance(cause, Truncated) and cause is not error:
        cut = f"the file is cut off after {source.size} bytes, before its tensors, and it is unknown how many bytes are"
        return f"{cut} missing; {advice(source)}"
    problem, _, usual = str(error).partition("; ")
    return f"{problem}; {advice(source, usual or 'copy or download it again')}"
