"""What torch.load says of a file, in the words of our tree, and the comparison of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.path import key_step
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.formats import open_checkpoint


def tensors_of(
    value: Any, path: tuple[Any, ...] = (), above: tuple[int, ...] = ()
) -> Iterator[tuple[Any, torch.Tensor]]:
    """Yield (path, tensor) of everything that torch loaded, as our paths are made; what is met again is walked once."""
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if id(value) in above:
        return
    inside = (*above, id(value))
    if isinstance(value, dict):
        attributes = getattr(value, "__dict__", {})
        for key, child in (*attributes.items(), *value.items()):
            yield from tensors_of(child, (*path, key_step(key)), inside)
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from tensors_of(child, (*path, index), inside)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        for key, child in vars(value).items():
            yield from tensors_of(child, (*path, key), inside)


def load(path: Path) -> tuple[Any, list[str]]:
    """torch.load onto the CPU; also the device tags, in the order of the storages."""
    tags: list[str] = []

    def keep(storage: Any, tag: str) -> Any:
        tags.append(tag)
        return storage

    return torch.load(path, map_location=keep, weights_only=False), tags


def compare(path: Path, loaded: Any, *, values: bool = True) -> int:
    """Assert that we see what torch loaded; return how many tensors there were."""
    with open_checkpoint(path) as checkpoint:
        ours = {checkpoint.outline.path(row): tensor for row, tensor in checkpoint.outline.tensors()}
        theirs = dict(tensors_of(loaded))
        assert list(ours) == list(theirs)
        for where, tensor in theirs.items():
            assert described(ours[where]) == described_by_torch(tensor), where
            if values:
                compare_values(checkpoint, ours[where], tensor)
        assert sharing(ours) == torch_sharing(theirs)
        return len(ours)


def described(tensor: TensorSpec) -> dict[str, Any]:
    return {
        "dtype": f"torch.{tensor.dtype}",
        "shape": tensor.shape,
        "stride": tensor.stride,
        "offset": tensor.offset,
        "requires_grad": tensor.requires_grad,
        "type": tensor.type,
        "conj": bool(tensor.extra and tensor.extra.conj),
        "neg": bool(tensor.extra and tensor.extra.neg),
    }


def described_by_torch(tensor: torch.Tensor) -> dict[str, Any]:
    parameter = isinstance(tensor, torch.nn.Parameter)
    return {
        "dtype": str(tensor.dtype),
        "shape": tuple(tensor.shape),
        "stride": tensor.stride(),
        "offset": tensor.storage_offset(),
        "requires_grad": tensor.requires_grad,
        "type": "torch.nn.parameter.Parameter" if parameter else "torch.Tensor",
        "conj": tensor.is_conj(),
        "neg": tensor.is_neg(),
    }


def compare_values(checkpoint: Checkpoint, ours: TensorSpec, theirs: torch.Tensor) -> None:
    """Assert that every bit is the same (as stored, so that NaN equals itself)."""
    from ckpt_viewer.core.decode import element_bytes

    found = b"".join(map(bytes, element_bytes(ours, resolve=True)))
    whole = theirs.detach().resolve_conj().resolve_neg().contiguous()
    whole = whole.clone() if whole.numel() else whole
    assert found == (bytes(whole.view(-1).view(torch.uint8).numpy()) if whole.numel() else b"")


def sharing(tensors: dict[Any, TensorSpec]) -> list[list[Any]]:
    """Paths whose tensors view one storage; storages without bytes left out."""
    groups: dict[str, list[Any]] = {}
    for path, tensor in tensors.items():
        if tensor.storage is not None and tensor.storage.nbytes:
            groups.setdefault(tensor.storage.unique_key, []).append(path)
    return sorted(groups.values(), key=str)


def torch_sharing(tensors: dict[Any, torch.Tensor]) -> list[list[Any]]:
    groups: dict[int, list[Any]] = {}
    for path, tensor in tensors.items():
        if tensor.untyped_storage().nbytes():
            groups.setdefault(tensor.untyped_storage()._cdata, []).append(path)
    return sorted(groups.values(), key=str)


def numbers(checkpoint: Checkpoint, pointer: str) -> Any:
    """Values at a pointer as Python numbers."""
    return numpy.asarray(checkpoint[pointer].numpy(copy=True)).tolist()
