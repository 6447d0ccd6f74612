"""Whole modules, whose classes need not exist, and what their ``state_dict()`` would hold.

The order of names is that of torch/nn/modules/module.py (`state_dict`, `_save_to_state_dict`): parameters, persistent
buffers, then children, each in the order in which they were registered. A TorchScript module keeps all three as plain
attributes; its class declares which are which (torch/jit/_script.py, `RecursiveScriptModule`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from ckpt_viewer.core.expand import tensors_alone
from ckpt_viewer.core.model import has_parts, is_module, is_script_module, part_entries, wrapped_module
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.quantised import (
    SCRIPT_OBJECT,
    conv_entries,
    is_quantised_conv,
    known_as_packed,
    own_entries,
    packed_tensors,
    version_of,
)
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, Sequence, Value

DEEPEST = 200
"""Modules inside modules; torch's own state_dict() gives up at about 300."""
MOST_ENTRIES = 1_000_000
"""Entries of one state_dict."""
MOST_NOTES = 200
"""Sentences about modules that cannot be read."""
MOST_CLASSES, NAME_LIMIT = 3, 100
"""Classes that a sentence names, and characters of a name."""
WITHOUT_EXTRA_STATE = ("torch.", "torchvision.", "__torch__.")
"""How the names of classes begin that are known to have no extra state, and those of TorchScript, which has none."""
MODULE_COST = 10
"""A module counts as so many entries: going into it takes as long."""


class Entry(NamedTuple):
    """One entry of a state_dict; `buffer` tells buffers from parameters, None where the file does not."""

    name: str
    tensor: TensorSpec
    buffer: bool | None


_entry = partial(tuple.__new__, Entry)
"""Makes an Entry of its fields; its own constructor is a Python function, and a file may have a million entries."""


class Entries(NamedTuple):
    """A state_dict in torch's order.

    Attributes:
        entries: its tensors.
        others: names of entries that are no tensors (extra state), with their values.
        notes: what could not be derived, a sentence each.
        metadata: the ``_metadata`` mapping if the file has one, or what of it has to be stated; else None.
        names: of `entries` and `others` together, in order.
    """

    entries: list[Entry]
    others: dict[str, Value]
    notes: list[str]
    metadata: Value
    names: list[str]

    def with_packed(self) -> list[Entry]:
        """Return the tensors, those among them that lie in packed weights: a tuple of weight and bias, or an object."""
        packed = (
            (name, value) for name, value in self.others.items() if type(value) is tuple or known_as_packed(value)
        )
        inside = [Entry(name, part, False) for name, parts in packed for part in packed_tensors(parts)]
        return self.entries + inside if inside else self.entries


class Columns(NamedTuple):
    """The tensors of a state_dict, those in packed weights too: `names` and `tensors`, both in torch's order."""

    names: list[str]
    tensors: list[TensorSpec]


def state_dict_columns(value: Value, context: Context = SILENT) -> Columns:
    """Return what `state_dict_entries` and `with_packed` give, without an object for each; raises Cancelled."""
    if (alone := tensors_alone(value)) is not None:
        return Columns(*alone[1:])
    entries = state_dict_entries(value, context).with_packed()
    return Columns([entry.name for entry in entries], [entry.tensor for entry in entries])


def state_dict_entries(value: Value, context: Context = SILENT) -> Entries:
    """Return what ``state_dict()`` of the object at `value` would hold; raises Cancelled by `context`.

    For a dict its string-keyed entries, those of its parts where it `has_parts`; for a whole module what its structure
    says, for anything else nothing.
    """
    result = Entries([], {}, [], None, [])
    if isinstance(value, Mapping):
        items = dict(part_entries(value)) if has_parts(value) else value.string_items()
        result.names.extend(items)
        for name, child in stepped(items.items(), context):
            if type(child) is TensorSpec:
                result.entries.append(_entry((name, child, None)))
            else:
                result.others[name] = child
        odd = sum(type(key) is not str for key in stepped(value.pairs[::2], context))
        if odd:
            result.notes.append(
                "1 entry whose key is no string is left out"
                if odd == 1
                else f"{odd} entries whose keys are no strings are left out"
            )
        metadata = value.state.get("_metadata") if isinstance(value.state, Mapping) else None
        return result._replace(metadata=metadata)
    inner, walk = wrapped_module(value), _Walk(result)
    if inner is not None:
        _walk_module(inner, "_orig_mod.", walk, set())
    elif isinstance(value, Instance):
        _walk_module(value, "", walk, set())
    walk.note_extra_state()
    return result._replace(metadata=walk.metadata) if walk.metadata.pairs else result


def _add(result: Entries, name: str, value: Value, buffer: bool | None) -> None:
    result.names.append(name)
    if isinstance(value, TensorSpec):
        result.entries.append(Entry(name, value, buffer))
    else:
        result.others[name] = value


