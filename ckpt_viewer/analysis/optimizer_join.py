"""Which parameter of which model each state of an optimizer belongs to, and how sure that is.

A state_dict of an optimizer names parameters only where it was built from ``named_parameters()`` or by FSDP. Otherwise
they are numbered in the order in which they were given to the optimizer: that of the model within each group, as a
rule, with frozen ones left out or not, and tied ones once. So several orders are tried; shapes, where the state shows
them, have to agree; and a state is sure where every order that fits says the same of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import NamedTuple, Protocol

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.model import Model
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.path import step_text
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Value

BUFFER_NAMES = frozenset({"running_mean", "running_var", "num_batches_tracked"})
PREFIXES = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Put before names by wrappers (FORMATS 3.5)."""
PERMUTED = 4
"""Groups that are tried in every order."""
Shape = tuple[int, ...] | None
Choice = list[int | None]
"""For each slot the number of a weight."""
Match = Callable[[list[int], list[Shape], "list[Weight]"], "Choice | None"]


class State(Protocol):
    """What is asked of a slot."""

    @property
    def key(self) -> Value: ...
    @property
    def group(self) -> int: ...
    @property
    def given(self) -> str: ...
    @property
    def shape(self) -> Shape: ...


class Weight(NamedTuple):
    """A parameter of a model.

    Attributes:
        name: in its state_dict, the first where several names share it. tensor: its bytes.
        row: of the model in the outline. tied: the tensors under its other names.
    """

    name: str
    tensor: TensorSpec
    row: int
    tied: tuple[TensorSpec, ...] = ()


class Join(NamedTuple):
    """How states became parameters.

    Attributes:
        method: ``names``, ``identity``, ``order``, ``shapes`` or ``none``.
        confidence: ``certain``, ``likely``, ``guess``, or ``none``. reason: one sentence without its full stop.
        weights: for each slot its parameter, None where it is not known.
        sure: for each slot, whether nothing else fits.
        left: parameters of the model that no slot has. rows: of the models in the outline.
    """

    method: str
    confidence: str
    reason: str
    weights: tuple[Weight | None, ...]
    sure: tuple[bool, ...]
    left: tuple[Weight, ...] = ()
    rows: tuple[int, ...] = ()

    @property
    def matched(self) -> int:
        """Slots that have a parameter."""
        return sum(weight is not None for weight in self.weights)


def join_states(checkpoint: Checkpoint, row: int, slots: Sequence[State], context: Context = SILENT) -> Join:
    """Join the slots of the optimizer at `row` to the parameters of the model that fits best."""
    raw = [model for model in checkpoint.models if not model.ema] or list(checkpoint.models)
    empty = Join("none", "none", "there is no model in this file", (None,) * len(slots), (False,) * len(slots))
    if not slots or not raw:
        return empty if slots else empty._replace(reason="the optimizer has no parameters")
    sets: list[tuple[tuple[Model, ...], list[Weight]]] = [
        ((model,), weights_of(checkpoint, model, context)) for model in raw
    ]
    if len(raw) > 1:
        sets.append((tuple(raw), [weight for _, weights in sets for weight in weights]))
    name = " ".join(map(step_text, checkpoint.outline.path(row)))
    best, best_mark = empty, _mark(empty, len(slots), -1)
    for models, weights in sets:
        made = _join(slots, weights)._replace(rows=tuple(model.row for model in models))
        mark = _mark(made, len(slots), _likeness(name, models))
        if mark > best_mark:
            best, best_mark = made, mark
    if not best.matched:
        reason = "no model in this file has parameters of these shapes; it was saved for another one"
        return empty._replace(reason=reason)
    return best


def _mark(join: Join, slots: int, likeness: float) -> tuple[float, ...]:
    whole = join.matched == slots
    return (join.matched / slots, float(whole and not join.left), float(sum(join.sure)), likeness)


def _likeness(name: str, models: tuple[Model, ...]) -> float:
    """Return how much a model's key looks like the optimizer's: ``netG`` like ``optimizer_G``."""
    if len(models) > 1:
        return 0.0
    key = " ".join(map(step_text, models[0].path))
    return float(bool(key) and (name[-1:].lower() == key[-1:].lower() or key.lower() in name.lower()))


