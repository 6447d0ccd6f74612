"""Models inside a checkpoint, by structure: state_dicts, and whole modules whose classes need not exist.

The order of names in a whole module is that of torch/nn/modules/module.py (`state_dict`, `_save_to_state_dict`):
parameters, persistent buffers, then children, each in the order in which they were registered.
"""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, Sequence, Value

DEEPEST = 200
"""Modules inside modules; torch's own state_dict() gives up at about 300."""
MOST_ENTRIES = 1_000_000
"""Entries of one state_dict."""
MOST_NOTES = 200
"""Sentences about modules that cannot be read."""
MODULE_COST = 10
"""A module counts as so many entries: going into it takes as long."""
EMA_WORDS = ("ema", "averaged", "shadow")
SHARE_OF_TENSORS = 0.9
"""Of a state_dict's entries at least this share are tensors."""
ENTRY_NAMES = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked"})
"""Last parts of names that only parameters and buffers of modules have."""
MODEL_KEYS = frozenset(
    """model state_dict model_state_dict net network network_weights module params weights generator netg
    g discriminator netd d encoder decoder unet vae teacher student backbone ema model_ema
    state_dict_ema ema_state_dict""".split()
)
"""Keys under which trainers keep a model (FORMATS 5.4), in lower case."""


class Model(NamedTuple):
    """A model that was found.

    Attributes:
        path: where. kind: ``"state_dict"`` or ``"module"``. row: in the outline.
        ema: whether its key says that it is an averaged copy.
    """

    path: Path
    kind: str
    row: int
    ema: bool


class Entry(NamedTuple):
    """One entry of a state_dict; `buffer` tells buffers from parameters, None where the file does not."""

    name: str
    tensor: TensorSpec
    buffer: bool | None


class Entries(NamedTuple):
    """A state_dict in torch's order.

    Attributes:
        entries: its tensors.
        others: names of entries that are no tensors (extra state), with their values.
        notes: what could not be derived, a sentence each.
        metadata: the ``_metadata`` mapping if the file has one.
        names: of `entries` and `others` together, in order.
    """

    entries: list[Entry]
    others: dict[str, Value]
    notes: list[str]
    metadata: Value
    names: list[str]


def is_module(value: Value) -> bool:
    """Whether a value was pickled by torch.nn.Module: it has `_parameters`, `_buffers` and `_modules`."""
    if not isinstance(value, Instance):
        return False
    attributes = value.attributes()
    return all(isinstance(attributes.get(name), Mapping) for name in ("_parameters", "_buffers", "_modules"))


def wrapped_module(value: Value) -> Instance | None:
    """Return the module inside a torch.compile wrapper, which is pickled as a call with the module as its argument."""
    if isinstance(value, Instance) and value.type == "torch._dynamo.eval_frame.OptimizedModule" and value.arguments:
        inner = value.arguments[0]
        return inner if isinstance(inner, Instance) and is_module(inner) else None
    return None


def is_state_dict(value: Value, key: str = "") -> bool:
    """Whether a dict is a state_dict: string keys, at least nine of ten entries tensors; `_metadata` is proof.

    Args:
        key: under which it was found; decides where the names of its entries do not.
    """
    if not isinstance(value, Mapping) or not value.pairs:
        return False
    pairs = value.pairs
    if any(type(key) is not str for key in pairs[::2]):
        return False
    if isinstance(value.state, Mapping) and value.state.get("_metadata") is not None:
        return True
    tensors = sum(type(child) is TensorSpec for child in pairs[1::2])
    if tensors < SHARE_OF_TENSORS * len(value):
        return False
    return value.type == "collections.OrderedDict" or key.lower() in MODEL_KEYS or _named_like_modules(value)


def _named_like_modules(value: Mapping) -> bool:
    names = [str(key) for key in value.pairs[::2]]
    dotted = sum("." in name for name in names)
    return dotted * 2 >= len(names) or any(name.rpartition(".")[2] in ENTRY_NAMES for name in names)


def find_models(outline: Outline, context: Context = SILENT) -> tuple[Model, ...]:
    """Return every model that is not inside another; raw ones first, averaged copies (EMA) after them."""
    models: list[Model] = []
    end = 0
    for row, value in stepped(enumerate(outline.values), context):
        if row < end or row in outline.aliases or type(value) not in (Mapping, Instance):
            continue
        if is_optimizer_state(value):
            end = outline.ends[row]
            continue
        kind = (
            "module"
            if is_module(value) or wrapped_module(value)
            else "state_dict"
            if is_state_dict(value, str(outline.steps[row]))
            else ""
        )
        if kind:
            path = outline.path(row)
            words = " ".join(str(step).lower() for step in path)
            models.append(Model(path, kind, row, any(word in words for word in EMA_WORDS)))
            end = outline.ends[row]
    return tuple(sorted(models, key=lambda model: model.ema))


