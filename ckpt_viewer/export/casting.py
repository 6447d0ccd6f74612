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
from ckpt_viewer.errors import Damaged
from ckpt_viewer.export.cargo import CastCounts, total
from ckpt_viewer.export.pieces import root_of

if TYPE_CHECKING:
    from ckpt_viewer.core.value import Value


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
        from ckpt_viewer.export.cast_source import Cast

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
        return {home.name: total(home.found) for home in self._homes if home.found}

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
            known = StorageSpec(root.key, "cpu", target, root.nbytes // wide, home)
            storages[id(root), tensor.dtype, target] = known
            self._homes.append(home)
        extra = TensorExtra(neg=True) if tensor.extra is not None and tensor.extra.neg else None
        return TensorSpec(known, target, tensor.shape, tensor.stride, tensor.offset + shift // wide, extra=extra)
