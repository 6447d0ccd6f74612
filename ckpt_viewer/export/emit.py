"""How tensors and plain values are written into a state_dict's pickle: FORMATS 3.4 and 7.1, the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import TensorExtra, TensorSpec
from ckpt_viewer.core.value import Literal, Mapping, Sequence, Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.needs import COALESCED, COMPRESSED, KEPT_BITS, UNTYPED, Needs
from ckpt_viewer.export.pickler import BATCH, PART, Pickler
from ckpt_viewer.export.pieces import CLASS_OF, Piece, Pieces

DEPTH = 32
"""Levels of containers in a value that is no tensor."""

VALUES = 100_000
"""Members that such a value may have in all, shared ones counted again."""

SPARSE = frozenset({"sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"})
PLAIN_TENSORS = frozenset({"torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NOTHING = TensorExtra()


def obstacle(tensor: TensorSpec) -> str:
    """Return why a tensor cannot be written faithfully, as the end of a sentence; ``""`` if it can."""
    extra = tensor.extra or _NOTHING
    if extra.layout == "jagged" or "buffer" in extra.parts:
        return "is a nested tensor"
    if tensor.shape is None or not tensor.dtype:
        return "has no values yet (a lazy parameter)"
    if extra.layout in SPARSE:
        return next((found for part in extra.parts.values() if (found := obstacle(part))), "")
    if extra.parts or extra.layout != "strided":
        return f"is a {tensor.type}, whose values are not those of a plain tensor"
    if tensor.storage is None or tensor.storage.home is None:
        if tensor.type in PLAIN_TENSORS:
            return "has no values in this file (a meta tensor)"
        return f"is a {tensor.type}, whose values are not those of a plain tensor"
    if tensor.dtype not in DTYPES or DTYPES[tensor.dtype].bits:
        return f"has the unknown dtype {tensor.dtype}"
    return _quantization_obstacle(extra)


def _quantization_obstacle(extra: TensorExtra) -> str:
    if extra.quantization is None:
        return ""
    for value in (extra.quantization.scale, extra.quantization.zero_point):
        if isinstance(value, TensorSpec):
            found = obstacle(value)
            if found:
                return f"is quantised, and its scale {found}"
        elif not is_plain(value):
            return "is quantised in an unknown way"
    return ""


def is_plain(value: Value) -> bool:
    """Whether a value can be kept: Python's scalars, dtypes, sizes, tensors, and containers of these."""
    budget = [VALUES]
    return _is_plain(value, DEPTH, budget)


def _is_plain(value: Value, depth: int, budget: list[int]) -> bool:
    budget[0] -= 1
    if type(value) in _SCALARS:
        return type(value) is not int or value.bit_length() < 2000
    if budget[0] < 0 or depth == 0:
        return False
    if isinstance(value, TensorSpec):
        return not obstacle(value)
    if isinstance(value, Literal):
        return value.type == "torch.dtype"
    if isinstance(value, list | tuple):
        return all(_is_plain(item, depth - 1, budget) for item in value)
    if isinstance(value, Sequence):
        return value.type == "torch.Size" and all(type(item) is int for item in value.items)
    if isinstance(value, Mapping) and value.type in ("dict", "collections.OrderedDict"):
        keys, values = value.pairs[::2], value.pairs[1::2]
        if value.state is not None or value.arguments or any(type(key) not in _SCALARS for key in keys):
            return False
        return all(_is_plain(item, depth - 1, budget) for item in (*keys, *values))
    return False


def tensors_in(value: Value) -> Iterator[TensorSpec]:
    """Yield every tensor with bytes of its own in a tensor or plain value, in the order in which they are written."""
    if isinstance(value, TensorSpec):
        extra = value.extra or _NOTHING
        if not extra.parts:
            yield value
        for part in extra.parts.values():
            yield from tensors_in(part)
        if extra.quantization is not None:
            yield from tensors_in(extra.quantization.scale)
            yield from tensors_in(extra.quantization.zero_point)
    elif isinstance(value, Mapping):
        for item in value.pairs[1::2]:
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


