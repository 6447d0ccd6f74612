"""What the storage panel lists of a tensor or a storage. No Qt but the rows' record."""

from __future__ import annotations

from collections.abc import Iterator

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.core.text import DIMENSIONS, bytes_text, grouped, shape_text
from ckpt_viewer.core.value import state_items
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.panels.facts import count_words, device_text
from ckpt_viewer.gui.panels.facts_table import Fact

MOST_ATTRIBUTES = 50


def tensor_rows(node: Node, tensor: TensorSpec, place: list[Fact]) -> list[Fact]:
    """Return the rows for a tensor; nothing is read. `place` is what `place_rows` found, empty until it has."""
    return list(_tensor_rows(node, tensor, place))


def _tensor_rows(node: Node, tensor: TensorSpec, place: list[Fact]) -> Iterator[Fact]:
    yield Fact("class", tensor.type)
    yield Fact("requires_grad", str(tensor.requires_grad))
    yield Fact("device", device_text(node, tensor))
    if tensor.stride is not None and len(tensor.stride) > DIMENSIONS:
        yield Fact("stride", shape_text(tensor.stride, ", "))
    elif tensor.stride is not None:
        note = "" if _is_contiguous(tensor) else "  (not contiguous)"
        yield Fact("stride", f"{_numbers(tensor.stride)}{note}", str(list(tensor.stride)))
    if tensor.storage is not None:
        yield from storage_rows(tensor.storage)
        yield from place
        yield Fact("offset in it", count_words(tensor.offset, "element"), str(tensor.offset))
        if 0 < tensor.nbytes < tensor.storage.nbytes:
            share = 100 * tensor.nbytes / tensor.storage.nbytes
            yield Fact("uses of it", f"{share:.3g} %; all of it is kept wherever this tensor is saved")
    if tensor.extra is not None:
        yield from _extra_rows(tensor.extra)
    yield Fact("layout", tensor.layout)
    told_whole = tensor.shape is not None and len(tensor.shape) <= DIMENSIONS
    yield Fact("shape", shape_text(tensor.shape), str(list(tensor.shape or ())) if told_whole else "")
    yield Fact("dtype", tensor.dtype)
    yield Fact("values", grouped(tensor.numel), str(tensor.numel))
    yield _bytes("bytes", tensor.nbytes)


def storage_rows(storage: StorageSpec) -> Iterator[Fact]:
    """Yield the rows for a storage; nothing is read."""
    if storage.home is None:
        yield Fact("storage", "none in this file")
        return
    yield Fact("storage", storage.unique_key)
    yield _bytes("storage bytes", storage.nbytes)
    yield Fact("storage dtype", storage.dtype or "untyped")
    yield Fact("saved on", storage.location if storage.location is not None else "no device is stated")


def place_rows(storage: StorageSpec, _context: Context) -> list[Fact]:
    """Return where in the file the bytes of a storage lie; this may read a few bytes, so call it in a job."""
    try:
        extent = storage.extent()
    except CheckpointError as error:
        return [Fact("in the file", str(error))]
    rows = [Fact("in the file", f"from byte {grouped(extent.offset)} of {extent.source.name}", str(extent.offset))]
    if extent.big_endian:
        rows.append(Fact("byte order", "big-endian"))
    if extent.crc is not None:
        rows.append(Fact("CRC-32", f"{extent.crc:08x}"))
    return rows


def _extra_rows(extra: TensorExtra) -> Iterator[Fact]:
    if extra.conj or extra.neg:
        flags = [name for name, is_set in (("conjugated", extra.conj), ("negated", extra.neg)) if is_set]
        yield Fact("view", f"the stored values {' and '.join(flags)}")
    if extra.quantization is not None:
        scheme, scale, zero_point, axis = extra.quantization
        yield Fact("quantisation", scheme)
        yield Fact("scale", _value(scale))
        yield Fact("zero point", _value(zero_point))
        if axis is not None:
            yield Fact("channel axis", str(axis))
    if extra.coalesced is not None:
        yield Fact("coalesced", str(extra.coalesced))
    for name, part in extra.parts.items():
        key = f"  storage {part.storage.unique_key}" if part.storage is not None else ""
        yield Fact(f"part {name}", f"{shape_text(part.shape)}  {part.dtype}{key}")
    if extra.sizes is not None:
        yield Fact("member sizes", _value(extra.sizes))
    if extra.data is not None:
        yield Fact("kept in", f"the pickle itself, {bytes_text(len(extra.data))}")
    if extra.arguments is not None:
        yield Fact("arguments", python_repr(extra.arguments))
    yield from _attributes(extra)


def _attributes(extra: TensorExtra) -> Iterator[Fact]:
    items = state_items(extra.state)
    for name, value in list(items.items())[:MOST_ATTRIBUTES]:
        yield Fact(f"attribute {name[:40]}", _value(value))
    if len(items) > MOST_ATTRIBUTES:
        yield Fact("attributes", f"{grouped(len(items) - MOST_ATTRIBUTES)} more in the tree")
    if extra.state is not None and not items:
        yield Fact("state", python_repr(extra.state))


def _value(value: object) -> str:
    if isinstance(value, TensorSpec):
        return f"tensor {shape_text(value.shape)}  {value.dtype}"
    return python_repr(value)  # type: ignore[arg-type]


def _bytes(name: str, count: int) -> Fact:
    return Fact(name, f"{bytes_text(count)}  ({grouped(count)} B)" if count >= 1000 else f"{count} B", str(count))


def _numbers(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(grouped, numbers)) if numbers else "none: a scalar"


def _is_contiguous(tensor: TensorSpec) -> bool:
    expected = 1
    for size, stride in zip(reversed(tensor.shape or ()), reversed(tensor.stride or ()), strict=False):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
