"""Neutral values: what a pickle describes, as inert records.

Plain Python values stand for themselves: str, int, float, bool, None, bytes, complex, and exactly `list` and `tuple`.
Everything else that a pickle can name is one of the classes below. They are compared by identity, and they may contain
each other in cycles, since pickles may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, Union

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import StorageSpec, TensorSpec


_CHAIN = 100
"""Calls of what calls returned that are followed to find a class."""


class Members(NamedTuple):
    """Which attributes of a TorchScript class are parameters and buffers, as the program text in the file declares.

    Attributes:
        buffers: None where it does not say (before torch 1.6); then every other tensor may be one.
    """

    parameters: frozenset[str]
    buffers: frozenset[str] | None


class SourceText(NamedTuple):
    """The program text of a class, as torch wrote it into files until 1.5: for people, never compiled.

    Attributes:
        file: where it stood on the computer that wrote the file. text: the class.
    """

    file: str
    text: str


class Global:
    """A name that the file refers to. Nothing is ever imported or looked up under it.

    Attributes:
        members: of a module's class in TorchScript; None for any other name.
        source: the text of a class that the file has beside its name; None for most.
    """

    __slots__ = ("members", "module", "name", "source")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self.members: Members | None = None
        self.source: SourceText | None = None

    @property
    def qualified(self) -> str:
        """``module.name``; builtins bare."""
        return self.name if self.module == "builtins" else f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"Global({self.qualified})"


class Mapping:
    """A dict or something that was filled like one.

    Attributes:
        type: class as in the file (``"dict"``, ``"collections.OrderedDict"``).
        pairs: keys and values in turn, as the file has them; a repeated key is still here twice.
        state: attributes set on it (a state_dict's ``_metadata``); None for most.
        arguments: what it was made with beyond its pairs (a defaultdict's factory); ``()`` for most.
    """

    __slots__ = ("arguments", "pairs", "state", "type")

    def __init__(self, type: str = "dict", arguments: tuple[Value, ...] = ()) -> None:
        self.type = type
        self.pairs: list[Value] = []
        self.state: Value = None
        self.arguments = arguments

    def __len__(self) -> int:
        return len(self.pairs) // 2

    def get(self, key: str, default: Value = None) -> Value:
        """Return the last value of a string key."""
        pairs = self.pairs
        keys = pairs[len(pairs) - 2 :: -2] if len(pairs) > 1 else []
        if key not in keys:  # nothing else is equal to a string
            return default
        return pairs[len(pairs) - 1 - 2 * keys.index(key)]

    def string_items(self) -> dict[str, Value]:
        """Return the pairs whose key is a string; of repeated keys the last."""
        keys, values = self.pairs[::2], self.pairs[1::2]
        if {*map(type, keys)} <= {str}:
            return dict(zip(keys, values, strict=False))  # type: ignore[arg-type]  # a key without a value does not count
        return {key: value for key, value in zip(keys, values, strict=False) if type(key) is str}


class Sequence:
    """A list, tuple or set that is more than a plain one (torch.Size, deque, set, namedtuple).

    Attributes:
        type: class as in the file.
        kind: ``"list"``, ``"tuple"`` or ``"set"``.
        items: its members in file order.
        state: attributes set on it; None for most.
    """

    __slots__ = ("items", "kind", "state", "type")

    def __init__(self, type: str, kind: str, items: list[Value]) -> None:
        self.type, self.kind, self.items = type, kind, items
        self.state: Value = None

    def __len__(self) -> int:
        return len(self.items)


class Instance:
    """An object of a class that we do not know, or know to be a module: kept, never made.

    Attributes:
        callable: what would have been called to make it: a Global, or any other value.
        arguments: positional arguments of that call.
        keywords: keyword arguments (NEWOBJ_EX), a Mapping or None.
        state: what BUILD would have set; a Mapping, a tuple, any value; None if nothing.
        items: appended members. pairs: keys and values set, in turn.
        new: made by ``cls.__new__`` (NEWOBJ) and not by a call (REDUCE).
    """

    __slots__ = ("arguments", "callable", "items", "keywords", "new", "pairs", "state")

    def __init__(self, callable: Value, arguments: tuple[Value, ...], *, new: bool = False) -> None:
        self.callable, self.arguments, self.new = callable, arguments, new
        self.keywords: Value = None
        self.state: Value = None
        self.items: list[Value] = []
        self.pairs: list[Value] = []

    @property
    def type(self) -> str:
        """Class as in the file; ``"?"`` where the class is itself computed."""
        made_by = self.callable
        for _ in range(_CHAIN):
            if not isinstance(made_by, Instance):
                break
            made_by = made_by.callable
        return made_by.qualified if isinstance(made_by, Global) else "?"

    def attributes(self) -> dict[str, Value]:
        """Return the state's string-keyed entries, slots included."""
        return state_items(self.state)


class Literal:
    """A small immutable value that is best shown as text.

    Attributes:
        kind: ``"dtype"``, ``"device"`` or ``"object"`` (complex, range, slice, path, date, layout).
        type: class as in the file. text: what Python would print.
        inner: what it was described by, where that is more than its text (packed weights); not part of the tree.
    """

    __slots__ = ("inner", "kind", "text", "type")

    def __init__(self, kind: str, type: str, text: str) -> None:
        self.kind, self.type, self.text = kind, type, text
        self.inner: Value = None


class NdArray:
    """A numpy array or scalar whose bytes lie in the pickle.

    Attributes:
        dtype: numpy's own text for it, ``"<f4"``. shape: elements.
        data: raw bytes, or a list of values (object arrays).
        fortran: column-major. type: ``"numpy.ndarray"`` or e.g. ``"numpy.float64"`` for a scalar.
    """

    __slots__ = ("data", "dtype", "fortran", "shape", "state", "type")

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...],
        data: bytes | list[Value],
        fortran: bool = False,
        type: str = "numpy.ndarray",
    ) -> None:
        self.dtype, self.shape, self.data, self.fortran, self.type = dtype, shape, data, fortran, type
        self.state: Value = None


def state_items(state: Value) -> dict[str, Value]:
    """Return the attributes that a pickled state sets: a dict, or a pair (dict or None, slots dict)."""
    if isinstance(state, Mapping):
        return state.string_items()
    if type(state) is tuple and len(state) == 2:
        parts = [part.string_items() for part in state if isinstance(part, Mapping)]
        if len(parts) == sum(part is not None for part in state):
            return {key: value for part in parts for key, value in part.items()}
    return {}


Value: TypeAlias = Union[
    str, int, float, bool, None, bytes, complex, "list[Value]", "tuple[Value, ...]",
    Global, Mapping, Sequence, Instance, Literal, NdArray, "TensorSpec", "StorageSpec",
]  # fmt: skip
"""Anything that a pickle can describe."""
