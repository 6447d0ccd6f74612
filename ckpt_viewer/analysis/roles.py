"""Which entry is the model, the optimizer, the lr_scheduler, the progress: structure first, the key's name second.

FORMATS section 5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from ckpt_viewer.core.expand import SCALARS
from ckpt_viewer.core.model import Model, find_models, is_optimizer_state
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path, step_text
from ckpt_viewer.core.progress import EVERY, SILENT, Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, Value, state_items

PROGRESS_NAMES = frozenset(
    """epoch iter iteration iterations step steps global_step global_steps num_updates current_epoch updates last_epoch
    trainer_global_step num_timesteps""".split()
)
SCHEDULER_KEYS = frozenset({"last_epoch", "_step_count", "_schedulers", "num_bad_epochs", "_last_lr"})
SCALER_KEYS = frozenset({"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"})
CONFIG_NAMES = frozenset(
    "args cfg config hparams hyper_parameters opt meta train_args init_args ds_config yaml options".split()
)
FOLDER = "folder"
"""Type of the dict that stands for a folder of files."""
NEAR_ROOT = 3
"""Entries deeper than this are parts of something, not roles of their own."""


class Role(NamedTuple):
    """What an entry is for.

    Attributes:
        name: ``model``, ``ema``, ``optimizer``, ``lr_scheduler``, ``scaler``, ``progress`` or ``config``.
        detail: what can be said in a few words, ``"SGD, momentum 0.9"``; ``""`` if nothing.
        reason: what told us, for a tooltip.
    """

    name: str
    detail: str
    reason: str


def find_roles(outline: Outline, models: Sequence[Model] | None = None, context: Context = SILENT) -> dict[int, Role]:
    """Return the role of each row that has one, in the order of the file.

    Args:
        models: the outline's, where they are known already.
    """
    roles: dict[int, Role] = {}
    for model in find_models(outline, context) if models is None else models:
        roles[model.row] = _model_role(outline, model.row, model.kind, ema=model.ema)
    row, count = 0, len(outline)
    while row < count:
        if row % EVERY == 0:
            context.step(row, count)
        kind = type(outline.values[row])
        if kind is TensorSpec:
            row = outline.ends[row]  # what is saved with a tensor has no role
            continue
        if kind in SCALARS and type(outline.steps[row]) is int:  # members of a list, of which there may be millions
            row += 1
            continue
        inside = row in roles and row > 0
        role = roles.get(row) or _role(outline, row)
        if role is not None:
            roles[row] = role
            inside = inside or row > 0
        # what lies inside of something recognised has no role of its own
        deep = row > 0 and _depth(outline, row) >= NEAR_ROOT
        row = outline.ends[row] if inside or deep else row + 1
    return dict(sorted(roles.items()))


def _depth(outline: Outline, row: int) -> int:
    """Return how many containers an entry is in; folders do not count, since each file has a root of its own."""
    depth = 0
    while row > 0:
        row = outline.parents[row]
        above = outline.values[row]
        depth += not (isinstance(above, Mapping) and above.type == FOLDER)
    return depth


def _model_role(outline: Outline, row: int, kind: str, *, ema: bool) -> Role:
    value = outline.values[row]
    what = value.type.rpartition(".")[2] if kind == "module" and isinstance(value, Instance) else ""
    reason = "a pickled nn.Module" if kind == "module" else "names to tensors, as state_dict() gives"
    return Role("ema" if ema else "model", what, reason)


def _role(outline: Outline, row: int) -> Role | None:
    if row in outline.aliases:
        return None
    value, name = outline.values[row], step_text(outline.steps[row])
    if isinstance(value, Mapping):
        return _dict_role(value, name)
    if isinstance(value, Instance):
        return _object_role(value, name)
    if name in PROGRESS_NAMES and is_number(value) and row > 0:
        return Role("progress", str(value), "a number under a usual name")
    return None


def is_number(value: Value) -> TypeGuard[int | float]:
    """Whether a value is a float, or an int that every program can hold and print."""
    return type(value) is float or (type(value) is int and value.bit_length() <= 64)


def _dict_role(value: Mapping, name: str) -> Role | None:
    keys = {key for key in value.pairs[::2] if type(key) is str} if len(value) <= 1000 else set()
    if is_optimizer_state(value):
        return Role("optimizer", optimizer_text(value), "has state and param_groups")
    if keys & SCHEDULER_KEYS and not any(type(child) is TensorSpec for child in value.pairs[1::2]):
        return Role("lr_scheduler", scheduler_text(value), "has the fields of a learning-rate scheduler")
    if keys == SCALER_KEYS:
        return Role("scaler", "GradScaler", "has the five fields of a GradScaler")
    if name in CONFIG_NAMES:
        return Role("config", f"{len(value)} entries", "a usual name for arguments")
    return None


def _object_role(value: Instance, name: str) -> Role | None:
    short = value.type.rpartition(".")[2]
    attributes = state_items(value.state)
    if isinstance(attributes.get("param_groups"), list) and "state" in attributes:
        return Role("optimizer", short, "a pickled optimizer object")
    if attributes.keys() & SCHEDULER_KEYS:
        return Role("lr_scheduler", short, "a pickled scheduler object")
    if value.type == "argparse.Namespace" or name in CONFIG_NAMES:
        return Role("config", short, "an argparse.Namespace or a usual name for arguments")
    return None


def optimizer_text(value: Mapping) -> str:
    """Return the optimizer's likely class and its learning rate: ``"SGD, momentum 0.9, lr 0.01"``."""
    groups = value.get("param_groups")
    group = groups[0] if isinstance(groups, list) and groups else None
    fields = group.string_items() if isinstance(group, Mapping) else {}
    state = value.get("state")
    first = state.pairs[1] if isinstance(state, Mapping) and state.pairs else None
    moments = set(first.string_items()) if isinstance(first, Mapping) else set()
    words = [_optimizer_class(fields, moments)]
    momentum, lr = fields.get("momentum"), fields.get("lr")
    if is_number(momentum) and momentum:
        words.append(f"momentum {momentum}")
    if is_number(lr):
        words.append(f"lr {lr:.6g}")
    return ", ".join(word for word in words if word)


