"""Are a tensor's size, stride and offset sane, and do they stay inside its storage?"""

from __future__ import annotations

from math import prod

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import StorageSpec
from ckpt_viewer.core.value import Sequence, Value

MAX_DIMS = 64
"""torch's own limit."""
MAX_ELEMENTS = 1 << 62


def sizes(value: Value) -> tuple[int, ...] | None:
    """Return a tuple of non-negative ints from a pickled size or stride; None if it is none."""
    items: Value = value.items if isinstance(value, Sequence) else value
    if not isinstance(items, tuple | list) or len(items) > MAX_DIMS:
        return None
    result = []
    for item in items:
        if type(item) is not int or not 0 <= item < MAX_ELEMENTS:
            return None
        result.append(item)
    return tuple(result)


def countable(size: tuple[int, ...]) -> bool:
    """Whether the number of elements fits into 64 bits, as torch demands it."""
    return prod(size) < MAX_ELEMENTS


def problem(storage: StorageSpec, dtype: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> str:
    """Return a sentence if the view leaves its storage, else ``""``. All with Python's unbounded integers."""
    if len(size) != len(stride):
        return f"{len(size)} sizes and {len(stride)} strides"
    if 0 in size:
        return ""
    if not countable(size):
        return "it has more elements than torch can count"
    row = DTYPES[dtype]
    if row.per_byte > 1:
        needed = prod(size[:-1]) * -(-(size[-1] if size else 1) // row.per_byte)
        return "" if needed <= storage.nbytes else f"it needs {needed} bytes of a storage of {storage.nbytes}"
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if (last + 1) * row.itemsize <= storage.nbytes:
        return ""
    return f"it needs {(last + 1) * row.itemsize} bytes of a storage of {storage.nbytes}"
