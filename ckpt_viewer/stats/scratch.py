"""Buffers that blocks are worked on in: fresh ones of half a megabyte cost more than the arithmetic on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ckpt_viewer.core.strided import Array


class Scratch:
    """Buffers that are kept between calls. For one thread."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def take(self, name: str, size: int, dtype: type[Any]) -> Array:
        """Return `size` elements of buffer `name`, with whatever they held."""
        found = self._buffers.get(name)
        if found is None or found.size < size or found.dtype != dtype:
            found = self._buffers[name] = np.empty(size, dtype)
        return found[:size]
