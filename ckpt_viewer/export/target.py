"""Where a file may be written: what is refused before a byte is written, and what the system refuses, as sentences."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.errors import CannotExport, TargetExists, WriteFailed
from ckpt_viewer.formats.shard_names import is_index_name
from ckpt_viewer.sources import same_file

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint

Read: TypeAlias = "str | Sequence[str]"
"""The path of the file that is read, or of several; ``""`` for none."""

SLACK = 1 << 16
"""Bytes of free space to leave: the file system itself needs some for names and block lists."""


def files_read(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the paths of all files that a checkpoint is read from, none of which may be replaced by a part of it."""
    path, names = Path(checkpoint.path), [*checkpoint.contents.files]
    folder = path if path.is_dir() else path.parent
    if checkpoint.format == "sharded":  # what was opened may be a shard; the set is nothing without its index
        with suppress(OSError):
            names += (each.name for each in folder.iterdir() if is_index_name(each.name))
    return (checkpoint.path, *(str(folder / name) for name in names))


def resolved(target: Path) -> Path:
    """Return where a target really lies: a link is followed, once and to its end.

    What the link leads to later does not matter then, and the file replaced is the one that was compared with the
    source. The link itself stays.
    """
    try:
        return Path(os.path.realpath(target)) if target.is_symlink() else target
    except (OSError, ValueError):  # `check_target` says what is wrong
        return target


def check_target(target: Path, *, force: bool, source: Read = "") -> None:
    """Refuse a target that must not be written.

    Args:
        force: an existing regular file may be replaced.
        source: the file being read, or all of them, which are never replaced.

    Raises:
        CannotExport: the target is a source, also by another name or through a link.
        TargetExists: there is a file and no `force`, or something that is no regular file.
        WriteFailed: its folder is missing.
    """
    if isinstance(source, str):
        source = (source,) if source else ()
    which = next((number for number, each in enumerate(source) if same_file(target, each)), None)
    if which is not None:
        what = "one of the files that are read" if which else "the very file that is read"
        raise CannotExport(f"the target is {what}; choose another name")
    try:
        status = os.lstat(target)
        if stat.S_ISLNK(status.st_mode):
            with suppress(FileNotFoundError):  # a link that leads to nothing yet is like a file that is there
                status = target.stat()
    except FileNotFoundError as error:
        if not target.parent.is_dir():
            raise WriteFailed(f"there is no folder {str(target.parent)!r}; make it or choose another one") from error
        return
    except (OSError, ValueError) as error:
        raise write_failed(error, target.parent) from error
    if stat.S_ISDIR(status.st_mode):
        raise TargetExists(f"{str(target)!r} is a folder; give the name of a file")
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
        raise TargetExists(f"{str(target)!r} is no regular file and is not replaced; choose another name")
    if not force:
        raise target_exists(target)


def check_space(folder: Path, nbytes: int) -> None:
    """Raise WriteFailed if `nbytes` more do not fit into `folder`; says how many are missing."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise write_failed(error, folder) from error
    needed = nbytes + SLACK
    missing = needed - free
    if missing > 0:
        raise WriteFailed(
            f"{str(folder)!r} has too little space: {bytes_text(needed)} are needed and {bytes_text(missing)} are "
            "missing; free some or choose another folder"
        )


def write_failed(error: OSError | ValueError, folder: Path) -> WriteFailed:
    """Return the sentence for what the operating system refused."""
    where = repr(str(folder))
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return WriteFailed(f"the disk of {where} is full; free some space or choose another folder")
    if number == getattr(errno, "EDQUOT", None):
        return WriteFailed(
            f"what you may store in {where} (your quota) is used up; delete some or choose another folder"
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return WriteFailed(
            "more files than may be open at once; raise that limit (ulimit -n), or write fewer at a time"
        )
    if number == errno.EFBIG:
        return WriteFailed(f"a file of this size is not allowed in {where}; raise the limit or choose another folder")
    if number in (errno.EACCES, errno.EPERM):
        return WriteFailed(f"you are not allowed to write into {where}; choose another folder")
    if number == errno.EROFS:
        return WriteFailed(f"{where} is read-only; choose another folder")
    if number == errno.ENOENT:
        return WriteFailed(f"there is no folder {where}; make it or choose another one")
    if number == errno.ELOOP:
        return WriteFailed("the target is a link that leads in a circle; choose another name")
    if number == errno.ENAMETOOLONG:
        return WriteFailed("the name of the target is too long; choose a shorter one")
    if number is None:
        return WriteFailed("the target is no usable file name; choose another one")
    return WriteFailed(f"writing into {where} failed ({os.strerror(number)}); check the disk")


def target_exists(target: Path) -> TargetExists:
    """Return the error for a file that is there already."""
    return TargetExists(f"{str(target)!r} exists already; choose another name, or allow replacing it (--force)")
