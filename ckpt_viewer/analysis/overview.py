"""The first answers about a file: what it is, how large, which devices, which parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

from ckpt_viewer.analysis.packed import PackedWeights, packed_sentence, packed_weights
from ckpt_viewer.analysis.role_rules import Role
from ckpt_viewer.analysis.roles import find_roles, rank_of, role_paths
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.model import is_module, is_optimizer_state, is_script_module
from ckpt_viewer.core.module import MODULE_COST, MOST_ENTRIES, Columns, state_dict_columns
from ckpt_viewer.core.outline import Outline, Pointers
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Mapping as MappingValue
from ckpt_viewer.core.value import Value

AT_ONCE = 1024
"""Entries that are counted together; some 0.2 ms."""
_OF_TRAINING = frozenset({"optimizer", "lr_scheduler", "progress", "scaler", "rng", "metrics"})
"""Roles of what only a training leaves."""


class Progress(NamedTuple):
    """One number that says how far a training went. `pointer` leads to it."""

    pointer: str
    name: str
    value: int | float


class Totals(NamedTuple):
    """Counts over a whole file; bytes of tensors count views of shared storages once for each entry."""

    tensors: int
    tensor_bytes: int
    storages: int
    storage_bytes: int


class Overview(NamedTuple):
    """What the root panel and the summary strip say.

    Attributes:
        kind: ``training checkpoint``, ``state_dict``, ``whole model``, ``optimizer state``, ``tensor``, ``torchscript``
            or ``other``.
        parameters: elements of the first raw model's distinct tensors, buffers included; None without a model. Packed
            weights count for what they stand for, where that is known.
        locations: (device tag, bytes of its storages), largest first; the tag is None where the file states none.
        roles: role -> paths. role_details: pointer -> role and a few words about the entry.
        role_rows: row of the outline -> role.
        packed: weights that stand for others than their own numbers.
        findings: of the reader, and what was noticed here.
    """

    kind: str
    progress: tuple[Progress, ...]
    parameters: int | None
    tensors: int
    tensor_bytes: int
    storages: int
    storage_bytes: int
    locations: tuple[tuple[str | None, int], ...]
    roles: dict[str, list[Path]]
    role_details: dict[str, Role]
    role_rows: dict[int, Role]
    packed: PackedWeights
    findings: tuple[Finding, ...]


def overview(checkpoint: Checkpoint, context: Context = SILENT) -> Overview:
    """Return the overview of a checkpoint; walks its outline, reads no weights. Raises Cancelled by `context`."""
    outline = checkpoint.load_outline(context)
    roles = find_roles(outline, checkpoint.models, context, checkpoint.given)
    totals, storages = _totals(outline, context)
    pointer = Pointers(outline).of
    pointers = {row: pointer(row) for row in roles}
    progress = tuple(
        Progress(pointers[row], str(outline.steps[row]), value)
        for row, role in roles.items()
        if role.name == "progress" and (value := number_of(outline.values[row])) is not None
    )
    models = _model_tensors(checkpoint, context)
    packed = packed_weights(models, context)
    sentence = packed_sentence(packed)
    parameters = parameter_count(models[0].tensors, packed, context) if models else None
    for columns in models:
        drain(columns.names, context)
        drain(columns.tensors, context)
    return Overview(
        kind="whole model" if checkpoint.format == "torch-export" else kind_of_file(outline, roles),
        progress=progress,
        parameters=parameters,
        tensors=totals.tensors,
        tensor_bytes=totals.tensor_bytes,
        storages=totals.storages,
        storage_bytes=totals.storage_bytes,
        locations=storages.locations,
        roles=role_paths(outline, roles),
        role_details={pointers[row]: role for row, role in roles.items()},
        role_rows=roles,
        packed=packed,
        findings=(
            *checkpoint.findings,
            *([Finding("info", "packed-weights", (), sentence)] if sentence else []),
            *_ranks(outline, roles),
            *_bloat(checkpoint, storages.large),
        ),
    )


def kind_of_file(outline: Outline, roles: dict[int, Role]) -> str:
    """Return the `kind` of INTERFACE for a whole file."""
    root: Value = outline.values[0]
    names = {role.name for role in roles.values()}
    if type(root) is TensorSpec:
        return "tensor"
    if is_script_module(root):
        return "torchscript"
    if is_optimizer_state(root) or (0 in roles and roles[0].name == "optimizer"):
        return "optimizer state"
    if 0 in roles and roles[0].name in ("model", "ema"):
        return "whole model" if is_module(root) or roles[0].detail else "state_dict"
    if names & {"model", "ema"} and names & {"optimizer", "lr_scheduler", "progress", "scaler"}:
        return "training checkpoint"
    if isinstance(root, MappingValue) and root.type == "folder" and "model" in names and not names & _OF_TRAINING:
        return "state_dict"  # weights and their config, as a model is handed on
    if names <= {"model", "ema"} and _holds_several(outline, roles):
        return "state_dict"  # several models, as of a GAN
    if "model" in names:
        rows = [row for row, role in roles.items() if role.name == "model"]
        return "whole model" if any(is_module(outline.values[row]) for row in rows) else "training checkpoint"
    return "optimizer state" if "optimizer" in names else "other"


def _holds_several(outline: Outline, roles: dict[int, Role]) -> bool:
    """Whether the entries at the root are several, each a state_dict with a role."""
    below = list(outline.children(0))
    return len(below) > 1 and all(row in roles and isinstance(outline.values[row], MappingValue) for row in below)


def _ranks(outline: Outline, roles: dict[int, Role]) -> tuple[Finding, ...]:
    """Say that the models of several ranks' folders are one, of which each has a part."""
    ranks = [rank for row, role in roles.items() if role.name == "model" and (rank := rank_of(outline, row))]
    if len(set(ranks)) < 2:
        return ()
    first = ranks[0].removeprefix("part of ")
    message = f"one model is spread over {len(set(ranks))} ranks; its number of parameters here is that of {first}"
    return (Finding("info", "model-of-ranks", (), message),)


