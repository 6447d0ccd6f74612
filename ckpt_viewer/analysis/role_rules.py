"""What one entry of a checkpoint is for, told from its structure first and its name second (FORMATS 5.4, 5.5)."""

from __future__ import annotations

import re
from typing import NamedTuple

from ckpt_viewer.analysis.optimizer_class import is_number, optimizer_text
from ckpt_viewer.analysis.scheduler_class import MARKS, is_scheduler_fields, scheduler_text
from ckpt_viewer.core.model import MODEL_KEYS, is_flat_optimizer_state, is_optimizer_state
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, NdArray, Value, state_items

CERTAIN, LIKELY, GUESSED, GIVEN = "certain", "likely", "guess", "given"
"""How sure a role is: its structure is that of nothing else; structure or value and a usual name fit; little tells; the
user said so.
"""
CHOSEN = "chosen by you for this file"
"""The reason for a role that the user gave."""

PROGRESS_NAMES = frozenset(
    """epoch iter iteration iterations step steps global_step global_steps num_updates current_epoch updates last_epoch
    trainer_global_step num_timesteps""".split()
)
SCALER_KEYS = frozenset({"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"})
APEX_SCALER_KEYS = frozenset({"loss_scale", "unskipped"})
SCALER_NAMES = frozenset(
    """scaler amp_scaler amp_grad_scaler grad_scaler grad_scaler_state amp native_amp_scaling_state mixedprecision
    loss_scaler""".split()
)
CONFIG_NAMES = frozenset(
    "args cfg config hparams hyper_parameters datamodule_hyper_parameters opt meta train_args init_args ds_config yaml "
    "options".split()
)
CONFIG_TYPES = ("Namespace", "Arguments", "DictConfig", "ConfigDict", "EasyDict")
"""Ends of names of classes that hold arguments."""
OPTIMIZER_NAMES = frozenset(
    "optimizer optimizer_state_dict optimizer_state optim opt last_optimizer_state optimizer_states".split()
)
SCHEDULER_NAMES = frozenset(
    "lr_scheduler scheduler sched lr_schedulers schedulers param_schedulers opt_param_scheduler lr_sched "
    "lr_scheduler_state_dict scheduler_state_dict".split()
)
METRIC_WORDS = frozenset(
    """loss losses acc acc1 acc5 top1 top5 accuracy metric metrics fitness score f1 bleu rouge psnr ssim fid iou miou
    auc ppl perplexity reward error wer cer rmse mse mae best results history logging log""".split()
)
SETTING_WORDS = frozenset({"steps", "every", "interval", "weight", "scale", "freq", "mode", "dir", "optimizer"})
"""Words of settings that are about metrics and are none."""
RNG_WORDS = frozenset({"rng", "random", "seed"})
CPU_RNG, CUDA_RNG = 5056, (16, 816)
"""Bytes of the state of torch's generators."""
PYTHON_RNG = 625
"""Numbers in the state of Python's generator."""
KEYS_LOOKED_AT = 1000
_WORD = re.compile(r"[a-z]+\d*|\d+")


class Role(NamedTuple):
    """What an entry is for.

    Attributes:
        name: one of `core.model.ROLES`.
        detail: what can be said in a few words, ``"SGD, momentum 0.9"``; ``""`` if nothing.
        reason: what told us, for a tooltip.
        confidence: ``certain``, ``likely``, ``guess``, or ``given`` by the user.
    """

    name: str
    detail: str
    reason: str
    confidence: str = CERTAIN

    @property
    def words(self) -> str:
        """Confidence and reason: ``certain: has state and param_groups``."""
        return self.reason if self.confidence == GIVEN else f"{self.confidence}: {self.reason}"


def words_of(name: str) -> set[str]:
    """Return the words of a key in lower case: ``best_acc1`` -> best, acc1."""
    return set(_WORD.findall(name[:200].lower()))


def role_of(value: Value, name: str, near: bool) -> Role | None:
    """Return the role of one entry that is no model.

    Args:
        near: whether it is so near to the root that its name alone may tell.
    """
    if isinstance(value, Mapping):
        return _dict_role(value, name, near)
    if isinstance(value, Instance):
        return _object_role(value, name, near)
    number = value if is_number(value) else number_of(value) if isinstance(value, NdArray) else None
    if number is not None:
        if name in PROGRESS_NAMES:
            return Role("progress", str(number), "a number under a usual name", LIKELY)
        return _metric(name, str(number)) if near else None
    if isinstance(value, tuple | list):
        return _list_role(value, name, near)
    return None


def tensor_role(tensor: TensorSpec, name: str) -> Role | None:
    """Return the role of a tensor that is in no model: the state of a generator, progress, or a metric."""
    shape = tensor.shape
    if shape is None or len(shape) > 1:
        return None
    if tensor.dtype == "uint8" and len(shape) == 1:
        if shape[0] == CPU_RNG:
            return Role("rng", "torch, CPU", f"{CPU_RNG} bytes, the state of torch's generator on the CPU")
        if shape[0] in CUDA_RNG and words_of(name) & (RNG_WORDS | {"cuda"}):
            return Role("rng", "torch, CUDA", "bytes of a CUDA generator under a usual name", LIKELY)
    if not shape and name in PROGRESS_NAMES:
        return Role("progress", "", "a single number under a usual name", LIKELY)
    return _metric(name, "") if not shape else None


def _metric(name: str, detail: str) -> Role | None:
    words = words_of(name)
    if words & METRIC_WORDS and not words & SETTING_WORDS:
        return Role("metrics", detail, "numbers under a usual name for a metric", LIKELY)
    return None


