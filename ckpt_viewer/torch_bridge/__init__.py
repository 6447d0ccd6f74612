"""Everything that needs torch itself: devices, tensors, the words of torch.load; `proof` checks what was written.

The only module that imports torch. Importing it takes a second and stalls other threads, so the window reaches it
through the worker process only (see `worker`).
"""

from __future__ import annotations

import os
import platform
import warnings
from typing import Any

import torch

from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.device import DeviceInfo
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.stored import open_values
from ckpt_viewer.core.strided import View
from ckpt_viewer.core.tensor import Quantization, TensorSpec
from ckpt_viewer.core.value import Sequence, Value
from ckpt_viewer.errors import CheckpointError, Damaged, Unsupported

_torch: Any = torch
"""For the functions that torch has no types for."""
WASTE = 4
"""A view is loaded with its strides if its memory is at most this many times its elements, else made contiguous."""
_REFUSALS = (RuntimeError, AssertionError, AttributeError, NotImplementedError, ValueError, TypeError, ImportError)


# --- devices ------------------------------------------------------------------------------------------------------


def devices() -> list[DeviceInfo]:
    """Return the devices that torch can use here, the CPU first."""
    found = [DeviceInfo("cpu", platform.processor() or platform.machine(), _main_memory())]
    for kind in ("cuda", "xpu", "mtia", "hpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            found += [_indexed(module, kind, index) for index in range(module.device_count())]
    if torch.backends.mps.is_available():
        found.append(DeviceInfo("mps", "Apple GPU", torch.mps.recommended_max_memory()))
    return found


def _indexed(module: Any, kind: str, index: int) -> DeviceInfo:
    try:
        facts = module.get_device_properties(index)
    except _REFUSALS:
        facts = None
    return DeviceInfo(f"{kind}:{index}", getattr(facts, "name", ""), getattr(facts, "total_memory", None))


def _main_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def load_error(tag: str) -> str:
    """Return what `torch.load` would say here about a storage that goes to `tag`; ``""`` if it would load."""
    try:
        _torch.serialization.default_restore_location(_torch.UntypedStorage(0), tag)
    except _REFUSALS as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""


# --- tensors ------------------------------------------------------------------------------------------------------


def to_torch(tensor: TensorSpec, device: str) -> torch.Tensor:
    """Return a tensor as `torch.load` would make it, on `device`, from a copy of the bytes.

    Raises:
        CheckpointError: its bytes cannot be read, this torch cannot make it, or the device is not here (torch's words).
    """
    problem = load_error(device) if device not in ("cpu", "meta") else ""
    if problem:
        raise CheckpointError(problem)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about prototypes: nested, complex32, quantised
            made = _make(tensor, on_meta=device == "meta")
            if made.device.type not in (device, "meta"):
                made = made.to(device)
            if tensor.requires_grad and (made.is_floating_point() or made.is_complex()):
                made.requires_grad_()
            return made
    except _REFUSALS as error:
        raise CheckpointError(
            f"torch {torch.__version__} cannot make this tensor: {' '.join(str(error).split())}"
        ) from error


def _make(tensor: TensorSpec, *, on_meta: bool) -> torch.Tensor:
    parts = {name: _make(part, on_meta=on_meta) for name, part in tensor.extra.parts.items()} if tensor.extra else {}
    if tensor.layout == "sparse_coo" and tensor.shape is not None:
        coalesced = tensor.extra.coalesced if tensor.extra else None
        return torch.sparse_coo_tensor(
            parts["indices"], parts["values"], tensor.shape, check_invariants=not on_meta, is_coalesced=coalesced
        )
    if tensor.layout.startswith("sparse_") and tensor.shape is not None:
        layout, check = getattr(torch, tensor.layout), not on_meta
        made: torch.Tensor = _torch.sparse_compressed_tensor(
            *parts.values(), tensor.shape, layout=layout, check_invariants=check
        )
        return made
    if tensor.layout == "jagged":
        return torch.nested.nested_tensor_from_jagged(parts["values"], _offsets(parts), parts.get("lengths"))
    if "buffer" in parts:
        return _nested(tensor, parts["buffer"])
    if on_meta or (tensor.location == "meta" and tensor.storage is None):
        return _on_meta(tensor)
    return _dense(tensor)


def _dtype(tensor: TensorSpec) -> torch.dtype:
    dtype = getattr(torch, tensor.dtype, None) if tensor.dtype in DTYPES else None
    if not isinstance(dtype, torch.dtype):
        raise Unsupported(f"torch {torch.__version__} has no dtype {tensor.dtype!a}; install a newer torch")
    return dtype


def _on_meta(tensor: TensorSpec) -> torch.Tensor:
    if tensor.shape is None:
        raise CheckpointError(missing_values(tensor))
    stride = tensor.stride if tensor.stride is not None else ()
    return torch.empty_strided(tensor.shape, stride, dtype=_dtype(tensor), device="meta")


def _dense(tensor: TensorSpec) -> torch.Tensor:
    found, dtype = open_values(tensor), _dtype(tensor)
    shape, stride = tensor.shape or (), tensor.stride or ()
    extra, packed = tensor.extra, DTYPES[tensor.dtype].per_byte > 1
    if not tensor.numel:
        memory = _torch.UntypedStorage(0)
    elif packed or found.view.span > WASTE * found.view.numel:
        from ckpt_viewer.core.decode import element_bytes

        memory = _storage(bytearray(b"".join(element_bytes(tensor))))
        stride = View(found.view.source, 0, shape, stride, 1).row_major
    else:
        memory = _read(found.view)
    if extra is not None and extra.quantization is not None:
        return _quantised(memory, dtype, shape, stride, extra.quantization)
    made = torch.empty(0, dtype=dtype).set_(memory, 0, shape, stride)
    if extra is not None and extra.conj and made.is_complex():
        made = made.conj()
    return torch._neg_view(made) if extra is not None and extra.neg else made


def _read(view: View) -> torch.UntypedStorage:
    import numpy as np

    buffer = bytearray(view.span * view.item)
    view.source.read_into(view.start, memoryview(buffer))
    if view.swap:
        np.frombuffer(buffer, f"u{view.swap}").byteswap(inplace=True)
    return _storage(buffer)


def _storage(buffer: bytearray) -> torch.UntypedStorage:
    return torch.frombuffer(buffer, dtype=torch.uint8).untyped_storage()


def _quantised(
    memory: torch.UntypedStorage,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    given: Quantization,
) -> torch.Tensor:
    storage = _torch.storage.TypedStorage(wrap_storage=memory, dtype=dtype, _internal=True)
    parameters: tuple[Any, ...]
    if given.axis is None:
        parameters = (torch.per_tensor_affine, _one(given.scale), _one(given.zero_point))
    else:
        scales, zeros = _vector(given.scale), _vector(given.zero_point)
        scheme = torch.per_channel_affine_float_qparams if zeros.is_floating_point() else torch.per_channel_affine
        parameters = (scheme, scales, zeros, given.axis)
    made: torch.Tensor = _torch._utils._rebuild_qtensor(storage, 0, shape, stride, parameters, False, {})
    return made


def _one(value: Value) -> float | int:
    if isinstance(value, int | float):
        return value
    return _vector(value).item()


def _vector(value: Value) -> torch.Tensor:
    if isinstance(value, TensorSpec):
        return _dense(value)
    items = value.items if isinstance(value, Sequence) else value
    return torch.tensor(items)


def _offsets(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the offsets of a jagged tensor's members; torch trusts them, so they are checked here."""
    offsets = parts["offsets"]
    if offsets.device.type != "meta":
        steps = offsets.diff()
        if offsets.dim() != 1 or (steps < 0).any() or offsets[0] < 0 or offsets[-1] > parts["values"].shape[0]:
            raise Damaged("the offsets of a jagged tensor lead out of its values")
    return offsets


def _nested(tensor: TensorSpec, buffer: torch.Tensor) -> torch.Tensor:
    """Return a nested tensor of members that torch itself cuts out of the buffer, with its checks."""
    extra = tensor.extra
    assert extra is not None
    given = [extra.sizes, *(extra.arguments if isinstance(extra.arguments, tuple) else ())]
    rows = [_make(value, on_meta=False).tolist() if isinstance(value, TensorSpec) else value for value in given[:3]]
    if len(rows) != 3 or not all(isinstance(part, list) for part in rows):
        raise Unsupported("a nested tensor without sizes, strides and offsets; look at its buffer")
    members = [buffer.as_strided(*member) for member in zip(*rows, strict=True)]
    return torch.nested.nested_tensor(members, dtype=_dtype(tensor), device=buffer.device)
