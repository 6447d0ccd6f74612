"""What torch's rebuild functions describe: a TensorSpec for each form of FORMATS section 3.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.dtype import ALIASES, DTYPES
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.tensor import Quantization, StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Global, Literal, Mapping, NdArray, Sequence, Value, state_items
from ckpt_viewer.unpickle.geometry import problem, sizes
from ckpt_viewer.unpickle.machine import NOT_KNOWN, NotKnown

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine, Recipe

PARAMETER = "torch.nn.parameter.Parameter"
Arguments = tuple[Value, ...]
Answer: TypeAlias = "Value | NotKnown"


def _unknown(m: Machine, what: str) -> NotKnown:
    m.notes.append(Note("error", "bad-tensor", None, f"a tensor cannot be read: {what}"))
    return NOT_KNOWN


def _dtype_name(value: Value) -> str:
    return value.text.removeprefix("torch.") if isinstance(value, Literal) and value.kind == "dtype" else ""


def _view(m: Machine, storage: Value, dtype: str, offset: Value, size: Value, stride: Value, grad: Value) -> Answer:
    if type(storage) is not StorageSpec:
        return _unknown(m, "its storage is none")
    shape = size if type(size) is tuple else sizes(size)
    strides = stride if type(stride) is tuple else sizes(stride)
    shape, strides = sizes(shape), sizes(strides)
    if shape is None or strides is None or type(offset) is not int or not 0 <= offset < 1 << 62:
        return _unknown(m, "its size, stride or offset are no sane integers")
    wrong = problem(storage, dtype, offset, shape, strides)
    if wrong:
        return _unknown(m, wrong)
    return TensorSpec(storage, dtype, shape, strides, offset, grad is True)


def tensor_v1(m: Machine, args: Arguments) -> Answer:
    """torch._utils._rebuild_tensor(storage, offset, size, stride)."""
    return tensor_v2(m, (*args, False, None)) if len(args) == 4 else _unknown(m, "too few arguments")


def tensor_v2(m: Machine, args: Arguments) -> Answer:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])."""
    if len(args) < 5:
        return _unknown(m, "too few arguments")
    storage = args[0]
    dtype = (storage.dtype or "uint8") if type(storage) is StorageSpec else ""
    tensor = _view(m, storage, dtype, args[1], args[2], args[3], args[4])
    return _with_metadata(tensor, args[6]) if len(args) > 6 else tensor


def tensor_v3(m: Machine, args: Arguments) -> Answer:
    """torch._utils._rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])."""
    dtype = _dtype_name(args[6]) if len(args) > 6 else ""
    if not dtype:
        return _unknown(m, "its dtype is unknown")
    tensor = _view(m, args[0], dtype, args[1], args[2], args[3], args[4])
    return _with_metadata(tensor, args[7]) if len(args) > 7 else tensor


def _with_metadata(tensor: Answer, metadata: Value) -> Answer:
    if type(tensor) is TensorSpec and isinstance(metadata, Mapping) and metadata.pairs:
        conj, neg = metadata.get("conj") is True, metadata.get("neg") is True
        tensor.extra = TensorExtra(conj=conj, neg=neg)
    return tensor


def parameter(m: Machine, args: Arguments) -> Answer:
    """_rebuild_parameter(data, requires_grad, hooks), Parameter(data[, requires_grad])."""
    if not args or type(args[0]) is not TensorSpec:
        return NOT_KNOWN
    grad = args[1] is True if len(args) > 1 else True
    return args[0].with_(type=PARAMETER, requires_grad=grad)


def buffer(m: Machine, args: Arguments) -> Answer:
    """torch.nn.parameter.Buffer(data, persistent)."""
    tensor = parameter(m, args)
    if type(tensor) is TensorSpec:
        tensor.type, tensor.requires_grad = "torch.nn.parameter.Buffer", False
    return tensor


def parameter_with_state(m: Machine, args: Arguments) -> Answer:
    """_rebuild_parameter_with_state(data, requires_grad, hooks, state)."""
    tensor = parameter(m, args[:3])
    return _with_state(tensor, args[3]) if len(args) > 3 else tensor


def _with_inner(tensor: TensorSpec, state: Value) -> TensorSpec:
    """A shell whose data are tensors in its state (DTensor): they become its parts, not entries of their own."""
    inner = {name.strip("_"): value for name, value in state_items(state).items() if type(value) is TensorSpec}
    extra = tensor.extra or TensorExtra()
    tensor.extra = extra.with_(parts={**inner, **extra.parts}, arguments=state)
    return tensor


def _with_state(tensor: Answer, state: Value) -> Answer:
    if type(tensor) is TensorSpec and state is not None:
        tensor.extra = (tensor.extra or TensorExtra()).with_(state=state)
    return tensor


