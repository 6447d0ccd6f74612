"""Which tensors of a cargo lie in the same bytes, and what becomes of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.export.cargo import Cargo
from ckpt_viewer.export.pieces import reach, root_of

_NOTHING = TensorExtra()


class _Reach(NamedTuple):
    """From where to where in its storage a tensor reaches, in bytes."""

    start: int
    end: int
    name: str
    form: tuple[object, ...]


class Shared(NamedTuple):
    """What a container without storages has to know.

    Attributes:
        twins: name -> the name of a tensor that is the same in every respect, which is the one to keep.
        overlapping: names of tensors that share some of their bytes with another one, in order.
    """

    twins: dict[str, str]
    overlapping: list[str]


def shared(cargo: Cargo, context: Context = SILENT) -> Shared:
    """Find tensors that share bytes. Of twins the first name in alphabetical order is kept, as safetensors does."""
    twins: dict[str, str] = {}
    overlapping: set[str] = set()
    for reaches in _by_storage(cargo, context):
        same: dict[tuple[object, ...], list[_Reach]] = {}
        for one in reaches:
            same.setdefault((one.start, one.end, one.form), []).append(one)
        kept = []
        for group in same.values():
            first = min(group, key=lambda one: one.name)
            twins.update({one.name: first.name for one in group if one is not first})
            kept.append(first)
        for one, other in _meetings(kept):
            overlapping |= {one.name, other.name}
    return Shared(twins, [name for name in stepped(cargo.items, context) if name in overlapping])


def untied(cargo: Cargo, context: Context = SILENT) -> list[str]:
    """Say which tensors share bytes of which casting makes different ones; a sentence, or none."""
    parted: dict[str, None] = {}
    if cargo.cast:
        for reaches in _by_storage(cargo, context):
            after = {one.name: (one.form[0], cargo.cast[one.name]) for one in reaches if one.name in cargo.cast}
            for one, other in _meetings(reaches):
                if after.get(one.name) != after.get(other.name):
                    parted |= {one.name: None, other.name: None}
    if not parted:
        return []
    return [f"tensors that share memory as different dtypes will not once some of them are cast: {listed(parted)}"]


def met_again(keys: Iterable[int]) -> dict[int, None]:
    """Return the numbers that come more than once, in the order in which they do."""
    seen: set[int] = set()
    again: dict[int, None] = {}
    for key in keys:
        if key in seen:
            again[key] = None
        seen.add(key)
    return again


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names for a sentence."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(map(repr, found[:most])) + more


def _by_storage(cargo: Cargo, context: Context) -> Iterator[list[_Reach]]:
    """Yield the tensors of each storage that has several."""
    several = met_again(id(root) for _, _, root in _on_storages(cargo, context))
    reaches: dict[int, list[_Reach]] = {key: [] for key in several}
    if not reaches:
        return
    for name, tensor, root in _on_storages(cargo, context):
        if id(root) in reaches:
            extra = tensor.extra or _NOTHING
            form = (tensor.dtype, tensor.shape, tensor.stride, extra.conj, extra.neg, cargo.cast.get(name))
            reaches[id(root)].append(_Reach(*reach(tensor), name, form))
    yield from reaches.values()


def _on_storages(cargo: Cargo, context: Context) -> Iterator[tuple[str, TensorSpec, StorageSpec]]:
    for name, value in stepped(cargo.items.items(), context):
        if isinstance(value, TensorSpec) and value.storage is not None and value.numel:
            yield name, value, root_of(value.storage)[0]


def _meetings(reaches: list[_Reach]) -> Iterator[tuple[_Reach, _Reach]]:
    """Yield pairs that overlap: each tensor with the one before it that reaches furthest."""
    furthest: _Reach | None = None
    for one in sorted(reaches, key=lambda one: (one.start, one.end)):
        if furthest is not None and one.start < furthest.end:
            yield furthest, one
        if furthest is None or one.end > furthest.end:
            furthest = one
