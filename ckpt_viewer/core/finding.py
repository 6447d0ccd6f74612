"""What a reader noticed about a file, and the names that its pickle refers to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ckpt_viewer.core.path import Path
from ckpt_viewer.core.value import Value


class Note(NamedTuple):
    """Something that a reader noticed about a value; becomes a `Finding` once the value's path is known.

    Attributes:
        severity: ``error``, ``warning`` or ``info``. code: stable, e.g. ``"trailing-bytes"``.
        value: what it is about; None for the file. message: one sentence.
    """

    severity: str
    code: str
    value: Value
    message: str


class Finding(NamedTuple):
    """Something about a file that its reader should know.

    Attributes:
        severity: ``error``, ``warning`` or ``info``. code: stable.
        path: the node it is about, ``()`` for the file. message: one sentence.
    """

    severity: str
    code: str
    path: Path
    message: str


class GlobalUse(NamedTuple):
    """A name that a pickle refers to.

    Attributes:
        name: ``module.name`` as in the file, Python 2 names translated.
        status: ``known`` (we know what it describes), ``unknown`` or ``dangerous``.
        allowed: whether ``torch.load(weights_only=True)`` lets the name through.
        calls: how often the pickle calls it; 0 for a name that is only mentioned, and for classes of storages.
        value: what its first call describes, or the name itself; finds its place in the tree.
        place: where it stands first: which pickle, and bytes from its start.
    """

    name: str
    status: str
    allowed: bool = False
    calls: int = 0
    value: Value = None
    place: str = ""


def merge_into(found: dict[str, GlobalUse], uses: Iterable[GlobalUse]) -> None:
    """Add names to those that were found before: each stays as it was first used, with the calls of all."""
    for use in uses:
        first = found.get(use.name)
        found[use.name] = use if first is None else first._replace(calls=first.calls + use.calls)


def merged(uses: Iterable[GlobalUse]) -> tuple[GlobalUse, ...]:
    """Return each name once; see `merge_into`."""
    found: dict[str, GlobalUse] = {}
    merge_into(found, uses)
    return tuple(found.values())
