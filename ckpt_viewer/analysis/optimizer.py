"""An optimizer's state, understood: its class, its groups, and which parameter each part of its state belongs to.

Source: torch/optim/optimizer.py (`state_dict`, `load_state_dict`): parameters are numbered over all groups, in the
order in which they were given to the optimizer.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from ckpt_viewer.analysis.optimizer_class import Guess, guess_optimizer, hypers_of, optimizer_fields
from ckpt_viewer.analysis.optimizer_join import Join, join_states
from ckpt_viewer.analysis.optimizer_orders import Weight
from ckpt_viewer.analysis.optimizer_rate import effective_rate
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, Sequence, Value

PARAMETER_SHAPED = (
    "exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "sum", "exp_inf", "grad_avg", "acc_delta", "ax", "prev",
    "variance", "max_exp_avg_sq", "z", "sqr_avg", "exp_avg_diff", "master_param",
)  # fmt: skip
"""State entries that have the shape of their parameter, in torch, apex, fastai and others."""


class Group(NamedTuple):
    """One of the param_groups.

    Attributes:
        fields: every hyper-parameter, in file order. size: parameters in it.
    """

    fields: dict[str, Value]
    size: int


class Slot(NamedTuple):
    """One parameter as the optimizer knows it.

    Attributes:
        key: what its group calls it: a number, a name, a tensor. group: number of its group.
        entry: its state, None where there is none. row: of the state in the outline.
        given: the name in ``param_names``, or its key where that is a name; ``""`` without.
    """

    key: Value
    group: int
    entry: Mapping | None
    row: int | None
    given: str = ""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The parameter's shape as its state shows it; None where it does not."""
        return parameter_shape(self.entry) if self.entry is not None else None


class Joined(NamedTuple):
    """A slot and the parameter that it belongs to.

    Attributes:
        weight: None where that is not known. sure: whether nothing else fits.
    """

    slot: Slot
    weight: Weight | None
    sure: bool


class OptimizerView:
    """Everything about one optimizer of a checkpoint.

    Attributes:
        row: in the outline. guess: its class. groups, slots: in file order. join: how slots became parameters.
        orphans: states that belong to no parameter of any group: (key, row).
    """

    def __init__(self, checkpoint: Checkpoint, row: int, context: Context = SILENT) -> None:
        self.checkpoint, self.row = checkpoint, row
        outline = checkpoint.outline
        value = outline.values[row]
        parts = _parts(value)
        self.guess: Guess = guess_optimizer(*_fields(value, parts))
        self.groups, self.slots, self.orphans = _read(outline, row, parts, context)
        self.join: Join = join_states(checkpoint, row, self.slots, context)

    @cached_property
    def joined(self) -> list[Joined]:
        """Every slot with its parameter."""
        return [
            Joined(slot, weight, sure)
            for slot, weight, sure in zip(self.slots, self.join.weights, self.join.sure, strict=True)
        ]

    @cached_property
    def by_tensor(self) -> dict[int, Joined]:
        """id of a model's tensor -> the state that belongs to it; tied names share one tensor or one storage."""
        found: dict[int, Joined] = {}
        for each in self.joined:
            if each.weight is not None:
                for tensor in (each.weight.tensor, *each.weight.tied):
                    found[id(tensor)] = each
        return found

    @cached_property
    def differing(self) -> frozenset[str]:
        """Names of the hyper-parameters that are not the same in all groups."""
        names = {name for group in self.groups for name in group.fields}
        return frozenset(name for name in names if len({_text(group.fields.get(name)) for group in self.groups}) > 1)

    @property
    def missing(self) -> list[Joined]:
        """Parameters without a state, where others of this optimizer have one: never trained, or lost.

        LBFGS keeps one state for all of them, with the first.
        """
        with_state = any(slot.entry is not None for slot in self.slots) and "LBFGS" not in self.guess.names
        return [each for each in self.joined if each.slot.entry is None] if with_state else []

    @property
    def left_out(self) -> list[Weight]:
        """Parameters of the model that this optimizer does not have; empty where none were joined."""
        return list(self.join.left)

    @cached_property
    def state_bytes(self) -> int:
        """Bytes of the storages of the whole state."""
        return stored_bytes(self.checkpoint.outline, self.row)

    @cached_property
    def model_bytes(self) -> int:
        """Bytes of the storages of the models whose parameters it has, buffers included."""
        return sum(stored_bytes(self.checkpoint.outline, row) for row in self.join.rows)

    def step(self, slot: Slot) -> int | float | None:
        """Return how often a parameter was updated; reads one number. None where it is not counted."""
        for holder in (slot.entry, self.groups[slot.group] if self.groups else None):
            value = holder.get("step") if isinstance(holder, Mapping) else holder.fields.get("step") if holder else None
            number = number_of(value)
            if number is not None:
                return number
        return None

    def learning_rate(self, slot: Slot) -> float | None:
        """Return the learning rate of a parameter's group; None where the file does not say."""
        number = number_of(self.groups[slot.group].fields.get("lr")) if self.groups else None
        return None if number is None else float(number)

    def effective_rate(self, slot: Slot) -> float | None:
        """Return what the last update multiplied its direction by, where that is known; see `optimizer_rate`."""
        rate = self.learning_rate(slot)
        if rate is None:
            return None
        entry = slot.entry.string_items() if slot.entry is not None else {}
        return effective_rate(self.guess.names, rate, self.step(slot), self.groups[slot.group].fields, entry)