def old_tensor(type_name: str, dtype: str) -> Recipe:
    """torch.FloatTensor(): empty until a BUILD with (storage, offset, size, stride)."""

    def recipe(m: Machine, args: Arguments) -> Answer:
        if args:
            return NOT_KNOWN
        return TensorSpec(None, dtype, None, None, type=type_name)

    return recipe


def variable(m: Machine, args: Arguments) -> Answer:
    """torch.autograd.variable.Variable(data)."""
    if args and type(args[0]) is TensorSpec:
        return args[0].with_(type="torch.Tensor")
    return TensorSpec(None, "", None, None) if not args else NOT_KNOWN


def build_tensor(m: Machine, target: Value, state: Value) -> bool:
    """Fill a tensor from the state that old writers pickled (Tensor.__setstate__)."""
    if type(target) is not TensorSpec:
        return False
    if type(state) is tuple and len(state) == 4 and type(state[0]) is StorageSpec:
        made = _view(m, state[0], state[0].dtype or target.dtype or "uint8", *state[1:4], target.requires_grad)
        return type(made) is TensorSpec and _fill(target, made)
    if type(state) is tuple and len(state) == 5 and type(state[0]) is TensorSpec:
        return _fill(target, state[0].with_(type=target.type, requires_grad=state[3] is True))
    if type(state) is tuple and len(state) == 3 and type(state[0]) is bool:
        target.requires_grad = state[0]
        return True
    if isinstance(state, Mapping) or (type(state) is tuple and len(state) == 2):
        _with_state(target, state)
        return True
    return False


def _fill(target: TensorSpec, made: TensorSpec) -> bool:
    for name in ("storage", "dtype", "shape", "stride", "offset", "requires_grad", "extra"):
        setattr(target, name, getattr(made, name))
    return True


def quantized(m: Machine, args: Arguments) -> Answer:
    """_rebuild_qtensor(storage, offset, size, stride, quantizer_params, requires_grad, hooks)."""
    if len(args) < 6 or type(args[4]) is not tuple or len(args[4]) < 3:
        return _unknown(m, "a quantised tensor without its parameters")
    scheme, scale, zero_point, *axis = args[4]
    tensor = tensor_v2(m, (*args[:4], args[5], None))
    if type(tensor) is TensorSpec:
        name = scheme.name if isinstance(scheme, Global) else str(scheme)
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
        return _unknown(m, "a sparse tensor of unknown layout")
    shape = sizes(size)
    tensors = {name: part for name, part in zip(names, parts, strict=True) if type(part) is TensorSpec}
    if shape is None or len(tensors) != len(names):
        return _unknown(m, "a sparse tensor without its parts")
    extra = TensorExtra(layout=layout, parts=tensors, coalesced=coalesced)
    return TensorSpec(None, tensors["values"].dtype, shape, None, extra=extra)


def nested(m: Machine, args: Arguments) -> Answer:
    """_rebuild_nested_tensor(buffer, sizes, strides, offsets)."""
    if len(args) < 2 or type(args[0]) is not TensorSpec:
        return _unknown(m, "a nested tensor without its buffer")
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
        tensor.type = args[0].qualified
    return tensor


def _shell(m: Machine, args: Arguments, first: int, device: str, *, rebuilt: bool) -> Answer:
    dtype = _dtype_name(args[first]) if len(args) > first + 3 else ""
    shape = sizes(args[first + 1]) if dtype else None
    stride = sizes(args[first + 2]) if dtype else None
    if shape is None or stride is None:
        return NOT_KNOWN
    storage = m.new_storage(device, dtype, 0, None)
    extra = TensorExtra(device=device, rebuilt=rebuilt)
    return TensorSpec(storage, dtype, shape, stride, 0, args[first + 3] is True, extra=extra)


def from_numpy(m: Machine, args: Arguments) -> Answer:
    """_rebuild_device_tensor_from_numpy(ndarray, dtype, device, requires_grad): the bytes lie in the pickle."""
    if len(args) < 4 or not isinstance(args[0], NdArray) or not _dtype_name(args[1]):
        return NOT_KNOWN
    array, shape, dtype = args[0], args[0].shape, _dtype_name(args[1])
    if not isinstance(array.data, bytes) or array.fortran:
        return NOT_KNOWN
    stride, step = [], 1
    for size in reversed(shape):
        stride.append(step)
        step *= size
    if len(array.data) < step * DTYPES[dtype].itemsize:
        return _unknown(m, "fewer bytes than elements")
    device = args[2] if type(args[2]) is str else "cpu"
    storage = m.new_storage(device, dtype, step, array.data)
    extra = TensorExtra(device=device, rebuilt=True)
    return TensorSpec(storage, dtype, shape, tuple(reversed(stride)), 0, args[3] is True, extra=extra)


