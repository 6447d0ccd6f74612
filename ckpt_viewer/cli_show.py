"""The command ``show``: a value, or a slice of a tensor."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.expand import children, count_below, length_of, type_of
from ckpt_viewer.core.model import is_whole_module
from ckpt_viewer.core.path import python_repr, step_json
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.text import bytes_text, counted, escape_text, shape_text, shorten
from ckpt_viewer.core.value import Literal, NdArray, Value
from ckpt_viewer.errors import CheckpointError, Unsupported

if TYPE_CHECKING:
    from types import EllipsisType

    from ckpt_viewer.core.node import Node
    from ckpt_viewer.core.strided import Array

    Index = tuple[int | slice | EllipsisType, ...]

MOST_VALUES = 1_000_000
"""Values that are printed at once."""
WHOLE = 10_000
"""Values up to which a tensor is printed whole."""
CORNER = 6
"""Rows and columns that are printed of a tensor too large to be printed whole."""
LINES = 100
"""Members of a container that are printed."""
BATCH = 1000
"""Members that are written at once as JSON."""
_PART = re.compile(r"\s*(?:(-?\d{1,18})|(-?\d{1,18})?\s*:\s*(-?\d{1,18})?\s*(?::\s*(-?\d{1,18})?)?|(\.\.\.))\s*")


def run_show(options: argparse.Namespace) -> int:
    """Print the value at a pointer; raises CheckpointError."""
    from ckpt_viewer.cli_progress import open_shown

    index = parse_slice(options.slice) if options.slice is not None else None
    with open_shown(options.file, whole=options.whole, salvage=options.salvage) as checkpoint:
        node = checkpoint[options.pointer]
        if index is not None and not isinstance(node.value, TensorSpec | NdArray):
            raise CheckpointError("only tensors and arrays have slices; leave --slice out")
        if options.json:
            sys.stdout.writelines(_json_text(node, options.slice, index))
        else:
            sys.stdout.write("\n".join(_lines(node, index)) + "\n")
        sys.stdout.flush()
    return 0


def parse_slice(text: str) -> Index:
    """Return the index that ``"0,:,3:7"`` means.

    Raises:
        CheckpointError: it is none.
    """
    parts: list[int | slice | EllipsisType] = []
    for part in text.split(",") if text.strip() else []:
        match = _PART.fullmatch(part)
        numbers = [int(number) if number else None for number in match.groups()[:4]] if match else []
        if not match or numbers[3] == 0:
            raise CheckpointError(f"{part.strip()!r} is no slice; write one part for each dimension, as in 0,:,3:7")
        if match[5]:
            parts.append(...)
        else:
            parts.append(numbers[0] if numbers[0] is not None else slice(*numbers[1:]))
    if parts.count(...) > 1:
        raise CheckpointError("a slice can have one ... only; write one part for each dimension, as in 0,:,3:7")
    return tuple(parts)


# --- values -------------------------------------------------------------------------------------------------------


def _read(value: TensorSpec | NdArray, index: Index) -> Array:
    if isinstance(value, TensorSpec):
        from ckpt_viewer.core.decode import read_slice

        return read_slice(value, index)
    array = _ndarray(value)
    try:
        whole = index if ... in index else (*index, ...)  # the dots keep an array where numpy would give a scalar
        return array[whole]
    except IndexError as error:
        raise CheckpointError(f"the slice does not fit the shape {list(value.shape)}; leave parts out") from error


def _ndarray(value: NdArray) -> Array:
    import numpy as np

    if isinstance(value.data, list) or not re.fullmatch(r"[<>|=]?[biufc]\d{1,2}", value.dtype):
        raise Unsupported(f"the values of a numpy array of dtype {value.dtype!a} cannot be shown; look at its entries")
    try:
        dtype = np.dtype(value.dtype)
        array = np.frombuffer(value.data, dtype, prod(value.shape))
        return array.reshape(value.shape, order="F" if value.fortran else "C")
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the bytes of this numpy array do not fit its shape {list(value.shape)}") from error


def _nested(array: Array) -> Any:
    """Return values as JSON can hold them: nested lists, [real, imaginary] pairs, strings for what is not finite."""
    import numpy as np

    if array.size > MOST_VALUES:
        raise CheckpointError(f"{array.size} values are too many for one document; choose fewer with --slice")
    if array.dtype.kind == "c":
        array = np.stack((array.real, array.imag), axis=-1)
    if array.dtype.isbuiltin != 1:  # bfloat16 and the like
        array = array.astype(np.float32)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    return _without_nan(array.tolist())


def _without_nan(value: Any) -> Any:
    from ckpt_viewer.analysis.listing import non_finite

    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return value if isfinite(value) else non_finite(value)


def _array_text(array: Array) -> str:
    import numpy as np

    if array.dtype.isbuiltin != 1:
        array = array.astype(np.float32)
    width = shutil.get_terminal_size((120, 24)).columns
    return np.array2string(array, max_line_width=width, floatmode="unique", threshold=MOST_VALUES)


# --- as JSON ------------------------------------------------------------------------------------------------------


def _json_text(node: Node, text: str | None, index: Index | None) -> Iterator[str]:
    """Yield the document in pieces: a container may have millions of members."""
    document = json.dumps(_document(node, text, index), allow_nan=False)
    if length_of(node.value) is None:
        yield document + "\n"
        return
    yield document[:-1] + ', "children": ['
    steps, before = children(node.value), ""
    while some := [step_json(step) for step, _ in islice(steps, BATCH)]:
        yield before + json.dumps(some)[1:-1]
        before = ", "
    yield "]}\n"


def _document(node: Node, text: str | None, index: Index | None) -> dict[str, Any]:
    """Return the document, without the members of a container."""
    from ckpt_viewer.analysis.listing import scalar_fields

    value = node.value
    head = {"schema": 1, "path": [step_json(step) for step in node.path], "kind": node.kind, "type": node.type}
    if isinstance(value, TensorSpec | NdArray):
        return {**head, "dtype": value.dtype or None, "shape": value.shape, "slice": text, **_values(value, index)}
    if isinstance(value, StorageSpec):
        return {**head, "value": value.unique_key, "dtype": value.dtype or None, "nbytes": value.nbytes}
    length = length_of(value)
    if length is not None:
        return {**head, "length": length}
    if isinstance(value, str | bytes):
        return {**head, "value": value if isinstance(value, str) else value.hex()}
    return {**head, **scalar_fields(value)}


def _values(value: TensorSpec | NdArray, index: Index | None) -> dict[str, Any]:
    if isinstance(value, TensorSpec):
        missing = missing_values(value)
        if missing and index is not None:
            raise CheckpointError(missing)
        parts = value.extra.parts if value.extra else {}
        if missing and parts:
            each = {
                name: {"dtype": part.dtype, "shape": part.shape, **_values(part, None)} for name, part in parts.items()
            }
            return {"values": None, "parts": each}
        if missing:
            return {"values": None, "note": missing}
        if index is None and value.numel > MOST_VALUES:
            raise CheckpointError(f"{value.numel} values are too many for one document; choose fewer with --slice")
    return {"values": _nested(_read(value, index or ()))}


# --- for people ---------------------------------------------------------------------------------------------------


def _lines(node: Node, index: Index | None) -> Iterator[str]:
    value = node.value
    if isinstance(value, TensorSpec | NdArray):
        yield from _array_lines(node.type, value, index)
        return
    length = length_of(value)
    if length is None:
        yield escape_text(_scalar_text(value))
        return
    if is_whole_module(value):
        yield from map(escape_text, _module(node))
        return
    yield escape_text(f"{node.type}, {counted(length, 'entry', 'entries')}")
    from ckpt_viewer.analysis.tree_text import name_text

    for step, child in islice(children(value), LINES):
        yield f"  {name_text(step)}  {escape_text(_brief(child))}"
    count = count_below(value)
    if count > LINES:
        yield f"  … {count - LINES} more; --json lists them all"


def _module(node: Node) -> Iterator[str]:
    from ckpt_viewer.analysis.module_text import module_lines
    from ckpt_viewer.analysis.module_tree import module_tree

    outline = node.checkpoint.outline
    return module_lines(module_tree(outline, outline.find(node.path) or 0))


def _array_lines(name: str, value: TensorSpec | NdArray, index: Index | None) -> Iterator[str]:
    yield escape_text(f"{name}, {shape_text(value.shape, 'x')}, {value.dtype or 'no dtype'}")
    missing = missing_values(value) if isinstance(value, TensorSpec) else ""
    if missing:
        if index is not None:
            raise CheckpointError(missing)
        yield missing
        parts = value.extra.parts if isinstance(value, TensorSpec) and value.extra else {}
        for part_name, part in parts.items():
            yield from _array_lines(part_name, part, None)
        return
    shape = value.shape or ()
    if index is None and prod(shape) > WHOLE:
        corner = tuple(0 if d < len(shape) - 2 else slice(min(CORNER, n)) for d, n in enumerate(shape))
        text = ",".join("0" if part == 0 else f":{part.stop}" for part in corner)  # type: ignore[union-attr]
        yield f'only --slice "{text}" of it; choose another part with --slice'
        index = corner
    array = _read(value, index or ())
    if array.size > MOST_VALUES:
        raise CheckpointError(f"{array.size} values are too many to print; choose fewer with --slice")
    yield _array_text(array)


def _scalar_text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, StorageSpec):
        return f"storage {value.unique_key}, {value.dtype or 'untyped'}, {bytes_text(value.nbytes)}, {value.location}"
    return python_repr(value)


def _brief(value: Value) -> str:
    if isinstance(value, TensorSpec | NdArray):
        return f"{shape_text(value.shape, 'x')} {value.dtype}"
    length = length_of(value)
    if length is None:
        return shorten(_scalar_text(value), 80)
    return f"{type_of(value)}, {counted(length, 'entry', 'entries')}"
