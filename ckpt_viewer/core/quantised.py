"""What quantised modules add to a ``state_dict()``: numbers as tensors, and weights that were packed for a kernel.

Sources: torch/ao/nn/quantized/modules/linear.py (`_save_to_state_dict` of Linear and LinearPackedParams), conv.py
(`_ConvNd.__getstate__`), functional_modules.py; FORMATS section 3.5.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator

from ckpt_viewer.core.tensor import Extent, StorageSpec, TensorSpec
from ckpt_viewer.core.value import Instance, Literal, Value

_QUANTISED = re.compile(r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\.")
_CONV = re.compile(r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\.(dynamic\.)?modules\.conv(_\w+)?\.\w+")
_CONV_FIELDS = 15
"""Of a convolution's state: its arguments, then weight, bias, scale, zero point and whether it trains."""
LINEAR = "__torch__.torch.classes.quantized.LinearPackedParamsBase"
SCRIPT_OBJECT = "torch.ScriptObject"

_LINEAR = re.compile(r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\.(dynamic\.)?modules\.linear\w*\.\w+")
LINEAR_VERSION = 3
"""What ``_metadata`` says of a linear layer whose weights are packed; without it torch looks for the names of 1.3."""


class _Number:
    """A number that a module keeps as an attribute, as the bytes of a tensor: a container of its own."""

    name, prefix = "a number in the pickle", "number!"

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return bytes of the number."""
        return self.data[offset : offset + size]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer`."""
        buffer[:] = self.data[offset : offset + len(buffer)]

    def extent(self, key: str) -> Extent:
        """Return all of it."""
        del key
        return Extent(self, 0, self.size)


def is_quantised_conv(value: Value) -> bool:
    """Whether a value is a quantised convolution, which is pickled as a tuple and not as its attributes."""
    if not isinstance(value, Instance) or type(value.state) is not tuple or len(value.state) != _CONV_FIELDS:
        return False
    return _CONV.fullmatch(value.type) is not None


def conv_entries(module: Instance) -> Iterator[tuple[str, Value]]:
    """Yield what the state_dict of a quantised convolution holds."""
    fields = module.state
    if type(fields) is tuple and len(fields) == _CONV_FIELDS:
        yield from zip(("weight", "bias"), fields[10:12], strict=True)
        yield from _numbers(fields[12], fields[13])


def own_entries(module: Instance, attributes: dict[str, Value]) -> Iterator[tuple[str, Value]]:
    """Yield what a quantised module adds to its parameters and buffers: scale and zero point, or packed weights."""
    if not _QUANTISED.match(module.type):
        return
    packed = attributes.get("_packed_params")
    if isinstance(packed, Literal):
        held = unpacked(packed)
        if held is not None:
            yield from (("dtype", attributes.get("dtype")), ("_packed_params", held))
    yield from _numbers(attributes.get("scale"), attributes.get("zero_point"))


def version_of(module: Instance, attributes: dict[str, Value]) -> int | None:
    """Return the version that a state_dict's ``_metadata`` has to state of a module; None where it need not."""
    if not _LINEAR.fullmatch(module.type):
        return None
    version = attributes.get("version")
    return version if type(version) is int else LINEAR_VERSION


def _numbers(scale: Value, zero_point: Value) -> Iterator[tuple[str, Value]]:
    if type(scale) is float and type(zero_point) is int and -(1 << 63) <= zero_point < 1 << 63:
        yield "scale", _tensor("float32", _float32(scale))
        yield "zero_point", _tensor("int64", struct.pack("<q", zero_point))


def _tensor(dtype: str, data: bytes) -> TensorSpec:
    return TensorSpec(StorageSpec(dtype, "cpu", dtype, 1, _Number(data), 0), dtype, (), ())


def _float32(number: float) -> bytes:
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, number))


def unpacked(packed: Value) -> Value | None:
    """Return (weight, bias) of the packed parameters of a linear layer; None for those of other layers."""
    if not isinstance(packed, Literal) or packed.type != SCRIPT_OBJECT or packed.text != LINEAR:
        return None
    held = packed.inner[0] if type(packed.inner) is tuple and packed.inner else None
    if type(held) is tuple and len(held) == 2 and isinstance(held[0], TensorSpec):
        return held
    return None
