"""What lies below a value: kinds and children, in the order that INTERFACE fixes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from ckpt_viewer.core.path import TENSOR_KEY, Arg, Item, Step, key_step, same_step
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, NdArray, Sequence, Value

STATE_STEP = "__state__"
"""Step to a pickled state that is no dictionary of attributes."""

_PLAIN_KINDS: dict[type, str] = {
    str: "str", int: "int", float: "float", bool: "bool", type(None): "none", bytes: "bytes", complex: "object",
    list: "list", tuple: "tuple", Mapping: "dict", Instance: "object", NdArray: "ndarray", Global: "global",
    TensorSpec: "tensor", StorageSpec: "storage",
}  # fmt: skip

SCALARS = frozenset({str, int, float, bool, type(None), bytes, complex, Literal, Global, StorageSpec})
"""Types of values that never have children."""


def kind_of(value: Value) -> str:
    """Return the `kind` of an entry, one of those that INTERFACE lists for `ls --json`."""
    plain = _PLAIN_KINDS.get(type(value))
    if plain is not None:
        return plain
    if isinstance(value, Sequence | Literal):
        return value.kind
    raise TypeError(f"not a checkpoint value: {type(value)}")


def type_of(value: Value) -> str:
    """Return the class of a value as the file names it; plain types bare (``dict``)."""
    if isinstance(value, Mapping | Sequence | Literal | NdArray | Instance | TensorSpec):
        return value.type
    if isinstance(value, StorageSpec):
        return "torch.storage.TypedStorage" if value.dtype else "torch.storage.UntypedStorage"
    if isinstance(value, Global):
        return value.qualified
    return type(value).__name__


def is_leaf(value: Value) -> bool:
    """Whether a value certainly has no children."""
    kind = type(value)
    if kind in SCALARS:
        return True
    if kind is TensorSpec:
        extra = value.extra  # type: ignore[union-attr]
        return extra is None or extra.state is None
    return kind is NdArray and type(value.data) is bytes  # type: ignore[union-attr]


def length_of(value: Value) -> int | None:
    """Return how many members a container has; None for what is no container."""
    if isinstance(value, Mapping | Sequence | list | tuple):
        return len(value)
    if isinstance(value, Instance):
        keywords = len(value.keywords) if isinstance(value.keywords, Mapping) else 0
        below = len(value.arguments) + isinstance(value.callable, Instance) + keywords
        return below + _state_length(value.state) + len(value.items) + len(value.pairs) // 2
    return None


def count_below(value: Value) -> int:
    """Return how many `children` there are, without making a step of each."""
    return len(value) if type(value) is list or type(value) is tuple else sum(1 for _ in _raw_children(value))


def children(value: Value) -> Iterator[tuple[Step, Value]]:
    """Yield (step, value) of everything below `value`: arguments, state, items, pairs, each in file order.

    A step that an earlier sibling has already becomes ``Item(n)``. Of a repeated dict key torch keeps the last value;
    both are shown.
    """
    if type(value) is list or type(value) is tuple:  # no two members have one index, and there may be millions
        yield from enumerate(value)
        return
    yield from _with_own_steps(_raw_children(value))


def tensors_alone(value: Value) -> tuple[list[tuple[Step, Value]], list[str], list[TensorSpec]] | None:
    """Return the children of a dict of plain tensors with names of their own: attributes, names and tensors.

    The same that `children` gives, in columns; None for a dict that holds anything else, and for what is none.
    """
    if type(value) is not Mapping or len(value.pairs) % 2 or not value.pairs or type(value.pairs[1]) is not TensorSpec:
        return None
    names, tensors = value.pairs[::2], value.pairs[1::2]
    if {*map(type, tensors)} != {TensorSpec} or {*map(type, names)} != {str} or any(map(_extra, tensors)):
        return None
    before = list(_with_own_steps(_chain(value.arguments, value.state, (), ())))
    steps = {*names}
    if len(steps) < len(names) or any(step in steps for step, _ in before):
        return None
    return before, names, tensors  # type: ignore[return-value]  # they are of these types


_extra = attrgetter("extra")


def _with_own_steps(raw: Iterable[tuple[Step, Value]]) -> Iterator[tuple[Step, Value]]:
    steps: set[object] = set()
    for index, (step, child) in enumerate(raw):
        if type(step) is Item:  # no two have one number
            yield step, child
            continue
        own = same_step(step) if type(step) is int else step
        if own in steps and own != (TENSOR_KEY,):
            yield Item(index), child
        else:
            steps.add(own)
            yield step, child


def _raw_children(value: Value) -> Iterable[tuple[Step, Value]]:
    if isinstance(value, Mapping):
        if value.state is None and not value.arguments:
            return _pairs(value.pairs)
        return _chain(value.arguments, value.state, (), value.pairs)
    if isinstance(value, list | tuple):
        return enumerate(value)
    if isinstance(value, Sequence):
        if value.kind == "set":
            return ((Item(index), member) for index, member in enumerate(value.items))
        return _chain((), value.state, value.items, ())
    if isinstance(value, Instance):
        return _instance_children(value)
    if isinstance(value, TensorSpec) and value.extra is not None:
        return _state(value.extra.state)
    if isinstance(value, NdArray) and isinstance(value.data, list):
        return enumerate(value.data)
    return ()


def _instance_children(value: Instance) -> Iterator[tuple[Step, Value]]:
    yield from ((Arg(index), argument) for index, argument in enumerate(value.arguments))
    if isinstance(value.callable, Instance):
        yield "__call__", value.callable
    if isinstance(value.keywords, Mapping):
        yield from _pairs(value.keywords.pairs)
    yield from _chain((), value.state, value.items, value.pairs)


def _chain(
    arguments: tuple[Value, ...], state: Value, items: Iterable[Value], pairs: Iterable[Value]
) -> Iterator[tuple[Step, Value]]:
    yield from ((Arg(index), argument) for index, argument in enumerate(arguments))
    yield from _state(state)
    yield from enumerate(items)
    yield from _pairs(list(pairs))


def _pairs(pairs: list[Value]) -> Iterator[tuple[Step, Value]]:
    turns = iter(pairs)
    for key, value in zip(turns, turns, strict=False):  # a key without a value does not count
        yield (key if type(key) is str else key_step(key)), value


def _state(state: Value) -> Iterator[tuple[Step, Value]]:
    if state is None:
        return
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    if all(part is None or isinstance(part, Mapping) for part in parts):
        for part in parts:
            if isinstance(part, Mapping):
                yield from _pairs(part.pairs)
    else:
        yield STATE_STEP, state


def _state_length(state: Value) -> int:
    if state is None:
        return 0
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    if all(part is None or isinstance(part, Mapping) for part in parts):
        return sum(len(part) for part in parts if isinstance(part, Mapping))
    return 1


def is_scalar_tuple(value: Value) -> bool:
    """Whether a value is a tuple (or torch.Size) of scalars: described again at each path that reaches it."""
    if isinstance(value, Sequence) and value.kind == "tuple":
        return all(type(item) in SCALARS for item in value.items)
    return isinstance(value, tuple) and all(type(item) in SCALARS for item in value)