def _model_tensors(checkpoint: Checkpoint, context: Context) -> list[Columns]:
    """Return the tensors of each model, of the first few if they are huge: modules can share parts without end."""
    found: list[Columns] = []
    left = MOST_ENTRIES
    for model in checkpoint.models:
        if left <= 0:
            break
        found.append(_columns(checkpoint.outline, model.row, context))
        left -= len(found[-1].names) + MODULE_COST
    return found


def _columns(outline: Outline, row: int, context: Context) -> Columns:
    """Return the tensors of the model at a row, by name; of most the outline has them already."""
    first, end = outline.alone.get(row), outline.ends[row]
    if first is None:
        return state_dict_columns(outline.values[row], context)
    return Columns(outline.steps[first:end], outline.values[first:end])  # type: ignore[arg-type]  # they are of these types


def parameter_count(tensors: Sequence[TensorSpec], packed: PackedWeights, context: Context = SILENT) -> int:
    """Return the elements of the distinct (storage, offset, shape, stride) of a model, the packed ones unpacked."""
    if not packed.found and (alone := _count_alone(tensors, context)) is not None:
        return alone
    first: dict[int, TensorSpec] = {}  # of each storage; nearly all have no other
    others: set[tuple[object, ...]] = set()
    count, found, helpers = 0, packed.found, packed.helpers
    for tensor in stepped(tensors, context, len(tensors)):
        if helpers and id(tensor) in helpers:
            continue
        place = id(tensor.storage or tensor)
        before = first.get(place)
        if before is None:
            first[place] = tensor
        else:
            view = (tensor.offset, tensor.shape, tensor.stride)
            if view == (before.offset, before.shape, before.stride) or (place, *view) in others:
                continue
            others.add((place, *view))
        known = found.get(id(tensor)) if found else None
        count += known.numel if known is not None and known.numel is not None else tensor.numel
    drain(first, context)
    drain(others, context)
    return count


def _count_alone(tensors: Sequence[TensorSpec], context: Context) -> int | None:
    """Return the elements of plain tensors that share no storage, some at a time; None for others."""
    storages: set[StorageSpec | None] = set()
    count = 0
    for start in range(0, len(tensors), AT_ONCE):
        context.step(start, len(tensors))
        some = tensors[start : start + AT_ONCE]
        if any(map(_EXTRA, some)):
            return None
        storages.update(map(_STORAGE, some))
        count += sum(map(_NUMEL, some))
    alone = len(storages) == len(tensors)
    drain(storages, context)
    return count if alone else None


