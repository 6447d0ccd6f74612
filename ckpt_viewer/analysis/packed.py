"""Weights that are stored packed, several in a number, and what they stand for: GPTQ, AWQ, bitsandbytes and others.

Tensors are shown as they are stored. Where the names, shapes and small records beside a packed tensor say what it
stands for, its logical shape and number of parameters are given; where they do not, it is only marked. Sources: the
layers of AutoGPTQ and AutoAWQ, bitsandbytes (`QuantState.as_dict(packed=True)`), compressed-tensors, transformers
(MXFP4), torchao.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from operator import attrgetter
from typing import NamedTuple, TypeAlias, TypeGuard

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.module import Columns
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.errors import CheckpointError

_TORCHAO, _FLOAT4 = "torchao.", "float4_e2m1fn_x2"
RECORD = 1 << 16
"""Bytes of the largest record beside a weight that is read."""
MOST_DIMS = 8
MXFP4_BLOCK = 32


class Packed(NamedTuple):
    """What a packed tensor stands for.

    Attributes:
        scheme: who packed it. bits: of one weight; None if unknown. shape: of the weight; None if nothing gives it.
        dtype: that the weight is unpacked to; ``""`` if nothing says so.
        helpers: names of the tensors that serve to unpack it, and are no parameters themselves.
    """

    scheme: str
    bits: int | None
    shape: tuple[int, ...] | None
    dtype: str = ""
    helpers: tuple[str, ...] = ()

    @property
    def numel(self) -> int | None:
        """Parameters that it stands for; None if unknown."""
        return prod(self.shape) if self.shape is not None else None


class PackedWeights(NamedTuple):
    """The packed weights of a checkpoint.

    Attributes:
        found: id of a tensor -> what it stands for. helpers: ids of the tensors that only serve to unpack others.
    """

    found: dict[int, Packed]
    helpers: frozenset[int]

    def of(self, tensor: TensorSpec) -> Packed | None:
        """Return what a tensor stands for; None if it is not packed."""
        return self.found.get(id(tensor))


Tensors: TypeAlias = "Mapping[str, TensorSpec]"


def packed_weights(models: Iterable[Columns], context: Context = SILENT) -> PackedWeights:
    """Find the packed weights of models; reads small records beside them and no weights.

    Args:
        models: the state_dict of each.

    Raises:
        Cancelled: by `context`.
    """
    found: dict[int, Packed] = {}
    helpers: set[int] = set()
    for columns in models:
        context.step(0, 0)
        if not _may_be_packed(columns):
            continue
        tensors = dict(zip(*columns, strict=True))
        for name, packed in find_packed(tensors, context):
            found[id(tensors[name])] = packed
            helpers.update(id(tensors[each]) for each in packed.helpers)
    return PackedWeights(found, frozenset(helpers))


def find_packed(tensors: Tensors, context: Context = SILENT) -> Iterator[tuple[str, Packed]]:
    """Yield the name of every packed tensor of a state_dict, and what it stands for."""
    for name, tensor in stepped(tensors.items(), context):
        if name.endswith(_ENDINGS):
            for ending, read in _RULES:
                packed = read(tensors, name, name.removesuffix(ending)) if name.endswith(ending) else None
                if packed is not None:
                    yield packed
                    break
        elif tensor.type.startswith(_TORCHAO):
            yield name, Packed(f"torchao {tensor.type.rpartition('.')[2]}", None, tensor.shape, tensor.dtype)
        elif tensor.dtype == _FLOAT4 and tensor.shape:
            yield name, Packed("float4", 4, (*tensor.shape[:-1], 2 * tensor.shape[-1]))


def _may_be_packed(columns: Columns) -> bool:
    """Whether any entry has a name or a type that packed weights have; looks at all names at once."""
    if any(form.dtype == _FLOAT4 or form.type.startswith(_TORCHAO) for form in {*map(_FORM, columns.tensors)}):
        return True
    joined = "\n".join((*columns.names, ""))
    return any(f"{ending}\n" in joined for ending in _ENDINGS)


_FORM = attrgetter("form")


Found: TypeAlias = "tuple[str, Packed] | None"


def _there(tensors: Tensors, *names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name in tensors)


def _qweight(tensors: Tensors, name: str, prefix: str) -> Found:
    """GPTQ and AWQ: ``qweight`` beside ``qzeros``, ``scales`` and, of GPTQ, ``g_idx``; logical weights are (out, in).

    GPTQ packs along the inputs, (in * bits / 32, out); AWQ along the outputs, (in, out * bits / 32).
    """
    weight = tensors[name]
    helpers = _there(tensors, *(f"{prefix}{each}" for each in ("qzeros", "scales", "g_idx")))
    scales, zeros, order = (tensors.get(f"{prefix}{each}") for each in ("scales", "qzeros", "g_idx"))
    shape, scale = weight.shape, scales.shape if scales is not None else None
    if weight.dtype != "int32" or shape is None or len(shape) != 2 or scale is None or len(scale) != 2:
        return name, Packed("quantised by an unknown program", None, None, helpers=helpers)
    rows, columns = shape
    groups, outputs = scale
    if columns == outputs:
        inputs = order.numel if order is not None else 0
        bits = _ratio(32 * rows, inputs) if inputs else _zero_bits(zeros, outputs)
        inputs = inputs or (_ratio(32 * rows, bits) if bits else 0)
        if bits in range(1, 9) and inputs:
            return name, Packed(_grouped("GPTQ", inputs, groups), bits, (outputs, inputs), _dtype_of(scales), helpers)
        return name, Packed("GPTQ", None, None, helpers=helpers)
    bits = _ratio(32 * columns, outputs)
    if bits in (2, 4, 8) and rows % max(groups, 1) == 0:
        return name, Packed(_grouped("AWQ", rows, groups), bits, (outputs, rows), _dtype_of(scales), helpers)
    return name, Packed("quantised by an unknown program", None, None, helpers=helpers)


def _dtype_of(scales: TensorSpec | None) -> str:
    """Weights are unpacked to the type of their scales."""
    return scales.dtype if scales is not None else ""


def _zero_bits(zeros: TensorSpec | None, outputs: int) -> int:
    if zeros is None or zeros.dtype != "int32" or zeros.shape is None or len(zeros.shape) != 2:
        return 0
    return _ratio(32 * zeros.shape[1], outputs)


def _ratio(whole: int, part: int) -> int:
    """Return whole / part; 0 where that is no integer."""
    return whole // part if part and whole % part == 0 else 0


def _grouped(scheme: str, inputs: int, groups: int) -> str:
    return f"{scheme}, groups of {inputs // groups}" if groups > 1 and inputs % groups == 0 else scheme


def _bitsandbytes(tensors: Tensors, name: str, prefix: str) -> Found:
    """4 bits: the bytes of ``NAME.quant_state.bitsandbytes__nf4`` are JSON with the shape and dtype of NAME."""
    import json  # few files need it, and every window would wait for it

    weight = tensors.get(prefix)
    if weight is None:
        return None
    parts = ("absmax", "quant_map", "nested_absmax", "nested_quant_map", "state2")
    helpers = (name, *_there(tensors, *(f"{prefix}.{each}" for each in parts)))
    try:
        record = json.loads(_bytes_of(tensors[name]))
    except (ValueError, RecursionError, CheckpointError):
        record = {}
    fields = record if isinstance(record, dict) else {}
    shape, dtype, kind = fields.get("shape"), fields.get("dtype"), fields.get("quant_type")
    if not _is_shape(shape) or prod(shape) > 2 * weight.nbytes:
        shape = None
    scheme = f"bitsandbytes {kind}" if kind in ("nf4", "fp4") else "bitsandbytes"
    known = dtype if isinstance(dtype, str) and dtype in DTYPES else ""
    return prefix, Packed(scheme, 4, tuple(shape) if shape is not None else None, known, helpers)


def _int8(tensors: Tensors, name: str, prefix: str) -> Found:
    """LLM.int8: ``weight`` holds the integers, row by row, and ``SCB`` a scale for each row."""
    target = f"{prefix}weight"
    weight = tensors.get(target)
    if weight is None or weight.dtype != "int8":
        return None
    helpers = _there(tensors, name, f"{prefix}weight_format")
    return target, Packed("bitsandbytes int8", 8, weight.shape, "", helpers)


def _compressed(tensors: Tensors, name: str, prefix: str) -> Found:
    """compressed-tensors: ``weight_packed`` beside ``weight_shape``, two integers; NVFP4 keeps two numbers a byte."""
    parts = ("scale", "zero_point", "g_idx", "shape", "global_scale")
    helpers = _there(tensors, *(f"{prefix}weight_{each}" for each in parts))
    weight, record = tensors[name], tensors.get(f"{prefix}weight_shape")
    stored, shape = weight.shape or (), None
    if record is not None and record.dtype == "int64" and record.numel == 2:
        try:
            data = _bytes_of(record)
            shape = tuple(int.from_bytes(data[at : at + 8], "little", signed=True) for at in (0, 8))
        except CheckpointError:
            shape = None
    elif weight.dtype == "uint8" and stored:
        shape = (*stored[:-1], 2 * stored[-1])
    if shape is None or not _is_shape(list(shape)) or prod(shape) > 32 * weight.nbytes or not stored:
        return name, Packed("compressed-tensors", None, None, helpers=helpers)
    bits = _ratio(8 * weight.nbytes, prod(shape)) or None  # rows are filled up to whole words
    return name, Packed("compressed-tensors", bits, shape, "", helpers)


def _mxfp4(tensors: Tensors, name: str, prefix: str) -> Found:
    """MXFP4: blocks of 32 numbers in 16 bytes, and a scale for each block."""
    blocks, scales = tensors[name], tensors.get(f"{prefix}_scales")
    if scales is None or blocks.dtype != "uint8" or scales.dtype != "uint8" or not blocks.shape:
        return None
    if blocks.shape[-1] * 2 != MXFP4_BLOCK or blocks.shape[:-1] != scales.shape or len(blocks.shape) < 2:
        return None
    shape = (*blocks.shape[:-2], blocks.shape[-2] * MXFP4_BLOCK)
    return name, Packed("MXFP4, blocks of 32", 4, shape, "", (f"{prefix}_scales",))


def _hqq(tensors: Tensors, name: str, prefix: str) -> Found:
    """HQQ: the shape lies in a dict beside ``W_q`` that is not among the tensors."""
    del tensors, prefix
    return name, Packed("HQQ", None, None)


Rule: TypeAlias = Callable[["Tensors", str, str], "Found"]
_RULES: tuple[tuple[str, Rule], ...] = (
    ("qweight", _qweight),
    (".quant_state.bitsandbytes__nf4", _bitsandbytes),
    (".quant_state.bitsandbytes__fp4", _bitsandbytes),
    ("SCB", _int8),
    ("weight_packed", _compressed),
    ("_blocks", _mxfp4),
    ("W_q", _hqq),
)
"""How a name ends -> who may have packed it, and what that says."""
_ENDINGS = tuple(ending for ending, _ in _RULES)


def _is_shape(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MOST_DIMS
        and all(type(size) is int and 0 <= size < 1 << 62 for size in value)
    )


def _bytes_of(tensor: TensorSpec) -> bytes:
    """Return the bytes of a small contiguous tensor; raises CheckpointError."""
    if tensor.storage is None or tensor.stride not in ((1,), ()) or not 0 < tensor.nbytes <= RECORD:
        raise CheckpointError("this is no small record; look at its values")
    extent = tensor.storage.extent()
    if extent.big_endian:
        raise CheckpointError("the record is big-endian; load it with torch")
    start = tensor.offset * DTYPES[tensor.dtype].itemsize
    return extent.source.read_at(extent.offset + start, tensor.nbytes)


def packed_sentence(packed: PackedWeights) -> str:
    """Say in one sentence what was found; ``""`` if nothing was."""
    if not packed.found:
        return ""
    schemes: dict[str, int] = {}
    for each in packed.found.values():
        words = each.scheme + (f", {each.bits} bits" if each.bits is not None else "")
        schemes[words] = schemes.get(words, 0) + 1
    shown = "; ".join(f"{count} of {words}" for words, count in list(schemes.items())[:3])
    unknown = sum(each.shape is None for each in packed.found.values())
    rest = f"; of {unknown} nothing says which shape they stand for" if unknown else ""
    return f"weights are packed and shown as stored: {shown}{rest}"
