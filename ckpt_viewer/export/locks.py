"""Locks on files that are being written: they last as long as the process that writes.

Where there are none (Windows, some network file systems) files are written without.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_OPEN = os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""How files are opened that nobody may have put a link in place of."""

TRIES = 3
"""Names that are tried: more than one of them is taken for a leftover once in a lifetime."""


def create_locked(name: Callable[[], Path], mode: int) -> tuple[Path, int]:
    """Create a file under a name that is free, and lock it; return path and descriptor. Raises OSError."""
    for _ in range(TRIES):
        path = name()
        fd = os.open(path, os.O_WRONLY | _OPEN | NOFOLLOW, mode)
        try:
            lock(fd, wait=True)
            if is_at(path, os.fstat(fd)):
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
    fd = os.open(folder, os.O_RDONLY | NOFOLLOW)
    lock(fd)
    return fd


def is_at(path: Path, status: os.stat_result) -> bool:
    """Whether what was opened still has its name."""
    return identity_at(path) == (status.st_dev, status.st_ino)


def identity_at(path: Path) -> tuple[int, int] | None:
    """Return (device, inode) of what has a name, no link followed; None if nothing has."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def lock(fd: int, *, wait: bool = False) -> bool:
    """Lock an open file; return whether that is possible and nobody else has."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # somebody has, or there are no locks here
        return False
    return True
