"""What a reader noticed about a file, and the names that its pickle refers to."""

from __future__ import annotations

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
    """A name that the pickle refers to.

    Attributes:
        name: ``module.name`` as in the file, Python 2 names translated.
        status: ``known`` (we know what it describes), ``unknown`` or ``dangerous``.
    """

    name: str
    status: str
