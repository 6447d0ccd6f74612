"""Blocks of bytes: how large they are, what is told of them, and what is done to a single one."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator
from typing import TypeAlias

from ckpt_viewer.core.progress import Context

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


def swapped(block: Block, width: int) -> memoryview:
    """Return numbers of `width` bytes in the other byte order."""
    numbers = array(_CODES[width])
    numbers.frombytes(block)
    numbers.byteswap()
    return memoryview(numbers).cast("B")


def comparable(block: Block) -> bytearray | bytes:
    """Memoryviews compare item by item, these at the speed of memory."""
    return block if isinstance(block, bytearray) else bytes(block)
