"""`ls`: every entry of a checkpoint, as the JSON of INTERFACE or as a tree for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from ckpt_viewer.analysis.overview import Overview, overview
from ckpt_viewer.analysis.packed import Packed, PackedWeights
from ckpt_viewer.analysis.safety import globals_json, verdict_json
from ckpt_viewer.analysis.side_by_side import SideBySide
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import kind_of, length_of, type_of
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Step, python_repr, step_json
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Instance, Literal, Mapping, NdArray, Sequence, Value

VALUE_LIMIT = 4096
"""Characters of a string or bytes value that are listed."""
PIECE = 1 << 15
"""Characters after which what there is is handed out as one piece of text."""
_BETWEEN = ",\n"
_quote = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode


def listing_json(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield the document of ``ls --json`` in pieces, so that a large one is never in memory as a whole."""
    view = overview(checkpoint)
    head = {
        "schema": 1,
        "file": checkpoint.path,
        "bytes": checkpoint.size,
        "format": checkpoint.format,
        "kind": view.kind,
        "map_location": checkpoint.locator.text,
        "summary": _summary(view),
        "roles": {name: [[step_json(step) for step in path] for path in paths] for name, paths in view.roles.items()},
    }
    yield _encode(head)[:-1] + ', "globals": ['
    yield from _pieces(map(_encode, globals_json(checkpoint)), ", ")
    rest = {
        "weights_only": verdict_json(checkpoint),
        "findings": [
            {**finding._asdict(), "path": [step_json(step) for step in finding.path]} for finding in view.findings
        ],
    }
    yield "], " + _encode(rest)[1:-1] + ', "entries": [\n'
    yield from _pieces(_entries(checkpoint, view.packed), _BETWEEN)
    yield "\n]}\n"


def _pieces(texts: Iterator[str], between: str) -> Iterator[str]:
    """Yield texts joined, many at once."""
    before, size = "", 0
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        size += len(text)
        if size > PIECE:
            yield before + between.join(batch)
            before, size = between, 0
            batch.clear()
    if batch:
        yield before + between.join(batch)


def _summary(view: Overview) -> dict[str, int | None]:
    return {
        "tensors": view.tensors,
        "parameters": view.parameters,
        "tensor_bytes": view.tensor_bytes,
        "storages": view.storages,
        "storage_bytes": view.storage_bytes,
    }


def _entries(checkpoint: Checkpoint, packed: PackedWeights) -> Iterator[str]:
    """Yield one JSON object for each row; those of plain tensors side by side come together. The path of a parent is
    encoded once and shared by its children.
    """
    outline, tensors = checkpoint.outline, _TensorText(checkpoint, packed)
    steps, parents, ends, aliases = outline.steps, outline.parents, outline.ends, outline.aliases
    containers: list[tuple[int, str]] = [(-1, "")]  # those that the row is in, and what stands before its own step
    above, before = -1, ""
    same: tuple[int | None, str] = (None, "")  # of the last container that was described before, as tensor_text has it
    listed = 0
    for row, value in enumerate(outline.values):
        if row < listed:
            continue
        if parents[row] != above:
            above = parents[row]
            while containers[-1][0] != above:
                containers.pop()
            before = containers[-1][1]
        step, kind = steps[row], type(value)
        if kind is TensorSpec and (together := tensors.together(row, before)):
            yield _BETWEEN.join(together)
            listed = row + len(together)
            continue
        inner = f"{before}{step}" if type(step) is int else f"{before}{_step_text(step)}" if row else ""
        if ends[row] > row + 1:
            containers.append((row, f"{inner}, " if row else ""))
        if kind is TensorSpec:
            yield f'{{"path": [{inner}], {tensors.text(value)}}}'  # type: ignore[arg-type]
        elif kind in _QUICK:
            yield f'{{"path": [{inner}], {_quick_text(value)}}}'
        elif kind in _CONTAINERS and row not in aliases:
            yield f'{{"path": [{inner}], {_container_text(value)}}}'
        else:
            first = aliases.get(row)
            if first is None or first != same[0]:
                same = first, _encode(_entry(outline, row, value))[1:]
            yield f'{{"path": [{inner}], {same[1]}'


def _quick_text(value: Value) -> str:
    """Return the fields of a plain scalar, of which a file may have millions: the text that `_entry` would give."""
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return f'"kind": "int", "type": "int", "value": {value}'
    if type(value) is str and len(value) <= VALUE_LIMIT:
        return f'"kind": "str", "type": "str", "value": {_quote(value)}'
    if value is None:
        return '"kind": "none", "type": "NoneType", "value": null'
    if type(value) is float and math.isfinite(value):
        return f'"kind": "float", "type": "float", "value": {value!r}'
    return _encode({"kind": kind_of(value), "type": type_of(value), **scalar_fields(value)})[1:-1]


def _container_text(value: Value) -> str:
    return f'"kind": "{kind_of(value)}", "type": {_quote(type_of(value))}, "length": {length_of(value)}'


_QUICK = frozenset({int, float, bool, type(None), str})
_CONTAINERS = frozenset({list, tuple, Mapping, Sequence, Instance})


def _step_text(step: Step) -> str:
    return _quote(step) if type(step) is str else _encode(step_json(step))