def is_optimizer_state(value: Value) -> bool:
    """Whether a dict is an optimizer's state_dict: `state` and `param_groups`, a list of dicts with `params`."""
    if not isinstance(value, Mapping):
        return False
    groups = value.get("param_groups")
    if not isinstance(value.get("state"), Mapping) or not isinstance(groups, list):
        return False
    return all(isinstance(group, Mapping) and isinstance(group.get("params"), list) for group in groups)


def state_dict_entries(value: Value) -> Entries:
    """Return what ``state_dict()`` of the object at `value` would hold.

    For a dict its string-keyed entries, for a whole module what its structure says, for anything else nothing.
    """
    result = Entries([], {}, [], None, [])
    if isinstance(value, Mapping):
        for name, child in value.string_items().items():
            _add(result, name, child, None)
        odd = sum(type(key) is not str for key in value.pairs[::2])
        if odd:
            result.notes.append(f"{odd} entries whose keys are no strings are left out")
        metadata = value.state.get("_metadata") if isinstance(value.state, Mapping) else None
        return result._replace(metadata=metadata)
    inner = wrapped_module(value)
    if inner is not None:
        _walk_module(inner, "_orig_mod.", _Walk(result), set())
    elif isinstance(value, Instance):
        _walk_module(value, "", _Walk(result), set())
    return result


def _add(result: Entries, name: str, value: Value, buffer: bool | None) -> None:
    result.names.append(name)
    if isinstance(value, TensorSpec):
        result.entries.append(Entry(name, value, buffer))
    else:
        result.others[name] = value


class _Walk:
    """The entries found so far, and how many more may be looked at: modules can share children without end."""

    def __init__(self, result: Entries) -> None:
        self.result, self.left = result, MOST_ENTRIES

    def goes_on(self, module: Instance, prefix: str, above: set[int]) -> bool:
        where = prefix.rstrip(".") or "the root"
        if id(module) in above:
            self.result.notes.append(f"{where} contains itself; its names end there")
        elif len(above) >= DEEPEST:
            self.result.notes.append(f"{where[:200]} is more than {DEEPEST} modules deep; its names end there")
        elif self.left > 0:
            return True
        return False

    def spend(self, cost: int) -> bool:
        if 0 < self.left <= cost:
            self.result.notes.append(f"the module has more entries than the {MOST_ENTRIES} that are shown")
        self.left -= cost
        return self.left > 0


def _walk_module(module: Instance, prefix: str, walk: _Walk, above: set[int]) -> None:
    if not walk.spend(MODULE_COST) or not walk.goes_on(module, prefix, above):
        return
    result, attributes = walk.result, module.attributes()
    for group, buffer in (("_parameters", False), ("_buffers", True)):
        skipped = _members(attributes.get("_non_persistent_buffers_set")) if buffer else set()
        for name, value in _items(attributes.get(group)):
            if value is not None and name not in skipped and walk.spend(1):
                _add(result, prefix + name, value, buffer)
    _note_hooks(module, attributes, prefix, result)
    above.add(id(module))
    for name, child in _items(attributes.get("_modules")):
        if walk.left <= 0:
            break
        wrapped = wrapped_module(child)
        if wrapped is not None:
            _walk_module(wrapped, f"{prefix}{name}._orig_mod.", walk, above)
        elif isinstance(child, Instance) and is_module(child):
            _walk_module(child, f"{prefix}{name}.", walk, above)
        elif child is not None and len(result.notes) < MOST_NOTES:
            result.notes.append(f"{prefix}{name} is no module that can be read; its entries are missing")
    above.discard(id(module))


def _note_hooks(module: Instance, attributes: dict[str, Value], prefix: str, result: Entries) -> None:
    where = prefix.rstrip(".") or "the module"
    hooks = attributes.get("_state_dict_hooks")
    if isinstance(hooks, Mapping) and hooks.pairs:
        result.notes.append(f"{where} has state_dict hooks, which may have renamed entries when it was alive")
    if "_packed_params" in attributes and not isinstance(attributes["_packed_params"], Mapping):
        result.notes.append(f"{where} ({module.type}) keeps packed quantised weights, which cannot be derived")


def _items(value: Value) -> list[tuple[str, Value]]:
    return list(value.string_items().items()) if isinstance(value, Mapping) else []


def _members(value: Value) -> set[str]:
    return {item for item in value.items if type(item) is str} if isinstance(value, Sequence) else set()
