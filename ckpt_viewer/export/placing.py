"""The last steps of a new file: its permissions, its way to the disk, its name.

Network file systems lack some of the calls. What is only a precaution is left out there, and a note says so.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from ckpt_viewer.export.part_names import temporary_name

UNABLE = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EBADF}
)
"""How file systems say that they do not have a call. EPERM is Linux's word for hard links and modes on FAT."""
RACY = (
    "this file system has no call that refuses to replace a file, so one that another program made there in the last "
    "moment would have been lost"
)
UNSYNCED = "this file system does not say when a file has reached its disk"
FOLDER_UNSYNCED = "this file system does not say when a name has reached its disk"
MODELESS = "the permissions of the file could not be set; it may be readable by you alone"
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_RENAME_EXCL = 4
"""Of macOS's renamex_np."""


def settle(fd: int, mode: int, owner: tuple[int, int] | None) -> list[str]:
    """Give an open file its final permissions, and force it to the disk; return notes.

    On FAT and the like, where the mount decides who may read, it is no loss that permissions cannot be set.

    Args:
        mode: permission bits. owner: user and group of the file that it replaces, which it gets where we may.

    Raises:
        OSError: the disk failed.
    """
    notes: list[str] = []
    if owner is not None and hasattr(os, "fchown"):
        try:
            os.fchown(fd, *owner)
        except OSError:  # only the superuser gives files away; then it is ours, as a new file would be
            mode &= ~(stat.S_ISUID | stat.S_ISGID)
    if hasattr(os, "fchmod") and not _able(lambda: os.fchmod(fd, mode)) and mode & ~os.fstat(fd).st_mode:
        notes.append(MODELESS)
    if not _able(lambda: os.fsync(fd)):
        notes.append(UNSYNCED)
    return notes


def _able(call: Callable[[], object]) -> bool:
    """Return whether the file system has a call; raises OSError where it has, and that fails."""
    try:
        call()
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        return False
    return True


def put_in_place(temporary: Path, target: Path, *, force: bool, keep: bool = False) -> list[str]:
    """Give a file, or a folder, its name; return notes.

    Args:
        force: replace what is there.
        keep: leave it the temporary name too, where nothing is replaced and the file system has hard links.

    Raises:
        FileExistsError: there is something and no `force`. OSError.
    """
    if keep and not (force and os.path.lexists(target)) and _link_if_free(temporary, target):
        return []
    if force:
        temporary.replace(target)
        return []
    if os.name == "nt":
        temporary.rename(target)  # refuses, there
        return []
    if _rename_if_free(temporary, target):
        return []
    if _link_if_free(temporary, target):
        temporary.unlink()
        return []
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    temporary.replace(target)
    return [RACY]


def _rename_if_free(temporary: Path, target: Path) -> bool:
    """Rename by a call that does not replace; False where there is none. Raises FileExistsError, OSError."""
    call = _renamer()
    if call is None:
        return False
    number = call(os.fsencode(temporary), os.fsencode(target))
    if number == 0:
        return True
    if number in UNABLE:
        return False
    raise OSError(number, os.strerror(number))


def _link_if_free(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target)  # unlike a rename it fails where there is something already
    except FileExistsError:
        raise
    except (OSError, NotImplementedError, AttributeError):  # a file system without hard links; folders have none
        return False
    return True


def has_hard_links(temporary: Path) -> bool:
    """Whether a temporary file can have a second name; it has one for a moment."""
    second = temporary_name(temporary)
    try:
        os.link(temporary, second)
    except (OSError, NotImplementedError, AttributeError):
        return False
    second.unlink()
    return True


@cache
def _renamer() -> Callable[[bytes, bytes], int] | None:
    """Return what renames without replacing, 0 or an errno its answer; None where the system has no such call."""
    library = _library()
    name = {"linux": "renameat2", "darwin": "renamex_np"}.get(sys.platform)
    call = getattr(library, name, None) if name else None
    if call is None:
        return None
    import ctypes

    def rename(temporary: bytes, target: bytes) -> int:
        if name == "renameat2":
            failed = call(_AT_FDCWD, temporary, _AT_FDCWD, target, ctypes.c_uint(_RENAME_NOREPLACE))
        else:
            failed = call(temporary, target, ctypes.c_uint(_RENAME_EXCL))
        return ctypes.get_errno() if failed else 0

    return rename


@cache
def _library() -> Any:
    """Return the C library; None where it cannot be had."""
    import ctypes

    try:
        return ctypes.CDLL(None, use_errno=True)
    except (OSError, TypeError):
        return None


def sync_folder(folder: Path) -> list[str]:
    """Force the names in a folder to the disk; return notes. What is in place stays so whatever comes of it."""
    if os.name == "nt":  # folders cannot be opened there
        return []
    try:
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError:
        return [FOLDER_UNSYNCED]
    return []


def final_mode(target: Path) -> int:
    """The mode that a plain save would leave: that of the file replaced, else what the umask allows."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        return 0o666 & ~umask()


def owner_of(target: Path) -> tuple[int, int] | None:
    """Return user and group of the file that is replaced, where they are not ours; None if there is no such file."""
    try:
        status = target.stat()
    except OSError:
        return None
    ours = hasattr(os, "geteuid") and (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    return None if ours else (status.st_uid, status.st_gid)


def umask() -> int:
    """Return the bits that new files do not get."""
    try:  # asking os.umask means setting it for a moment, for all threads
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def start_writing_back(fd: int, offset: int, nbytes: int) -> None:
    """Ask Linux to begin writing a range to the disk, without waiting; elsewhere, or where it cannot, do nothing."""
    call = _sync_file_range()
    if call is not None:
        call(fd, offset, nbytes, _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    call = getattr(_library(), "sync_file_range", None)
    if call is None:  # not in this C library: it only makes things faster
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast("Callable[[int, int, int, int], int]", call)
