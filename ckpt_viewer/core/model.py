"""Models inside a checkpoint, by structure: state_dicts, and whole modules whose classes need not exist.

What is here is asked of every file that is opened; `module` derives what a model's ``state_dict()`` would hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Given
from operator import attrgetter
from typing import NamedTuple

from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.progress import EVERY, SILENT, Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Global, Instance, Mapping, Value

EMA_WORDS = frozenset({"ema", "averaged", "average", "shadow", "swa"})
"""Words in keys of averaged copies; whole words, so that a schema is none."""
ROLES = ("model", "ema", "optimizer", "lr_scheduler", "scaler", "progress", "metrics", "config", "rng", "none")
"""Every role of an entry there is; ``none`` is what a user says of one that has none."""
EMA = "ema"
GIVEN_MODELS = ("model", EMA)
"""What a user calls an entry that has parameters."""
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
DISTRIBUTED = frozenset({"DTensor", "ShardedTensor"})
"""Classes of tensors that several ranks hold together, as FSDP and torch.distributed make of parameters."""
PLAIN = frozenset({int, float, str, bool, type(None)})
"""Types of values that may stand beside distributed parameters."""
MOMENTS = frozenset({"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "step", "sum"})
"""Names of an optimizer's state of one parameter, which is distributed as the parameter is."""
OF_PARTS = "language_model"
"""The part by which a model is known that was saved as dicts in dicts, one for each of its parts (Megatron-LM)."""
DEEPEST_PART, MOST_PARTS, MOST_IN_PARTS = 8, 100, 1_000_000
"""Dicts in dicts of such a model, entries of the outermost, and entries of all of them."""
FLAT_STATE = ("state.", "param_groups.")
"""How the keys of an optimizer's state begin where it was made flat."""
_WORDS = re.compile(r"[a-z]+|[A-Z][a-z]+|[A-Z]+")


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


def is_module(value: Value) -> bool:
    """Whether a value was pickled by torch.nn.Module: it has `_parameters`, `_buffers` and `_modules`."""
    if not isinstance(value, Instance):
        return False
    attributes = value.attributes()
    return all(isinstance(attributes.get(name), Mapping) for name in ("_parameters", "_buffers", "_modules"))


def is_script_module(value: Value) -> bool:
    """Whether a value is a module in TorchScript, whose classes are all below ``__torch__``."""
    if not isinstance(value, Instance) or not isinstance(value.callable, Global):
        return False
    if value.callable.members is not None:
        return True
    inside = value.callable.module.partition(".")[0] == "__torch__"
    return inside and type(value.attributes().get("training")) is bool


def wrapped_module(value: Value) -> Instance | None:
    """Return the module inside a torch.compile wrapper, which is pickled as a call with the module as its argument."""
    if isinstance(value, Instance) and value.type == "torch._dynamo.eval_frame.OptimizedModule" and value.arguments:
        inner = value.arguments[0]
        return inner if isinstance(inner, Instance) and is_module(inner) else None
    return None


def is_whole_module(value: Value) -> bool:
    """Whether a value is a pickled module: torch.nn's, TorchScript's, or one inside of a torch.compile wrapper."""
    return is_module(value) or is_script_module(value) or wrapped_module(value) is not None


def is_state_dict(value: Value, key: str = "") -> bool:
    """Whether a dict is a state_dict: string keys, at least nine of ten entries tensors; `_metadata` is proof.

    Where tensors are distributed over ranks, plain values beside them do not count, whatever the names are.

    Args:
        key: under which it was found; decides where the names of its entries do not.
    """
    if not isinstance(value, Mapping) or not value.pairs:
        return False
    pairs = value.pairs
    if {*map(type, pairs[::2])} != {str}:
        return False
    if isinstance(value.state, Mapping) and value.state.get("_metadata") is not None:
        return True
    tensors = [child for child in pairs[1::2] if type(child) is TensorSpec]
    if any_distributed(tensors) and not MOMENTS.issuperset(pairs[::2]):
        others = sum(type(child) not in PLAIN for child in pairs[1::2]) - len(tensors)
        return len(tensors) >= SHARE_OF_TENSORS * (len(tensors) + others) and 2 * len(tensors) > len(value)
    if len(tensors) < SHARE_OF_TENSORS * len(value):
        return False
    if all(child.shape == () for child in tensors) and not _has_entry_names(value):
        return False  # names to single numbers: the scores of files, metrics
    return value.type == "collections.OrderedDict" or key.lower() in MODEL_KEYS or _named_like_modules(value)


def has_parts(value: Value, most: int = MOST_IN_PARTS) -> bool:
    """Whether a dict is a model that was saved part by part: dicts in dicts down to the parameters (Megatron-LM).

    Args:
        most: entries that are looked at; a dict with more of them is none.

    Source: `state_dict_for_save_checkpoint` in megatron/model/language_model.py.
    """
    if not isinstance(value, Mapping) or not 0 < len(value) <= MOST_PARTS or type(value.get(OF_PARTS)) is not Mapping:
        return False
    if any(type(child) is TensorSpec for child in value.pairs[1::2]):
        return False
    tensors = count = 0
    for _, child in part_entries(value):
        count += 1
        tensors += type(child) is TensorSpec
        if count > most:
            return False
    return tensors > 0 and tensors >= SHARE_OF_TENSORS * count


