"""Reading bytes block by block, ahead of whoever wants them, into a few buffers that are used again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from zlib_ng.zlib_ng import crc32

from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.export.blocks import BLOCK, LARGE, Block, Blocks, swapped

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


class Span(NamedTuple):
    """A range of a source.

    Attributes:
        source: to read from. offset, nbytes: bytes from its start, and how many.
        swap: how many bytes are swapped together, 1 for none.
        crc: CRC-32 that the container states for exactly these bytes; None if it states none. name: of what it states
            that for, for messages.
    """

    source: Bytes
    offset: int
    nbytes: int
    swap: int = 1
    crc: int | None = None
    name: str = ""

    def blocks(self) -> Iterator[Span]:
        """Yield it in parts that are read at once.

        Larger ones are handed out with less work, but while other programs use the cache they are copied at a third of
        the speed (measured: 2 MB, on a loaded machine).
        """
        return self.parts(BLOCK)

    def parts(self, most: int) -> Iterator[Span]:
        """Yield it in parts of at most `most` bytes, of which the container states nothing."""
        for start in range(0, self.nbytes, most):
            yield self.part(start, min(most, self.nbytes - start))

    def part(self, start: int, nbytes: int) -> Span:
        """Return a part of it, of which the container states nothing."""
        return Span(self.source, self.offset + start, nbytes, self.swap)


class _Begun(NamedTuple):
    """A block that is on its way: read by another thread, or to be read by whoever takes it."""

    span: Span
    buffer: bytearray | None = None
    read: Future[tuple[Block, int | None]] | None = None


MOST_BEGUN = 16
"""Blocks that are looked ahead at: between two large tensors there are small ones, which no thread is given. To look at
more would read headers of records far from the data that is taken, and each of both anew."""


class Line:
    """Blocks that are read one after another, the next ones by other threads.

    Each block is good until `kept` more have been taken.

    Args:
        pool: gives what runs those threads, once there is something to read.
        blocks: what is read at once, in order, and whether checksums are wanted; asked for one by one, ahead of time.
        free: buffers of `BLOCK` bytes that may be used; those of the line are there once it is closed.
    """

    def __init__(
        self, pool: Callable[[], Executor], blocks: Iterable[tuple[Span, bool]], free: list[bytearray], kept: int = 1
    ) -> None:
        self._pool, self._blocks, self._free, self._kept = pool, iter(blocks), free, kept
        self._held: tuple[Span, bool] | None = None
        self._begun: deque[_Begun] = deque()
        self._given: deque[bytearray] = deque()
        self._reading = 0

    def look(self) -> bool:
        """Begin what may be begun: no more threads read at once than the next source allows; False at the end."""
        while len(self._begun) < MOST_BEGUN:
            self._held = self._held or next(self._blocks, None)
            if self._held is None:
                break
            span, summed = self._held
            if span.nbytes < LARGE:
                self._begun.append(_Begun(span))
            elif self._reading < getattr(span.source, "readers", 1):
                buffer = self._room()
                self._begun.append(_Begun(span, buffer, self._pool().submit(_read, span, buffer, summed)))
                self._reading += 1
            else:
                break
            self._held = None
        return bool(self._begun)

    def is_next_empty(self) -> bool:
        """Whether the next block has no bytes; there has to be one, or nothing was ever to be read."""
        return self.look() and self._begun[0].span.nbytes == 0

    def take(self) -> tuple[Block, int | None]:
        """Return the next block, and its CRC-32 if another thread has computed it; raises as the source does."""
        if len(self._begun) < MOST_BEGUN // 2:
            self.look()
        span, buffer, read = self._begun.popleft()
        if buffer is None or read is None:
            buffer = self._room()
            block, crc = _read(span, buffer, summed=False)
        else:
            self._reading -= 1
            block, crc = read.result()
        self._given.append(buffer)
        if len(self._given) > self._kept:
            self._free.append(self._given.popleft())
        if read is not None:
            self.look()
        return block, crc

    def close(self) -> None:
        """Wait until nobody reads any more."""
        reads = [begun.read for begun in self._begun if begun.read is not None]
        if reads:
            from concurrent.futures import wait

            wait(reads)
        self._free += self._given
        self._free += [begun.buffer for begun in self._begun if begun.buffer is not None]

    def _room(self) -> bytearray:
        return self._free.pop() if self._free else bytearray(BLOCK)


def _read(span: Span, buffer: bytearray, summed: bool) -> tuple[Block, int | None]:
    block = buffer if span.nbytes == len(buffer) else memoryview(buffer)[: span.nbytes]
    if span.nbytes:
        span.source.read_into(span.offset, memoryview(block))
    if span.swap > 1:
        block = swapped(block, span.swap)
    return block, crc32(block) if summed else None


class Reader:
    """Hands out a range of a source in blocks, while other threads read the next ones.

    Each block is good until the one after the next is asked for.

    Args:
        pool: see `Line`.
    """

    def __init__(self, pool: Callable[[], Executor]) -> None:
        self._pool = pool
        self._buffers: list[bytearray] = []

    def blocks(self, span: Span) -> Blocks:
        """Yield the bytes; raises as the source does. Once it is left nobody reads any more."""
        blocks = ((block, False) for block in span.blocks())
        with closing(Line(self._pool, blocks, self._buffers, kept=2)) as line:
            while line.look():
                yield line.take()[0]

    def free(self) -> None:
        """Let go of the blocks; a later reading makes new ones."""
        self._buffers.clear()
