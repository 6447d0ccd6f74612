"""Checksums that a source states, taken over into a copy: compared with the bytes as these pass by.

A checksum that is wrong goes into the copy as it is: a fresh one would hide that the source is damaged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from zlib_ng.zlib_ng import crc32

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


class Checksums:
    """Checksums of ranges that are copied in the order of the source."""

    def __init__(self, stated: Iterable[Stated]) -> None:
        self._stated = iter(stated)
        self._next = self._following()
        self._crc = 0
        self._wrong: list[str] = []

    def taken(self) -> list[str]:
        """Return the names of those that did not match since this was asked last."""
        wrong, self._wrong = self._wrong, []
        return wrong

    def _following(self) -> Stated | None:
        return next((each for each in self._stated if each.nbytes), None)

    def feed(self, offset: int, block: Block) -> None:
        """Take the bytes of the source from `offset` on; calls follow one another in its order.

        Raises:
            CheckpointError: whoever states the checksums cannot read on.
        """
        end, view = offset + len(block), memoryview(block)
        while self._next is not None and self._next.offset < end:
            behind = self._next.offset + self._next.nbytes
            first, last = max(self._next.offset, offset), min(behind, end)
            self._crc = crc32(view[first - offset : last - offset], self._crc)
            if last < behind:
                return
            if self._crc != self._next.crc:
                self._wrong.append(self._next.name)
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
