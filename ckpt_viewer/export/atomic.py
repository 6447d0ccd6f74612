"""Files that appear whole or not at all.

A file is written under a random name in the target's own folder, forced to the disk, and only then given its name.
Without `force` that last step is one that cannot overwrite, so a file that somebody else made meanwhile is safe too.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import cast

from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.errors import CannotExport, TargetExists, WriteFailed
from ckpt_viewer.sources import same_file

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

SMALL, GATHER = 1 << 16, 1 << 20
"""Writes below `SMALL` bytes are gathered until there are `GATHER`: a checkpoint may have 100,000 tiny records."""

SLACK = 1 << 16
"""Bytes of free space to leave: the file system itself needs some for names and block lists."""


WRITE_BACK = 32 << 20
"""Bytes after which the disk is told to start, so that it is not idle until the final fsync."""


class AtomicFile:
    """A file being written. As a context manager: leaving normally puts it in place, an exception removes it.

    What has been written and flushed can be read back; in that it is like the sources that formats read.

    Attributes:
        target: where it will appear. temporary: its path until then. position: bytes written so far.
        name: for messages.

    Raises:
        TargetExists, WriteFailed, CannotExport: see `check_target`; WriteFailed also from `write` and on leaving.
    """

    def __init__(
        self, target: str | os.PathLike[str], *, force: bool = False, source: str = "", nbytes: int = 0
    ) -> None:
        self.target, self.force, self.source, self.nbytes = Path(target), force, source, nbytes
        self.temporary, self.name = self.target, str(target)
        self.position = 0
        self._fd = self._read_fd = -1
        self._gathered = bytearray()
        self._written = self._started = 0

    def __enter__(self) -> AtomicFile:
        check_target(self.target, force=self.force, source=self.source)
        check_space(self.target.parent, self.nbytes)
        self._mode = _final_mode(self.target)
        # 40 characters of the name are at most 160 bytes: with the rest still a name that every file system takes
        self.temporary = self.target.with_name(f".{self.target.name[:40]}.{os.urandom(8).hex()}.part")
        try:
            self._fd = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        except OSError as error:
            raise write_failed(error, self.target.parent) from error
        return self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`."""
        self.position += len(data)
        if len(data) < SMALL:
            self._gathered += data
            if len(self._gathered) < GATHER:
                return
            data = b""
        self.flush()
        self._write(data)

    def flush(self) -> None:
        """Hand what was gathered to the operating system, so that others can read it."""
        gathered, self._gathered = self._gathered, bytearray()
        self._write(gathered)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.position

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset` of what was flushed; raises WriteFailed."""
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset` of what was flushed; raises WriteFailed, also where that ends first."""
        done = 0
        try:
            if self._read_fd < 0:  # of its own, so that reading does not move where writing goes on
                self._read_fd = os.open(self.temporary, os.O_RDONLY | _FLAGS)
            while done < len(buffer):
                count = self._read(buffer[done:], offset + done)
                if count == 0:
                    raise WriteFailed("what was just written cannot be read back; check the disk")
                done += count
        except OSError as error:
            raise write_failed(error, self.target.parent) from error

    def _read(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._read_fd, [buffer], offset)
        os.lseek(self._read_fd, offset, os.SEEK_SET)
        data = os.read(self._read_fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += os.write(self._fd, view[done:])
        except OSError as error:
            raise write_failed(error, self.target.parent) from error
        self._written += done
        if self._written - self._started >= WRITE_BACK:
            start_writing_back(self._fd, self._started, self._written - self._started)
            self._started = self._written

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._discard()

    def _commit(self) -> None:
        self.flush()
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(self._fd, self._mode)
            os.fsync(self._fd)
            self._close()
            check_target(self.target, force=self.force, source=self.source)
            _put_in_place(self.temporary, self.target, force=self.force)
            _sync_folder(self.target.parent)
        except FileExistsError as error:
            raise _target_exists(self.target) from error
        except OSError as error:
            raise write_failed(error, self.target.parent) from error

    def _discard(self) -> None:
        """Remove what is left of the temporary file: nothing after a success."""
        self._close()
        if self.temporary != self.target:
            self.temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        for fd in {self._fd, self._read_fd} - {-1}:
            os.close(fd)
        self._fd = self._read_fd = -1


def check_target(target: Path, *, force: bool, source: str = "") -> None:
    """Refuse a target that must not be written.

    Args:
        force: an existing regular file may be replaced.
        source: the file being read, which is never replaced.

    Raises:
        CannotExport: the target is the source, also by another name or through a link.
        TargetExists: there is a file and no `force`, or something that is no regular file.
        WriteFailed: its folder is missing.
    """
    if source and same_file(target, source):
        raise CannotExport("the target is the very file that is read; choose another name")
    try:
        status = os.lstat(target)
        if stat.S_ISLNK(status.st_mode) and target.exists():
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
        raise _target_exists(target)


def check_space(folder: Path, nbytes: int) -> None:
    """Raise WriteFailed if `nbytes` more do not fit into `folder`; says how many are missing."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise write_failed(error, folder) from error
    missing = nbytes + SLACK - free
    if missing > 0:
        raise WriteFailed(
            f"{str(folder)!r} has too little space: {bytes_text(nbytes)} are needed and {bytes_text(missing)} are "
            "missing; free some or choose another folder"
        )


def write_failed(error: OSError | ValueError, folder: Path) -> WriteFailed:
    """Return the sentence for what the operating system refused."""
    where = repr(str(folder))
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return WriteFailed(f"the disk of {where} is full; free some space or choose another folder")
    if number == errno.EFBIG:
        return WriteFailed(f"a file of this size is not allowed in {where}; raise the limit or choose another folder")
    if number in (errno.EACCES, errno.EPERM):
        return WriteFailed(f"you are not allowed to write into {where}; choose another folder")
    if number == errno.EROFS:
        return WriteFailed(f"{where} is read-only; choose another folder")
    if number == errno.ENAMETOOLONG:
        return WriteFailed("the name of the target is too long; choose a shorter one")
    if number is None:
        return WriteFailed("the target is no usable file name; choose another one")
    return WriteFailed(f"writing into {where} failed ({os.strerror(number)}); check the disk")


def _target_exists(target: Path) -> TargetExists:
    return TargetExists(f"{str(target)!r} exists already; choose another name, or allow replacing it (--force)")


def _put_in_place(temporary: Path, target: Path, *, force: bool) -> None:
    if force:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)  # unlike a rename it fails where there is something already
    except FileExistsError:
        raise
    except (OSError, NotImplementedError, AttributeError):  # a file system without hard links
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # the name is ours from here on
        try:
            temporary.replace(target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(fd)


def _final_mode(target: Path) -> int:
    """The mode that a plain save would leave: that of the file replaced, else what the umask allows."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        return 0o666 & ~_umask()


def _umask() -> int:
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

    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):  # not in this C library: it only makes things faster
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast("Callable[[int, int, int, int], int]", call)
