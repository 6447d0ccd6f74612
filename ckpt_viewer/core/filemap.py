"""Read-only maps of plain files, for callers who want a tensor without a copy.

One map for each open file, however many tensors are asked for: the system allows a process about 65,000 of them.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ckpt_viewer.core.tensor import bottom

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array, View

_maps: WeakKeyDictionary[Any, mmap.mmap | None] = WeakKeyDictionary()


def mapped(view: View, dtype: np.dtype[Any]) -> Array | None:
    """Return a read-only array over the file itself; None where the bytes are no plain part of an unchanged file."""
    source, start = bottom(view.source, view.start)
    if sys.byteorder != "little" or not hasattr(source, "identity"):
        return None
    if source not in _maps:
        _maps[source] = _map_file(source)
    whole = _maps[source]
    if whole is None or start + view.span * view.item > len(whole):
        return None
    strides = [stride * view.item if n > 1 else 0 for n, stride in zip(view.shape, view.stride, strict=True)]
    try:
        array: Array = np.ndarray(view.shape, dtype, whole, start, strides)
    except ValueError:  # an expanded view may have more elements than numpy can count
        return None
    return array


def _map_file(source: Any) -> mmap.mmap | None:
    """Map the file that `source` reads, by its name: only if that still is the very file that was opened."""
    try:
        fd = os.open(source.name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(fd)
        found = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ) if found == source.identity else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
