"""Checksums that a source states, taken over into a copy: compared with the bytes as these pass by.

A checksum that is wrong goes into the copy as it is: a fresh one would hide that the source is damaged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from zlib_ng.zlib_ng import crc32, crc32_combine

from ckpt_viewer.export.blocks import Block


class Stated(NamedTuple):
    """A checksum.

    Attributes:
        offset, nbytes: what it is of, in bytes from the start of the source. crc: CRC-32.
        name: for messages: ``"storage '3'"``.
    """

    offset: int
    nbytes: int
    crc: int
    name: str


class Sums(Protocol):
    """Something that is computed of bytes while they are copied, in the order of the source."""

    def feed(self, offset: int, block: Block, own: int | None = None) -> None:
        """Take the bytes of the source from `offset` on; `own` is their CRC-32, if somebody knows it."""

    def miss(self, offset: int, nbytes: int) -> None:
        """Go on behind bytes that nobody sees."""


class OwnSum:
    """The CRC-32 of all bytes.

    Attributes:
        crc: of those so far; None where nobody has seen some.
    """

    __slots__ = ("crc",)

    def __init__(self) -> None:
        self.crc: int | None = 0

    def feed(self, offset: int, block: Block, own: int | None = None) -> None:
        """See `Sums`."""
        del offset
        if self.crc is not None:
            self.crc = crc32(block, self.crc) if own is None else crc32_combine(self.crc, own, len(block))

    def miss(self, offset: int, nbytes: int) -> None:
        """See `Sums`."""
        del offset, nbytes
        self.crc = None


class Checksums:
    """Checksums that the source states of ranges.

    Attributes:
        wrong: names of those that did not match. missed: how many nobody could compare.
    """

    def __init__(self, stated: Iterable[Stated]) -> None:
        self._stated = iter(stated)
        self._next = self._following()
        self._crc = 0
        self.wrong: list[str] = []
        self.missed = 0

    def _following(self) -> Stated | None:
        return next((each for each in self._stated if each.nbytes), None)

    def feed(self, offset: int, block: Block, own: int | None = None) -> None:
        """See `Sums`.

        Raises:
            CheckpointError: whoever states the checksums cannot read on.
        """
        del own  # of other stretches
        end, view = offset + len(block), memoryview(block)
        while self._next is not None and self._next.offset < end:
            behind = self._next.offset + self._next.nbytes
            first, last = max(self._next.offset, offset), min(behind, end)
            self._crc = crc32(view[first - offset : last - offset], self._crc)
            if last < behind:
                return
            if self._crc != self._next.crc:
                self.wrong.append(self._next.name)
            self._crc, self._next = 0, self._following()

    def miss(self, offset: int, nbytes: int) -> None:
        """See `Sums`. Raises as `feed`."""
        while self._next is not None and self._next.offset < offset + nbytes:
            self.missed += 1
            self._crc, self._next = 0, self._following()


MOST_NAMED = 5


def mismatch(names: list[str]) -> str:
    """Return the sentence about what does not match its checksum."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    what = f"{', '.join(names[:MOST_NAMED])}{more}"
    return (
        f"{what}: not what the checksum in the source was computed from, so values may be wrong; the copy has the same "
        "bytes and the same checksum (`check --crc` names the tensors)"
    )
