"""Values and numbers as text, short for a row and in full for the clipboard. No Qt."""

from __future__ import annotations

from collections.abc import Callable

from ckpt_viewer.core.expand import SCALARS
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.tensor import StorageSpec
from ckpt_viewer.core.text import bytes_text, escape_text, grouped, shorten
from ckpt_viewer.core.value import Mapping, Sequence, Value
from ckpt_viewer.gui.tree.names import TEXT_LIMIT

LISTED = 8
"""Members of a list whose members are shown in its own row."""


def amount_text(number: int, text: Callable[[int], str]) -> str:
    """Return the text of a number; of one that no real tensor has (and that Python may refuse to print) its size."""
    return text(number) if number.bit_length() <= 64 else f"10^{int(number.bit_length() * 0.30103)}"


def is_short(value: Value) -> bool:
    """Whether a container is small and plain enough to stand in its own row: betas, milestones."""
    items = value.items if isinstance(value, Sequence) else value
    if not isinstance(items, list | tuple) or not 0 < len(items) <= LISTED:
        return False
    return all(type(item) in SCALARS and not isinstance(item, StorageSpec) for item in items)


def value_text(value: Value, limit: int) -> str:
    """Return a scalar (or a short list of them) as Python writes it, escaped and cut."""
    if isinstance(value, StorageSpec):
        return f"storage {escape_text(value.unique_key)}, {bytes_text(value.nbytes)}"
    if isinstance(value, Mapping):
        return ""
    text = shorten(escape_text(python_repr(value)), limit)
    if isinstance(value, str | bytes) and len(value) > limit:
        return f"{text}  ({grouped(len(value))} {'characters' if isinstance(value, str) else 'bytes'})"
    return text


def full_text(value: Value) -> str:
    """Return a scalar in full, as Python writes it."""
    if isinstance(value, str | bytes | float | complex):
        return repr(value)
    return value_text(value, TEXT_LIMIT)
