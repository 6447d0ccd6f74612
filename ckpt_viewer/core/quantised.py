"""What quantised modules add to a ``state_dict()``: numbers as tensors, and weights that were packed for a kernel.

Sources: torch/ao/nn/quantized/modules/linear.py (`_save_to_state_dict` of Linear and LinearPackedParams), conv.py
(`_ConvNd.__getstate__`), embedding_ops.py (EmbeddingPackedParams), functional_modules.py, and
torch/ao/nn/quantized/dynamic/modules/rnn.py (PackedParameter, RNNCellBase); FORMATS section 3.5.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator

from ckpt_viewer.core.tensor import Extent, StorageSpec, TensorSpec
from ckpt_viewer.core.value import Instance, Literal, Value

# Compiled by the first module that asks: the window is there sooner, and few files hold one.
_QUANTISED = r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\."
_CONV = r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\.(dynamic\.)?modules\.conv(_\w+)?\.\w+"
_CONV_FIELDS = 15
"""Of a convolution's state: its arguments, then weight, bias, scale, zero point and whether it trains."""
_PACKED = "__torch__.torch.classes."
LINEAR, EMBEDDING = f"{_PACKED}quantized.LinearPackedParamsBase", f"{_PACKED}quantized.EmbeddingPackedParamsBase"
CELL = f"{_PACKED}rnn.CellParamsBase"
SCRIPT_OBJECT = "torch.ScriptObject"

_LINEAR = r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\.(dynamic\.)?modules\.linear\w*\.\w+"
_RNN = r"torch\.(ao\.)?nn\.quantized\.dynamic\.modules\.rnn\.(LSTM|GRU)"
_PARTS_OF_RNN = {"PackedParameter": ("param",), "RNNCell": ("_packed_weight_ih", "_packed_weight_hh")}
_PARTS_OF_RNN["LSTMCell"] = _PARTS_OF_RNN["GRUCell"] = _PARTS_OF_RNN["RNNCell"]
"""Attributes with packed weights that a state_dict holds as they are, by the class of the module."""
MOST_PARTS = 200
"""Parts of one packed object that are looked at for tensors."""
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
    return re.fullmatch(_CONV, value.type) is not None


def conv_entries(module: Instance) -> Iterator[tuple[str, Value]]:
    """Yield what the state_dict of a quantised convolution holds."""
    fields = module.state
    if type(fields) is tuple and len(fields) == _CONV_FIELDS:
        yield from zip(("weight", "bias"), fields[10:12], strict=True)
        yield from _numbers(fields[12], fields[13])


def own_entries(module: Instance, attributes: dict[str, Value]) -> Iterator[tuple[str, Value]]:
    """Yield what a quantised module adds to its parameters and buffers: scale and zero point, or packed weights."""
    if not re.match(_QUANTISED, module.type):
        return
    for name in ("_packed_params", "_packed_weight"):
        held = unpacked(attributes.get(name))
        if held is not None:
            yield from (("dtype", attributes.get("dtype")), (name, held))
    for name in _PARTS_OF_RNN.get(module.type.rpartition(".")[2], ()):
        if known_as_packed(attributes.get(name)):
            yield name, attributes[name]
    yield from _numbers(attributes.get("scale"), attributes.get("zero_point"))


def version_of(module: Instance, attributes: dict[str, Value]) -> int | None:
    """Return the version that a state_dict's ``_metadata`` has to state of a module; None where it need not."""
    version = attributes.get("version")
    if re.fullmatch(_RNN, module.type):
        return version if type(version) is int else None
    if not re.fullmatch(_LINEAR, module.type):
        return None
    return version if type(version) is int else LINEAR_VERSION


def _numbers(scale: Value, zero_point: Value) -> Iterator[tuple[str, Value]]:
    if type(scale) is float and type(zero_point) is int and -(1 << 63) <= zero_point < 1 << 63:
        yield "scale", _tensor("float32", _float32(scale))
        yield "zero_point", _tensor("int64", struct.pack("<q", zero_point))


def _tensor(dtype: str, data: bytes) -> TensorSpec:
    return TensorSpec(StorageSpec(dtype, "cpu", dtype, 1, _Number(data)), dtype, (), ())


def _float32(number: float) -> bytes:
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, number))


def known_as_packed(value: Value) -> bool:
    """Whether a value is packed weights of a class whose parts are known."""
    return isinstance(value, Literal) and value.type == SCRIPT_OBJECT and value.text in (LINEAR, EMBEDDING, CELL)


def unpacked(packed: Value) -> Value | None:
    """Return (weight, bias) of the packed parameters of a linear layer, the weight of those of an embedding.

    None for those of other layers.
    """
    if not isinstance(packed, Literal) or packed.type != SCRIPT_OBJECT:
        return None
    held = packed.inner[0] if type(packed.inner) is tuple and packed.inner else None
    if packed.text == LINEAR and type(held) is tuple and len(held) == 2 and isinstance(held[0], TensorSpec):
        return held
    if packed.text == EMBEDDING and type(held) is tuple and len(held) == 4:  # version, tensors, floats, bits
        tensors = held[1]
        return tensors[0] if isinstance(tensors, list) and tensors and isinstance(tensors[0], TensorSpec) else None
    return None


def packed_tensors(value: Value) -> list[TensorSpec]:
    """Return the tensors among the first parts of packed weights, as they are stored."""
    parts: list[Value] = [value]
    for each in parts:  # grows while it is walked
        more: Value = each.inner if isinstance(each, Literal) and known_as_packed(each) else each
        if isinstance(more, tuple | list):
            parts += more[: MOST_PARTS - len(parts)]
    return [part for part in parts if isinstance(part, TensorSpec)]
