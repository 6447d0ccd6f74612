"""Which learning-rate scheduler wrote a state: told from its fields.

Sources: torch/optim/lr_scheduler.py and swa_utils.py (`state_dict` is every attribute but the optimizer), mmengine's
param_scheduler.py, timm's scheduler.py, Megatron's optimizer_param_scheduler.py, DeepSpeed's lr_schedules.py.
"""

from __future__ import annotations

from collections.abc import Mapping as Fields

from ckpt_viewer.analysis.optimizer_class import Guess, is_number
from ckpt_viewer.core.value import Mapping, Value

MARKS = frozenset({"last_epoch", "_step_count", "_schedulers", "num_bad_epochs", "_last_lr"})
"""Fields of which every scheduler of torch has one."""
FOREIGN_MARKS = (
    frozenset({"_global_step", "_last_value"}),  # mmengine
    frozenset({"lr_decay_style", "num_steps"}),  # Megatron
    frozenset({"last_batch_iteration"}),  # DeepSpeed
    frozenset({"base_values", "t_initial"}),  # timm
    frozenset({"event_index", "param_name"}),  # ignite
)
"""Fields that only the schedulers of one trainer have."""
LAMBDAS = "cannot tell LambdaLR from MultiplicativeLR: both keep nothing but their functions, which no file holds"
RULES = (
    ("num_bad_epochs", ("ReduceLROnPlateau",)), ("_milestones", ("SequentialLR",)),
    ("_schedulers", ("ChainedScheduler",)), ("step_size", ("StepLR",)), ("milestones", ("MultiStepLR",)),
    ("T_0", ("CosineAnnealingWarmRestarts",)), ("T_max", ("CosineAnnealingLR",)), ("start_factor", ("LinearLR",)),
    ("factor", ("ConstantLR",)), ("power", ("PolynomialLR",)), ("lr_lambdas", ("LambdaLR", "MultiplicativeLR")),
    ("max_lrs", ("CyclicLR",)), ("total_steps", ("OneCycleLR",)), ("anneal_epochs", ("SWALR",)),
    ("gamma", ("ExponentialLR",)), ("_global_step", ("a scheduler of mmengine",)),
    ("lr_decay_style", ("a scheduler of Megatron",)), ("last_batch_iteration", ("a scheduler of DeepSpeed",)),
    ("t_initial", ("a scheduler of timm",)), ("event_index", ("a scheduler of ignite",)),
)  # fmt: skip
"""Field -> the classes that have it; the first field that is there decides."""


def guess_scheduler(fields: Fields[str, Value]) -> Guess:
    """Return which scheduler has a state of these fields."""
    for key, names in RULES:
        if key in fields:
            return Guess(names, LAMBDAS if len(names) > 1 else f"only it has {key}")
    return Guess((), "no scheduler that is known here has these fields")


def is_scheduler_fields(keys: set[str]) -> bool:
    """Whether a dict with these keys is the state of a scheduler."""
    return bool(keys & MARKS) or any(marks <= keys for marks in FOREIGN_MARKS)


def scheduler_text(value: Mapping) -> str:
    """Return the scheduler's likely class and where it stands: ``"StepLR, epoch 3"``."""
    fields = value.string_items()
    epoch = fields.get("last_epoch")
    stands = f"epoch {epoch}" if type(epoch) is int and is_number(epoch) else ""
    return ", ".join(word for word in (guess_scheduler(fields).text, stands) if word)