class _TensorText:
    """Writes the fields of a tensor as JSON; what many tensors have in common is encoded once."""

    def __init__(self, checkpoint: Checkpoint, packed: PackedWeights) -> None:
        self.locator, self.packed = checkpoint.locator, packed
        self._alike: dict[tuple[Any, ...], str] = {}
        self._last: tuple[TensorSpec | None, str] = (None, "")
        self._outline, self._alone = checkpoint.outline, SideBySide(checkpoint.outline)
        self._together = not packed.found and not callable(checkpoint.locator.map_location)

    def together(self, row: int, before: str) -> list[str]:
        """Return the entries of plain tensors from `row` on that lie in one container; none where they are few.

        Args:
            before: what stands in their paths before their own steps.
        """
        end = self._alone.end(row) if self._together else 0
        if not end:
            return []
        tensors: list[TensorSpec] = self._outline.values[row:end]  # type: ignore[assignment]  # only such
        texts: list[str] = []
        for forms in zip(map(_FORM, tensors), map(_STORAGE_FORM, tensors), strict=True):
            text = self._alike.get(forms)
            if text is None:
                text = self._alike[forms] = self._write_shared(tensors[len(texts)])
            texts.append(text)
        names, keys = map(_quote, self._outline.steps[row:end]), map(_quote, map(_KEY, tensors))  # type: ignore[arg-type]
        return [
            f'{{"path": [{before}{name}], {text}, "storage": {key}}}'
            for name, text, key in zip(names, texts, keys, strict=True)
        ]

    def text(self, tensor: TensorSpec) -> str:
        """Return the fields of a tensor's entry without their braces; for one tensor many times in a row at no cost."""
        if tensor is not self._last[0]:
            self._last = (tensor, self._write(tensor))
        return self._last[1]

    def _write(self, tensor: TensorSpec) -> str:
        known = self.packed.of(tensor) if self.packed.found else None
        if known is not None:
            fields = tensor_entry(tensor, self.locator.tensor(tensor))
            return _encode({**fields, "packed": _packed_fields(known)})[1:-1]
        storage = tensor.storage
        if storage is None or tensor.extra is not None:
            return _encode(tensor_entry(tensor, self.locator.tensor(tensor)))[1:-1]
        forms = tensor.form, storage.form, self.locator.storage(storage)
        shared = self._alike.get(forms)
        if shared is None:
            shared = self._alike[forms] = self._write_shared(tensor)
        return f'{shared}, "storage": {_quote(storage.unique_key)}'

    def _write_shared(self, tensor: TensorSpec) -> str:
        """Return the fields of a plain tensor but for its storage, which are those of all that are alike."""
        fields = tensor_entry(tensor, self.locator.tensor(tensor))
        del fields["storage"]
        return _encode(fields)[1:-1]


_FORM, _STORAGE_FORM, _KEY = map(attrgetter, ("form", "storage.form", "storage.unique_key"))


def _packed_fields(packed: Packed) -> dict[str, Any]:
    fields = {"scheme": packed.scheme, "bits": packed.bits, "shape": packed.shape, "dtype": packed.dtype or None}
    return {**fields, "helpers": packed.helpers}


def tensor_entry(tensor: TensorSpec, device: str) -> dict[str, Any]:
    """Return the fields of a tensor's entry, path excluded."""
    fields: dict[str, Any] = {
        "kind": "tensor",
        "type": tensor.type,
        "shape": tensor.shape,
        "stride": tensor.stride,
        "dtype": tensor.dtype or None,
        "storage_offset": tensor.offset,
        "numel": tensor.numel,
        "nbytes": tensor.nbytes,
        "storage": tensor.storage.unique_key if tensor.storage is not None else None,
        "location": tensor.location,
        "device": device,
        "layout": tensor.layout,
        "requires_grad": tensor.requires_grad,
    }
    extra = tensor.extra
    if extra is not None:
        fields.update({name: True for name in ("conj", "neg") if getattr(extra, name)})
        if extra.quantization is not None:
            fields["quantization"] = extra.quantization.scheme
        if extra.parts:
            fields["parts"] = {name: tensor_entry(part, device) for name, part in extra.parts.items()}
    return fields


def _entry(outline: Outline, row: int, value: Value) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": kind_of(value), "type": type_of(value)}
    first = outline.aliases.get(row)
    if first is not None:
        return {**fields, "same_as": [step_json(step) for step in outline.path(first)]}
    if isinstance(value, StorageSpec):
        return {**fields, **_storage_fields(value)}
    if isinstance(value, NdArray):
        return {**fields, "shape": value.shape, "dtype": value.dtype}
    length = length_of(value)
    if length is not None:
        return {**fields, "length": length}
    return {**fields, **scalar_fields(value)}


def _storage_fields(storage: StorageSpec) -> dict[str, Any]:
    return {
        "storage": storage.unique_key,
        "dtype": storage.dtype or None,
        "numel": storage.numel,
        "nbytes": storage.nbytes,
        "location": storage.location,
    }


def scalar_fields(value: Value) -> dict[str, Any]:
    """Return `value` (and `truncated`) of a scalar as JSON can hold it."""
    if value is None or type(value) is bool:
        return {"value": value}
    if type(value) is int:
        return {"value": value} if -(1 << 63) <= value < 1 << 63 else _cut(_big(value))
    if type(value) is float:
        return {"value": value if math.isfinite(value) else non_finite(value)}
    if type(value) is str:
        return _cut(value)
    if isinstance(value, Literal):
        return _cut(value.text)
    if isinstance(value, bytes):
        cut = len(value) > VALUE_LIMIT
        return {"value": value[:VALUE_LIMIT].hex(), **({"truncated": True} if cut else {}), "length": len(value)}
    return {"value": python_repr(value)}


def non_finite(value: float) -> str:
    """Return the string that stands for NaN or an infinity in our JSON."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _big(value: int) -> str:
    return str(value) if value.bit_length() < 10_000 else hex(value)


def _cut(text: str) -> dict[str, Any]:
    return {"value": text[:VALUE_LIMIT], "truncated": True} if len(text) > VALUE_LIMIT else {"value": text}
