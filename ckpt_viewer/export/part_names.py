"""Names of files that are being written, and of files that are being replaced.

The files of a set share a token, and each says in its name what it will be called: as a few digits, because a name that
is as long as can be has no room for itself and more.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".ckpt-viewer.part"
OLD = ".ckpt-viewer.old"
"""How the second name ends of a file that is being replaced."""
MOST = 255
"""Bytes that a name may have on nearly every file system."""
_PART = re.compile(r"\..{1,40}\.([0-9a-f]{16})" + re.escape(SUFFIX), re.DOTALL)
_MEMBER = re.compile(r"\..{1,21}\.([0-9a-f]{12})\.(shard|final)\.([0-9a-f]{16})" + re.escape(SUFFIX), re.DOTALL)
_LIST = re.compile(r"\..{1,21}\.[0-9a-f]{12}\.names\.([0-9a-f]{16})" + re.escape(SUFFIX), re.DOTALL)
_OLD = re.compile(r"\.(.+)\.([0-9a-f]{16})" + re.escape(OLD), re.DOTALL)


class Member(NamedTuple):
    """What the name says of a file that is one of a set.

    Attributes:
        token: of the set. mark: `mark_of` the name that it gets.
        final: whether it is the file that makes the others count, which is named last.
    """

    token: str
    mark: str
    final: bool


def new_token() -> str:
    """Return digits that no other writer has."""
    return os.urandom(8).hex()


def temporary_name(target: Path) -> Path:
    """Return a new random name beside a target."""
    # 40 characters of the name are at most 160 bytes: with the rest still a name that every file system takes
    return target.with_name(f".{target.name[:40]}.{new_token()}{SUFFIX}")


def member_name(target: Path, token: str, *, final: bool) -> Path:
    """Return the name beside a target of one file of a set; it is a temporary name like others."""
    kind = "final" if final else "shard"
    return target.with_name(f".{target.name[:21]}.{mark_of(target.name)}.{kind}.{token}{SUFFIX}")


def mark_of(name: str) -> str:
    """Return digits that stand for a name."""
    import hashlib  # for the few exports that need it

    return hashlib.blake2s(os.fsencode(name), digest_size=6).hexdigest()


def list_name(target: Path, token: str) -> Path:
    """Return the name beside the last file of a set of a list of those that come before it; a temporary name too."""
    return target.with_name(f".{target.name[:21]}.{mark_of(target.name)}.names.{token}{SUFFIX}")


def second_name(path: Path, token: str) -> Path:
    """Return how a file is called while it is replaced by the set of a token.

    Where that would be too long a name it keeps its own, in a folder that has a short one.
    """
    name = f".{path.name}.{token}{OLD}"
    if len(os.fsencode(name)) <= MOST:
        return path.with_name(name)
    return path.with_name(f".{mark_of(path.name)}.{token}{OLD}") / path.name


def token_of(name: str) -> str:
    """Return the token of a temporary name; ``""`` for another name."""
    match = _PART.fullmatch(name)
    return match[1] if match is not None else ""


def member_of(name: str) -> Member | None:
    """Return what a temporary name says of a file of a set; None for another name."""
    match = _MEMBER.fullmatch(name)
    return Member(match[3], match[1], match[2] == "final") if match is not None else None


def listed_by(name: str) -> str:
    """Return the token of the set whose files are listed in what has this name; ``""`` for another name."""
    match = _LIST.fullmatch(name)
    return match[1] if match is not None else ""


def replaced_of(name: str) -> tuple[str, str] | None:
    """Return the name of a file that was being replaced, and the token of what replaces it, of its second name."""
    match = _OLD.fullmatch(name)
    return (match[1], match[2]) if match is not None else None
