"""Which optimizer wrote a state: told from the fields of its groups and of its state, never from a class in the file.

Sources: `defaults` and `state` of torch/optim/*.py (2.13, and before 2.7 where they differ), and the same of
bitsandbytes, apex, transformers (Adafactor), lion-pytorch, timm, Prodigy and schedule_free.
"""

from __future__ import annotations

from collections.abc import Mapping as Fields
from typing import NamedTuple, TypeGuard

from ckpt_viewer.core.value import Instance, Mapping, Value

LOOKED_AT = 8
"""Entries of a state whose fields are looked at: not all parameters have the same."""


class Guess(NamedTuple):
    """What wrote something, as far as its fields tell.

    Attributes:
        names: the classes that it can be: one, several that cannot be told apart, or none that is known.
        reason: what told us, or why more cannot be told; a sentence without its full stop.
    """

    names: tuple[str, ...]
    reason: str

    @property
    def text(self) -> str:
        """``AdamW``, ``Adam or AdamW``; ``""`` where nothing fits."""
        return " or ".join(self.names)

    @property
    def certain(self) -> bool:
        """Whether it is one class."""
        return len(self.names) == 1


class Rule(NamedTuple):
    """A class and what its states have.

    Attributes:
        names: classes. group: fields that every group has; without: fields that none has.
        state: fields of the state of a parameter, any of which is proof where `group` alone is not.
        reason: overrides the sentence that is made of the fields.
    """

    names: tuple[str, ...]
    group: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    state: frozenset[str] = frozenset()
    reason: str = ""


def _rule(names: str, group: str = "", without: str = "", state: str = "", reason: str = "") -> Rule:
    needed, barred, moments = (frozenset(each.split()) for each in (group, without, state))
    return Rule(tuple(names.split("|")), needed, barred, moments, reason)


ADAMS = (
    "cannot tell Adam from AdamW: torch wrote the same fields for both before 2.7 (weight_decay is 0 for Adam and 0.01 "
    "for AdamW unless given)"
)
RULES = (
    _rule("bitsandbytes Adam or AdamW", state="state2 absmax2 qmap2"),
    _rule("bitsandbytes Lion, SGD or RMSprop", state="state1 absmax1 qmap1"),
    _rule("AdamWScheduleFree", "weight_sum betas"),
    _rule("SGDScheduleFree", "weight_sum"),
    _rule("Prodigy", "d_coef"),
    _rule("DAdaptation", "d0 growth_rate"),
    _rule("GaLore", "update_proj_gap"),
    _rule("Shampoo", state="preconditioners precond_0 inv_precond_0"),
    _rule("Adan", state="exp_avg_diff neg_pre_grad"),
    _rule("CAME", state="exp_avg_res_row"),
    _rule("Sophia", "rho betas", state="hessian"),
    _rule("LAMB (apex FusedLAMB)", "bias_correction grad_averaging max_grad_norm"),
    _rule("NovoGrad (apex)", "grad_averaging betas"),
    _rule("FusedAdam|DeepSpeedCPUAdam", "bias_correction betas amsgrad"),
    _rule("FusedAdam (apex)", "bias_correction betas"),
    _rule("LARS", "trust_coeff"),
    _rule("LARS", "trust_coefficient"),
    _rule("Adafactor (transformers)", "relative_step scale_parameter"),
    _rule("NAdam", "momentum_decay betas"),
    _rule("SGD", "nesterov dampening"),
    _rule("Muon", "ns_coefficients"),
    _rule("Muon", "ns_steps momentum"),
    _rule("Adadelta", "rho", "betas"),
    _rule("Adagrad", "lr_decay"),
    _rule("ASGD", "lambd t0"),
    _rule("Rprop", "etas"),
    _rule("LBFGS", "history_size"),
    _rule("Adafactor", "beta2_decay"),
    _rule("RMSprop (timm's RMSpropTF)", "decoupled_decay lr_in_momentum"),
    _rule("RMSprop", "centered alpha"),
    _rule("Adam|AdamW", "betas amsgrad", "decoupled_weight_decay", reason=ADAMS),
    _rule("RAdam", "betas eps decoupled_weight_decay", "amsgrad"),
    _rule("Adamax", "betas", state="exp_inf"),
    _rule("SparseAdam", "betas eps maximize", "weight_decay amsgrad"),
    _rule("Lion", "betas", "eps amsgrad"),
    _rule("Adamax|RAdam", "betas eps foreach", "amsgrad", reason="cannot tell Adamax from RAdam without a state"),
    _rule("Adam-like", "betas", state="exp_avg_sq"),
)
"""Asked in this order: what is more special comes first."""


def guess_optimizer(fields: Fields[str, Value], moments: set[str] | frozenset[str]) -> Guess:
    """Return which optimizer has groups of these `fields` and a state of these `moments` for each parameter."""
    keys = fields.keys()
    if {"betas", "amsgrad", "decoupled_weight_decay"} <= keys and "momentum_decay" not in keys:
        decoupled = fields["decoupled_weight_decay"] is True
        return Guess(("AdamW" if decoupled else "Adam",), f"decoupled_weight_decay is {decoupled}")
    if "mom" in keys and "sqr_mom" in keys:
        return Guess(("Adam (fastai)",), "has fastai's mom and sqr_mom")
    for rule in RULES:
        told_by_state = bool(rule.state & moments)
        if not rule.group <= keys or rule.without & keys or (rule.state and not told_by_state):
            continue
        what = ", ".join(sorted(rule.state & moments if told_by_state else rule.group))
        return Guess(rule.names, rule.reason or f"only it has {what}")
    return Guess((), "no optimizer that is known here has these fields")


def optimizer_fields(value: Mapping) -> tuple[dict[str, Value], set[str]]:
    """Return the fields of the first group and those of the state, as far as they tell the class."""
    groups = value.get("param_groups")
    group = groups[0] if isinstance(groups, list) and groups else None
    if group is None:
        group = next(iter(hypers_of(value.get("hypers"))), None)
    fields = group.string_items() if isinstance(group, Mapping) else {}
    state = value.get("state")
    entries = state.pairs[1::2] if isinstance(state, Mapping) else state if isinstance(state, list) else []
    moments: set[str] = set()
    for entry in entries[:LOOKED_AT]:
        if isinstance(entry, Mapping):
            moments.update(entry.string_items())
    return fields, moments


def hypers_of(value: Value) -> list[Value]:
    """Return fastai's hypers, one for each group: a list, or its own class around one."""
    inner = value.attributes().get("items") if isinstance(value, Instance) else value
    return inner if isinstance(inner, list) else []


def optimizer_text(value: Mapping) -> str:
    """Return the optimizer's likely class and its learning rate: ``"SGD, momentum 0.9, lr 0.01"``."""
    fields, moments = optimizer_fields(value)
    words = [guess_optimizer(fields, moments).text]
    momentum, lr = fields.get("momentum"), fields.get("lr")
    if is_number(momentum) and momentum:
        words.append(f"momentum {momentum}")
    if is_number(lr):
        words.append(f"lr {lr:.6g}")
    return ", ".join(word for word in words if word)


def is_number(value: Value) -> TypeGuard[int | float]:
    """Whether a value is a float, or an int that every program can hold and print."""
    return type(value) is float or (type(value) is int and value.bit_length() <= 64)