def parameter_shape(entry: Mapping) -> tuple[int, ...] | None:
    """Return the shape of the parameter that a state belongs to; None where its entries do not show it."""
    fields = entry.string_items()
    if "old_dirs" in fields or "state1" in fields:  # LBFGS flattens all parameters, bitsandbytes packs them
        return None
    for name in PARAMETER_SHAPED:
        tensor = fields.get(name)
        if isinstance(tensor, TensorSpec):
            return tensor.shape
    rows, columns = fields.get("row_var"), fields.get("col_var")  # Adafactor's factors
    if isinstance(rows, TensorSpec) and isinstance(columns, TensorSpec) and rows.shape and columns.shape:
        return (*rows.shape[:-1], columns.shape[-1])
    shapes = [
        each.shape for name, each in fields.items() if name != "step" and isinstance(each, TensorSpec) and each.shape
    ]
    return max(shapes, key=shapes.count) if shapes else None


class _Parts(NamedTuple):
    """The pieces of a state_dict of an optimizer, of a pickled optimizer, or of fastai's."""

    state: Value
    groups: list[Value]


def _parts(value: Value) -> _Parts:
    fields = value.attributes() if isinstance(value, Instance) else {}
    state = value.get("state") if isinstance(value, Mapping) else fields.get("state")
    groups = value.get("param_groups") if isinstance(value, Mapping) else fields.get("param_groups")
    if isinstance(groups, list):
        return _Parts(state, groups)
    return _Parts(state, hypers_of(value.get("hypers")) if isinstance(value, Mapping) else [])


def _fields(value: Value, parts: _Parts) -> tuple[dict[str, Value], set[str]]:
    if isinstance(value, Mapping):
        return optimizer_fields(value)
    made = Mapping()
    made.pairs += ["state", parts.state, "param_groups", parts.groups]
    return optimizer_fields(made)


def _read(
    outline: Outline, row: int, parts: _Parts, context: Context
) -> tuple[list[Group], list[Slot], list[tuple[Value, int]]]:
    """Return groups, slots, and the keys and rows of states that no group lists."""
    groups = [
        Group({name: each for name, each in group.string_items().items() if name not in ("params", "param_names")},
              len(_members(group.get("params"))))
        for group in parts.groups if isinstance(group, Mapping)
    ]  # fmt: skip
    states = _states(outline, row, parts.state)
    slots: list[Slot] = []
    for number, group in enumerate(each for each in parts.groups if isinstance(each, Mapping)):
        names = _members(group.get("param_names"))
        for place, key in stepped(enumerate(_members(group.get("params"))), context):
            given = names[place] if place < len(names) else key
            entry, at = states.pop(_key(key), None) or states.pop(_key(str(key)), None) or (None, None)
            slots.append(Slot(key, number, entry, at, given if type(given) is str else ""))
    if not slots and isinstance(parts.state, list):  # fastai: a list over all parameters
        slots = [Slot(number, 0, entry, at) for number, (entry, at) in enumerate(states.values())]
        states = {}
    return groups, slots, [(key[1], at) for key, (_, at) in states.items()]


def _states(outline: Outline, row: int, state: Value) -> dict[tuple[str, Value], tuple[Mapping, int]]:
    """Return the key of each state -> (the state, its row)."""
    at = next((child for child in outline.children(row) if outline.steps[child] == "state"), None)
    rows = list(outline.children(at)) if at is not None else []
    members = state.pairs[1::2] if isinstance(state, Mapping) else _members(state)
    keys = state.pairs[::2] if isinstance(state, Mapping) else list(range(len(members)))
    rows = rows[len(rows) - len(members) :]  # a defaultdict's factory comes before its pairs
    return {
        _key(key): (entry, where)
        for key, entry, where in zip(keys, members, rows, strict=False)
        if isinstance(entry, Mapping)
    }


def _key(key: Value) -> tuple[str, Value]:
    """Return a hashable stand-in for a key of a state: numbers, names, and tensors by identity."""
    if type(key) is int or type(key) is str:
        return type(key).__name__, key
    return "id", id(key) if isinstance(key, TensorSpec) else python_repr(key)


def _members(value: Value) -> list[Value]:
    if isinstance(value, list):
        return value
    return value.items if isinstance(value, Sequence) else []


def _text(value: Value) -> str:
    number = number_of(value)
    return python_repr(number if number is not None else value)


def stored_bytes(outline: Outline, row: int) -> int:
    """Return the bytes of the distinct storages below a row."""
    sizes: dict[int, int] = {}
    for value in outline.values[row : outline.ends[row]]:
        if type(value) is TensorSpec:
            parts = value.extra.parts.values() if value.extra else ()
            for tensor in (value, *parts):
                if tensor.storage is not None:
                    sizes[id(tensor.storage)] = tensor.storage.nbytes
    return sum(sizes.values())
