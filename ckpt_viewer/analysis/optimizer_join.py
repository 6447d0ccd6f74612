"""Which parameter of which model each state of an optimizer belongs to, and how sure that is.

A state_dict of an optimizer names parameters only where it was built from ``named_parameters()`` or by FSDP. Otherwise
they are numbered in the order in which they were given to the optimizer: that of the model within each group, as a
rule, with frozen ones left out or not, and tied ones once. So several orders are tried; shapes, where the state shows
them, have to agree; and a state is sure where every order that fits says the same of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ckpt_viewer.analysis.optimizer_orders import Choice, Shape, State, Weight, kinds_of, usual_orders
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.model import Model
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.path import step_text
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec

BUFFER_NAMES = frozenset({"running_mean", "running_var", "num_batches_tracked"})
PREFIXES = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Put before names by wrappers (FORMATS 3.5)."""


class Join(NamedTuple):
    """How states became parameters.

    Attributes:
        method: ``names``, ``identity``, ``order``, ``shapes``, ``flat`` (no parameters of their own) or ``none``.
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
        if _is_flat(slots, max(len(weights) for _, weights in sets)):
            return empty._replace(
                method="flat", reason="its state is flattened over all parameters, as ZeRO and FSDP do"
            )
        reason = "no model in this file has parameters of these shapes; it was saved for another one"
        return empty._replace(reason=reason)
    return best


def _is_flat(slots: Sequence[State], weights: int) -> bool:
    """Whether states are vectors over many parameters each."""
    shapes = [slot.shape for slot in slots]
    return any(shapes) and all(shape is None or len(shape) == 1 for shape in shapes) and len(shapes) < weights


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
    choices = [choice for choice in usual_orders(slots, shapes, weights) if choice is not None]
    if not choices:
        return _by_shapes(slots, shapes, weights)
    sure = tuple(len(set(each)) == 1 and known > 0 for each in zip(*choices, strict=True))
    doubtful = len(sure) - sum(sure)
    if not known:
        reason = "by order only: the state shows no shapes"
    elif doubtful:
        reason = f"by order; shapes agree, but {doubtful} of {len(sure)} fit other parameters as well"
    else:
        reason = "by order: the shapes agree, and no other usual order fits"
    return _made("order", "guess" if doubtful else "likely", reason, choices[0], sure, weights)


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


def _by_shapes(slots: Sequence[State], shapes: list[Shape], weights: list[Weight]) -> Join:
    """Join without an order, as in a file that sorts its names: what is there once for a shape is sure."""
    kinds = kinds_of(slots, shapes, weights)
    wanted = [(kinds.of_slot[number], shape) for number, shape in enumerate(shapes)]
    there = [(kinds.of_weight[number], weight.tensor.shape) for number, weight in enumerate(weights)]
    asked, found = Counter(wanted), Counter(there)
    queues: dict[tuple[int, Shape], list[int]] = {}
    for number, key in enumerate(there):
        queues.setdefault(key, []).append(number)
    feeds = {key: iter(queue) for key, queue in queues.items() if asked[key] == found[key]}
    choice: Choice = [next(feeds[key]) if key in feeds and key[1] is not None else None for key in wanted]
    sure = tuple(number is not None and found[key] == 1 for number, key in zip(choice, wanted, strict=True))
    if all(sure):
        return _made("shapes", "likely", "by shapes: each is there once", choice, sure, weights)
    if None in choice or len(slots) < len(weights):
        reason = "only in part, by shapes that are there equally often; it may be of another model"
    else:
        reason = f"by shapes, of which {len(sure) - sum(sure)} are there several times: the names are in another order"
    return _made("shapes", "guess", reason, choice, sure, weights)
