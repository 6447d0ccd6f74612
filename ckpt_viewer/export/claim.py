"""What a copy has to hold for whoever loads it, in a form that another process can hold against what it loaded.

Tensors are compared as memory where the copy keeps their strides: storages are cut into `Stretch`es, none of which
overlap, and each tensor says at which byte of which stretch it begins. So shared memory is compared once, however many
tensors view it, and tensors of one stretch have to lie in one piece of memory. A tensor that is cast or laid out anew
is compared element by element, in row-major order.
"""

from __future__ import annotations

from collections.abc import Mapping as Names
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.path import INT_BITS
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, Sequence, Value
from ckpt_viewer.export.pieces import reach, root_of

PLAIN_CLASSES = frozenset({"torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"})
PARTED = ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
"""Layouts whose component tensors torch gives out."""


class Claim(NamedTuple):
    """What a file has to hold.

    Attributes:
        root: what loading it gives, over tensors of the source.
        cast: name at the root -> dtype that its tensor has in the file.
        loader: ``"torch"``, or ``"safetensors"`` for a file of that format, where `root` is a dict of tensors.
        strides: whether tensors that are not cast keep their strides and what they share. Otherwise each is row-major
            and by itself.
        source: path of the file that this one is a copy of, with its classes, so that torch may refuse it for the same
            reasons; ``""`` for a new file, whose tensors are plain ones.
    """

    root: Value
    cast: Names[str, str] = MappingProxyType({})
    loader: str = "torch"
    strides: bool = True
    source: str = ""


def claim_of(items: Names[str, Value], cast: Names[str, str] = MappingProxyType({})) -> Claim:
    """Return what a file of torch.save has to hold that is a dict of these."""
    root = Mapping()
    for pair in items.items():
        root.pairs += pair
    return Claim(root, cast)


class Stretch(NamedTuple):
    """A range of a storage that tensors view without a gap: bytes `start` and following, `swap` of them at once."""

    storage: StorageSpec
    start: int
    nbytes: int
    swap: int


class Script(NamedTuple):
    """A claim, taken apart.

    Attributes:
        rows: values in pre-order, each a list that JSON can hold: ``["d", keys]`` (None for a key that is not
            compared), ``["l", length]``, ``["t", tensor]``, ``["v", class, repr]``, ``["?"]`` for what is not compared.
        tensors: what is said of each, see `torch_bridge.proof`.
        stretches: what tensors lie in. streams: tensors that are compared by element.
        problem: why torch cannot check all of it, as half a sentence; ``""`` if it can.
    """

    rows: list[list[Any]]
    tensors: list[dict[str, Any]]
    stretches: list[Stretch]
    streams: list[TensorSpec]
    problem: str

    @property
    def nbytes(self) -> int:
        """Bytes that are compared."""
        return sum(stretch.nbytes for stretch in self.stretches) + sum(tensor.nbytes for tensor in self.streams)

    def discard(self, context: Context) -> None:
        """Free it piece by piece; raises Cancelled by `context`."""
        for each in (self.rows, self.tensors, self.stretches, self.streams):
            drain(each, context)


def take_apart(claim: Claim, context: Context = SILENT) -> Script:
    """Return what a claim says, in the order in which it is compared; raises Cancelled by `context`."""
    return _Taker(claim).take(context)


_Told: TypeAlias = "tuple[Value, str]"
"""A value and the dtype that it is cast to, ``""`` for none."""


