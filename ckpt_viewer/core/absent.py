"""Tensors without dense values of their own, and where to look instead."""

from __future__ import annotations

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import TensorSpec


def missing_values(tensor: TensorSpec) -> str:
    """Return in a sentence why a tensor has no dense values of its own; ``""`` if it has."""
    extra = tensor.extra
    if extra and extra.parts:
        parts = " and ".join(extra.parts)
        if extra.rebuilt:
            return f"{tensor.type} keeps its values in other tensors; look at its {parts}"
        kind = "nested" if extra.layout in ("strided", "jagged") else extra.layout
        return f"a {kind} tensor has no dense values; look at its {parts}"
    if tensor.location == "meta" and (tensor.storage is None or tensor.storage.home is None):
        return "a meta tensor has no values, neither here nor in torch; look at its shape and dtype"
    if tensor.shape is None:
        return "this tensor was not initialised when it was saved and has no values; look at its type"
    row = DTYPES.get(tensor.dtype)
    if row is not None and row.bits:
        return f"torch has no numbers of {row.bits} bits; look at the shape and dtype of this tensor"
    if extra and extra.data is not None:
        return ""
    if tensor.storage is None:
        return f"{tensor.type} keeps its values in its attributes; look at the tensors below it"
    return "" if tensor.storage.home is not None else "the storage of this tensor has no bytes in this file; look at ls"


def has_planes(tensor: TensorSpec) -> bool:
    """Whether a tensor has dense values in at least two dimensions."""
    return tensor.shape is not None and len(tensor.shape) >= 2 and tensor.numel >= 2 and not missing_values(tensor)
