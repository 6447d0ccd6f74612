"""Many files behind few descriptors: a sharded model has hundreds of files, a process may open about a thousand."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from ckpt_viewer.errors import RELOAD, SourceChanged, Unreadable
from ckpt_viewer.sources import FileSource

MOST_OPEN = 64


class FilePool:
    """Opens files and keeps the most recently read ones open; the others are opened again when they are read.

    Safe to use from several threads: a file that is being read is never closed under the reader.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most, self._lock, self._closed = most, Lock(), False
        self._idle: OrderedDict[PooledFile, FileSource] = OrderedDict()
        self._busy: dict[PooledFile, tuple[FileSource, int]] = {}

    def open(self, path: str | os.PathLike[str]) -> PooledFile:
        """Return a file of this pool; raises Unreadable as FileSource does."""
        source = FileSource(path)
        file = PooledFile(self, source)
        with self._lock:
            self._idle[file] = source
            self._shrink()
        return file

    @contextmanager
    def lent(self, file: PooledFile) -> Iterator[FileSource]:
        """Yield the open file behind `file`.

        Raises:
            SourceChanged: another file has its name by now. Unreadable: it is gone, or the pool is closed.
        """
        with self._lock:
            source, users = self._busy.pop(file, (None, 0))
            source = source or self._idle.pop(file, None) or self._reopen(file)
            self._busy[file] = source, users + 1
            self._shrink()
        try:
            yield source
        finally:
            with self._lock:
                self._give_back(file, source)

    def _reopen(self, file: PooledFile) -> FileSource:
        if self._closed:
            raise Unreadable("the file is not open any more; open it again")
        source = FileSource(file.name)
        if source.identity != file.identity:
            source.close()
            raise SourceChanged(f"a file was changed by another program while it was open; {RELOAD}")
        return source

    def _give_back(self, file: PooledFile, source: FileSource) -> None:
        users = self._busy[file][1] - 1
        if users:
            self._busy[file] = source, users
            return
        del self._busy[file]
        if self._closed:
            source.close()
        else:
            self._idle[file] = source
            self._shrink()

    def _shrink(self) -> None:
        while self._idle and len(self._idle) + len(self._busy) > self._most:
            self._idle.popitem(last=False)[1].close()

    def close(self) -> None:
        """Give every file back; one that is being read right now when that has ended."""
        with self._lock:
            self._closed = True
            for source in self._idle.values():
                source.close()
            self._idle.clear()


class PooledFile:
    """One file of a pool; reads as a `FileSource` does.

    Attributes:
        name: path. size: bytes. identity: as that of FileSource.
    """

    def __init__(self, pool: FilePool, source: FileSource) -> None:
        self._pool = pool
        self.name, self.size, self.identity = source.name, source.size, source.identity

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises SourceError."""
        with self._pool.lent(self) as source:
            return source.read_at(offset, size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises SourceError."""
        with self._pool.lent(self) as source:
            source.read_into(offset, buffer)

    def copy_to(self, fd: int, offset: int, nbytes: int) -> int:
        """Hand bytes over, see `FileSource.copy_to`."""
        with self._pool.lent(self) as source:
            return source.copy_to(fd, offset, nbytes)

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file was written to since it was opened."""
        with self._pool.lent(self) as source:
            source.check_unchanged()
