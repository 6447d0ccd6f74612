"""The number that a tensor of one element holds, read without numpy: steps, learning rates, losses."""

from __future__ import annotations

import struct

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import NdArray, Value
from ckpt_viewer.errors import CheckpointError

CODES = {
    "float64": "d", "float32": "f", "float16": "e", "int64": "q", "int32": "i", "int16": "h", "int8": "b",
    "uint64": "Q", "uint32": "I", "uint16": "H", "uint8": "B", "bool": "?",
}  # fmt: skip
"""dtype -> code of `struct`."""
ARRAY_CODES = {
    "f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H",
    "u1": "B", "b1": "?",
}  # fmt: skip
"""numpy's dtype without its byte order -> code of `struct`."""
LARGEST = 1024
"""Bits from which on an integer is no float any more, and arithmetic with floats fails."""


def number_of(value: Value) -> int | float | None:
    """Return the number that a value is, or that a tensor of one element or a scalar of numpy holds.

    None for anything else, for integers beyond all floats, and where its bytes cannot be read.
    """
    if type(value) is float or (type(value) is int and value.bit_length() < LARGEST):
        return value
    if isinstance(value, NdArray):
        return _of_array(value)
    if not isinstance(value, TensorSpec) or value.numel != 1:
        return None
    if value.storage is None or value.extra is not None:
        return None
    try:
        return _read(value)
    except CheckpointError:  # cut off, or without bytes: what is said of the file elsewhere
        return None


def _of_array(array: NdArray) -> int | float | None:
    code, data = ARRAY_CODES.get(array.dtype[1:]), array.data
    if code is None or array.dtype[0] not in "<>=|" or array.shape not in ((), (1,)) or type(data) is not bytes:
        return None
    order = ">" if array.dtype[0] == ">" else "<"
    if len(data) != struct.calcsize(order + code):
        return None
    number: int | float = struct.unpack(order + code, data)[0]
    return number


def _read(tensor: TensorSpec) -> int | float | None:
    """Read the element; raises CheckpointError."""
    wide = "float32" if tensor.dtype == "bfloat16" else tensor.dtype
    code = CODES.get(wide)
    if code is None or tensor.storage is None:
        return None
    extent, item = tensor.storage.extent(), DTYPES[tensor.dtype].itemsize
    if (tensor.offset + 1) * item > extent.nbytes:
        return None
    data = extent.source.read_at(extent.offset + tensor.offset * item, item)
    if extent.big_endian:
        data = data[::-1]
    if tensor.dtype == "bfloat16":  # the upper half of a float32
        data = b"\0\0" + data
    number: int | float = struct.unpack("<" + code, data)[0]
    return number
