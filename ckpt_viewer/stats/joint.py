"""One of several tensors that lie among each other in a file, so that they are counted piece by piece, in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.reading import open_reading
from ckpt_viewer.stats.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.stats.window import Window

ENOUGH = 1 << 14
"""Values that are worth being counted at once."""


class Reader:
    """Counts one item of a joint task.

    Args:
        number: of the item. window: what its bytes are read through.

    Raises:
        CheckpointError: it has no values.
    """

    def __init__(self, number: int, tensor: TensorSpec, window: Window) -> None:
        self.number, self._tensor = number, tensor
        self._reading = open_reading(tensor)
        self._reading.blocks.through(window)
        self._sketch = Sketch(self._reading.store)
        self._part = range(0)
        self._waiting: list[Array] = []
        self._size = 0

    def places(self) -> Iterator[tuple[int, Reader]]:
        """Yield where each piece lies; `count` is to be called before the next is asked for."""
        for place, number in self._reading.blocks.places():
            self._part = range(number, number + 1)
            yield place, self

    def count(self) -> None:
        """Count the piece that `places` has come to."""
        for block in self._reading.read(self._part):
            if not self._waiting and block.size >= ENOUGH:
                self._sketch.add(block)
                continue
            self._waiting.append(block.copy())
            self._size += block.size
            if self._size >= ENOUGH:
                self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._sketch.add(np.concatenate(self._waiting))
            self._waiting, self._size = [], 0

    def profile(self, entries: int) -> Profile:
        """Return the numbers of all pieces."""
        self._flush()
        reading = self._reading
        return Profile.of(self._tensor.dtype, reading.over, self._sketch.counted(), reading.repeats, entries)