class Emitter:
    """Writes values; tensors as plain ones on the CPU that need no gradient.

    Args:
        take: is handed what has been written, now and then; the last of it stays with the pickler.

    Attributes:
        pickler: what has been written since. pieces: where bytes of tensors will be. needs: the torch that can load it.
    """

    def __init__(self, pieces: Pieces, context: Context, take: Callable[[bytearray], object]) -> None:
        self.pickler, self.pieces, self._context, self._take = Pickler(), pieces, context, take
        self.needs = Needs()

    def value(self, value: Value) -> None:
        """Push a tensor or a plain value (see `is_plain`)."""
        out = self.pickler
        if isinstance(value, TensorSpec):
            self.tensor(value)
        elif value is None:
            out.op(b"N")
        elif isinstance(value, bool):
            out.truth(value)
        elif isinstance(value, int):
            out.integer(value)
        elif isinstance(value, float):
            out.number(value)
        elif isinstance(value, str):
            out.text(value)
        elif isinstance(value, Literal):
            out.name("torch", value.text.removeprefix("torch."))
        else:
            self._container(value)

    def _container(self, value: Value) -> None:
        out = self.pickler
        if isinstance(value, tuple):
            out.open_tuple(len(value))
            for item in value:
                self.value(item)
            out.close_tuple(len(value))
        elif isinstance(value, list):
            out.op(b"](")
            for item in value:
                self.value(item)
            out.op(b"e")
        elif isinstance(value, Mapping):
            if value.type == "dict":
                out.op(b"}")
            else:
                out.ordered_dict()
            self.pairs(value.pairs)
        elif isinstance(value, Sequence):
            out.name("torch", "Size")
            out.integers(item for item in value.items if isinstance(item, int))
            out.op(b"\x85R")
        else:
            raise CannotExport(f"a value of type {type(value).__name__} cannot be written into a state_dict")

    def items(self, items: dict[str, Value]) -> None:
        """Set names and values of the dict on top of the stack."""
        for number, (name, value) in enumerate(stepped(items.items(), self._context)):
            if number % BATCH == 0:
                if len(self.pickler.data) >= PART:
                    self.pickler.hand_over(self._take)
                self.pickler.op(b"u(" if number else b"(")
            self.pickler.text(name, once=True)
            self.value(value)
        if items:
            self.pickler.op(b"u")

    def pairs(self, pairs: list[Value]) -> None:
        """Set keys and values, in turn, of the dict on top of the stack."""
        for start in range(0, len(pairs), 2 * BATCH):
            self.pickler.op(b"(")
            for item in stepped(pairs[start : start + 2 * BATCH], self._context):
                self.value(item)
            self.pickler.op(b"u")

    def tensor(self, tensor: TensorSpec) -> None:
        """Push a tensor whose `obstacle` is none."""
        extra = tensor.extra or _NOTHING
        if extra.parts:
            self._sparse(tensor, extra)
        elif extra.quantization is not None:
            self._quantized(tensor, extra)
        else:
            self._dense(tensor, extra)

    def _dense(self, tensor: TensorSpec, extra: TensorExtra) -> None:
        out = self.pickler
        piece, offset = self.pieces.of(tensor)
        late = tensor.dtype not in CLASS_OF or not piece.dtype
        self.needs.dtype(tensor.dtype)
        if late:
            self.needs.because(UNTYPED, "memory that is shared by tensors of several dtypes")
        out.name("torch._utils", "_rebuild_tensor_v3" if late else "_rebuild_tensor_v2")
        out.op(b"(")
        self._view(tensor, piece, offset)
        self._no_hooks()
        if late:
            out.name("torch", tensor.dtype)
        bits: list[Value] = [item for name in ("conj", "neg") if getattr(extra, name) for item in (name, True)]
        if bits:
            self.needs.because(KEPT_BITS, f"a tensor that is kept {'conjugated' if extra.conj else 'negated'}")
            out.op(b"}")
            self.pairs(bits)
        out.op(b"tR")

    def _view(self, tensor: TensorSpec, piece: Piece, offset: int) -> None:
        """Push storage, offset, size and stride."""
        out = self.pickler
        out.op(b"(")
        out.text("storage")
        if piece.dtype:
            out.name("torch", CLASS_OF[piece.dtype])
        else:
            out.name("torch.storage", "UntypedStorage")
        out.text(piece.key, once=True)
        out.text("cpu")
        out.integer(piece.numel)
        out.op(b"tQ")
        out.integer(offset)
        out.integers(tensor.shape or ())
        out.integers(tensor.stride or ())

    def _no_hooks(self) -> None:
        """Push requires_grad and the backward hooks."""
        self.pickler.truth(False)
        self.pickler.ordered_dict()

    def _quantized(self, tensor: TensorSpec, extra: TensorExtra) -> None:
        out, how = self.pickler, extra.quantization
        assert how is not None
        piece, offset = self.pieces.of(tensor)
        self.needs.dtype(tensor.dtype)
        self.needs.quantised()
        out.name("torch._utils", "_rebuild_qtensor")
        out.op(b"(")
        self._view(tensor, piece, offset)
        out.op(b"(")
        out.name("torch", how.scheme)
        self.value(how.scale)
        self.value(how.zero_point)
        if how.axis is not None:
            out.integer(how.axis)
        out.op(b"t")
        self._no_hooks()
        out.op(b"tR")

    def _sparse(self, tensor: TensorSpec, extra: TensorExtra) -> None:
        out = self.pickler
        out.name("torch._utils", "_rebuild_sparse_tensor")
        out.name("torch.serialization", "_get_layout")
        out.text(f"torch.{extra.layout}")
        out.op(b"\x85R(")
        for part in extra.parts.values():
            self.tensor(part)
        self.value(Sequence("torch.Size", "tuple", list(tensor.shape or ())))
        if extra.layout != "sparse_coo":
            self.needs.because(COMPRESSED, f"a {extra.layout} tensor")
        if extra.coalesced is not None:
            self.needs.because(COALESCED, "a sparse tensor that says whether it is coalesced")
            out.truth(extra.coalesced)
        out.op(b"t\x86R")
