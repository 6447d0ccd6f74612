"""Reading bytes block by block into one buffer that is used again and again."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes

if TYPE_CHECKING:
    from concurrent.futures import Future

BLOCK = 1 << 20
"""Bytes that are read and written at once: large for a system call, small enough to stay in the cache."""

LARGE = 1 << 18
"""Bytes from which on a second thread is worth its while; reading and checksums do not hold the GIL."""

StepBytes: TypeAlias = Callable[[int], None]
"""Told of every block: how many bytes are done now."""

_CODES = {2: "H", 4: "I", 8: "Q"}


class Meter:
    """Adds up bytes for a context whose total is known."""

    def __init__(self, context: Context, total: int) -> None:
        self.context, self.total, self.done = context, total, 0

    def __call__(self, nbytes: int) -> None:
        """Report that `nbytes` more are done; raises Cancelled."""
        self.done += nbytes
        self.context.step(self.done, max(self.total, self.done))


Block: TypeAlias = "bytearray | memoryview"


class Reader:
    """Hands out a range of a source in blocks. Each block is good until the next one is asked for."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def blocks(self, source: Bytes, offset: int, nbytes: int, swap: int = 1) -> Iterator[Block]:
        """Yield the bytes; raises as the source does.

        Args:
            swap: bytes of the numbers whose byte order is to be turned round; 1 for none.
        """
        if len(self._buffer) < min(BLOCK, nbytes):
            self._buffer = bytearray(min(BLOCK, nbytes))
        buffer, end = self._buffer, offset + nbytes
        while offset < end:
            size = min(len(buffer), end - offset)
            view = memoryview(buffer)[:size]
            source.read_into(offset, view)
            block: Block = buffer if size == len(buffer) else view
            yield block if swap == 1 else _swapped(block, swap)
            offset += size


def _swapped(block: Block, width: int) -> memoryview:
    numbers = array(_CODES[width])
    numbers.frombytes(block)
    numbers.byteswap()
    return memoryview(numbers).cast("B")


class Checksum:
    """CRC-32 of block after block, computed by a second thread while the first one writes. A context manager."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(1)
        self._value, self._known = 0, False
        self._ahead: Future[int] | None = None

    def start(self, known: int | None) -> None:
        """Begin anew. A checksum that the source states is taken over: should it be wrong, it goes on saying so."""
        self._value, self._known = known or 0, bool(known)

    def add(self, block: Block) -> None:
        """Take in a block, which must stay as it is until `wait`."""
        if self._known:
            return
        if len(block) >= LARGE:
            self._ahead = self._pool.submit(zlib.crc32, block, self._value)
        else:
            self._value = zlib.crc32(block, self._value)

    def wait(self) -> int:
        """Return the checksum of all blocks so far; the last one may be overwritten from here on."""
        if self._ahead is not None:
            self._value, self._ahead = self._ahead.result(), None
        return self._value

    def __enter__(self) -> Checksum:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


class Comparer:
    """Compares ranges of two sources. A context manager: large ranges are read from both at once."""

    def __init__(self, step: StepBytes) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._step, self._ours, self._theirs = step, Reader(), Reader()
        self._pool = ThreadPoolExecutor(1)

    def same(self, a: tuple[Bytes, int, int], b: tuple[Bytes, int], nbytes: int) -> bool:
        """Whether `nbytes` are equal; `a` is (source, offset, swap), `b` (source, offset). Raises as the sources do."""
        ours = self._ours.blocks(a[0], a[1], nbytes, a[2])
        theirs = self._theirs.blocks(b[0], b[1], nbytes)
        while nbytes > 0:
            ahead = self._pool.submit(next, theirs) if nbytes >= LARGE else None
            one = next(ours)
            other = ahead.result() if ahead is not None else next(theirs)
            if _comparable(one) != _comparable(other):
                return False
            nbytes -= len(one)
            self._step(len(one))
        return True

    def __enter__(self) -> Comparer:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _comparable(block: Block) -> bytearray | bytes:
    """Memoryviews compare item by item, these at the speed of memory."""
    return block if isinstance(block, bytearray) else bytes(block)
