"""Which entries share a storage: one pass over the outline, kept for as long as the checkpoint is open. No Qt."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec

EVERY = 64
"""Rows between two calls of `step`."""


class Sharing:
    """Storage -> the rows of the outline that view it, in order."""

    def __init__(self) -> None:
        self._one: dict[int, int] = {}  # most storages have one entry, and a list each would cost 100 bytes
        self._many: dict[int, array[int]] = {}

    def add(self, storage: StorageSpec, row: int) -> None:
        """Note that the entry at `row` views `storage`."""
        key = id(storage)
        first = self._one.setdefault(key, row)
        if first != row:
            rows = self._many.setdefault(key, array("q", (first,)))
            if rows[-1] != row:
                rows.append(row)

    def rows(self, storage: StorageSpec) -> Sequence[int]:
        """Return the rows of every entry that views `storage`, tied tensors included."""
        key = id(storage)
        if key in self._many:
            return self._many[key]
        return (self._one[key],) if key in self._one else ()

    def others(self, tensor: TensorSpec) -> int:
        """Return how many entries besides one share a storage with `tensor`."""
        return max((len(self.rows(storage)) - 1 for storage in storages_of(tensor)), default=0)


def storages_of(tensor: TensorSpec) -> Iterator[StorageSpec]:
    """Yield the storages that a tensor or its parts view."""
    if tensor.storage is not None:
        yield tensor.storage
    if tensor.extra is not None:
        for part in tensor.extra.parts.values():
            yield from storages_of(part)


def find_sharing(outline: Outline, context: Context = SILENT) -> Sharing:
    """Return which entries of a checkpoint view which storage.

    Raises:
        Cancelled: by `context`.
    """
    sharing, total = Sharing(), len(outline)
    for row, value in enumerate(outline.values):
        if type(value) is TensorSpec:
            if value.storage is not None and value.extra is None:
                sharing.add(value.storage, row)
            else:
                for storage in storages_of(value):
                    sharing.add(storage, row)
        elif type(value) is StorageSpec:
            sharing.add(value, row)
        if row % EVERY == 0:
            context.step(row, total)
    return sharing
