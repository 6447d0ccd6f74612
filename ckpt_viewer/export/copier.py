"""Copying into a new file, and comparing it with the source while both are still in memory.

Comparing everything at the end would read a file that is larger than the memory from the disk again, twice. So every
stretch is read back and compared as soon as it is written; the disk works on it meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from zlib_ng.zlib_ng import crc32, crc32_combine

from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.blocks import LARGE, StepBytes, comparable
from ckpt_viewer.export.checksums import Checksums, Stated
from ckpt_viewer.export.reading import Line, Reader, Span

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

STRETCH = 64 << 20
"""Bytes that are written before they are compared."""
MOST_WAITING = 4096
"""Ranges that are written before they are compared, however small."""
KERNEL_BLOCK = 16 << 20
"""Bytes that the kernel is asked to copy at once: some 10 ms, after which somebody may have cancelled."""

THREADS = 8
"""More than ever have something to do: two that read ahead for what is copied, and for each of two that are compared,
one for checksums; none waits for one that has not begun."""


class _Written(NamedTuple):
    """Bytes that were copied: from where, and to which position in the new file.

    Attributes:
        digest: of what was read from a source that is slow to read; it is not read again.
    """

    span: Span
    position: int
    checksums: Checksums | None
    digest: Any = None


class Copier:
    """Appends to a file. A context manager: on leaving normally everything has been compared, if that is wanted.

    Where the kernel can copy from file to file, it does, unless a checksum has to be computed: to read once for both is
    faster. The bytes are then seen only when they are compared, and that is also when checksums of the source are. Of
    a source that is slow to read (`costly`: it gathers what lies far apart) a digest is compared instead: SHA-256.

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
        self._buffers: list[bytearray] = []
        self._reader, self._other = Reader(self._threads), Reader(self._threads)
        self._waiting: deque[_Written] = deque()
        self._waiting_bytes = 0
        self._pool: ThreadPoolExecutor | None = None
        self._kernel = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes that come from no source; they are not compared."""
        self.file.write(data)
        self._step(0)

    def copy(self, span: Span, checksums: Checksums | None = None) -> None:
        """Append a range of a source.

        Args:
            checksums: what the source states, to be compared with the range.

        Raises:
            SourceError: the source cannot be read. WriteFailed. Cancelled: by `step`.
        """
        with closing(self._line(self._ahead(span, summed=False))) as line:
            self._append(span, line, checksums)

    def copy_each(self, spans: Iterable[Span], *, checksum: bool = False) -> Iterator[int]:
        """Append one range after another, each when it is asked for, and yield its CRC-32.

        That is the one that the source states, which is then compared; otherwise it is computed if `checksum`, else 0.
        While one range is written the next ones are read, so that of many tensors none waits for another.

        Raises: as `copy`.
        """
        told: deque[Span] = deque()

        def ahead() -> Iterator[tuple[Span, bool]]:
            for span in spans:
                told.append(span)
                yield from self._ahead(span, checksum and not span.crc)

        with closing(self._line(ahead())) as line:
            while line.look() or told:
                span = told.popleft()
                if span.crc:
                    self.carried += not self.check
                    stated = [Stated(span.offset, span.nbytes, span.crc, span.name)] if self.check else ()
                    self._append(span, line, Checksums(stated) if stated else None)
                    yield span.crc
                else:
                    yield self._append(span, line, summed=checksum)

    def _line(self, blocks: Iterable[tuple[Span, bool]]) -> Line:
        return Line(self._threads, blocks, self._buffers)

    def _ahead(self, span: Span, summed: bool) -> Iterator[tuple[Span, bool]]:
        """Yield what is read of a range ahead of time: nothing where that is left to the kernel."""
        if 0 < span.nbytes < LARGE:  # of which there may be 100,000
            yield span, summed
            return
        for part in span.parts(STRETCH):
            if summed or not _suits_kernel(part):
                for block in part.blocks():
                    yield block, summed
            else:
                yield part._replace(nbytes=0), False

    def _append(self, span: Span, line: Line, checksums: Checksums | None = None, *, summed: bool = False) -> int:
        """Append a range whose blocks `line` hands out next; return its CRC-32 if it is summed, else 0."""
        crc = 0
        for part in (span,) if 0 < span.nbytes < LARGE else span.parts(STRETCH):
            digest = _digest() if self.check and getattr(part.source, "costly", False) else None
            written = _Written(part, self.file.position, checksums, digest)
            if summed or not _suits_kernel(part):
                crc = self._by_hand(part, line, crc, summed, digest)
            else:
                line.take()
                done = self._by_kernel(part) if self._kernel else 0
                self._directly(part._replace(offset=part.offset + done, nbytes=part.nbytes - done))
            if self.check:
                self._waiting.append(written)
                self._waiting_bytes += part.nbytes
                if self._waiting_bytes >= STRETCH or len(self._waiting) == MOST_WAITING:
                    self.settle()
        return crc

    def _by_kernel(self, part: Span) -> int:
        """Let the kernel copy what it can; return how many bytes that were."""
        give: Any = part.source
        done = 0
        while done < part.nbytes:
            count = self.file.take(give.copy_to, part.offset + done, min(KERNEL_BLOCK, part.nbytes - done))
            if count == 0:  # it cannot, from there to here
                self._kernel = False
                break
            done += count
            self._step(count)
        return done

    def _directly(self, part: Span) -> None:
        """Read and write what nobody has read ahead."""
        with closing(self._line((block, False) for block in part.blocks())) as line:
            self._by_hand(part, line, 0, summed=False)

    def _by_hand(self, part: Span, line: Line, crc: int, summed: bool, digest: Any = None) -> int:
        """Write what is read; return the CRC-32 of the bytes after those that have `crc`, if they are summed."""
        for _ in part.blocks():
            block, own = line.take()
            self.file.write(block)
            if digest is not None:
                digest.update(block)
            if summed:
                crc = crc32(block, crc) if own is None else crc32_combine(crc, own, len(block))
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
        with closing(self._other.blocks(Span(self.file, written.position, written.span.nbytes))) as blocks:
            for block in blocks:
                found.update(block)
                self._step(len(block))
        return bool(found.digest() == written.digest.digest())

    def _same(self, written: _Written) -> bool:
        """Compare, with checksums in another thread."""
        if written.digest is not None:
            return self._same_digest(written)
        offset = written.span.offset
        ours = self._reader.blocks(written.span)
        theirs = self._other.blocks(Span(self.file, written.position, written.span.nbytes))
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


def _suits_kernel(part: Span) -> bool:
    """Whether the kernel may be able to copy a range by itself."""
    return part.swap == 1 and part.nbytes >= LARGE and hasattr(part.source, "copy_to")


def _digest() -> Any:
    from hashlib import sha256  # for the few exports that need it

    return sha256()


def differs(where: str) -> WriteFailed:
    """Return the error for a copy that is not what it should be."""
    return WriteFailed(f"the copy differs from the source at {where}, so it was removed; check the disk and try again")