def _optimizer_class(fields: dict[str, Value], moments: set[str]) -> str:
    """Return the class that the fields of a param_group point to (FORMATS 5.1); ``""`` if they fit several."""
    keys = fields.keys()
    if "decoupled_weight_decay" in keys and "betas" in keys and "amsgrad" in keys:
        return "AdamW" if fields["decoupled_weight_decay"] is True else "Adam"
    tests = (
        ("nesterov" in keys and "dampening" in keys, "SGD"),
        ("momentum_decay" in keys, "NAdam"),
        ("betas" in keys and "amsgrad" in keys, "Adam or AdamW"),
        ("rho" in keys, "Adadelta"),
        ("lr_decay" in keys, "Adagrad"),
        ("lambd" in keys, "ASGD"),
        ("etas" in keys, "Rprop"),
        ("history_size" in keys, "LBFGS"),
        ("beta2_decay" in keys, "Adafactor"),
        ("ns_coefficients" in keys, "Muon"),
        ("centered" in keys and "alpha" in keys, "RMSprop"),
        ("exp_inf" in moments, "Adamax"),
        ("betas" in keys and "exp_avg_sq" in moments, "Adam-like"),
    )
    return next((name for hit, name in tests if hit), "")


def scheduler_text(value: Mapping) -> str:
    """Return the scheduler's likely class and where it stands: ``"StepLR, epoch 3"``."""
    fields = value.string_items()
    tests = (
        ("_schedulers", "SequentialLR" if "_milestones" in fields else "ChainedScheduler"),
        ("step_size", "StepLR"), ("milestones", "MultiStepLR"), ("T_0", "CosineAnnealingWarmRestarts"),
        ("T_max", "CosineAnnealingLR"), ("start_factor", "LinearLR"), ("factor", "ConstantLR"),
        ("power", "PolynomialLR"), ("lr_lambdas", "LambdaLR"), ("max_lrs", "CyclicLR"), ("total_steps", "OneCycleLR"),
        ("anneal_epochs", "SWALR"), ("gamma", "ExponentialLR"),
    )  # fmt: skip
    name = "ReduceLROnPlateau" if "num_bad_epochs" in fields else ""
    name = name or next((label for key, label in tests if key in fields), "")
    epoch = fields.get("last_epoch")
    return ", ".join(
        word for word in (name, f"epoch {epoch}" if type(epoch) is int and is_number(epoch) else "") if word
    )


def role_paths(outline: Outline, roles: dict[int, Role]) -> dict[str, list[Path]]:
    """Return role name -> paths, in file order."""
    result: dict[str, list[Path]] = {}
    for row, role in roles.items():
        result.setdefault(role.name, []).append(outline.path(row))
    return result
