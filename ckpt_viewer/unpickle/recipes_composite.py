"""Tensors that are more than a view of a storage: quantised, sparse, nested, without bytes, of subclasses.

FORMATS section 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import Quantization, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Global, Literal, Mapping, NdArray, Value, state_items
from ckpt_viewer.unpickle.geometry import sizes
from ckpt_viewer.unpickle.machine import NOT_KNOWN, NotKnown
from ckpt_viewer.unpickle.recipes_torch import bad_tensor, dtype_name, tensor_v2, with_state

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine, Recipe

Arguments = tuple[Value, ...]
Answer: TypeAlias = "Value | NotKnown"


def quantized(m: Machine, args: Arguments) -> Answer:
    """_rebuild_qtensor(storage, offset, size, stride, quantizer_params, requires_grad, hooks)."""
    if len(args) < 6 or type(args[4]) is not tuple or len(args[4]) < 3:
        return bad_tensor(m, "a quantised tensor without its parameters")
    scheme, scale, zero_point, *axis = args[4]
    tensor = tensor_v2(m, (*args[:4], args[5], None))
    if type(tensor) is TensorSpec:
        name = scheme.name if isinstance(scheme, Global) else scheme if type(scheme) is str else "unknown"
        along = axis[0] if axis and type(axis[0]) is int else None
        tensor.extra = TensorExtra(quantization=Quantization(name, scale, zero_point, along))
    return tensor


_COMPRESSED = {"sparse_csr": "crow", "sparse_csc": "ccol", "sparse_bsr": "crow", "sparse_bsc": "ccol"}


def sparse(m: Machine, args: Arguments) -> Answer:
    """_rebuild_sparse_tensor(layout, data) and _rebuild_sparse_csr_tensor(layout, data)."""
    layout = args[0].text.removeprefix("torch.") if args and isinstance(args[0], Literal) else ""
    data = args[1] if len(args) > 1 and type(args[1]) is tuple else ()
    if layout == "sparse_coo" and len(data) >= 3:
        names: tuple[str, ...] = ("indices", "values")
        parts, size = data[:2], data[2]
        coalesced = data[3] if len(data) > 3 and type(data[3]) is bool else None
    elif layout in _COMPRESSED and len(data) == 4:
        compressed = _COMPRESSED[layout]
        plain = "col" if compressed == "crow" else "row"
        names = (f"{compressed}_indices", f"{plain}_indices", "values")
        parts, size = data[:3], data[3]
        coalesced = None
    else:
        return bad_tensor(m, "a sparse tensor of unknown layout")
    shape = sizes(size)
    tensors = {name: part for name, part in zip(names, parts, strict=True) if type(part) is TensorSpec}
    if shape is None or len(tensors) != len(names):
        return bad_tensor(m, "a sparse tensor without its parts")
    extra = TensorExtra(layout=layout, parts=tensors, coalesced=coalesced)
    return TensorSpec(None, tensors["values"].dtype, shape, None, extra=extra)


def nested(m: Machine, args: Arguments) -> Answer:
    """_rebuild_nested_tensor(buffer, sizes, strides, offsets)."""
    if len(args) < 2 or type(args[0]) is not TensorSpec:
        return bad_tensor(m, "a nested tensor without its buffer")
    extra = TensorExtra(parts={"buffer": args[0]}, sizes=args[1], arguments=args[2:])
    return TensorSpec(None, args[0].dtype, None, None, extra=extra)


def jagged(m: Machine, args: Arguments) -> Answer:
    """torch.nested._internal.nested_tensor._rebuild_njt(values, offsets, lengths, ...) or one mapping of these."""
    given = args[0] if args else None
    fields = given.string_items() if isinstance(given, Mapping) else {}
    parts = {name: value for name, value in fields.items() if type(value) is TensorSpec}
    parts = {name.strip("_"): part for name, part in parts.items()}
    if "values" not in parts:
        return NOT_KNOWN
    extra = TensorExtra(layout="jagged", parts=parts, arguments=given)
    name = "torch.nested._internal.nested_tensor.NestedTensor"
    return TensorSpec(None, parts["values"].dtype, None, None, type=name, extra=extra)


def meta(m: Machine, args: Arguments) -> Answer:
    """_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad): no bytes anywhere."""
    return _shell(m, args, 0, "meta", rebuilt=False)


def wrapper_subclass(m: Machine, args: Arguments) -> Answer:
    """_rebuild_wrapper_subclass(cls, dtype, size, stride, offset, layout, device, requires_grad)."""
    if len(args) < 8:
        return NOT_KNOWN
    device = args[6].text if isinstance(args[6], Literal) else "cpu"
    tensor = _shell(m, (args[1], args[2], args[3], args[7]), 0, device, rebuilt=True)
    if type(tensor) is TensorSpec and isinstance(args[0], Global):
        tensor.form = tensor.form.with_(type=args[0].qualified)
    return tensor


def _shell(m: Machine, args: Arguments, first: int, device: str, *, rebuilt: bool) -> Answer:
    dtype = dtype_name(args[first]) if len(args) > first + 3 else ""
    shape = sizes(args[first + 1]) if dtype else None
    stride = sizes(args[first + 2]) if dtype else None
    if shape is None or stride is None:
        return NOT_KNOWN
    storage = m.new_storage(device, dtype, 0, None)
    extra = TensorExtra(device=device, rebuilt=rebuilt)
    return TensorSpec(storage, dtype, shape, stride, 0, args[first + 3] is True, extra=extra)


def from_numpy(m: Machine, args: Arguments) -> Answer:
    """_rebuild_device_tensor_from_numpy(ndarray, dtype, device, requires_grad): the bytes lie in the pickle."""
    if len(args) < 4 or not isinstance(args[0], NdArray) or not dtype_name(args[1]):
        return NOT_KNOWN
    array, shape, dtype = args[0], args[0].shape, dtype_name(args[1])
    data = _as_dtype(array, dtype) if isinstance(array.data, bytes) else None
    if data is None:
        return NOT_KNOWN
    stride, step = [], 1
    for size in shape if array.fortran else reversed(shape):
        stride.append(step)
        step *= size
    if len(data) < step * DTYPES[dtype].itemsize:
        return bad_tensor(m, "fewer bytes than elements")
    device = args[2] if type(args[2]) is str else "cpu"
    storage = m.new_storage(device, dtype, step, data)
    extra = TensorExtra(device=device, rebuilt=True)
    strides = tuple(stride if array.fortran else reversed(stride))
    return TensorSpec(storage, dtype, shape, strides, 0, args[3] is True, extra=extra)


_LETTERS = {"float": "f", "int": "i", "uint": "u", "complex": "c", "bool": "b"}


def _as_dtype(array: NdArray, dtype: str) -> bytes | None:
    """Return the bytes of an array as elements of a dtype; None where that would take more than copying.

    numpy has no bfloat16, so torch pickles such tensors as float32, whose lower halves are zero.
    """
    row, data = DTYPES[dtype], array.data
    kind = array.dtype.lstrip("<|=")
    if not isinstance(data, bytes):
        return None
    if kind == f"{_LETTERS.get(row.kind)}{row.itemsize}" and dtype == row.numpy:
        return data
    if dtype != "bfloat16" or kind != "f4":
        return None
    halves = bytearray(len(data) // 4 * 2)
    halves[0::2], halves[1::2] = data[2 : len(halves) * 2 : 4], data[3 : len(halves) * 2 : 4]
    return bytes(halves)


def from_cpu_tensor(m: Machine, args: Arguments) -> Answer:
    """_rebuild_device_tensor_from_cpu_tensor(data, dtype, device, requires_grad)."""
    if len(args) < 4 or type(args[0]) is not TensorSpec or dtype_name(args[1]) != args[0].dtype:
        return NOT_KNOWN
    device = args[2] if type(args[2]) is str else "cpu"
    extra = (args[0].extra or TensorExtra()).with_(device=device, rebuilt=True)
    return args[0].with_(requires_grad=args[3] is True, extra=extra)


def from_type_v2(m: Machine, args: Arguments) -> Answer:
    """torch._tensor._rebuild_from_type_v2(func, type, args, state), a tensor of a subclass."""
    if len(args) < 3 or type(args[2]) is not tuple:
        return NOT_KNOWN
    tensor = m.call(args[0], args[2])
    if type(tensor) is not TensorSpec:
        return NOT_KNOWN
    if isinstance(args[1], Global):
        tensor = tensor.with_(type=args[1].qualified)
    if tensor.extra is not None and (tensor.layout == "jagged" or tensor.extra.rebuilt):
        return _with_inner(tensor, args[3] if len(args) > 3 else None)
    return with_state(tensor, args[3]) if len(args) > 3 else tensor


def _with_inner(tensor: TensorSpec, state: Value) -> TensorSpec:
    """A shell whose data are tensors in its state (DTensor): they become its parts, not entries of their own."""
    inner = {name.strip("_"): value for name, value in state_items(state).items() if type(value) is TensorSpec}
    extra = tensor.extra or TensorExtra()
    tensor.extra = extra.with_(parts={**inner, **extra.parts}, arguments=state)
    return tensor


RECIPES: dict[tuple[str, str], Recipe] = {
    ("torch._utils", "_rebuild_qtensor"): quantized,
    ("torch._utils", "_rebuild_sparse_tensor"): sparse,
    ("torch._utils", "_rebuild_sparse_csr_tensor"): sparse,
    ("torch._utils", "_rebuild_nested_tensor"): nested,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): meta,
    ("torch._utils", "_rebuild_wrapper_subclass"): wrapper_subclass,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): from_numpy,
    ("torch._utils", "_rebuild_xla_tensor"): from_numpy,
    ("torch._utils", "_rebuild_mlc_tensor"): from_numpy,
    ("torch._utils", "_rebuild_ort_tensor"): from_numpy,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): from_cpu_tensor,
    ("torch._tensor", "_rebuild_from_type_v2"): from_type_v2,
    ("torch._tensor", "_rebuild_from_type"): from_type_v2,
    ("torch.tensor", "_rebuild_from_type_v2"): from_type_v2,
    ("torch.tensor", "_rebuild_from_type"): from_type_v2,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): jagged,
}
