"""Tensors as other dtypes: their bytes are cast when they are read, block by block, by whoever copies them.

To a writer a cast tensor is one like any other, over a storage whose bytes have never been anywhere; so every target,
and the comparison with the source, works on it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import Extent, StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.errors import Damaged, Truncated
from ckpt_viewer.export.cargo import CastCounts
from ckpt_viewer.export.pieces import root_of

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import Bytes
    from ckpt_viewer.core.value import Value

PART = 1 << 16
"""Bytes that are cast at once: enough to make numpy's calls cheap, and little enough for arrays to come from the heap.
Larger ones the C library maps anew each time, and the page faults cost twice what the arithmetic does (measured)."""


class Cast:
    """Reads like a file that holds the numbers of a stretch of `source` as another dtype.

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

    @property
    def counts(self) -> CastCounts:
        """What the cast did to all that has been read so far, however often it was read."""
        return _sum(self._counts)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises as the source does."""
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises as the source does, and Truncated beyond the end."""
        end = offset + len(buffer)
        if offset < 0 or end > self.size:
            raise Truncated(self.name, wanted=len(buffer), found=max(0, self.size - offset), offset=offset)
        first, behind = offset // self._item, -(-end // self._item)
        if (first * self._item, behind * self._item) != (offset, end):
            wide = self.read_at(first * self._item, (behind - first) * self._item)
            buffer[:] = wide[offset - first * self._item : end - first * self._item]
            return
        step = PART // max(self._wide, self._item, 4)
        for start in range(first, behind, step):
            stop = min(start + step, behind)
            buffer[(start - first) * self._item : (stop - first) * self._item] = self._part(start, stop)

    def _part(self, start: int, stop: int) -> memoryview:
        import numpy as np

        from ckpt_viewer.export.cast_kernels import counts, kernel

        before = np.empty(stop - start, f"u{self._wide}")
        self.source.read_into(self._offset + start * self._wide, before.view(np.uint8).data)
        if self._swap > 1:
            before.byteswap(inplace=True)
        after = kernel(self._dtype, self._target)(before)
        found = counts(self._dtype, self._target, before, after)
        if any(found):
            self._counts[start] = found  # the same whoever reads it again
        return after.view(np.uint8).data


def _sum(found: Mapping[int, CastCounts]) -> CastCounts:
    return CastCounts(*map(sum, zip(*found.values(), strict=True))) if found else CastCounts()


class CastHome:
    """The container of one storage whose numbers are cast.

    Attributes:
        storage: as it is. dtype, target: what its numbers are, and become. name: of a tensor on it.
        found: what casting did, by the place of the part.
    """

    __slots__ = ("dtype", "found", "name", "storage", "target")
    prefix = "cast!"

    def __init__(self, storage: StorageSpec, dtype: str, target: str, name: str) -> None:
        self.storage, self.dtype, self.target, self.name = storage, dtype, target, name
        self.found: dict[int, CastCounts] = {}

    def extent(self, key: str) -> Extent:
        """Return the numbers as what they become; raises Damaged."""
        del key
        extent, wide = self.storage.extent(), DTYPES[self.dtype].itemsize
        swap, numel = (wide if extent.big_endian else 1), self.storage.nbytes // wide
        cast = Cast(extent.source, extent.offset, numel, swap, self.dtype, self.target, self.found)
        return Extent(cast, 0, cast.size)


class Recast:
    """The items of a cargo with the dense tensors that are to be cast replaced; what shared memory still does.

    Attributes:
        items: name -> value, in the given order. given: as they were.
    """

    def __init__(self, items: dict[str, Value], cast: Mapping[str, str], context: Context = SILENT) -> None:
        """Replace them; raises Cancelled by `context`."""
        self.given = self.items = items
        self._homes: list[CastHome] = []
        if cast:
            storages: dict[tuple[int, str, str], StorageSpec] = {}
            self.items = {
                name: self._recast(value, cast[name], name, storages)
                if name in cast and isinstance(value, TensorSpec)
                else value
                for name, value in stepped(items.items(), context)
            }
            drain(storages, context)

    def counts(self) -> dict[str, CastCounts]:
        """Return what the casts did, by the first tensor of each storage; only where they did something."""
        return {home.name: _sum(home.found) for home in self._homes if home.found}

    def _recast(
        self, tensor: TensorSpec, target: str, name: str, storages: dict[tuple[int, str, str], StorageSpec]
    ) -> TensorSpec:
        assert tensor.storage is not None
        root, shift = root_of(tensor.storage)
        wide = DTYPES[tensor.dtype].itemsize
        if shift % wide:
            raise Damaged(f"{name!r} begins within a number of its storage; copy or download the file again")
        known = storages.get((id(root), tensor.dtype, target))
        if known is None:
            home = CastHome(root, tensor.dtype, target, name)
            known = StorageSpec(root.key, "cpu", target, root.nbytes // wide, home, root.order)
            storages[id(root), tensor.dtype, target] = known
            self._homes.append(home)
        extra = TensorExtra(neg=True) if tensor.extra is not None and tensor.extra.neg else None
        return TensorSpec(known, target, tensor.shape, tensor.stride, tensor.offset + shift // wide, extra=extra)
