"""Copying into a new file: other threads read what is written next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.blocks import LARGE, StepBytes
from ckpt_viewer.export.checksums import OwnSum, Sums
from ckpt_viewer.export.comparer import Comparer, Copied, digest
from ckpt_viewer.export.reading import Line, Span
from ckpt_viewer.sources.handover import BLOCK

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

STRETCH = 64 << 20
"""Bytes of which it is decided at once how they are copied."""
HANDED = 16 << 20
"""Bytes that a file system is asked for at once; afterwards somebody may have cancelled."""

THREADS = 8
"""As many as have something to do at once: up to three that cast ahead, three that cast again to compare, and two that
read back what was written (`readers` of their sources); none waits for one that has not begun."""


class Copier:
    """Appends to a file. A context manager: on leaving normally everything has been compared, if that is wanted.

    Where the file system can take bytes over by itself (`sources.handover`), it does, unless a checksum has to be
    computed. Nobody sees those bytes before they are compared. Of a source that is slow to read (`costly`: it gathers
    what lies far apart) a digest is compared: SHA-256.

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
        self._comparer = Comparer(file, step, self._threads)
        self._pool: ThreadPoolExecutor | None = None
        self._handing = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes that come from no source; they are not compared."""
        self.file.write(data)
        self._step(0)

    def copy(self, span: Span, sums: Sums | None = None) -> None:
        """Append a range of a source.

        Args:
            sums: what is computed of the bytes as they pass by.

        Raises:
            SourceError: the source cannot be read. WriteFailed. Cancelled: by `step`.
        """
        for part in self._at_blocks(span):
            with closing(self._line(self._ahead(part, summed=False))) as line:
                self._append(part, line, sums)

    def _at_blocks(self, span: Span) -> tuple[Span, ...]:
        """Part a range so that two files can share what follows: blocks start at a multiple in both."""
        head = -self.file.position % BLOCK
        if head == 0 or not self._hands_over(span):
            return (span,)
        return span.part(0, head), span.part(head, span.nbytes - head)

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
                yield from self._ahead(span, summed=checksum and not span.crc)

        with closing(self._line(ahead())) as line:
            while line.look() or told:
                span = told.popleft()
                own = OwnSum() if checksum or span.crc else None
                self._append(span, line, own)
                yield self._settled(span, own)

    def _settled(self, span: Span, own: OwnSum | None) -> int:
        """Return the CRC-32 of a range that was copied; note what is to be said of the one that the source states."""
        found = own.crc if own is not None else 0
        if not span.crc:
            assert found is not None  # nothing is handed over of which a checksum has to be computed
            return found
        if found is None:
            self.carried += 1
        elif found != span.crc:
            self.wrong.append(span.name)
        return span.crc

    def settle(self) -> None:
        """Compare what was copied so far, if that is wanted; then its sources may be closed. Raises as leaving does."""
        self._comparer.settle()

    def _line(self, blocks: Iterable[tuple[Span, bool]]) -> Line:
        return Line(self._threads, blocks, self._buffers)

    def _ahead(self, span: Span, *, summed: bool) -> Iterator[tuple[Span, bool]]:
        """Yield what is read of a range ahead of time: nothing where the file system may take it over.

        Args:
            summed: whether its checksum has to be computed.
        """
        wanted = summed or bool(span.crc)
        for part in _parts(span):
            if summed or not self._hands_over(part):
                for block in part.blocks():
                    yield block, wanted
            else:
                yield part.part(0, 0), False

    def _append(self, span: Span, line: Line, sums: Sums | None) -> None:
        """Append a range whose blocks `line` hands out next."""
        for part in _parts(span):
            if line.is_next_empty():
                line.take()
                part = self._handed_over(part, sums)
                with closing(self._line((block, sums is not None) for block in part.blocks())) as own:
                    self._by_hand(part, own, sums)
            else:
                self._by_hand(part, line, sums)

    def _hands_over(self, part: Span) -> bool:
        """Whether the file system may be able to take a range over."""
        return self._handing and part.swap == 1 and part.nbytes >= LARGE and hasattr(part.source, "copy_to")

    def _handed_over(self, part: Span, sums: Sums | None) -> Span:
        """Let the file system take over what it can; return the rest."""
        give: Any = part.source
        position, done = self.file.position, 0
        while done < part.nbytes and self._handing:
            count = self.file.take(give.copy_to, part.offset + done, min(HANDED, part.nbytes - done))
            if count == 0:
                self._handing = done > 0
                break
            done += count
            self._step(count)
        if done and self.check:
            self._comparer.add(Copied(part.part(0, done), position, sums))
            self._comparer.settle()  # checksums see the bytes in their order
        elif done and sums is not None:
            sums.miss(part.offset, done)
        return part.part(done, part.nbytes - done)

    def _by_hand(self, part: Span, line: Line, sums: Sums | None) -> None:
        """Write what is read."""
        position, offset = self.file.position, part.offset
        digested = digest() if self.check and getattr(part.source, "costly", False) else None
        for _ in part.blocks():
            block, own = line.take()
            self.file.write(block)
            if digested is not None:
                digested.update(block)
            if sums is not None:
                sums.feed(offset, block, own)
            offset += len(block)
            self._step(len(block))
        if self.check and part.nbytes:
            self._comparer.add(Copied(part, position, None, digested))

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
            self._buffers.clear()  # some 10 MB, and the file is read again next
            self._comparer.free()


def _parts(span: Span) -> Iterator[Span]:
    """Yield what is copied in one way: of small ranges, of which there may be 100,000, the whole."""
    return iter((span,)) if 0 < span.nbytes < LARGE else span.parts(STRETCH)
