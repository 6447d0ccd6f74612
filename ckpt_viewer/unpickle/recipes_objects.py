"""Objects that are shown otherwise than as a call with arguments: optimizers, packed weights, bound methods."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.quantised import known_as_packed
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Literal, Mapping, Value
from ckpt_viewer.unpickle.machine import NOT_KNOWN, NotKnown
from ckpt_viewer.unpickle.recipes_plain import build_dtype

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine, Recipe

Arguments = tuple[Value, ...]
Answer: TypeAlias = "Value | NotKnown"

OPTIMIZERS_WITH_STEP = frozenset(
    f"torch.optim.{name.lower()}.{name}"
    for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "ASGD", "Rprop")
)


def build_optimizer(m: Machine, target: Value, state: Value) -> bool:
    """Optimizer.__setstate__ of torch 1.12 and later: step counts that are numbers become tensors."""
    if not isinstance(target, Instance) or target.type not in OPTIMIZERS_WITH_STEP:
        return False
    states = state.get("state") if isinstance(state, Mapping) else None
    for entry in states.pairs[1::2] if isinstance(states, Mapping) else ():
        if isinstance(entry, Mapping):
            _steps_to_tensors(m, entry)
    target.state = state
    return True


def _steps_to_tensors(m: Machine, entry: Mapping) -> None:
    for index in range(0, len(entry.pairs) - 1, 2):
        step = entry.pairs[index + 1]
        if entry.pairs[index] == "step" and isinstance(step, int | float):
            storage = m.new_storage("cpu", "float32", 1, struct.pack("<f", step))
            entry.pairs[index + 1] = TensorSpec(storage, "float32", (), ())
            message = f"step is saved as the number {step}; torch makes a tensor of it while loading the optimizer"
            m.note("info", "step-number", entry.pairs[index + 1], message)


def script_object(m: Machine, args: Arguments) -> Answer:
    """torch.ScriptObject: packed weights of quantised modules; its BUILD names the class."""
    return Literal("object", "torch.ScriptObject", "ScriptObject")


def build_literal(m: Machine, target: Value, state: Value) -> bool:
    """ScriptObject's (state, class name), or the byte order of a numpy.dtype."""
    if not isinstance(target, Literal) or target.type != "torch.ScriptObject":
        return build_dtype(m, target, state)
    name = state[1] if type(state) is tuple and len(state) == 2 else None
    if type(name) is not str or len(name) > 1000:
        return False
    target.text, target.inner = name, state
    where = "the state_dict of its module has" if known_as_packed(target) else "only TorchScript can unpack"
    m.note("info", "packed", target, f"{name} keeps packed values, which {where}")
    return True


def bound_method(m: Machine, args: Arguments) -> Answer:
    """builtins.getattr(object, name): how pickle writes a bound method (hooks, OneCycleLR's anneal function)."""
    if len(args) != 2 or type(args[1]) is not str or len(args[1]) > 1000 or not isinstance(args[0], Instance):
        return NOT_KNOWN
    method = Literal("object", "method", f"{args[0].type}.{args[1]}")
    method.inner = args
    m.charged += len(method.text)
    message = f"a bound method {args[1]} of an object; what is inside of that object is not listed here again"
    m.note("info", "bound-method", method, message)
    return method


def first_argument(m: Machine, args: Arguments) -> Answer:
    """torch.jit._pickle.restore_type_tag(value, type), build_intlist(list) and its like: the value itself."""
    return args[0] if args else NOT_KNOWN


def kept(m: Machine, args: Arguments) -> Answer:
    """An object that a reader of ours looks into by the names of its attributes."""
    return NOT_KNOWN


DISTRIBUTED = "torch.distributed.checkpoint"
RECIPES: dict[tuple[str, str], Recipe] = {
    **{
        (f"{DISTRIBUTED}.metadata", name): kept
        for name in (
            "Metadata",
            "TensorStorageMetadata",
            "BytesStorageMetadata",
            "TensorProperties",
            "ChunkStorageMetadata",
            "MetadataIndex",
            "StorageMeta",
            "_MEM_FORMAT_ENCODING",
        )
    },
    (f"{DISTRIBUTED}.filesystem", "_StorageInfo"): kept,
    **{
        ("torch.jit._pickle", name): first_argument
        for name in ("restore_type_tag", "build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
    },
    ("torch", "ScriptObject"): script_object,
    ("builtins", "getattr"): bound_method,
}
