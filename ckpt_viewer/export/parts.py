"""A file as a list of parts, each either bytes or a range of the source.

So the length of a copy is known before a byte of it is written, and copying is the same for every container.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.export.checksums import Stated

LARGE = 1 << 20
"""Bytes that are not copied once more: a pickle of 100,000 tensors has 10 MB, their directory as much."""


class Range(NamedTuple):
    """`nbytes` of the source from `offset`."""

    offset: int
    nbytes: int


class Parts:
    """A file in the making.

    Attributes:
        source: what ranges are taken from. parts: in order. nbytes: their length together.
        stated: yields the checksums that the source states for what is copied, in its order.
        packed: how many more it states for what cannot be compared as it stands: deflated records.
        wrong: names of what does not match its checksum and was read while planning.
    """

    def __init__(self, source: Bytes) -> None:
        self.source = source
        self.stated: Callable[[], Iterator[Stated]] = lambda: iter(())
        self.packed = 0
        self.wrong: list[str] = []
        self.parts: list[bytearray | bytes | Range] = []
        self.nbytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; what is large is kept as it is, so whoever gave it must leave it alone."""
        self.nbytes += len(data)
        if len(data) >= LARGE and not isinstance(data, memoryview):
            self.parts.append(data)
            return
        last = self.parts[-1] if self.parts else None
        if not isinstance(last, bytearray) or len(last) >= LARGE:
            last = bytearray()
            self.parts.append(last)
        last += data

    def copy(self, offset: int, nbytes: int) -> None:
        """Append a range of the source."""
        self.parts.append(Range(offset, nbytes))
        self.nbytes += nbytes

    def placed(self) -> Iterator[tuple[int, bytearray | bytes | Range]]:
        """Yield every part with the position in the file at which it starts."""
        position = 0
        for part in self.parts:
            yield position, part
            position += part.nbytes if isinstance(part, Range) else len(part)
