"""What the header says of a selection, in one line. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.text import bytes_text, count_text, grouped, shape_text
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.gui.tree import ModuleGroup

if TYPE_CHECKING:
    from ckpt_viewer.analysis.packed import Packed

DOT = " · "
ARROW = " → "


def count_words(count: int, one: str, many: str = "") -> str:
    """Return ``1 value``, ``36 864 values``."""
    return f"{grouped(count)} {one if count == 1 else many or one + 's'}"


def device_text(node: Node, tensor: TensorSpec) -> str:
    """Return ``cuda:1 → cpu``: the tag as saved and what map_location makes of it."""
    return placed(tensor.location, mapped_device(node, tensor))


def mapped_device(node: Node, tensor: TensorSpec) -> str:
    """Return the device that map_location gives a tensor; ``?`` where the function that was given fails."""
    try:
        return node.checkpoint.locator.tensor(tensor)
    except BadMapLocation:
        return "?"


def placed(saved: str | None, mapped: str) -> str:
    """Return a saved tag and its target, or one of them where they do not differ."""
    if saved is None or saved == mapped:
        return mapped
    return f"{saved or repr(saved)}{ARROW}{mapped}"


def tensor_facts(node: Node, tensor: TensorSpec, sharing: int | None = None, packed: Packed | None = None) -> str:
    """Return shape, dtype, size, device and storage of a tensor in one line.

    Args:
        sharing: how many other entries share the storage; None while that is not known.
        packed: what it stands for; None if it is not packed, or that is not known yet.
    """
    facts = [shape_text(tensor.shape), tensor.dtype, count_words(tensor.numel, "value")]
    if packed is not None:
        facts.insert(0, packed_text(packed))
    if tensor.nbytes:
        facts.append(bytes_text(tensor.nbytes))
    if tensor.layout != "strided":
        facts.append(tensor.layout)
    facts.append(device_text(node, tensor))
    if tensor.storage is not None and tensor.storage.home is not None:
        facts.append(f"storage {tensor.storage.unique_key}{sharing_words(sharing)}")
    return DOT.join(facts)


def packed_text(packed: Packed) -> str:
    """Return what a packed weight stands for: ``GPTQ, 4 bits, for 4096 × 4096``."""
    words = [f"packed by {packed.scheme}"]
    if packed.bits is not None:
        words.append(f"{packed.bits} bits")
    if packed.shape is not None:
        words.append(f"for {shape_text(packed.shape)} {packed.dtype}".rstrip())
    return ", ".join(words)


def sharing_words(sharing: int | None) -> str:
    """Return what follows the name of a storage."""
    if sharing is None:
        return ""
    return f", shared with {count_words(sharing, 'other entry', 'other entries')}" if sharing else ", not shared"


def storage_facts(storage: StorageSpec) -> str:
    """Return what a storage entry is, in one line."""
    facts = [f"storage {storage.unique_key}", storage.dtype or "untyped", bytes_text(storage.nbytes)]
    return DOT.join([*facts, storage.location] if storage.location else facts)


def node_facts(node: Node, sharing: int | None = None, packed: Packed | None = None) -> str:
    """Return the line of facts for any node."""
    value = node.value
    if isinstance(value, TensorSpec):
        return tensor_facts(node, value, sharing, packed)
    if isinstance(value, StorageSpec):
        return storage_facts(value)
    facts = [node.type]
    if node.length is not None:
        facts.append(count_words(node.length, "entry", "entries"))
    elif isinstance(value, str):
        facts.append(count_words(len(value), "character"))
    elif isinstance(value, bytes):
        facts.append(count_words(len(value), "byte"))
    return DOT.join(facts)


def group_facts(group: ModuleGroup) -> str:
    """Return the line of facts for a module of a state_dict."""
    tensors = count_words(group.tensors, "tensor")
    return DOT.join(["module", tensors, f"{count_text(group.elements)} values", bytes_text(group.nbytes)])
