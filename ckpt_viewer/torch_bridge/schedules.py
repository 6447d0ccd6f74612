"""Learning-rate curves, computed by torch's own schedulers on an optimizer with nothing to train.

Imported by the worker process and by commands that ask for a curve. Only the classes named here are ever made, with
numbers from the file as their arguments.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import Any

import torch
from torch.optim import lr_scheduler, swa_utils

from ckpt_viewer.analysis.scheduler import MOST_STEPS
from ckpt_viewer.analysis.scheduler_class import guess_scheduler
from ckpt_viewer.errors import CheckpointError

SAME = 1e-9
"""Relative difference up to which the past that was computed is that of the file."""
CHANGED = (
    "the learning rate at the saved epoch is not what these fields give from the start: the training was resumed with "
    "other settings, or changed by hand"
)
_scheduler: Any = lr_scheduler
_swa_utils: Any = swa_utils


def lr_curve(state: dict[str, Any], groups: list[dict[str, float]], until: int) -> dict[str, Any]:
    """Return the learning rates of every epoch up to `until`, as torch computes them.

    Args:
        state: of the scheduler, as JSON holds it. groups: rates of the optimizer's groups; may be empty.

    Returns:
        ``epochs``, ``rates`` (a list for each group), ``now`` (the saved epoch) and ``note`` (a sentence, or ``""``).

    Raises:
        CheckpointError: torch cannot make such a scheduler from this state.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no optimizer stepped
        try:
            return _curve(state, groups, min(until, MOST_STEPS))
        except CheckpointError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            raise CheckpointError(f"torch {torch.__version__} cannot make this scheduler: {text}") from error


def _curve(state: dict[str, Any], groups: list[dict[str, float]], until: int) -> dict[str, Any]:
    now = int(state.get("last_epoch", _inner_epoch(state)))
    past = _run(*_fresh(state, groups), min(now, until))
    last = _last_rates(state, groups)
    known = past and len(past) == now + 1 and (not last or _agrees(past[-1], last))
    if known:
        rates = _run(*_fresh(state, groups), until)
        note = ""
    else:
        rates, note = [*past[:now], *_future(state, groups, now, until)], CHANGED
    return {"epochs": list(range(len(rates))), "rates": [list(each) for each in zip(*rates, strict=True)], "now": now,
            "note": note}  # fmt: skip


def _inner_epoch(state: dict[str, Any]) -> int:
    inner = state.get("_schedulers") or [{}]
    return max(int(each.get("last_epoch", 0)) for each in inner)


def _last_rates(state: dict[str, Any], groups: list[dict[str, float]]) -> list[float]:
    last = state.get("_last_lr") or [group["lr"] for group in groups if "lr" in group]
    return [float(each) for each in last]


def _agrees(ours: list[float], theirs: list[float]) -> bool:
    return len(ours) == len(theirs) and all(
        math.isclose(a, b, rel_tol=SAME, abs_tol=1e-15) for a, b in zip(ours, theirs, strict=True)
    )


def _run(optimizer: Any, scheduler: Any, until: int) -> list[list[float]]:
    """Return the rates of all groups at epochs 0 ... until; fewer where the schedule ends."""
    rates = [[float(group["lr"]) for group in optimizer.param_groups]]
    for _ in range(until):
        try:
            scheduler.step()
        except ValueError:  # OneCycleLR goes no further than its total_steps
            break
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
    return rates


def _future(state: dict[str, Any], groups: list[dict[str, float]], now: int, until: int) -> list[list[float]]:
    """Return the rates from the saved epoch on, of a scheduler into which the saved state was loaded."""
    optimizer, scheduler = _fresh(state, groups)
    scheduler.load_state_dict(_loadable(state))
    for group, rate in zip(optimizer.param_groups, _last_rates(state, groups), strict=False):
        group["lr"] = rate
    return _run(optimizer, scheduler, max(0, until - now))


def _loadable(state: dict[str, Any]) -> dict[str, Any]:
    made = {**state, "cycle_momentum": False} if "cycle_momentum" in state else dict(state)
    if "milestones" in made:
        made["milestones"] = _milestones(made["milestones"])
    if "_schedulers" in made:
        made["_schedulers"] = [_loadable(each) for each in made["_schedulers"]]
    return made


# --- schedulers ---------------------------------------------------------------------------------------------------


def _fresh(state: dict[str, Any], groups: list[dict[str, float]]) -> tuple[Any, Any]:
    """Return an optimizer and a scheduler as they were when the training began."""
    starts = _starts(state, groups)
    made: Any = torch.optim.SGD(
        [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in starts], lr=1.0, momentum=0.9
    )
    return made, _make(made, state, groups)


