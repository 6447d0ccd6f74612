"""Reading bytes block by block into one buffer that is used again and again."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import TypeAlias

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes

BLOCK = 4 << 20
"""Bytes that are read and written at once; a multiple of every item size."""

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


def same_bytes(
    a: tuple[Bytes, int, int], b: tuple[Bytes, int], nbytes: int, readers: tuple[Reader, Reader], step: StepBytes
) -> bool:
    """Whether two ranges of `nbytes` are equal; `a` is (source, offset, swap), `b` (source, offset)."""
    ours = readers[0].blocks(a[0], a[1], nbytes, a[2])
    theirs = readers[1].blocks(b[0], b[1], nbytes)
    for one, other in zip(ours, theirs, strict=True):
        if _comparable(one) != _comparable(other):
            return False
        step(len(one))
    return True


def _comparable(block: Block) -> bytearray | bytes:
    """Memoryviews compare item by item, these at the speed of memory."""
    return block if isinstance(block, bytearray) else bytes(block)