def _dict_role(value: Mapping, name: str, near: bool) -> Role | None:
    few = len(value) <= KEYS_LOOKED_AT
    keys = {key for key in value.pairs[::2] if type(key) is str} if few else set()
    tensors = not few or any(type(child) is TensorSpec for child in value.pairs[1::2])
    if is_optimizer_state(value):
        return Role("optimizer", optimizer_text(value), "has state and param_groups")
    if is_flat_optimizer_state(value):
        return Role("optimizer", "flattened", "its keys are those of a flattened optimizer state")
    if {"state", "hypers"} <= keys and isinstance(value.get("state"), list):
        return Role("optimizer", optimizer_text(value), "has fastai's state and hypers")
    if is_scheduler_fields(keys) and not tensors:
        return Role("lr_scheduler", scheduler_text(value), "has the fields of a learning-rate scheduler")
    if keys == SCALER_KEYS or (keys >= SCALER_KEYS and name.lower() in SCALER_NAMES):
        return Role("scaler", "GradScaler", "has the five fields of a GradScaler")
    if keys and all(_is_apex_scaler(child) for child in value.pairs[1::2]):
        return Role("scaler", "apex amp", "has apex's loss_scale and unskipped")
    if "shadow_params" in keys and isinstance(value.get("shadow_params"), list):
        return Role("ema", "shadow parameters", "has shadow_params, a list of averaged parameters")
    if keys and _is_rng_dict(value):
        return Role("rng", ", ".join(map(str, value.pairs[:8:2])), "states of random generators")
    if _holds_arrays(value, name):
        return Role("model", "numpy arrays", "names to numpy arrays, as model zoos keep them", LIKELY)
    return _named_dict(value, name.lower(), tensors) if near else None


def _named_dict(value: Mapping, name: str, tensors: bool) -> Role | None:
    if name in SCALER_NAMES and not tensors and not value.pairs:
        return Role("scaler", "disabled", "empty, as a disabled GradScaler saves it", LIKELY)
    if name in SCHEDULER_NAMES and value.pairs and not tensors:
        return Role("lr_scheduler", "", "a usual name for a scheduler", LIKELY)
    if name in CONFIG_NAMES:
        return Role("config", f"{len(value)} entries", "a usual name for arguments", LIKELY)
    if name in OPTIMIZER_NAMES and "state" in value.string_items():
        return Role("optimizer", "", "a usual name for an optimizer", LIKELY)
    numbers = value.pairs[1::2] and all(is_number(each) or isinstance(each, list) for each in value.pairs[1::2])
    return _metric(name, f"{len(value)} entries") if numbers else None


def _is_apex_scaler(value: Value) -> bool:
    if not isinstance(value, Mapping) or len(value) != len(APEX_SCALER_KEYS):
        return False
    return value.string_items().keys() == APEX_SCALER_KEYS


def _holds_arrays(value: Mapping, name: str) -> bool:
    children = value.pairs[1::2]
    if not children or type(children[0]) is not NdArray or name.lower() not in MODEL_KEYS:
        return False
    return sum(type(child) is NdArray for child in children) * 10 >= 9 * len(children)


def _is_rng_dict(value: Mapping) -> bool:
    """Whether every entry is the state of a generator, or None where there was no such generator."""
    if not 0 < len(value) <= 16:
        return False
    known = [_is_rng(child, str(key)) for key, child in zip(value.pairs[::2], value.pairs[1::2], strict=True)]
    absent = [child is None or child == [] for child in value.pairs[1::2]]
    return any(known) and all(a or b for a, b in zip(known, absent, strict=True))


def _is_rng(value: Value, name: str) -> bool:
    role: Role | None = None
    if isinstance(value, TensorSpec):
        role = tensor_role(value, name)
    elif isinstance(value, tuple | list):
        role = _list_role(value, name, False)
    elif isinstance(value, Mapping):
        return value.get("bit_generator") is not None and value.get("state") is not None
    return role is not None and role.name == "rng"


def _list_role(value: tuple[Value, ...] | list[Value], name: str, near: bool) -> Role | None:
    if len(value) == 3 and isinstance(value[1], tuple) and len(value[1]) == PYTHON_RNG and type(value[0]) is int:
        return Role("rng", "Python", f"a tuple with {PYTHON_RNG} numbers, the state of Python's generator")
    if len(value) == 5 and value[0] == "MT19937":
        return Role("rng", "numpy", "MT19937, the state of numpy's generator")
    if 0 < len(value) <= 64 and all(isinstance(each, TensorSpec) and _is_rng(each, name) for each in value):
        return Role("rng", f"torch, {len(value)} devices", "a list of states of torch's generators")
    if near and value and (is_number(value[0]) or isinstance(value[0], Mapping)):
        return _metric(name, f"{len(value)} entries")
    return None


def _object_role(value: Instance, name: str, near: bool) -> Role | None:
    short = value.type.rpartition(".")[2]
    attributes = state_items(value.state)
    if isinstance(attributes.get("param_groups"), list) and "state" in attributes:
        return Role("optimizer", short, "a pickled optimizer object")
    if attributes.keys() & MARKS:
        return Role("lr_scheduler", short, "a pickled scheduler object")
    if value.type == "torch._C.Generator":
        return Role("rng", "torch.Generator", "a pickled generator")
    if SCALER_NAMES & {name.lower()} and "cur_scale" in attributes:
        return Role("scaler", short, "a pickled loss scaler")
    if short.endswith(CONFIG_TYPES):
        return Role("config", short, "of a class that holds arguments")
    if near and name.lower() in CONFIG_NAMES:
        return Role("config", short, "a usual name for arguments", LIKELY)
    return None
