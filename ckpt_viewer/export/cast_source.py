"""Numbers of a source as another dtype: cast when they are read."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import bottom
from ckpt_viewer.errors import Truncated
from ckpt_viewer.export import machine
from ckpt_viewer.export.cargo import CastCounts, total
from ckpt_viewer.sources import FileSource

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import Bytes
    from ckpt_viewer.export.cast_kernels import Caster
    from ckpt_viewer.export.machine import MachineCaster


READERS = 3
"""Blocks that are cast at once: one for each of two processors, and one that is done by the time somebody wants it."""


class Cast:
    """Reads like a file that holds the numbers of a stretch of `source` as another dtype.

    Attributes:
        name: of the source. size: bytes, cast. readers: how many threads may read at once; it is worth their while.
        costly: whether the source is slow to read.
    """

    def __init__(
        self,
        source: Bytes,
        offset: int,
        numel: int,
        swap: int,
        dtype: str,
        target: str,
        found: dict[int, CastCounts] | None = None,
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            offset: bytes from the start of `source` to the first of `numel` numbers.
            swap: their width if they are big-endian, else 1. dtype, target: what they are, and become.
            found: where counts are kept, by the place of the part that they are of.
        """
        self.source, self.name = source, source.name
        self._offset, self._swap, self._dtype, self._target = offset, swap, dtype, target
        self._item, self._wide = DTYPES[target].itemsize, DTYPES[dtype].itemsize
        self.size = numel * self._item
        self._counts: dict[int, CastCounts] = {} if found is None else found
        self.costly: bool = getattr(source, "costly", False)
        at_once = isinstance(bottom(source, 0)[0], FileSource) and hasattr(os, "preadv")
        self.readers = READERS if at_once else 1

    @property
    def counts(self) -> CastCounts:
        """What the cast did to all that has been read so far, however often it was read."""
        return total(self._counts)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises as the source does."""
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises as the source does, and Truncated beyond the end."""
        size = len(buffer)
        if offset < 0 or offset + size > self.size:
            raise Truncated(self.name, wanted=size, found=max(0, self.size - offset), offset=offset)
        first, counts = self._fill(offset, buffer)
        if any(counts):
            self._counts[first] = counts

    def _fill(self, offset: int, buffer: memoryview) -> tuple[int, CastCounts]:
        """Fill `buffer`; return the first number that was cast, and what that did to the values."""
        end = offset + len(buffer)
        first, behind = offset // self._item, -(-end // self._item)
        if (first * self._item, behind * self._item) != (offset, end):
            wide = bytearray((behind - first) * self._item)
            found = self._fill(first * self._item, memoryview(wide))
            buffer[:] = wide[offset - first * self._item : end - first * self._item]
            return found
        caster, counts = _caster(self._dtype, self._target), []
        for start in range(first, behind, caster.block):
            count = min(caster.block, behind - start)
            self.source.read_into(self._offset + start * self._wide, caster.room(count))
            at = (start - first) * self._item
            counts.append(caster.cast(buffer[at : at + count * self._item], self._swap))
        return first, CastCounts(*map(sum, zip(*counts, strict=True))) if counts else CastCounts()


_own = threading.local()


def _caster(dtype: str, target: str) -> Caster | MachineCaster:
    """Return the caster of this thread."""
    known: tuple[tuple[str, str], Caster | MachineCaster] | None = getattr(_own, "caster", None)
    if known is None or known[0] != (dtype, target):
        known = _own.caster = (dtype, target), _new_caster(dtype, target)
    return known[1]


def _new_caster(dtype: str, target: str) -> Caster | MachineCaster:
    made = machine.caster(dtype, target)
    if made is not None:
        return made
    from ckpt_viewer.export.cast_kernels import Caster

    return Caster(dtype, target)
