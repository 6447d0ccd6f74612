"""Tensors made by hand over bytes in memory, as a format reader would hand them out."""

from __future__ import annotations

from ckpt_viewer.core.tensor import Extent, StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.sources import MemorySource


class Shelf:
    """A container with one storage for each key; counts the bytes that are read."""

    prefix = ""

    def __init__(self) -> None:
        self.extents: dict[str, Extent] = {}

    def extent(self, key):
        return self.extents[key]


class CountingSource(MemorySource):
    """Bytes in memory that know how many of them were read, and the largest read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.read, self.largest = 0, 0

    def read_into(self, offset, buffer):
        self.read += len(buffer)
        self.largest = max(self.largest, len(buffer))
        super().read_into(offset, buffer)


def made_tensor(data, dtype, shape, stride=None, offset=0, *, big_endian=False, source=None, start=0, **extra):
    """A tensor over `data` (anything with bytes), contiguous unless a stride is given."""
    source = source or CountingSource(bytes(data))
    shelf = Shelf()
    shelf.extents["0"] = Extent(source, start, source.size - start, big_endian)
    storage = StorageSpec("0", "cpu", "", source.size - start, shelf)
    if stride is None:
        stride, step = [], 1
        for size in reversed(shape):
            stride.insert(0, step)
            step *= size
    more = TensorExtra(**extra) if extra else None
    return TensorSpec(storage, dtype, tuple(shape), tuple(stride), offset, extra=more)


def made_from(array, dtype=None, **extra):
    """A contiguous tensor with the bytes of a numpy array."""
    return made_tensor(array.tobytes(), dtype or array.dtype.name, array.shape, **extra)
