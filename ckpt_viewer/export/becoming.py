"""Which dtype each tensor gets when an export casts. Integers, booleans and quantised values are never cast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.errors import CannotExport

TARGETS = ("float32", "float16", "bfloat16")
"""What may be cast to."""
_FLOATS = frozenset(row.name for row in DTYPES.values() if row.kind == "float" and not row.bits)


def check_dtype(dtype: str) -> None:
    """Raise CannotExport for a dtype that nothing is cast to."""
    if dtype and dtype not in TARGETS:
        raise CannotExport(f"tensors are not cast to {dtype!r}; choose {', '.join(TARGETS[:-1])} or {TARGETS[-1]}")


def becomes(tensor: TensorSpec, dtype: str) -> str:
    """Return the dtype that a tensor is written in where floating-point ones become `dtype` (``""``: stay)."""
    return dtype if dtype and tensor.dtype in _FLOATS and not _stays(tensor) else tensor.dtype


def nbytes_as(tensor: TensorSpec, dtype: str) -> int:
    """Return the bytes that a tensor's elements take in another dtype."""
    return tensor.nbytes if dtype == tensor.dtype else tensor.numel * DTYPES[dtype].itemsize


def said_of_dtypes(tensors: Iterable[TensorSpec], dtype: str) -> Iterator[str]:
    """Yield a sentence for each kind of tensor that a cast leaves alone, or of which it may not be the whole story."""
    if not dtype:
        return
    counts: dict[str, int] = {}
    small = 0
    for tensor in tensors:
        reason = _stays(tensor)
        small += not reason and tensor.dtype.startswith("float8")
        if reason and tensor.dtype != dtype:
            counts[reason] = counts.get(reason, 0) + 1
    for reason, count in counts.items():
        yield f"{count} tensor{' keeps its' if count == 1 else 's keep their'} dtype: {reason}"
    if small:
        yield f"{small} of the tensors that are cast are 8-bit floats; a scale that lies elsewhere is not applied"


def _stays(tensor: TensorSpec) -> str:
    """Return why a tensor with a fraction in its values is not cast; ``""`` for those that are, and for all others."""
    row = DTYPES.get(tensor.dtype)
    if row is None:
        return ""
    if row.kind == "complex":
        return "complex numbers are not cast"
    if row.kind == "float" and tensor.extra is not None and tensor.extra.parts:
        return f"{tensor.layout} tensors are not cast"
    return ""
