"""Numbers of a source as another dtype: cast when they are read, a block ahead of whoever reads one after another."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.errors import Truncated
from ckpt_viewer.export.cargo import CastCounts, total

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import Bytes
    from ckpt_viewer.export.cast_kernels import Caster

AHEAD = 1 << 18
"""Bytes of a read from which on the next one is prepared meanwhile, in a second thread."""


class Cast:
    """Reads like a file that holds the numbers of a stretch of `source` as another dtype. For one thread at a time.

    Attributes:
        name: of the source. size: bytes, cast.
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
        self._ahead: _Ahead | None = None
        self._spare = bytearray()

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
        size, end = len(buffer), offset + len(buffer)
        if offset < 0 or end > self.size:
            raise Truncated(self.name, wanted=size, found=max(0, self.size - offset), offset=offset)
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            wait((ahead.done,))  # also where it is of no use: it reads from the same source
        if ahead is not None and (ahead.offset, len(ahead.data)) == (offset, size):
            self._counts |= ahead.done.result()
            buffer[:] = ahead.data
        else:
            self._counts |= self._fill(offset, buffer)
        if size >= AHEAD and end < self.size:
            data = self._buffer(min(size, self.size - end))
            self._ahead = _Ahead(end, data, _second_thread().submit(self._fill, end, data))
        else:
            self._spare = bytearray()  # whoever compares later keeps many of these

    def _buffer(self, size: int) -> memoryview:
        if len(self._spare) < size:
            self._spare = bytearray(size)
        return memoryview(self._spare)[:size]

    def _fill(self, offset: int, buffer: memoryview) -> dict[int, CastCounts]:
        """Fill `buffer`; return what that did to values, by the place of the part: the same if it is read again."""
        end = offset + len(buffer)
        first, behind = offset // self._item, -(-end // self._item)
        if (first * self._item, behind * self._item) != (offset, end):
            wide = bytearray((behind - first) * self._item)
            found = self._fill(first * self._item, memoryview(wide))
            buffer[:] = wide[offset - first * self._item : end - first * self._item]
            return found
        from ckpt_viewer.export.cast_kernels import BLOCK

        caster, found = _caster(self._dtype, self._target), {}
        for start in range(first, behind, BLOCK):
            count = min(BLOCK, behind - start)
            before = caster.before[:count]
            self.source.read_into(self._offset + start * self._wide, before.view("u1").data)
            if self._swap > 1:
                before.byteswap(inplace=True)
            after, counts = caster.cast(count)
            if any(counts):
                found[start] = counts
            at = (start - first) * self._item
            buffer[at : at + count * self._item] = after.view("u1").data
        return found


class _Ahead(NamedTuple):
    """What is read before somebody asks for it: `data`, from `offset`, once it is `done`."""

    offset: int
    data: memoryview
    done: Future[dict[int, CastCounts]]


_own = threading.local()


def _caster(dtype: str, target: str) -> Caster:
    """Return the caster of this thread."""
    from ckpt_viewer.export.cast_kernels import Caster

    known: tuple[tuple[str, str], Caster] | None = getattr(_own, "caster", None)
    if known is None or known[0] != (dtype, target):
        known = _own.caster = (dtype, target), Caster(dtype, target)
    return known[1]


@cache
def _second_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="cast")