def from_cpu_tensor(m: Machine, args: Arguments) -> Answer:
    """_rebuild_device_tensor_from_cpu_tensor(data, dtype, device, requires_grad)."""
    if len(args) < 4 or type(args[0]) is not TensorSpec:
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
    return _with_state(tensor, args[3]) if len(args) > 3 else tensor


def uninitialized(type_name: str) -> Recipe:
    """A lazy parameter or buffer: no shape yet."""

    def recipe(m: Machine, args: Arguments) -> Answer:
        return TensorSpec(None, "", None, None, 0, bool(args and args[0] is True), type=type_name)

    return recipe


def torch_size(m: Machine, args: Arguments) -> Answer:
    """torch.Size(ints)."""
    given = args[0] if args else ()
    return Sequence("torch.Size", "tuple", list(given)) if isinstance(given, tuple | list) else NOT_KNOWN


def device(m: Machine, args: Arguments) -> Answer:
    """torch.device(type[, index])."""
    if not args or type(args[0]) is not str:
        return NOT_KNOWN
    index = f":{args[1]}" if len(args) > 1 and type(args[1]) is int else ""
    return Literal("device", "torch.device", args[0] + index)


def layout(m: Machine, args: Arguments) -> Answer:
    """torch.serialization._get_layout(name)."""
    return Literal("object", "torch.layout", str(args[0])) if args else NOT_KNOWN


def nested_storage(m: Machine, args: Arguments) -> Answer:
    """torch.storage._load_from_bytes(bytes): a whole legacy stream inside the pickle."""
    value = m.nested(args[0]) if args and type(args[0]) is bytes else None
    return value if value is not None else NOT_KNOWN


_UTILS = {
    "_rebuild_tensor": tensor_v1, "_rebuild_tensor_v2": tensor_v2, "_rebuild_tensor_v3": tensor_v3,
    "_rebuild_parameter": parameter, "_rebuild_parameter_with_state": parameter_with_state,
    "_rebuild_qtensor": quantized, "_rebuild_sparse_tensor": sparse, "_rebuild_sparse_csr_tensor": sparse,
    "_rebuild_nested_tensor": nested, "_rebuild_meta_tensor_no_storage": meta,
    "_rebuild_wrapper_subclass": wrapper_subclass, "_rebuild_device_tensor_from_numpy": from_numpy,
    "_rebuild_xla_tensor": from_numpy, "_rebuild_mlc_tensor": from_numpy, "_rebuild_ort_tensor": from_numpy,
    "_rebuild_device_tensor_from_cpu_tensor": from_cpu_tensor,
}  # fmt: skip

_OLD_TENSORS = {
    "FloatTensor": "float32", "DoubleTensor": "float64", "HalfTensor": "float16", "LongTensor": "int64",
    "IntTensor": "int32", "ShortTensor": "int16", "CharTensor": "int8", "ByteTensor": "uint8", "BoolTensor": "bool",
    "BFloat16Tensor": "bfloat16", "Tensor": "",
}  # fmt: skip

RECIPES: dict[tuple[str, str], Recipe] = {
    **{("torch._utils", name): recipe for name, recipe in _UTILS.items()},
    **{
        (module, name): old_tensor(f"{module}.{name}", dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in _OLD_TENSORS.items()
    },
    ("torch.nn.parameter", "Parameter"): parameter,
    ("torch.nn.parameter", "Buffer"): buffer,
    ("torch.nn.parameter", "UninitializedParameter"): uninitialized("torch.nn.parameter.UninitializedParameter"),
    ("torch.nn.parameter", "UninitializedBuffer"): uninitialized("torch.nn.parameter.UninitializedBuffer"),
    ("torch.autograd.variable", "Variable"): variable,
    ("torch._tensor", "_rebuild_from_type_v2"): from_type_v2,
    ("torch._tensor", "_rebuild_from_type"): from_type_v2,
    ("torch.tensor", "_rebuild_from_type_v2"): from_type_v2,
    ("torch.tensor", "_rebuild_from_type"): from_type_v2,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): jagged,
    ("torch", "Size"): torch_size,
    ("torch", "device"): device,
    ("torch.serialization", "_get_layout"): layout,
    ("torch.storage", "_load_from_bytes"): nested_storage,
}

CONSTANTS: dict[tuple[str, str], Value] = {
    ("torch", name): Literal("dtype", "torch.dtype", f"torch.{ALIASES.get(name, name)}") for name in (*DTYPES, *ALIASES)
}
"""Names that stand for a value by themselves: the dtypes."""
