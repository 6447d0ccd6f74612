"""Reading bytes block by block into one buffer that is used again and again."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import TypeAlias

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes

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
    """Hands out a range of a source in blocks. Each block is good until the one after the next is asked for."""

    def __init__(self) -> None:
        self._buffers = bytearray(), bytearray()

    def blocks(self, source: Bytes, offset: int, nbytes: int, swap: int = 1) -> Iterator[Block]:
        """Yield the bytes; raises as the source does.

        Args:
            swap: bytes of the numbers whose byte order is to be turned round; 1 for none.
        """
        needed = min(BLOCK, nbytes)
        if len(self._buffers[0]) < needed:
            self._buffers = bytearray(needed), bytearray(needed if needed < nbytes else 0)
        elif needed < nbytes and len(self._buffers[1]) < BLOCK:
            self._buffers = self._buffers[0], bytearray(BLOCK)
        end, turn = offset + nbytes, 0
        while offset < end:
            buffer = self._buffers[turn]
            size = min(len(buffer), end - offset)
            view = memoryview(buffer)[:size]
            source.read_into(offset, view)
            block: Block = buffer if size == len(buffer) else view
            yield block if swap == 1 else swapped(block, swap)
            offset += size
            turn = 1 - turn


def swapped(block: Block, width: int) -> memoryview:
    """Return numbers of `width` bytes in the other byte order."""
    numbers = array(_CODES[width])
    numbers.frombytes(block)
    numbers.byteswap()
    return memoryview(numbers).cast("B")


def comparable(block: Block) -> bytearray | bytes:
    """Memoryviews compare item by item, these at the speed of memory."""
    return block if isinstance(block, bytearray) else bytes(block)
