"""What was written, in words: the same for the command line and the window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ckpt_viewer.core.text import bytes_text

if TYPE_CHECKING:
    from ckpt_viewer.export.plan import Written


def count_text(tensors: int, number: Callable[[int], str] = str) -> str:
    """Return ``1 tensor``, ``44 tensors``; `number` writes the digits."""
    return f"{number(tensors)} tensor{'' if tensors == 1 else 's'}"


def amount_text(written: Written, number: Callable[[int], str] = str) -> str:
    """Return how much was written and who compared it with the source: the end of a sentence."""
    checked = f"verified by {written.verified}" if written.verified else "not verified"
    if written.unproven:
        checked += f"; torch did not check because {written.unproven}"
    if written.carried:
        checked += f"; {carried_text(written, number)}"
    several = f" in {written.files} files" if written.files > 1 else ""
    return f"{bytes_text(written.bytes)}{several}, {count_text(written.tensors, number)}, {checked}"


def carried_text(written: Written, number: Callable[[int], str] = str) -> str:
    """Return how many checksums nobody has compared."""
    some = f"{number(written.carried)} checksum{'' if written.carried == 1 else 's'}"
    return f"{some} of the source carried over unchecked"


def cast_texts(written: Written, number: Callable[[int], str] = str) -> Iterator[str]:
    """Yield what the cast did to values, as a sentence; nothing where nothing was cast."""
    if written.cast:
        counts = written.counts.values()
        overflow, underflow, nan = (number(sum(each[index] for each in counts)) for index in range(3))
        into = ", ".join(sorted(set(written.cast.values())))
        said = f"{overflow} overflowed to infinity, {underflow} underflowed to zero, {nan} NaN"
        yield f"cast {count_text(len(written.cast), number)} to {into}: of their values {said}"
