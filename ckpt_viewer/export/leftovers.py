"""Temporary files, and what is left of them where a process was killed or the power failed.

A temporary file is locked as long as whoever writes it lives. So one of ours, by owner and by its name, whose lock is
free is a leftover: nobody will ever finish it, and it can be removed. Where there are no such locks (Windows, some
network file systems) nothing is called a leftover.

What a set of files replaces has a second name meanwhile, with the token of the temporary file of the set's last file,
and a killed process leaves that too. The last of the old files, which makes the others count, is taken away first:
where it is not there, the set was not finished, and removing leftovers means that all of the old files come back.
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

from ckpt_viewer.core.text import bytes_text

if sys.platform != "win32":
    import fcntl

SUFFIX = ".ckpt-viewer.part"
OLD = ".ckpt-viewer.old"
"""How the second name ends of a file that is being replaced."""
_NAME = re.compile(r"\..{1,40}\.([0-9a-f]{16})" + re.escape(SUFFIX))
_OLD_NAME = re.compile(r"\.(.+)\.([0-9a-f]{16})" + re.escape(OLD), re.DOTALL)
_OPEN = os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


TRIES = 3
"""Names that are tried: more than one of them is taken for a leftover once in a lifetime."""


class Leftover(NamedTuple):
    """An unfinished file, or folder of files, that nobody is working on; or a file that one was to replace.

    Attributes:
        path: where it is. nbytes: its length. identity: (device, inode).
        replaced: what a file was called that was to be replaced; None for an unfinished one.
    """

    path: Path
    nbytes: int
    identity: tuple[int, int]
    replaced: Path | None = None


def temporary_name(target: Path) -> Path:
    """Return a new random name beside a target."""
    # 40 characters of the name are at most 160 bytes: with the rest still a name that every file system takes
    return target.with_name(f".{target.name[:40]}.{os.urandom(8).hex()}{SUFFIX}")


def second_name(path: Path, temporary: Path) -> Path:
    """Return how a file is called while it is replaced by a set whose last file is written at `temporary`."""
    found = _NAME.fullmatch(temporary.name)
    assert found is not None
    return path.with_name(f".{path.name}.{found[1]}{OLD}")


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
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith((SUFFIX, OLD))]
    except OSError:
        return []
    found, busy = [], set[str]()
    for name in names:
        if match := _NAME.fullmatch(name):
            leftover = _look(folder / name, remove=False)
            if leftover is not None:
                found.append(leftover)
            else:
                busy.add(match[1])
    for name in names:
        match = _OLD_NAME.fullmatch(name)
        if match and match[2] not in busy:
            old = _look(folder / name, remove=False)
            if old is not None:
                found.append(old._replace(replaced=folder / match[1]))
    return sorted(found, key=lambda each: -each.nbytes)


def remove_leftovers(leftovers: list[Leftover]) -> list[Leftover]:
    """Remove leftovers that still are some, and put back what a set that was not finished was to replace.

    Returns:
        Those that are under their names no more.
    """
    done = []
    unfinished = {_token(each) for each in leftovers if each.replaced and not os.path.lexists(each.replaced)}
    for each in leftovers:
        if each.replaced is not None and _token(each) in unfinished:
            settled = _put_back(each)
        else:
            settled = _look(each.path, remove=True, identity=each.identity) is not None
        if settled:
            done.append(each)
    return done


def leftovers_text(leftovers: list[Leftover]) -> str:
    """Return what there is, as in ``2 unfinished files (5 GB), 1 file that a set was to replace``."""
    files = [each for each in leftovers if each.replaced is None]
    olds = len(leftovers) - len(files)
    texts = []
    if files or not olds:
        texts.append(f"{_files(len(files), 'unfinished ')} ({bytes_text(sum(each.nbytes for each in files))})")
    if olds:
        texts.append(f"{_files(olds)} that a set was to replace")
    return ", ".join(texts)


def _files(count: int, kind: str = "") -> str:
    return f"{count} {kind}file{'' if count == 1 else 's'}"


def _token(old: Leftover) -> str:
    match = _OLD_NAME.fullmatch(old.path.name)
    return match[2] if match is not None else ""


def _put_back(old: Leftover) -> bool:
    """Give a file its name again; return whether it has it."""
    assert old.replaced is not None
    if _look(old.path, remove=False, identity=old.identity) is None:
        return False
    try:
        old.path.replace(old.replaced)
        old.path.unlink(missing_ok=True)  # renaming one name of a file to another one of it does nothing
    except OSError:
        return False
    return True


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