def weights_of(checkpoint: Checkpoint, model: Model, context: Context = SILENT) -> list[Weight]:
    """Return the parameters of a model as ``named_parameters()`` would: without buffers, tied ones once."""
    entries = state_dict_entries(checkpoint.outline.values[model.row], context).entries
    trained = any(entry.tensor.requires_grad for entry in entries)
    found: dict[tuple[object, ...], Weight] = {}
    for name, tensor, buffer in stepped(entries, context):
        if buffer or (buffer is None and _looks_like_a_buffer(name, tensor)):
            continue
        if model.kind == "module" and trained and not tensor.requires_grad:
            continue  # frozen; a state_dict does not say which are
        key = (id(tensor.storage or tensor), tensor.offset, tensor.shape, tensor.stride)
        first = found.get(key)
        found[key] = Weight(name, tensor, model.row) if first is None else first._replace(tied=(*first.tied, tensor))
    return list(found.values())


def _looks_like_a_buffer(name: str, tensor: TensorSpec) -> bool:
    row = DTYPES.get(tensor.dtype)
    return name.rpartition(".")[2] in BUFFER_NAMES or (row is not None and row.kind in ("int", "bool"))


def plain_name(name: str) -> str:
    """Return a parameter's name without what wrappers put into it."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
        if not prefix.startswith("module"):
            name = name.replace(f".{prefix}", ".")
    return name


# --- one optimizer and one model ----------------------------------------------------------------------------------


def _join(slots: Sequence[State], weights: list[Weight]) -> Join:
    for attempt in (_by_identity, _by_name):
        made = attempt(slots, weights)
        if made is not None:
            return made
    shapes = [slot.shape for slot in slots]
    known = sum(shape is not None for shape in shapes)
    choices = [choice for choice in _orders(slots, shapes, weights) if choice is not None]
    if choices:
        sure = tuple(len(set(each)) == 1 and known > 0 for each in zip(*choices, strict=True))
        if not known:
            return _made("order", "guess", "by order only: the state shows no shapes", choices[0], sure, weights)
        doubtful = len(sure) - sum(sure)
        if doubtful:
            reason = f"by order; shapes agree, but {doubtful} of {len(sure)} fit other parameters as well"
            return _made("order", "guess", reason, choices[0], sure, weights)
        reason = "by order: the shapes agree, and no other order fits"
        return _made("order", "likely", reason, choices[0], sure, weights)
    choice = _by_rare_shapes(shapes, weights)
    reason = "only in part, by shapes that are there equally often; the optimizer may be of another model"
    return _made("shapes", "guess", reason, choice, tuple(False for _ in slots), weights)


def _made(
    method: str, confidence: str, reason: str, choice: Choice, sure: tuple[bool, ...], weights: list[Weight]
) -> Join:
    chosen = {number for number in choice if number is not None}
    left = tuple(weight for number, weight in enumerate(weights) if number not in chosen)
    return Join(
        method,
        confidence,
        reason,
        tuple(None if n is None else weights[n] for n in choice),
        sure,
        left if chosen else (),
    )


def _by_identity(slots: Sequence[State], weights: list[Weight]) -> Join | None:
    """The parameters themselves are the keys: an optimizer that was pickled with its model."""
    tensors = [slot.key for slot in slots if isinstance(slot.key, TensorSpec)]
    if len(tensors) < len(slots):
        return None
    places = {_where(tensor): n for n, weight in enumerate(weights) for tensor in (weight.tensor, *weight.tied)}
    choice: Choice = [places.get(_where(tensor)) for tensor in tensors]
    if all(number is None for number in choice):
        return None
    sure = tuple(number is not None for number in choice)
    return _made("identity", "certain", "they are the same tensors", choice, sure, weights)


def _where(tensor: TensorSpec) -> tuple[object, ...]:
    return id(tensor.storage or tensor), tensor.offset, tensor.shape


def _by_name(slots: Sequence[State], weights: list[Weight]) -> Join | None:
    """The optimizer kept the names (``param_names``, or names instead of numbers)."""
    if not any(slot.given for slot in slots):
        return None
    places: dict[str, int] = {}
    for number, weight in enumerate(weights):
        places.setdefault(plain_name(weight.name), number)
    places.update((weight.name, number) for number, weight in enumerate(weights))
    choice: Choice = []
    for slot in slots:
        at = places.get(slot.given, places.get(plain_name(slot.given))) if slot.given else None
        fits = at is not None and slot.shape in (None, weights[at].tensor.shape)
        choice.append(at if fits else None)
    if all(number is None for number in choice):
        return None
    sure = tuple(number is not None for number in choice)
    missed = len(sure) - sum(sure)
    reason = "the optimizer kept the names" + (f"; {missed} of them are not in the model" if missed else "")
    return _made("names", "certain", reason, choice, sure, weights)


# --- orders -------------------------------------------------------------------------------------------------------


def _orders(slots: Sequence[State], shapes: list[Shape], weights: list[Weight]) -> Iterator[Choice | None]:
    """Yield a choice for every usual order that fits; None for those that do not."""
    groups = _groups(slots)
    everything = list(range(len(weights)))
    if len(slots) == len(weights):
        yield _fit(everything, shapes, weights)
        if len(groups) == 2:
            yield from (_split(groups, shapes, weights, test, flip) for test in range(3) for flip in (False, True))
        if 1 < len(groups) <= PERMUTED:
            yield from (_blocks(groups, order, shapes, weights) for order in permutations(range(len(groups))))
    elif len(slots) < len(weights):
        yield _earliest(everything, shapes, weights)
        yield _latest(everything, shapes, weights)
        if len(groups) > 1:
            yield _each_group(groups, shapes, weights, _earliest)
            yield _each_group(groups, shapes, weights, _latest)


def _groups(slots: Sequence[State]) -> list[list[int]]:
    """Return the numbers of the slots of each group, groups without any left out."""
    found: dict[int, list[int]] = {}
    for number, slot in enumerate(slots):
        found.setdefault(slot.group, []).append(number)
    return list(found.values())


def _agrees(shape: Shape, weight: Weight) -> bool:
    return shape is None or shape == weight.tensor.shape


def _fit(chosen: list[int], shapes: list[Shape], weights: list[Weight]) -> Choice | None:
    """The weights in this very order, if all shapes agree."""
    fits = all(_agrees(shape, weights[number]) for number, shape in zip(chosen, shapes, strict=True))
    return list(chosen) if fits else None


def _split(groups: list[list[int]], shapes: list[Shape], weights: list[Weight], test: int, flip: bool) -> Choice | None:
    """Two groups by what weight decay is usually kept from: vectors; biases; biases and norms. Either group first."""
    tests = (
        lambda weight: len(weight.tensor.shape or ()) > 1,
        lambda weight: not weight.name.endswith("bias"),
        lambda weight: not weight.name.endswith("bias") and "norm" not in weight.name.lower(),
    )
    parts: tuple[list[int], list[int]] = ([], [])
    for number, weight in enumerate(weights):
        parts[tests[test](weight) is flip].append(number)
    if [len(part) for part in parts] != [len(group) for group in groups]:
        return None
    return _fit([number for part in parts for number in part], shapes, weights)


def _blocks(
    groups: list[list[int]], order: tuple[int, ...], shapes: list[Shape], weights: list[Weight]
) -> Choice | None:
    """Groups that are consecutive parts of the model, in another order than in the model (a head before its body)."""
    starts, start = {}, 0
    for group in order:
        starts[group] = start
        start += len(groups[group])
    chosen = [starts[g] + place for g, members in enumerate(groups) for place in range(len(members))]
    return _fit(chosen, shapes, weights)


def _earliest(among: list[int], shapes: list[Shape], weights: list[Weight]) -> Choice | None:
    """Each slot gets the first weight that is still to come and agrees; those between were not given (frozen)."""
    left = iter(among)
    choice: Choice = []
    for shape in shapes:
        found = next((each for each in left if _agrees(shape, weights[each])), None)
        if found is None:
            return None
        choice.append(found)
    return choice


def _latest(among: list[int], shapes: list[Shape], weights: list[Weight]) -> Choice | None:
    choice = _earliest(among[::-1], shapes[::-1], weights)
    return None if choice is None else choice[::-1]


def _each_group(groups: list[list[int]], shapes: list[Shape], weights: list[Weight], one: object) -> Choice | None:
    """Each group by itself follows the order of the model; no weight is in two."""
    match = _earliest if one is _earliest else _latest
    free, choice = list(range(len(weights))), [None] * len(shapes)
    result: Choice = list(choice)
    for group in groups:
        made = match(free, [shapes[number] for number in group], weights)
        if made is None:
            return None
        for number, chosen in zip(group, made, strict=True):
            result[number] = chosen
        taken = set(made)
        free = [number for number in free if number not in taken]
    return result


def _by_rare_shapes(shapes: list[Shape], weights: list[Weight]) -> Choice:
    """Join the shapes that states and weights have equally often, in order; nothing else."""
    wanted = Counter(shape for shape in shapes if shape is not None)
    there = Counter(weight.tensor.shape for weight in weights)
    queues: dict[Shape, list[int]] = {shape: [] for shape, count in wanted.items() if there.get(shape) == count}
    for number, weight in enumerate(weights):
        if weight.tensor.shape in queues:
            queues[weight.tensor.shape].append(number)
    feeds = {shape: iter(queue) for shape, queue in queues.items()}
    return [next(feeds[shape]) if shape in feeds else None for shape in shapes]
