"""What torch's rebuild functions describe: a TensorSpec for each form of FORMATS section 3.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.dtype import ALIASES, DTYPES
from ckpt_viewer.core.tensor import StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Literal, Mapping, Sequence, Value
from ckpt_viewer.unpickle.geometry import problem, sizes
from ckpt_viewer.unpickle.machine import NOT_KNOWN, NotKnown

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine, Recipe

PARAMETER = "torch.nn.parameter.Parameter"
Arguments = tuple[Value, ...]
Answer: TypeAlias = "Value | NotKnown"


def bad_tensor(m: Machine, what: str) -> NotKnown:
    """Say why a call is no tensor; the machine tells it of what becomes of the call."""
    m.wrong = what
    return NOT_KNOWN


def dtype_name(value: Value) -> str:
    return value.text.removeprefix("torch.") if isinstance(value, Literal) and value.kind == "dtype" else ""


def _view(m: Machine, storage: Value, dtype: str, offset: Value, size: Value, stride: Value, grad: Value) -> Answer:
    if type(storage) is not StorageSpec:
        return bad_tensor(m, "its storage is none")
    shape = size if type(size) is tuple else sizes(size)
    strides = stride if type(stride) is tuple else sizes(stride)
    shape, strides = sizes(shape), sizes(strides)
    if shape is None or strides is None or type(offset) is not int or not 0 <= offset < 1 << 62:
        return bad_tensor(m, "its size, stride or offset are no sane integers")
    wrong = problem(storage, dtype, offset, shape, strides)
    if wrong:
        return bad_tensor(m, wrong)
    m.charged += 16 * len(shape)
    return TensorSpec(storage, dtype, shape, strides, offset, grad is True)


def tensor_v1(m: Machine, args: Arguments) -> Answer:
    """torch._utils._rebuild_tensor(storage, offset, size, stride)."""
    return tensor_v2(m, (*args, False, None)) if len(args) == 4 else bad_tensor(m, "too few arguments")


def tensor_v2(m: Machine, args: Arguments) -> Answer:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])."""
    if len(args) < 5:
        return bad_tensor(m, "too few arguments")
    storage = m.persistent(m, args[0]) if type(args[0]) is tuple and m.ids_in_calls else args[0]
    dtype = (storage.dtype or "uint8") if type(storage) is StorageSpec else ""
    tensor = _view(m, storage, dtype, args[1], args[2], args[3], args[4])
    return _with_metadata(tensor, args[6]) if len(args) > 6 else tensor


def tensor_v3(m: Machine, args: Arguments) -> Answer:
    """torch._utils._rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])."""
    dtype = dtype_name(args[6]) if len(args) > 6 else ""
    if not dtype:
        return bad_tensor(m, "its dtype is unknown")
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
        tensor.form = tensor.form.with_(type="torch.nn.parameter.Buffer", requires_grad=False)
    return tensor


def parameter_with_state(m: Machine, args: Arguments) -> Answer:
    """_rebuild_parameter_with_state(data, requires_grad, hooks, state)."""
    tensor = parameter(m, args[:3])
    return with_state(tensor, args[3]) if len(args) > 3 else tensor


def with_state(tensor: Answer, state: Value) -> Answer:
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
        target.form = target.form.with_(requires_grad=state[0])
        return True
    if isinstance(state, Mapping) or (type(state) is tuple and len(state) == 2):
        with_state(target, state)
        return True
    return False


def _fill(target: TensorSpec, made: TensorSpec) -> bool:
    target.storage, target.extra = made.storage, made.extra
    target.form = made.form.with_(type=target.type)
    return True


def uninitialized(type_name: str) -> Recipe:
    """A lazy parameter or buffer: no shape yet."""

    def recipe(m: Machine, args: Arguments) -> Answer:
        return TensorSpec(None, "", None, None, 0, bool(args and args[0] is True), type=type_name)

    return recipe


def torch_size(m: Machine, args: Arguments) -> Answer:
    """torch.Size(ints)."""
    given = args[0] if args else ()
    if not isinstance(given, tuple | list):
        return NOT_KNOWN
    m.charged += 8 * len(given)
    return Sequence("torch.Size", "tuple", list(given))


def device(m: Machine, args: Arguments) -> Answer:
    """torch.device(type[, index])."""
    if not args or type(args[0]) is not str or len(args[0]) > 100:
        return NOT_KNOWN
    index = f":{args[1]}" if len(args) > 1 and type(args[1]) is int else ""
    return Literal("device", "torch.device", args[0] + index)


def layout(m: Machine, args: Arguments) -> Answer:
    """torch.serialization._get_layout(name)."""
    return Literal("object", "torch.layout", args[0]) if args and type(args[0]) is str else NOT_KNOWN


def nested_storage(m: Machine, args: Arguments) -> Answer:
    """torch.storage._load_from_bytes(bytes): a whole legacy stream inside the pickle."""
    value = m.nested(args[0]) if args and type(args[0]) is bytes else None
    return value if value is not None else NOT_KNOWN


_UTILS = {
    "_rebuild_tensor": tensor_v1, "_rebuild_tensor_v2": tensor_v2, "_rebuild_tensor_v3": tensor_v3,
    "_rebuild_parameter": parameter, "_rebuild_parameter_with_state": parameter_with_state,

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
    ("torch", "Size"): torch_size,
    ("torch", "device"): device,
    ("torch.serialization", "_get_layout"): layout,
    ("torch.storage", "_load_from_bytes"): nested_storage,
}

CONSTANTS: dict[tuple[str, str], Value] = {
    ("torch", name): Literal("dtype", "torch.dtype", f"torch.{ALIASES.get(name, name)}") for name in (*DTYPES, *ALIASES)
}
"""Names that stand for a value by themselves: the dtypes."""
