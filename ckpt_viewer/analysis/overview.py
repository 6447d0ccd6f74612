"""The first answers about a file: what it is, how large, which devices, which parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ckpt_viewer.analysis.packed import PackedWeights, packed_sentence, packed_weights
from ckpt_viewer.analysis.role_rules import Role
from ckpt_viewer.analysis.roles import find_roles, rank_of, role_paths
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.model import is_module, is_optimizer_state, is_script_module
from ckpt_viewer.core.module import MODULE_COST, MOST_ENTRIES, Entry, state_dict_entries
from ckpt_viewer.core.outline import Outline, Pointers
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Mapping as MappingValue
from ckpt_viewer.core.value import Value

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
    models = _model_entries(checkpoint, context)
    packed = packed_weights(models, context)
    sentence = packed_sentence(packed)
    parameters = parameter_count(models[0], packed, context) if models else None
    for entries in models:
        drain(entries, context)
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
    if "model" in names:
        rows = [row for row, role in roles.items() if role.name == "model"]
        return "whole model" if any(is_module(outline.values[row]) for row in rows) else "training checkpoint"
    return "optimizer state" if "optimizer" in names else "other"


def _ranks(outline: Outline, roles: dict[int, Role]) -> tuple[Finding, ...]:
    """Say that the models of several ranks' folders are one, of which each has a part."""
    ranks = [rank for row, role in roles.items() if role.name == "model" and (rank := rank_of(outline, row))]
    if len(set(ranks)) < 2:
        return ()
    first = ranks[0].removeprefix("part of ")
    message = f"one model is spread over {len(set(ranks))} ranks; its number of parameters here is that of {first}"
    return (Finding("info", "model-of-ranks", (), message),)


def _model_entries(checkpoint: Checkpoint, context: Context) -> list[list[Entry]]:
    """Return the state_dict of each model, of the first few if they are huge: modules can share parts without end."""
    found: list[list[Entry]] = []
    left = MOST_ENTRIES
    for model in checkpoint.models:
        if left <= 0:
            break
        found.append(state_dict_entries(checkpoint.outline.values[model.row], context).with_packed())
        left -= len(found[-1]) + MODULE_COST
    return found


def parameter_count(entries: Sequence[Entry], packed: PackedWeights, context: Context = SILENT) -> int:
    """Return the elements of the distinct (storage, offset, shape, stride) of a model, the packed ones unpacked."""
    first: dict[int, TensorSpec] = {}  # of each storage; nearly all have no other
    others: set[tuple[object, ...]] = set()
    count, found, helpers = 0, packed.found, packed.helpers
    for _, tensor, _ in stepped(entries, context, len(entries)):
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


class _Storages(NamedTuple):
    """What the storages of a file come to.

    Attributes:
        locations: see `Overview`. large: ids of those that are larger than all their tensors together.
    """

    locations: tuple[tuple[str | None, int], ...]
    large: set[int]


def _totals(outline: Outline, context: Context) -> tuple[Totals, _Storages]:
    tensors = size = 0
    storages: dict[int, StorageSpec] = {}
    used: dict[int, int] = {}  # bytes that tensors use of each, once for every tensor
    sizes: dict[tuple[object, ...], int] = {}  # of plain tensors, of which many are alike
    for value in stepped(outline.values, context, len(outline)):
        if type(value) is TensorSpec:
            tensors += 1
            storage = value.storage
            if storage is None or value.extra is not None:
                size += _collect(value, storages, used)
                continue
            alike = (value.dtype, value.shape)
            nbytes = sizes.get(alike)
            if nbytes is None:
                nbytes = sizes[alike] = value.nbytes
            size += nbytes
            key = id(storage)
            if key in used:
                used[key] += nbytes
            else:
                storages[key], used[key] = storage, nbytes
        elif type(value) is StorageSpec:
            storages[id(value)] = value
            used[id(value)] = value.nbytes
    stored, found = _stored(storages, used, context)
    return Totals(tensors, size, len(storages), stored), found


def _stored(storages: dict[int, StorageSpec], used: dict[int, int], context: Context) -> tuple[int, _Storages]:
    """Return the bytes of all storages, and which are where and larger than they need to be."""
    sizes: dict[str | None, int] = {}
    large: set[int] = set()
    for key, storage in stepped(storages.items(), context):
        nbytes, location = storage.nbytes, storage.location
        sizes[location] = sizes.get(location, 0) + nbytes
        if used[key] < nbytes and storage.home is not None:
            large.add(key)
    return sum(sizes.values()), _Storages(tuple(sorted(sizes.items(), key=lambda item: -item[1])), large)


def _collect(tensor: TensorSpec, storages: dict[int, StorageSpec], used: dict[int, int]) -> int:
    nbytes = tensor.nbytes
    storage = tensor.storage
    if storage is not None:
        key = id(storage)
        storages[key] = storage
        used[key] = used.get(key, 0) + nbytes
    if tensor.extra is not None:
        for part in tensor.extra.parts.values():
            _collect(part, storages, used)
    return nbytes


def _bloat(checkpoint: Checkpoint, large: set[int]) -> tuple[Finding, ...]:
    """Look closely only at storages that are larger than all their tensors together."""
    if not large:
        return ()
    from ckpt_viewer.analysis.ledger import bloat_findings, lines_of  # few files need it

    return bloat_findings(checkpoint.outline, lines_of(checkpoint, large))