def _starts(state: dict[str, Any], groups: list[dict[str, float]]) -> list[float]:
    """Return the learning rates that the optimizer was made with."""
    inner = state.get("_schedulers") or []
    # the first scheduler of several knew them before any other changed them
    bases = next((each["base_lrs"] for each in [state, *inner] if each.get("base_lrs")), None)
    found = bases or [group.get("initial_lr", group.get("lr")) for group in groups]
    if not found or any(each is None for each in found):
        raise CheckpointError("the file does not say which learning rates the scheduler started from")
    return [float(each) for each in found]


def _milestones(value: Any) -> Counter[int]:
    pairs: Any = value.items() if isinstance(value, dict) else value
    if pairs and not isinstance(next(iter(pairs)), list | tuple):  # an old list of epochs
        return Counter(int(each) for each in pairs)
    return Counter({int(epoch): int(times) for epoch, times in pairs})


def _make(optimizer: Any, state: dict[str, Any], groups: list[dict[str, float]]) -> Any:
    names = guess_scheduler(state).names
    name = names[0] if names else ""
    if name in ARGUMENTS:
        given = {each: state[each] for each in ARGUMENTS[name].split() if each in state}
        return getattr(_scheduler, name)(optimizer, **given)
    if name not in MAKERS:
        raise CheckpointError(f"torch cannot compute the curve of {name or 'this scheduler'} from its state")
    return MAKERS[name](optimizer, state, groups)


ARGUMENTS = {
    "StepLR": "step_size gamma", "ConstantLR": "factor total_iters", "LinearLR": "start_factor end_factor total_iters",
    "ExponentialLR": "gamma", "PolynomialLR": "total_iters power", "CosineAnnealingLR": "T_max eta_min",
    "CosineAnnealingWarmRestarts": "T_0 T_mult eta_min",
}  # fmt: skip
"""Class -> its arguments, which it keeps under their names."""


def _multi_step(optimizer: Any, state: dict[str, Any], groups: list[dict[str, float]]) -> Any:
    del groups
    marks = sorted(_milestones(state["milestones"]).elements())
    return _scheduler.MultiStepLR(optimizer, marks, state["gamma"])


def _cyclic(optimizer: Any, state: dict[str, Any], groups: list[dict[str, float]]) -> Any:
    del groups
    up = state["total_size"] * state["step_ratio"]
    return _scheduler.CyclicLR(
        optimizer, state["base_lrs"], state["max_lrs"], up, state["total_size"] - up, state.get("mode", "triangular"),
        state.get("gamma", 1.0), scale_mode=state.get("scale_mode", "cycle"), cycle_momentum=False,
    )  # fmt: skip


def _one_cycle(optimizer: Any, state: dict[str, Any], groups: list[dict[str, float]]) -> Any:
    phases = state["_schedule_phases"]
    total, first = int(state["total_steps"]), groups[0]
    made = _scheduler.OneCycleLR(
        optimizer, [group["max_lr"] for group in groups], total_steps=total,
        pct_start=min(1.0, (phases[0]["end_step"] + 1) / total), anneal_strategy=state.get("_anneal_func_type", "cos"),
        cycle_momentum=False, div_factor=first["max_lr"] / first["initial_lr"],
        final_div_factor=first["initial_lr"] / first["min_lr"], three_phase=len(phases) == 3,
    )  # fmt: skip
    made._schedule_phases = phases
    for group, given in zip(optimizer.param_groups, groups, strict=True):
        group.update({name: given[name] for name in ("initial_lr", "max_lr", "min_lr")})
        group["lr"] = given["initial_lr"]
    return made


def _sequential(optimizer: Any, state: dict[str, Any], groups: list[dict[str, float]]) -> Any:
    inner = [_make(optimizer, each, groups) for each in state["_schedulers"]]
    return _scheduler.SequentialLR(optimizer, inner, state["_milestones"])


def _chained(optimizer: Any, state: dict[str, Any], groups: list[dict[str, float]]) -> Any:
    return _scheduler.ChainedScheduler([_make(optimizer, each, groups) for each in state["_schedulers"]], optimizer)


def _swa(optimizer: Any, state: dict[str, Any], groups: list[dict[str, float]]) -> Any:
    strategy = state.get("_anneal_strategy", "cos")
    return _swa_utils.SWALR(
        optimizer, [group["swa_lr"] for group in groups], state["anneal_epochs"],
        "linear" if "linear" in str(strategy) else "cos",
    )  # fmt: skip


MAKERS = {"MultiStepLR": _multi_step, "CyclicLR": _cyclic, "OneCycleLR": _one_cycle, "SequentialLR": _sequential,
          "ChainedScheduler": _chained, "SWALR": _swa}  # fmt: skip
