"""Where bytes come from: a local file, memory, a slice of another source.

Only positional reads: a mapped file that another program truncates would kill the process.
"""

from __future__ import annotations

import os
import stat
import time

from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import RELOAD, Lost, SourceChanged, Truncated, Unreadable

Identity = tuple[int, int, int, int, int]
"""Device, inode, bytes, mtime and ctime in ns."""

_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_ONE_READ = 1 << 30
"""Bytes that Linux gives in one call; it stops short of 2 GiB."""

MOST_ZEROS = 16 << 20
"""Zeros at the end of a file that are looked through."""
SMALL, WINDOW = 1 << 12, 1 << 16
"""Reads of at most `SMALL` bytes come from a window of `WINDOW` bytes."""


class FileSource:
    """A regular file on this computer, read by position.

    Attributes:
        name: the path as given. size: bytes when it was opened. readers: threads that may read at once.
        identity: (device, inode, size, mtime in ns, ctime in ns) when it was opened.

    Raises:
        Unreadable: it is missing, not permitted, or not a regular file.
    """

    readers = 2 if hasattr(os, "preadv") else 1

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        try:
            # O_NONBLOCK: opening a FIFO must not wait for a writer
            self._fd = os.open(path, os.O_RDONLY | _NONBLOCK | _BINARY | getattr(os, "O_CLOEXEC", 0))
        except (OSError, ValueError) as error:
            raise Unreadable(_open_problem(error)) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise Unreadable(f"this is {what}; give a checkpoint file")
        self._open, self._opened = True, time.time()
        self._window = (0, b"")
        self.size = status.st_size
        self.identity = identity_of(status)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises Truncated, SourceChanged or Unreadable."""
        if size < 0 or offset < 0 or offset + size > self.size:
            found = max(0, min(size, self.size - offset))
            raise Truncated("the file", wanted=size, found=found, offset=offset)
        if size <= SMALL:
            data = self._near(offset, size)
            self.check_unchanged()
            return data
        if hasattr(os, "pread") and size <= _ONE_READ:  # without a second copy, where the system gives all at once
            data = self._pread(offset, size)
            if len(data) == size:
                self.check_unchanged()
                return data
        buffer = bytearray(size)
        self._fill(offset, memoryview(buffer))
        return bytes(buffer)

    def _pread(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise Unreadable(f"reading failed at byte {offset} ({error.strerror}); check the disk") from error

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises as `read_at`."""
        if len(buffer) <= SMALL and 0 <= offset <= self.size - len(buffer):
            buffer[:] = self.read_at(offset, len(buffer))
        else:
            self._fill(offset, buffer)

    def copy_to(self, fd: int, offset: int, nbytes: int) -> int:
        """Append bytes from `offset` to the file behind `fd` where they need not be moved; return how many.

        Raises:
            OSError: there is no room in the other file. SourceChanged.
        """
        from ckpt_viewer.sources.handover import hand_over

        count = hand_over(self._fd, offset, fd, nbytes)
        self.check_unchanged()
        return count

    def _near(self, offset: int, size: int) -> bytes:
        """Return a few bytes from a window that is read at once: 100,000 small storages are next to each other."""
        start, window = self._window  # one attribute, so that threads see a pair that belongs together
        at = offset - start
        if at < 0 or at + size > len(window):
            buffer = bytearray(min(WINDOW, self.size - offset))
            self._fill(offset, memoryview(buffer))
            at, window = 0, bytes(buffer)
            self._window = offset, window
        return window[at : at + size]

    def _fill(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            try:
                count = self._read(buffer[done:], offset + done)
            except OSError as error:
                raise Unreadable(
                    f"reading failed at byte {offset + done} ({error.strerror}); check the disk"
                ) from error
            if count == 0:
                self.check_unchanged()
                raise Truncated("the file", wanted=len(buffer), found=done, offset=offset)
            done += count
        self.check_unchanged()

    def _read(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [buffer], offset)
        os.lseek(self._fd, offset, os.SEEK_SET)  # Windows: one thread reads a source at a time
        data = os.read(self._fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file was written to since it was opened; Unreadable after `close`."""
        try:
            status = os.fstat(self._fd)
        except OSError as error:
            raise Unreadable("the file is not open any more; open it again") from error
        if (status.st_size, status.st_mtime_ns) != (self.size, self.identity[3]):
            raise SourceChanged(f"the file was changed by another program while it was open; {RELOAD}")

    @property
    def age(self) -> float:
        """Seconds since the file was last written to, when it was opened."""
        return self._opened - self.identity[3] / 1e9

    def close(self) -> None:
        """Give the file back; reading afterwards raises Unreadable."""
        if self._open:
            self._open = False
            os.close(self._fd)
            self._fd = -1


def identity_of(status: os.stat_result) -> Identity:
    """Return what tells a file from others, and from what it is once it was written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _open_problem(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the path"
    if isinstance(error, PermissionError):
        return "you are not allowed to read this file; change its permissions"
    if isinstance(error, ValueError):
        return "this is no usable file name; check the path"
    return f"the file cannot be opened ({error.strerror}); check the path and the disk"


class MemorySource:
    """Bytes in memory; a bytearray is not copied, so it has to stay as it is.

    Attributes:
        backing: bytes of the file that they were made of, fewer where they were inflated. A budget goes by those.
    """

    def __init__(self, data: bytes | bytearray, name: str = "memory", backing: int | None = None) -> None:
        self.data, self.name, self.size = data, name, len(data)
        self.backing = len(data) if backing is None else min(backing, len(data))

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises Truncated."""
        data = self.data[offset : offset + size] if offset >= 0 and size >= 0 else b""
        if len(data) < size or size < 0:
            raise Truncated(self.name, wanted=size, found=len(data), offset=offset)
        return bytes(data)  # which is no copy where it is bytes already

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises Truncated."""
        buffer[:] = self.read_at(offset, len(buffer))


class SliceSource:
    """A part of another source."""

    def __init__(self, source: Bytes, offset: int, size: int, name: str | None = None) -> None:
        self.source, self.offset, self.size = source, offset, size
        self.name = name if name is not None else source.name

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset` of the slice; raises SourceError."""
        self._check(offset, size)
        return self.source.read_at(self.offset + offset, size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset` of the slice; raises SourceError."""
        self._check(offset, len(buffer))
        self.source.read_into(self.offset + offset, buffer)

    def copy_to(self, fd: int, offset: int, nbytes: int) -> int:
        """Hand bytes over, see `FileSource.copy_to`; 0 also where the source knows nothing of that."""
        self._check(offset, nbytes)
        give = getattr(self.source, "copy_to", None)
        return give(fd, self.offset + offset, nbytes) if give is not None else 0

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise Truncated(self.name, wanted=size, found=max(0, min(size, self.size - offset)), offset=offset)


def backing(source: Bytes) -> int:
    """Return the bytes of a file that stand behind a source: what is not in the file justifies no cost."""
    return source.backing if isinstance(source, MemorySource) else source.size


class CutSource:
    """A source of which only the beginning can be trusted.

    Attributes:
        whole: the source. trusted: bytes from its start that may be read. problem: why not more, a sentence.
    """

    def __init__(self, whole: Bytes, trusted: int, problem: str) -> None:
        self.whole, self.trusted, self.problem = whole, trusted, problem
        self.name = whole.name

    @property
    def size(self) -> int:
        """Bytes that may be read."""
        return self.trusted

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises Lost behind what is trusted, else as the source."""
        self._check(offset, size)
        return self.whole.read_at(offset, size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises as `read_at`."""
        self._check(offset, len(buffer))
        self.whole.read_into(offset, buffer)

    def _check(self, offset: int, size: int) -> None:
        if offset + size > self.trusted:
            raise Lost(self.problem)


def written_end(source: Bytes, start: int) -> int:
    """Return where the last byte behind `start` that is not zero ends: zeros at the end of a file may not be data.

    `start` itself where there are only zeros, or more than `MOST_ZEROS` of them.
    """
    end, least = source.size, max(start, source.size - MOST_ZEROS)
    while end > least:
        begin = max(least, end - (1 << 20))
        left = len(source.read_at(begin, end - begin).rstrip(b"\0"))
        if left:
            return begin + left
        end = begin
    return start


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, also through links; False if either is missing."""
    try:
        return os.path.samefile(a, b)  # noqa: PTH121  pathlib would cost every start 7 ms
    except (OSError, ValueError):
        return False