class _Storages(NamedTuple):
    """What the storages of a file come to.

    Attributes:
        locations: see `Overview`. large: ids of those that are larger than all their tensors together.
    """

    locations: tuple[tuple[str | None, int], ...]
    large: set[int]


def _totals(outline: Outline, context: Context) -> tuple[Totals, _Storages]:
    tensors = size = 0
    storages: dict[StorageSpec, None] = {}
    small: dict[StorageSpec, None] = {}  # of those there is a tensor that does not fill them
    for start in range(0, len(outline), AT_ONCE):
        context.step(start, len(outline))
        some = outline.values[start : start + AT_ONCE]
        found: list[TensorSpec] = [value for value in some if type(value) is TensorSpec]
        tensors += len(found)
        here = [*map(_STORAGE, found)]
        if len(found) < len(some) or None in here or any(map(_EXTRA, found)):
            size += sum(map(_NBYTES, found))
            storages.update(dict.fromkeys(_storages_among(some, small)))
            continue
        storages.update(zip(here, repeat(None)))
        for (form, of_storage), count in Counter(zip(map(_FORM, found), map(_FORM, here), strict=True)).items():
            size += form.nbytes * count
            if form.nbytes < of_storage.nbytes:
                small.update((each.storage, None) for each in found if each.form is form)  # type: ignore[misc]
    large = _large(outline, small, context) if small else set()
    sizes: dict[str | None, int] = {}
    for form, count in Counter(map(_FORM, storages)).items():
        sizes[form.location] = sizes.get(form.location, 0) + count * form.nbytes
    locations = tuple(sorted(sizes.items(), key=lambda item: -item[1]))
    distinct = len(storages)
    drain(storages, context)
    return Totals(tensors, size, distinct, sum(sizes.values())), _Storages(locations, large)


_STORAGE, _EXTRA, _NBYTES, _FORM, _NUMEL = map(attrgetter, ("storage", "extra", "nbytes", "form", "form.numel"))


def _large(outline: Outline, small: Container[StorageSpec], context: Context) -> set[int]:
    """Return the ids of those storages that are larger than all their tensors together."""
    used: dict[int, int] = {}  # bytes that tensors use of each, once for every tensor
    kept: dict[int, StorageSpec] = {}
    for value in stepped(outline.values, context, len(outline)):
        if type(value) is TensorSpec:
            for storage, nbytes in _storages_of(value):
                if storage in small:
                    kept[id(storage)] = storage
                    used[id(storage)] = used.get(id(storage), 0) + nbytes
        elif type(value) is StorageSpec:
            used[id(value)] = value.nbytes
    return {key for key, storage in kept.items() if used[key] < storage.nbytes and storage.home is not None}


def _storages_among(values: Sequence[Value], small: dict[StorageSpec, None]) -> Iterator[StorageSpec]:
    """Yield the storages of values one after the other; those that one of them does not fill go into `small`."""
    for value in values:
        if type(value) is TensorSpec:
            for storage, nbytes in _storages_of(value):
                yield storage
                if nbytes < storage.nbytes:
                    small[storage] = None
        elif type(value) is StorageSpec:
            yield value


def _storages_of(tensor: TensorSpec) -> Iterator[tuple[StorageSpec, int]]:
    """Yield the storages of a tensor and its parts, and how much of each they use."""
    if tensor.storage is not None:
        yield tensor.storage, tensor.nbytes
    if tensor.extra is not None:
        for part in tensor.extra.parts.values():
            yield from _storages_of(part)


def _bloat(checkpoint: Checkpoint, large: set[int]) -> tuple[Finding, ...]:
    """Look closely only at storages that are larger than all their tensors together."""
    if not large:
        return ()
    from ckpt_viewer.analysis.ledger import bloat_findings, lines_of  # few files need it

    return bloat_findings(checkpoint.outline, lines_of(checkpoint, large))
