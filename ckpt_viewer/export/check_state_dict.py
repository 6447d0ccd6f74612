"""Compare a state_dict that was written with the tensors it was made from; their bytes are compared by `copier`."""

from __future__ import annotations

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.path import step_text
from ckpt_viewer.core.tensor import TensorExtra, TensorSpec
from ckpt_viewer.core.value import Mapping, Sequence, Value
from ckpt_viewer.export.blocks import StepBytes
from ckpt_viewer.export.comparer import differs
from ckpt_viewer.export.emit import tensors_in
from ckpt_viewer.export.pieces import Pieces
from ckpt_viewer.export.verify import same_shallow

_NOTHING = TensorExtra()


def check_state_dict(
    items: dict[str, Value], metadata: Value, pieces: Pieces, copy: Checkpoint, step: StepBytes
) -> None:
    """Raise WriteFailed unless `copy` holds `items` in their order, over `pieces`."""
    root = copy.contents.root
    if not isinstance(root, Mapping) or root.pairs[::2] != list(items):
        raise differs("the names of its entries")
    for name, (one, other) in zip(items, zip(items.values(), root.pairs[1::2], strict=True), strict=True):
        if not _same(one, other, pieces):
            raise differs(step_text(name))
        step(0)
    written = root.state.get("_metadata") if isinstance(root.state, Mapping) else None
    if not _same(metadata, written, pieces):
        raise differs("_metadata")
    found = bytearray(len(pieces.used))
    for value in (*root.pairs[1::2], written):
        for tensor in tensors_in(value):
            _check_size(tensor, pieces, found)
        step(0)
    if 0 in found:
        raise differs("the sizes of its storages")


def _check_size(tensor: TensorSpec, pieces: Pieces, found: bytearray) -> None:
    """Check the size of a tensor's storage, whose key has been compared, and mark it as found."""
    if tensor.storage is not None:
        number = int(tensor.storage.key)
        if not found[number] and tensor.storage.extent().nbytes != pieces.used[number].nbytes:
            raise differs("the sizes of its storages")
        found[number] = 1


def _same(one: Value, other: Value, pieces: Pieces) -> bool:
    if isinstance(one, TensorSpec):
        return isinstance(other, TensorSpec) and _same_tensor(one, other, pieces)
    if not same_shallow(one, other, _no_storages):
        return False
    a, b = _members(one), _members(other)
    return len(a) == len(b) and all(_same(p, q, pieces) for p, q in zip(a, b, strict=True))


def _no_storages(one: object, other: object) -> bool:
    return one is other is None


def _members(value: Value) -> list[Value] | tuple[Value, ...]:
    if isinstance(value, Mapping):
        return value.pairs
    if isinstance(value, Sequence):
        return value.items
    return value if isinstance(value, list | tuple) else ()


def _same_tensor(one: TensorSpec, other: TensorSpec, pieces: Pieces) -> bool:
    a, b = one.extra or _NOTHING, other.extra or _NOTHING
    form = (one.dtype, one.shape, one.stride, a.layout, a.conj, a.neg, a.coalesced, list(a.parts))
    if form != (other.dtype, other.shape, other.stride, b.layout, b.conj, b.neg, b.coalesced, list(b.parts)):
        return False
    if other.requires_grad or other.type != "torch.Tensor":
        return False
    if a.parts:
        return all(_same(a.parts[name], b.parts[name], pieces) for name in a.parts)
    piece, offset = pieces.of(one)
    storage = other.storage
    if storage is None or (storage.key, storage.location, other.offset) != (piece.key, "cpu", offset):
        return False
    if a.quantization is None or b.quantization is None:
        return a.quantization is b.quantization
    return all(_same(p, q, pieces) for p, q in zip(a.quantization, b.quantization, strict=True))