class _Taker:
    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.rows: list[list[Any]] = []
        self.tensors: list[dict[str, Any]] = []
        self.streams: list[TensorSpec] = []
        self.problem = ""
        self._numbers: dict[tuple[int, str], int] = {}
        self._kept: list[Value] = []  # so that no identity is used twice
        self._reaches: dict[int, tuple[StorageSpec, list[tuple[int, int, int, int]]]] = {}

    def take(self, context: Context) -> Script:
        waiting: list[_Told] = [(self.claim.root, "")]
        seen: set[int] = set()
        while waiting:
            waiting += reversed(self._members(*waiting.pop(), seen, context))
            context.step(0, 0)
        stretches = self._stretches(context)
        used_up: list[dict[Any, Any] | list[Any] | set[int]] = [self._numbers, self._kept, self._reaches, seen]
        for each in used_up:
            drain(each, context)
        return Script(self.rows, self.tensors, stretches, self.streams, self.problem)

    def _members(self, value: Value, cast: str, seen: set[int], context: Context) -> list[_Told]:
        """Append the row of a value; return what lies below it, which comes next, with the dtypes it is cast to."""
        if isinstance(value, Mapping | Sequence | list | tuple):
            if id(value) in seen:  # a second way to it, or a cycle
                self.rows.append(["?"])
                return []
            seen.add(id(value))
            return self._pairs(value, context) if isinstance(value, Mapping) else self._items(value)
        if isinstance(value, TensorSpec):
            self.rows.append(["t", self._tensor(value, cast)])
        elif isinstance(value, StorageSpec):
            self.rows.append(["s", self._tensor(TensorSpec(value, "uint8", (value.nbytes,), (1,)), "")])
        elif value is None or type(value) in (bool, float, str) or (type(value) is int and _printable(value)):
            self.rows.append(["v", type(value).__name__, repr(value)])
        else:
            if isinstance(value, Instance):
                self._cannot(f"it holds an object of class {value.type}")
            self.rows.append(["?"])
        return []

    def _pairs(self, value: Mapping, context: Context) -> list[_Told]:
        unique: dict[Any, Value] = {}
        try:  # as a dict has them: a key that comes again has its last value in its first place
            for key, each in stepped(zip(value.pairs[::2], value.pairs[1::2], strict=True), context):
                unique[key] = each
        except TypeError:
            self._cannot("it holds a dict with a key that no dict can have")
            unique.clear()
        names = [key if type(key) is str or _printable(key) else None for key in stepped(unique, context)]
        self.rows.append(["d", names])
        cast = self.claim.cast if value is self.claim.root else {}
        told = [(each, cast.get(key, "") if type(key) is str else "") for key, each in stepped(unique.items(), context)]
        drain(unique, context)
        return told

    def _items(self, value: Sequence | list[Value] | tuple[Value, ...]) -> list[_Told]:
        items = list(value.items if isinstance(value, Sequence) else value)
        if isinstance(value, Sequence) and value.kind == "set":
            if any(isinstance(item, TensorSpec) for item in items):
                self._cannot("it holds a set of tensors")
            self.rows.append(["?"])
            return []
        self.rows.append(["l", len(items)])
        return [(item, "") for item in items]

    def _tensor(self, tensor: TensorSpec, cast: str) -> int:
        """Return the number of a tensor; what is to be said of it is said once."""
        number = self._numbers.setdefault((id(tensor), cast), len(self.tensors))
        if number == len(self.tensors):
            self._kept.append(tensor)
            told: dict[str, Any] = {"dtype": cast or tensor.dtype, "shape": tensor.shape}
            self.tensors.append(told)
            self._describe(tensor, number, cast, told)
        return number

    def _describe(self, tensor: TensorSpec, number: int, cast: str, told: dict[str, Any]) -> None:
        extra = tensor.extra
        if self.claim.source and tensor.type not in PLAIN_CLASSES:
            self._cannot(f"it holds a tensor of class {tensor.type}")
        if extra is not None and extra.layout in PARTED:
            parts = extra.parts.items()
            told["parts"] = {name: self._tensor(part, cast if name == "values" else "") for name, part in parts}
        elif tensor.shape is None or tensor.stride is None or (extra is not None and extra.parts):
            self._cannot("it holds a nested tensor, or one without a shape")
        elif tensor.numel and _has_bytes(tensor):
            bits = (extra.conj, extra.neg) if extra is not None else (False, False)
            as_memory = self.claim.strides and not cast and tensor.storage is not None
            if as_memory and tensor.storage is not None:
                told.update(stride=tensor.stride, conj=bits[0], neg=bits[1])
                self._reach(tensor, number)
            else:
                told.update(stream=len(self.streams), of=tensor.dtype)
                self.streams.append(tensor)

    def _reach(self, tensor: TensorSpec, number: int) -> None:
        assert tensor.storage is not None
        root, _ = root_of(tensor.storage)
        start, end = reach(tensor)
        swap = DTYPES[tensor.dtype].component if tensor.dtype in DTYPES else 1
        self._reaches.setdefault(id(root), (root, []))[1].append((start, end, number, swap))

    def _stretches(self, context: Context) -> list[Stretch]:
        """Lay out what the tensors reach, and tell each where it begins."""
        found: list[Stretch] = []
        for root, reaches in stepped(self._reaches.values(), context):
            first, stop = len(found), -1
            for start, end, number, swap in sorted(reaches):
                if len(found) == first or start >= stop:
                    found.append(Stretch(root, start, end - start, swap))
                    stop = end
                stop = max(stop, end)
                last = found[-1]
                found[-1] = last._replace(nbytes=stop - last.start, swap=swap if swap == last.swap else 0)
                self.tensors[number].update(stretch=len(found) - 1, at=start - last.start)
        return found

    def _cannot(self, problem: str) -> None:
        self.problem = self.problem or problem


def _has_bytes(tensor: TensorSpec) -> bool:
    """Whether there is anything to compare; a tensor on meta has but a form."""
    if tensor.storage is None:
        return tensor.extra is not None and tensor.extra.data is not None
    return root_of(tensor.storage)[0].home is not None


def _printable(value: Value) -> bool:
    """Whether a value is an int that Python agrees to print."""
    return type(value) is int and value.bit_length() <= INT_BITS
