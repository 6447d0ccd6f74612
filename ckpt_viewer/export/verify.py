"""Read a copy with our own reader and compare it with the source: names, values, geometry, sharing, places.

Bytes are compared while they are written, by `copier`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import TypeAlias

from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Step, step_text
from ckpt_viewer.core.tensor import Quantization, StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, NdArray, Sequence, Value
from ckpt_viewer.export.blocks import StepBytes
from ckpt_viewer.export.comparer import differs
from ckpt_viewer.export.parts import Parts, Range
from ckpt_viewer.export.pieces import root_of

SameStorage: TypeAlias = Callable[["StorageSpec | None", "StorageSpec | None"], bool]
"""Whether the second storage is what the first one should have become."""

_NOTHING = TensorExtra()
_VIEW = ("dtype", "shape", "stride")
_EXTRA = ("layout", "conj", "neg", "coalesced", "device", "data")


def compare_trees(ours: Outline, theirs: Outline, same_storage: SameStorage, step: StepBytes) -> None:
    """Compare two whole checkpoints entry by entry; raises WriteFailed at the first difference."""
    if len(ours) != len(theirs) or ours.ends != theirs.ends or ours.aliases != theirs.aliases:
        raise differs("its outline")
    for row, (one, other) in enumerate(zip(ours.values, theirs.values, strict=True)):
        if not same_step(ours.steps[row], theirs.steps[row]) or not same_shallow(one, other, same_storage):
            raise differs("/".join(map(step_text, ours.path(row))) or "its root")
        if row % 64 == 0:
            step(0)


def same_step(one: Step, other: Step) -> bool:
    """Whether two steps are equal, `0` and ``"0"`` being different."""
    return type(one) is type(other) and one == other


def same_shallow(one: Value, other: Value, same_storage: SameStorage) -> bool:
    """Whether two values are equal, their children aside."""
    if type(one) is not type(other):
        return False
    if isinstance(one, TensorSpec) and isinstance(other, TensorSpec):
        same_class = one.type == other.type and one.requires_grad == other.requires_grad
        return same_class and one.offset == other.offset and same_tensor(one, other, same_storage)
    if isinstance(one, StorageSpec) and isinstance(other, StorageSpec):
        return same_storage(one, other)
    if isinstance(one, Mapping | Sequence | Instance | list | tuple):
        return getattr(one, "type", "") == getattr(other, "type", "")
    if isinstance(one, NdArray) and isinstance(other, NdArray):
        same_form = (one.dtype, one.shape, one.fortran, one.type) == (
            other.dtype,
            other.shape,
            other.fortran,
            other.type,
        )
        return (
            same_form and type(one.data) is type(other.data) and (isinstance(one.data, list) or one.data == other.data)
        )
    if isinstance(one, Literal) and isinstance(other, Literal):
        return (one.kind, one.type, one.text) == (other.kind, other.type, other.text)
    if isinstance(one, Global) and isinstance(other, Global):
        return one.qualified == other.qualified
    return bool(one == other or (one != one and other != other))  # NaN is NaN


def same_tensor(one: TensorSpec, other: TensorSpec, same_storage: SameStorage) -> bool:
    """Whether two tensors have the same values if their storages have; their class and offset aside."""
    if any(getattr(one, name) != getattr(other, name) for name in _VIEW) or not same_storage(
        one.storage, other.storage
    ):
        return False
    a, b = one.extra or _NOTHING, other.extra or _NOTHING
    if any(getattr(a, name) != getattr(b, name) for name in _EXTRA) or list(a.parts) != list(b.parts):
        return False
    parts = zip(a.parts.values(), b.parts.values(), strict=True)
    return all(same_shallow(p, q, same_storage) for p, q in parts) and _same_quantization(
        a.quantization, b.quantization, same_storage
    )


def _same_quantization(one: Quantization | None, other: Quantization | None, same_storage: SameStorage) -> bool:
    if one is None or other is None:
        return one is other
    if (one.scheme, one.axis) != (other.scheme, other.axis):
        return False
    pairs = ((one.scale, other.scale), (one.zero_point, other.zero_point))
    return all(same_shallow(p, q, same_storage) for p, q in pairs)


def compare_places(parts: Parts, pairs: Iterable[tuple[StorageSpec, StorageSpec]], step: StepBytes) -> None:
    """Check that our reader finds every storage where its bytes went; raises WriteFailed where it does not."""
    ranges = sorted(
        (part.offset, part.nbytes, position) for position, part in parts.placed() if isinstance(part, Range)
    )
    starts = [start for start, _, _ in ranges]
    for one, other in pairs:
        if one.home is None and other.home is None:
            continue
        a, b = one.extent(), other.extent()
        if a.source is not parts.source:  # inflated, or in the pickle: small enough to be in memory already
            same = a.source.read_at(a.offset, a.nbytes) == b.source.read_at(b.offset, b.nbytes)
        else:
            at = bisect_right(starts, a.offset) - 1
            start, _, position = ranges[at] if at >= 0 else (0, 0, 0)
            same = (position + a.offset - start, a.nbytes, a.big_endian) == (b.offset, b.nbytes, b.big_endian)
        if not same:
            raise differs(f"storage {one.key}")
        step(0)


class Pairing:
    """Finds out which storage became which, and whether that is one to one and with the right tag.

    Attributes:
        pairs: each storage -> its copy, in order of first appearance.
    """

    def __init__(self, tag_of: Callable[[StorageSpec], str | None]) -> None:
        self.pairs: dict[StorageSpec, StorageSpec] = {}
        self._tag_of = tag_of

    def __call__(self, one: StorageSpec | None, other: StorageSpec | None) -> bool:
        """Whether `other` is the copy of `one`; None stands for no storage."""
        if one is None or other is None:
            return one is other
        if (one.key, one.dtype, one.numel) != (other.key, other.dtype, other.numel):
            return False
        one, other = root_of(one)[0], root_of(other)[0]
        return self.pairs.setdefault(one, other) is other and other.location == self._tag_of(one)
