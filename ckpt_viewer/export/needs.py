"""Which torch a state_dict needs to be loaded, where not every one since 1.6 will do. FORMATS 7.1, release notes."""

from __future__ import annotations

from collections.abc import Iterable

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorExtra, TensorSpec

_SINCE = {
    "float8_e4m3fn": (2, 1), "float8_e5m2": (2, 1), "float8_e4m3fnuz": (2, 2), "float8_e5m2fnuz": (2, 2),
    "uint16": (2, 3), "uint32": (2, 3), "uint64": (2, 3), "complex32": (2, 1), "bits8": (2, 1), "bits16": (2, 1),
    "bits1x8": (2, 1), "bits2x4": (2, 1), "bits4x2": (2, 1), "float8_e8m0fnu": (2, 7), "float4_e2m1fn_x2": (2, 8),
}  # fmt: skip
"""dtype -> release that can load it; those whose storage is untyped need at least 2.1 (`_rebuild_tensor_v3`)."""
_UNTYPED, _BITS, _COALESCED, _COMPRESSED = (2, 1), (2, 0), (2, 1), (1, 13)
_NOTHING = TensorExtra()


def needed_torch(tensors: Iterable[TensorSpec], context: Context = SILENT) -> list[str]:
    """Return a sentence that says which torch is needed, and why; nothing where 1.6 does."""
    newest, why = (1, 6), ""
    for tensor in stepped(tensors, context):
        since, what = _since(tensor)
        if since > newest:
            newest, why = since, what
    if not why:
        return []
    return [f"torch {newest[0]}.{newest[1]} or newer is needed to load the file, because of {why}"]


def _since(tensor: TensorSpec) -> tuple[tuple[int, int], str]:
    if tensor.dtype in _SINCE:
        return _SINCE[tensor.dtype], f"the dtype {tensor.dtype}"
    extra = tensor.extra or _NOTHING
    if extra.conj or extra.neg:
        return _BITS, f"a tensor that is kept {'conjugated' if extra.conj else 'negated'}"
    return (1, 6), ""
