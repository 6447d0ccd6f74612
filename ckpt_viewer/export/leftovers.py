"""Temporary files, and what is left of them where a process was killed or the power failed.

A temporary file is locked as long as whoever writes it lives. So one of ours, by owner and by its name, whose lock is
free is a leftover: nobody will ever finish it, and it can be removed. Where there are no such locks (Windows, some
network file systems) nothing is called a leftover.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import fcntl

SUFFIX = ".ckpt-viewer.part"
_NAME = re.compile(r"\..{1,40}\.[0-9a-f]{16}" + re.escape(SUFFIX))
_OPEN = os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


TRIES = 3
"""Names that are tried: more than one of them is taken for a leftover once in a lifetime."""


class Leftover(NamedTuple):
    """An unfinished file, or folder of files, that nobody is working on.

    Attributes:
        path: where it is. nbytes: its length. identity: (device, inode).
    """

    path: Path
    nbytes: int
    identity: tuple[int, int]


def temporary_name(target: Path) -> Path:
    """Return a new random name beside a target."""
    # 40 characters of the name are at most 160 bytes: with the rest still a name that every file system takes
    return target.with_name(f".{target.name[:40]}.{os.urandom(8).hex()}{SUFFIX}")


def create_locked(name: Callable[[], Path], mode: int) -> tuple[Path, int]:
    """Create a file under a name that is free, and lock it; return path and descriptor. Raises OSError."""
    for _ in range(TRIES):
        path = name()
        fd = os.open(path, os.O_WRONLY | _OPEN | _NOFOLLOW, mode)
        try:
            _lock(fd, wait=True)
            if _is_at(path, os.fstat(fd)):
                break
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        os.close(fd)  # somebody took it for a leftover before it was locked
    return path, fd


def lock_folder(folder: Path) -> int:
    """Open a new folder and lock it; return the descriptor, -1 where folders cannot be opened. Raises OSError."""
    if sys.platform == "win32":
        return -1
    fd = os.open(folder, os.O_RDONLY | _NOFOLLOW)
    _lock(fd)
    return fd


def _is_at(path: Path, status: os.stat_result) -> bool:
    """Whether what was opened still has its name."""
    try:
        return os.path.samestat(os.lstat(path), status)
    except OSError:
        return False


def _lock(fd: int, *, wait: bool = False) -> bool:
    """Lock an open file; return whether that is possible and nobody else has."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # somebody has, or there are no locks here
        return False
    return True


def find_leftovers(folder: Path) -> list[Leftover]:
    """Return the leftovers in a folder, largest first; none where it cannot be read."""
    found = []
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return []
    for name in names:
        leftover = _look(folder / name, remove=False)
        if leftover is not None:
            found.append(leftover)
    return sorted(found, key=lambda each: -each.nbytes)


def remove_leftovers(leftovers: list[Leftover]) -> list[Leftover]:
    """Remove leftovers that still are some; return those that were."""
    return [each for each in leftovers if _look(each.path, remove=True, identity=each.identity) is not None]


def _look(path: Path, *, remove: bool, identity: tuple[int, int] | None = None) -> Leftover | None:
    """Return what is at a path if it is a leftover, and `identity` if one is given; remove it if asked to."""
    fd = _open(path)
    if sys.platform == "win32" or fd is None:
        return None
    try:
        status = os.fstat(fd)
        here = status.st_dev, status.st_ino
        kind = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if not kind or status.st_uid != os.geteuid() or (identity or here) != here or not _lock(fd):
            return None
        if remove and not _remove(path, status):
            return None
        return Leftover(path, _nbytes(path, status), here)
    finally:
        os.close(fd)


def _open(path: Path) -> int | None:
    """Open a file or folder, no link; None where that cannot be."""
    for flags in (os.O_RDWR, os.O_RDONLY):  # network file systems lock only what may be written; folders never may
        try:
            return os.open(path, flags | _NOFOLLOW)
        except IsADirectoryError:
            continue
        except OSError:  # gone, a link, not ours
            return None
    return None


def _remove(path: Path, status: os.stat_result) -> bool:
    """Remove what was opened and locked, unless another thing has its name by now."""
    try:
        if not _is_at(path, status):
            return False
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def _nbytes(path: Path, status: os.stat_result) -> int:
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    try:
        return sum(each.lstat().st_size for each in path.iterdir())
    except OSError:
        return 0