class _Walk:
    """The entries found so far, and how many more may be looked at: modules can share children without end.

    Attributes:
        metadata: the versions that must be known to load them again; most modules need none.
        foreign: classes that are not torch's own, of which only their code tells what they add.
    """

    def __init__(self, result: Entries) -> None:
        self.result, self.left = result, MOST_ENTRIES
        self.foreign: dict[str, None] = {}
        self.metadata = Mapping("collections.OrderedDict")

    def note_version(self, prefix: str, version: int) -> None:
        stated = Mapping()
        stated.pairs += ("version", version)
        self.metadata.pairs += (prefix.rstrip("."), stated)

    def note_extra_state(self) -> None:
        """Say what no structure tells: a class that overrides get_extra_state adds an entry made by its code."""
        names = [shorten(name, NAME_LIMIT) for name in self.foreign]
        if names:
            named = ", ".join(names[:MOST_CLASSES]) + (" and others" if len(names) > MOST_CLASSES else "")
            keep, its = ("keeps", "its") if len(names) == 1 else ("keep", "their")
            entries = f"the entries for it (_extra_state) are missing: only {its} code can make them"
            self.result.notes.append(f"if {named} {keep} extra state (get_extra_state), {entries}")

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
    if not module.type.startswith(WITHOUT_EXTRA_STATE):
        walk.foreign[module.type] = None
    own = _script_entries(module, attributes) if is_script_module(module) else _module_entries(module, attributes)
    for name, value, buffer in own:
        if walk.spend(1):
            _add(result, prefix + name, value, buffer)
    version = version_of(module, attributes)
    if version is not None:
        walk.note_version(prefix, version)
    _note_hooks(module, attributes, prefix, result)
    _walk_children(module, attributes, prefix, walk, above)


def _walk_children(module: Instance, attributes: dict[str, Value], prefix: str, walk: _Walk, above: set[int]) -> None:
    above.add(id(module))
    script = is_script_module(module)
    for name, child in attributes.items() if script else _items(attributes.get("_modules")):
        if walk.left <= 0:
            break
        wrapped = wrapped_module(child)
        if wrapped is not None:
            _walk_module(wrapped, f"{prefix}{name}._orig_mod.", walk, above)
        elif isinstance(child, Instance) and (is_module(child) or is_script_module(child) or is_quantised_conv(child)):
            _walk_module(child, f"{prefix}{name}.", walk, above)
        elif child is not None and not script and len(walk.result.notes) < MOST_NOTES:
            walk.result.notes.append(f"{prefix}{name} is no module that can be read; its entries are missing")
    above.discard(id(module))


def _script_entries(module: Instance, attributes: dict[str, Value]) -> Iterator[tuple[str, Value, bool]]:
    """Yield (name, tensor, is buffer) of a TorchScript module's own tensors, parameters first."""
    members = module.callable.members if isinstance(module.callable, Global) else None
    tensors = {name: value for name, value in attributes.items() if isinstance(value, TensorSpec)}
    if members is None:  # without the program, what is trained is a parameter
        first = {name for name, tensor in tensors.items() if tensor.requires_grad}
        rest = tensors.keys() - first
    else:
        first = tensors.keys() & members.parameters
        rest = tensors.keys() - first if members.buffers is None else tensors.keys() & members.buffers
    for chosen, buffer in ((first, False), (rest, True)):
        yield from ((name, tensor, buffer) for name, tensor in tensors.items() if name in chosen)


def _module_entries(module: Instance, attributes: dict[str, Value]) -> Iterator[tuple[str, Value, bool]]:
    """Yield (name, value, is buffer) of a module's own parameters and persistent buffers, and of quantised values."""
    for group, buffer in (("_parameters", False), ("_buffers", True)):
        skipped = _members(attributes.get("_non_persistent_buffers_set")) if buffer else set()
        for name, value in _items(attributes.get(group)):
            if value is not None and name not in skipped:
                yield name, value, buffer
    more = conv_entries(module) if is_quantised_conv(module) else own_entries(module, attributes)
    yield from ((name, value, True) for name, value in more)


def _note_hooks(module: Instance, attributes: dict[str, Value], prefix: str, result: Entries) -> None:
    where = prefix.rstrip(".") or "the module"
    hooks = attributes.get("_state_dict_hooks")
    if isinstance(hooks, Mapping) and hooks.pairs:
        result.notes.append(f"{where} has state_dict hooks, which may have renamed entries when it was alive")
    packed = [value for value in attributes.values() if isinstance(value, Literal) and value.type == SCRIPT_OBJECT]
    if any(not known_as_packed(value) for value in packed):
        result.notes.append(f"{where} ({module.type}) keeps packed quantised weights, which cannot be derived")


def _items(value: Value) -> list[tuple[str, Value]]:
    return list(value.string_items().items()) if isinstance(value, Mapping) else []


def _members(value: Value) -> set[str]:
    return {item for item in value.items if type(item) is str} if isinstance(value, Sequence) else set()
