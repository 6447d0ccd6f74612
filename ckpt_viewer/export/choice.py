"""What a user may ask of an export, as one frozen value: the command line and the window make the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ckpt_viewer.errors import CannotExport

AUTO = "auto"
"""As `Choice.strip_prefix`: whatever wrappers put before the names of all tensors."""


class Choice(NamedTuple):
    """What is exported, and how.

    Attributes:
        sources: JSON Pointers of models, other containers or tensors; the only model without.
        include, exclude: globs over the names in the file; a name goes if one of `include` (if any) and none of
            `exclude` matches it, or what it lies below.
        buffers: whether buffers go, as a state_dict has them.
        strip_prefix: None keeps the names, `AUTO` takes off what wrappers put before all, else this prefix goes.
        rename: (old, new) in the order in which they are applied; see `naming`.
        dtype: what floating-point tensors become; ``""`` leaves them as they are.
        format: name of the writer. max_shard_size: bytes of one file, 0 for no limit.
    """

    sources: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    buffers: bool = True
    strip_prefix: str | None = None
    rename: tuple[tuple[str, str], ...] = ()
    dtype: str = ""
    format: str = "pth"
    max_shard_size: int = 0


DEFAULT = Choice()


def format_of(file_name: str) -> str:
    """Return the format that a file name's suffix asks for; pth where it asks for none."""
    from ckpt_viewer.export.writers import WRITERS, writer_for

    return (writer_for(file_name) or WRITERS[0]).name


def parse_renames(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the rules that texts like ``OLD=NEW`` are; raises CannotExport."""
    found = []
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals:
            raise CannotExport(f"{text!r} is no rename rule; write OLD=NEW")
        found.append((old.strip(), new.strip()))
    return tuple(found)


def parse_patterns(text: str) -> tuple[str, ...]:
    """Return the patterns in a line, with spaces between them; one with a space in it stands in quotes.

    Raises:
        CannotExport: a quote is not closed.
    """
    import shlex

    words = shlex.shlex(text, posix=True)
    words.whitespace_split, words.commenters, words.escape = True, "", ""
    try:
        return tuple(words)
    except ValueError as error:
        raise CannotExport(f"a quote in {text!r} is not closed; close it, or leave out both") from error


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes of ``5GB``, ``500 MB``, ``1.5GiB`` or ``4096``; 0 for ``""``. Raises CannotExport."""
    if not text.strip():
        return 0
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** " kmgt".index(match[2].lower() or " ")) if match else 0
    if size <= 0 or size > 1 << 62:
        raise CannotExport(f"{text!r} is no size of a file; write it as 5GB or 500MB")
    return size