def part_entries(value: Mapping) -> Iterator[tuple[str, Value]]:
    """Yield what lies in the parts of such a model, under the names that its ``state_dict()`` has."""
    seen = {id(value)}
    levels = [("", iter(value.string_items().items()))]
    while levels:
        prefix, items = levels[-1]
        for name, child in items:
            if type(child) is Mapping and child.pairs and len(levels) < DEEPEST_PART and id(child) not in seen:
                seen.add(id(child))
                levels.append((f"{prefix}{name}.", iter(child.string_items().items())))
                break
            yield prefix + name, child
        else:
            levels.pop()


def is_distributed(tensor: TensorSpec) -> bool:
    """Whether several ranks hold a tensor together, or a distributed checkpoint has it in parts of theirs."""
    if tensor.type.rpartition(".")[2] in DISTRIBUTED:
        return True
    asked = getattr(tensor.storage.home, "is_distributed", None) if tensor.storage is not None else None
    return asked is not None and bool(asked(tensor.storage.key if tensor.storage is not None else ""))


def any_distributed(tensors: Sequence[TensorSpec]) -> bool:
    """Whether any tensor `is_distributed`; asks each form and each kind of container once where that is enough."""
    if any(form.type.rpartition(".")[2] in DISTRIBUTED for form in {*map(_FORM, tensors)}):
        return True
    storages = [*filter(None, map(_STORAGE, tensors))]
    homes = {*map(type, map(_HOME, storages))}
    return any(hasattr(kind, "is_distributed") for kind in homes) and any(map(is_distributed, tensors))


_FORM, _STORAGE, _HOME = attrgetter("form"), attrgetter("storage"), attrgetter("home")


def _named_like_modules(value: Mapping) -> bool:
    names = [str(key) for key in value.pairs[::2]]
    dotted = sum("." in name for name in names)
    return dotted * 2 >= len(names) or _has_entry_names(value)


def _has_entry_names(value: Mapping) -> bool:
    return any(str(key).rpartition(".")[2] in ENTRY_NAMES for key in value.pairs[::2])


def find_models(outline: Outline, context: Context = SILENT, given: Given[int, str] | None = None) -> tuple[Model, ...]:
    """Return every model that is not inside another; raw ones first, averaged copies (EMA) after them.

    Args:
        given: rows of the outline -> what the user says that they are, which decides over what is found.
    """
    models: list[Model] = []
    end = 0
    given = given or {}
    row = -1
    while (row := row + 1 if given else max(row + 1, end)) < len(outline):
        if row % EVERY == 0:
            context.step(row, len(outline))
        value, said = outline.values[row], given.get(row, "") if given else ""
        if said in GIVEN_MODELS and type(value) in (Mapping, Instance):
            models.append(
                Model(outline.path(row), "module" if is_whole_module(value) else "state_dict", row, said == EMA)
            )
        if row < end or type(value) not in (Mapping, Instance) or outline.ends[row] == row + 1:
            continue  # with nothing below it, or described before
        if said:
            end = outline.ends[row] if row else 0  # the parts of what is no model are none, but for those of a file
            continue
        if is_optimizer_state(value) or is_flat_optimizer_state(value):
            end = outline.ends[row]
            continue
        kind = (
            "module"
            if is_whole_module(value)
            else "state_dict"
            if is_state_dict(value, str(outline.steps[row])) or has_parts(value, outline.ends[row] - row)
            else ""
        )
        if kind:
            path = outline.path(row)
            models.append(Model(path, kind, row, _is_average(path, value)))
            end = outline.ends[row]
    return tuple(sorted(models, key=lambda model: model.ema))


def _is_average(path: Path, value: Value) -> bool:
    """Whether a key on the way to a model says that it is an averaged copy, or an AveragedModel counted its updates."""
    if isinstance(value, Mapping) and value.get("n_averaged") is not None:
        return True
    return any(not EMA_WORDS.isdisjoint(map(str.lower, _WORDS.findall(str(step)[:200]))) for step in path)


def is_optimizer_state(value: Value) -> bool:
    """Whether a dict is an optimizer's state_dict: `state` and `param_groups`, a list of dicts with `params`."""
    if not isinstance(value, Mapping):
        return False
    groups = value.get("param_groups")
    if not isinstance(value.get("state"), Mapping) or not isinstance(groups, list):
        return False
    return all(isinstance(group, Mapping) and isinstance(group.get("params"), list) for group in groups)


def is_flat_optimizer_state(value: Value) -> bool:
    """Whether a dict is an optimizer's state with one entry for each number and tensor, by the parameters' names.

    Source: torch.distributed.checkpoint.state_dict, ``flatten_optimizer_state_dict``, as torchtitan saves.
    """
    if not isinstance(value, Mapping):
        return False
    states = 0
    for key in value.pairs[::2]:
        if type(key) is not str or not key.startswith(FLAT_STATE):
            return False
        states += key.startswith("state.")
    return states > 0
