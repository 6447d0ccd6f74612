"""Copying into a new file, and comparing it with the source while both are still in memory.

Comparing everything at the end would read a file that is larger than the memory from the disk again, twice. So every
stretch is read back and compared as soon as it is written; the disk works on it meanwhile.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.blocks import LARGE, Reader, StepBytes, comparable
from ckpt_viewer.export.checksums import Checksums, Stated
from ckpt_viewer.export.machine import crc32

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

STRETCH = 64 << 20
"""Bytes that are written before they are compared."""
MOST_WAITING = 4096
"""Ranges that are written before they are compared, however small."""
KERNEL_BLOCK = 16 << 20
"""Bytes that the kernel is asked to copy at once: some 10 ms, after which somebody may have cancelled."""

THREADS = 6
"""More than ever have something to do: two that read ahead for each of two readers, one for checksums; none waits for
one that has not begun."""


class _Written(NamedTuple):
    """Bytes that were copied: from where, and to which position in the new file.

    Attributes:
        digest: of what was read from a source that is slow to read; it is not read again.
    """

    source: Bytes
    offset: int
    swap: int
    position: int
    nbytes: int
    checksums: Checksums | None
    digest: Any = None


class Copier:
    """Appends to a file. A context manager: on leaving normally everything has been compared, if that is wanted.

    Where the kernel can copy from file to file, it does (twice as fast as reading and writing, measured on ext4): the
    bytes are then seen only when they are compared, and that is also when checksums of the source are. Of a source that
    is slow to read (`costly`: it gathers what lies far apart) a digest is compared instead: SHA-256.

    Args:
        step: told of every byte that is copied, and again when it is compared.
        check: compare what was copied with its source.

    Attributes:
        wrong: names of what does not match the checksum that the source states. carried: how many such checksums were
            taken over without being compared.

    Raises:
        WriteFailed: also from leaving it, if the file is not what was copied into it.
    """

    def __init__(self, file: AtomicFile, step: StepBytes, *, check: bool) -> None:
        self.file, self.check = file, check
        self.wrong: list[str] = []
        self.carried = 0
        self._step = step
        self._reader, self._other = Reader(self._threads), Reader(self._threads)
        self._waiting: deque[_Written] = deque()
        self._waiting_bytes = 0
        self._pool: ThreadPoolExecutor | None = None
        self._kernel = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes that come from no source; they are not compared."""
        self.file.write(data)
        self._step(0)

    def copy(
        self,
        source: Bytes,
        offset: int,
        nbytes: int,
        *,
        swap: int = 1,
        checksum: bool = False,
        crc: int = 0,
        checksums: Checksums | None = None,
    ) -> int:
        """Append a range of a source; return its CRC-32 if `checksum`, else `crc`.

        Args:
            swap: bytes of the numbers whose byte order is to be turned round; 1 for none.
            crc: CRC-32 of what precedes the range in its record.
            checksums: what the source states, to be compared with the range.

        Raises:
            SourceError: the source cannot be read. WriteFailed. Cancelled: by `step`.
        """
        for start in range(0, nbytes, STRETCH):
            size = min(STRETCH, nbytes - start)
            digest = _digest() if self.check and getattr(source, "costly", False) else None
            written = _Written(source, offset + start, swap, self.file.position, size, checksums, digest)
            if swap == 1 and self._kernel and size >= LARGE and hasattr(source, "copy_to"):
                # another thread reads what the kernel copies, which together is as fast as the kernel alone
                whole = self._threads().submit(self._crc_of, source, offset + start, size, crc) if checksum else None
                done = self._by_kernel(source, offset + start, size)
                if whole is not None:
                    crc = whole.result()
                self._by_hand(source, offset + start + done, size - done, swap, None)
            else:
                found = self._by_hand(source, offset + start, size, swap, crc if checksum else None, digest)
                crc = crc if found is None else found
            if self.check:
                self._waiting.append(written)
                self._waiting_bytes += size
                if self._waiting_bytes >= STRETCH or len(self._waiting) == MOST_WAITING:
                    self.settle()
        return crc

    def copy_stated(self, source: Bytes, offset: int, nbytes: int, crc: int, name: str) -> None:
        """Append the data of one record, of which the source states the CRC-32 `crc`; raises as `copy`."""
        self.carried += not self.check
        stated = Checksums([Stated(offset, nbytes, crc, name)]) if self.check else None
        self.copy(source, offset, nbytes, checksums=stated)

    def _by_kernel(self, source: Any, offset: int, nbytes: int) -> int:
        """Let the kernel copy what it can; return how many bytes that were."""
        done = 0
        while done < nbytes:
            count = self.file.take(source.copy_to, offset + done, min(KERNEL_BLOCK, nbytes - done))
            if count == 0:  # it cannot, from there to here
                self._kernel = False
                break
            done += count
            self._step(count)
        return done

    def _crc_of(self, source: Bytes, offset: int, nbytes: int, crc: int) -> int:
        """Return the CRC-32 of bytes whose predecessors have `crc`; in another thread, while nothing is compared."""
        with closing(self._other.blocks(source, offset, nbytes)) as blocks:
            for block in blocks:
                crc = crc32(block, crc)
        return crc

    def _by_hand(
        self, source: Bytes, offset: int, nbytes: int, swap: int, crc: int | None, digest: Any = None
    ) -> int | None:
        """Read and write; return the CRC-32 of the bytes after those that have `crc`, None without one."""
        with closing(self._reader.blocks(source, offset, nbytes, swap)) as blocks:
            for block in blocks:
                large = crc is not None and len(block) >= LARGE
                ahead = self._threads().submit(crc32, block, crc or 0) if large else None
                self.file.write(block)
                if digest is not None:
                    digest.update(block)
                if crc is not None:
                    crc = ahead.result() if ahead is not None else crc32(block, crc)
                self._step(len(block))
        return crc

    def settle(self) -> None:
        """Compare what was copied so far, if that is wanted; then its sources may be closed. Raises as leaving does."""
        self.file.flush()
        while self._waiting:  # one by one: to free 100,000 at once would hold everybody up
            written = self._waiting.popleft()
            if not self._same(written):
                raise differs(f"bytes {written.position} and following")
            if written.checksums is not None:
                self.wrong += written.checksums.taken()
        self._waiting_bytes = 0

    def _same_digest(self, written: _Written) -> bool:
        """Compare with what was read when it was written."""
        found = _digest()
        with closing(self._other.blocks(self.file, written.position, written.nbytes)) as blocks:
            for block in blocks:
                found.update(block)
                self._step(len(block))
        return bool(found.digest() == written.digest.digest())

    def _same(self, written: _Written) -> bool:
        """Compare, with checksums in another thread."""
        if written.digest is not None:
            return self._same_digest(written)
        offset, left = written.offset, written.nbytes
        ours = self._reader.blocks(written.source, offset, left, written.swap)
        theirs = self._other.blocks(self.file, written.position, left)
        fed: Future[None] | None = None
        with closing(ours), closing(theirs):
            for one, other in zip(ours, theirs, strict=True):
                if written.checksums is not None:
                    if fed is not None:
                        fed.result()
                    fed = self._threads().submit(written.checksums.feed, offset, one) if len(one) >= LARGE else None
                    if fed is None:
                        written.checksums.feed(offset, one)
                if comparable(one) != comparable(other):
                    return False
                offset += len(one)
                self._step(len(one))
        if fed is not None:
            fed.result()
        return True

    def _threads(self) -> ThreadPoolExecutor:
        """Return what runs other threads: reading and checksums do not hold the GIL."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(THREADS)
        return self._pool

    def __enter__(self) -> Copier:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            if self._pool is not None:
                self._pool.shutdown()


def _digest() -> Any:
    from hashlib import sha256  # for the few exports that need it

    return sha256()


def differs(where: str) -> WriteFailed:
    """Return the error for a copy that is not what it should be."""
    return WriteFailed(f"the copy differs from the source at {where}, so it was removed; check the disk and try again")
