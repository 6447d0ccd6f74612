"""How a scan reads: a source whose last chunks are kept, so that bytes which several views look at are read once; a
buffer for each thread.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import Bytes

CHUNK, KEPT = 1 << 20, 8
ALIGNMENT = 64


class Buffer:
    """Memory for up to `size` bytes of a source. For one thread."""

    def __init__(self, size: int) -> None:
        self._memory = np.empty(size + ALIGNMENT, np.uint8)

    def read(self, source: Any, start: int, stop: int, aligned: int) -> Array:
        """Return bytes of a source, valid until the next are read; the one at `aligned` has an aligned address."""
        shift = -(self._memory.ctypes.data + aligned - start) % ALIGNMENT
        memory = self._memory[shift : shift + stop - start]
        source.read_into(start, memory.data)
        return memory


class Window:
    """Reads a source in chunks. For one thread.

    Attributes:
        name, size: of the source. done: bytes read so far.
    """

    def __init__(self, source: Bytes) -> None:
        self._source = source
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        self.name, self.size, self.done = source.name, source.size, 0

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises SourceError."""
        data = bytearray(size)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises SourceError."""
        if offset < 0 or offset + len(buffer) > self.size:
            self._source.read_into(offset, buffer)  # says what is wrong
        done = 0
        while done < len(buffer):
            number, at = divmod(offset + done, CHUNK)
            part = self._chunk(number)[at : at + len(buffer) - done]
            buffer[done : done + len(part)] = part
            done += len(part)

    def _chunk(self, number: int) -> bytes:
        chunk = self._chunks.get(number)
        if chunk is None:
            start = number * CHUNK
            chunk = self._chunks[number] = self._source.read_at(start, min(CHUNK, self.size - start))
            self.done += len(chunk)
            while len(self._chunks) > KEPT:
                self._chunks.popitem(last=False)
        else:
            self._chunks.move_to_end(number)
        return chunk
