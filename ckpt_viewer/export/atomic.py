"""Files that appear whole or not at all.

A file is written under a random name in the target's own folder, forced to the disk, and only then given its name.
Without `force` that last step is one that cannot overwrite, so a file that somebody else made meanwhile is safe too.
While it is written it is locked: what is left of a killed process is not, see `leftovers`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export.locks import create_locked
from ckpt_viewer.export.part_names import temporary_name
from ckpt_viewer.export.placing import (
    final_mode,
    owner_of,
    put_in_place,
    settle,
    start_writing_back,
    sync_folder,
)
from ckpt_viewer.export.target import Read, check_space, check_target, resolved, target_exists, write_failed

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

SMALL, GATHER = 1 << 16, 1 << 20
"""Writes below `SMALL` bytes are gathered until there are `GATHER`: a checkpoint may have 100,000 tiny records."""

WRITE_BACK = 32 << 20
"""Bytes after which the disk is told to start, so that it is not idle until the final fsync."""


class AtomicFile:
    """A file being written. As a context manager: leaving normally puts it in place, an exception removes it.

    What has been written and flushed can be read back; in that it is like the sources that formats read.

    Attributes:
        target: where it will appear; once it is entered, with a link resolved. temporary: its path until then.
        position: bytes written so far. name: for messages.
        notes: once it is there, what its file system could not do, a sentence each.

    Raises:
        TargetExists, WriteFailed, CannotExport: see `check_target`; WriteFailed also from `write` and on leaving.
    """

    _keep = False
    """Whether it keeps its temporary name beside the final one until it is discarded."""

    def __init__(
        self, target: str | os.PathLike[str], *, force: bool = False, source: Read = "", nbytes: int = 0
    ) -> None:
        self.target, self.force, self.source, self.nbytes = Path(target), force, source, nbytes
        self.temporary, self.name = self.target, str(target)
        self.position = 0
        self._fd = self._read_fd = -1
        self._gathered = bytearray()
        self._written = self._started = 0
        self.notes: list[str] = []

    def __enter__(self) -> AtomicFile:
        check_target(self.target, force=self.force, source=self.source)
        self.target = resolved(self.target)
        check_space(self.target.parent, self.nbytes)
        self._mode, self._owner = final_mode(self.target), owner_of(self.target)
        try:
            self.temporary, self._fd = create_locked(self._temporary_name, 0o600)
        except OSError as error:
            raise write_failed(error, self.target.parent) from error
        return self

    def _temporary_name(self) -> Path:
        return temporary_name(self.target)

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
        self._count(done)

    def take(self, give: Callable[[int, int, int], int], offset: int, nbytes: int) -> int:
        """Append what `give` copies from `offset` of a source into our descriptor; return how many bytes that were."""
        self.flush()
        try:
            count = give(self._fd, offset, nbytes)
        except OSError as error:
            raise write_failed(error, self.target.parent) from error
        self.position += count
        self._count(count)
        return count

    def _count(self, done: int) -> None:
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
            self.discard()

    def _commit(self) -> None:
        self.flush()
        try:
            self.notes += settle(self._fd, self._mode, self._owner)
            if os.name == "nt":  # open files have no other name there
                self._close()
            check_target(self.target, force=self.force, source=self.source)
            self.notes += put_in_place(self.temporary, self.target, force=self.force, keep=self._keep)
        except FileExistsError as error:
            raise target_exists(self.target) from error
        except OSError as error:
            raise write_failed(error, self.target.parent) from error
        self.notes += sync_folder(self.target.parent)

    def discard(self) -> None:
        """Remove the temporary name, if that is left. Called by itself on leaving, but where it is one of a set."""
        with suppress(OSError):  # of a broken disk: what broke first is told, and `leftovers` knows the file
            self._close()
        if self.temporary != self.target:
            with suppress(OSError):
                self.temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        for fd in {self._fd, self._read_fd} - {-1}:
            os.close(fd)
        self._fd = self._read_fd = -1
