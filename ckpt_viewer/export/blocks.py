"""Reading bytes block by block, ahead of whoever wants them, into a few buffers that are used again and again."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

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
Blocks: TypeAlias = "Generator[Block, None, None]"


class Reader:
    """Hands out a range of a source in blocks, while other threads read the next ones.

    Each block is good until the one after the next is asked for.

    Args:
        pool: gives what runs those threads, once there is that much to read.
    """

    def __init__(self, pool: Callable[[], Executor]) -> None:
        self._pool = pool
        self._first = bytearray()
        self._buffers: list[bytearray] = []

    def blocks(self, source: Bytes, offset: int, nbytes: int, swap: int = 1) -> Blocks:
        """Yield the bytes; raises as the source does. Once it is left nobody reads any more.

        Args:
            swap: bytes of the numbers whose byte order is to be turned round; 1 for none.
        """
        with closing((self._many if nbytes > BLOCK else self._one)(source, offset, nbytes)) as blocks:
            for block in blocks:
                yield block if swap == 1 else swapped(block, swap)

    def _one(self, source: Bytes, offset: int, nbytes: int) -> Blocks:
        if nbytes:
            if len(self._first) < nbytes:
                self._first = bytearray(nbytes)
            block = _cut(self._first, nbytes)
            source.read_into(offset, memoryview(block))
            yield block

    def _many(self, source: Bytes, offset: int, nbytes: int) -> Blocks:
        from concurrent.futures import wait

        ahead: int = getattr(source, "readers", 1)
        while len(self._buffers) < ahead + 2:
            self._buffers.append(bytearray(BLOCK))
        starts = range(0, nbytes, BLOCK)
        reads: deque[tuple[Block, Future[None]]] = deque()
        try:
            for turn in range(len(starts) + ahead):
                if turn < len(starts):
                    block = _cut(self._buffers[turn % (ahead + 2)], min(BLOCK, nbytes - starts[turn]))
                    read = self._pool().submit(source.read_into, offset + starts[turn], memoryview(block))
                    reads.append((block, read))
                if turn >= ahead:
                    block, read = reads.popleft()
                    read.result()
                    yield block
        finally:
            wait([read for _, read in reads])


def _cut(buffer: bytearray, nbytes: int) -> Block:
    return buffer if nbytes == len(buffer) else memoryview(buffer)[:nbytes]


def swapped(block: Block, width: int) -> memoryview:
    """Return numbers of `width` bytes in the other byte order."""
    numbers = array(_CODES[width])
    numbers.frombytes(block)
    numbers.byteswap()
    return memoryview(numbers).cast("B")


def comparable(block: Block) -> bytearray | bytes:
    """Memoryviews compare item by item, these at the speed of memory."""
    return block if isinstance(block, bytearray) else bytes(block)
