"""A learning-rate scheduler's state, understood: its class, its fields in words, and what torch needs for its curve.

Sources: torch/optim/lr_scheduler.py and swa_utils.py of 2.13. The curve itself is computed by torch, from what
`curve_request` returns: plain numbers and texts, no name from the file is looked up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ckpt_viewer.analysis.listing import scalar_fields
from ckpt_viewer.analysis.optimizer_class import Guess
from ckpt_viewer.analysis.scheduler_class import guess_scheduler
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.path import python_repr, step_json
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.value import Instance, Literal, Mapping, Sequence, Value

WORDS = {
    "last_epoch": "how often step() was called: epochs, or updates where it is called for each",
    "_step_count": "one more than last_epoch, as torch counts",
    "base_lrs": "learning rates that it started from, one for each group",
    "_last_lr": "learning rates that it put into the groups last",
    "step_size": "epochs between two drops", "gamma": "what the learning rate is multiplied by at each drop",
    "milestones": "epochs at which it drops, and how often", "total_iters": "epochs that the change takes",
    "factor": "what the learning rate is multiplied by", "start_factor": "factor at the start",
    "end_factor": "factor at the end", "power": "exponent of the polynomial", "T_max": "epochs of half a cosine",
    "eta_min": "lowest learning rate", "T_0": "epochs until the first restart", "T_i": "epochs of the current period",
    "T_mult": "what each period is longer by", "T_cur": "epochs since the last restart",
    "lr_lambdas": "functions of the epoch; functions are in no file, only objects leave their attributes",
    "max_lrs": "highest learning rates of a cycle", "total_size": "steps of a whole cycle",
    "step_ratio": "share of a cycle that goes up",
    "mode": "shape of the cycles, or whether a metric should fall or rise",
    "total_steps": "steps of the whole schedule; torch refuses to go beyond",
    "_schedule_phases": "parts of the schedule",
    "_anneal_func_type": "shape of each part", "cycle_momentum": "whether momentum cycles against the learning rate",
    "patience": "epochs without improvement until it drops", "cooldown": "epochs that it waits after a drop",
    "cooldown_counter": "epochs that it still waits", "threshold": "what counts as an improvement",
    "threshold_mode": "whether that is relative or absolute", "best": "best value of the metric so far",
    "num_bad_epochs": "epochs without improvement so far", "min_lrs": "lowest learning rates",
    "eps": "smallest change that is made", "_milestones": "epochs at which the next scheduler takes over",
    "_schedulers": "the schedulers inside", "anneal_epochs": "epochs until the averaging rate is reached",
    "_anneal_strategy": "shape of the way there", "verbose": "whether it printed", "_is_initial": "torch's own mark",
    "_get_lr_called_within_step": "torch's own mark",
}  # fmt: skip
"""Field -> what it means."""
PLATEAU = (
    "ReduceLROnPlateau follows a metric that is not in the file: what comes next depends on it, and of the past only "
    "the epochs since its last change are told by what it counts"
)
SINCE = "the epochs since its last change; what was before is in no file"
FUNCTIONS = (
    "its learning rate is a function of the epoch that is in no file, so torch cannot compute it from this state"
)
NO_GROUPS = "its highest learning rates are in the optimizer's groups, and this file has no optimizer"
UNKNOWN = "torch has no scheduler with these fields"
MOST_STEPS = 200_000
"""Steps of a curve: torch computes some 100,000 in a second."""
AHEAD = 20
"""Epochs that are drawn at least beyond the saved one."""


class FieldWords(NamedTuple):
    """One field: its name, its value as text, and what it means (``""`` if we do not know)."""

    name: str
    text: str
    words: str


class SchedulerView:
    """Everything about one scheduler of a checkpoint.

    Attributes:
        row: in the outline. guess: its class. fields: of its state.
        groups: hyper-parameters of the optimizer that it steers, one dict for each group; empty without one.
    """

    def __init__(self, checkpoint: Checkpoint, row: int, groups: list[dict[str, Value]] | None = None) -> None:
        self.checkpoint, self.row = checkpoint, row
        value = checkpoint.outline.values[row]
        self.fields = value.string_items() if isinstance(value, Mapping) else (
            value.attributes() if isinstance(value, Instance) else {})  # fmt: skip
        self.guess: Guess = guess_scheduler(self.fields)
        self.groups = groups or []

    @property
    def told(self) -> list[FieldWords]:
        """The fields in file order, with what they mean."""
        return [
            FieldWords(name, python_repr(value if number_of(value) is None else number_of(value)), WORDS.get(name, ""))
            for name, value in self.fields.items()
        ]

    @property
    def epoch(self) -> int | None:
        """Where it stands."""
        last = number_of(self.fields.get("last_epoch"))
        return int(last) if last is not None and abs(last) < 1 << 53 else None

    @property
    def rates(self) -> list[float]:
        """Learning rates at the saved epoch."""
        last = self.fields.get("_last_lr")
        found = [number_of(each) for each in last] if isinstance(last, list) else []
        found = found or [number_of(group.get("lr")) for group in self.groups]
        return [float(each) for each in found if each is not None]

    @property
    def refusal(self) -> str:
        """Why torch cannot compute its curve; ``""`` where it can."""
        return _refusal(self.fields, self.groups)


def _refusal(fields: dict[str, Value], groups: list[dict[str, Value]]) -> str:
    names = guess_scheduler(fields).names
    if "num_bad_epochs" in fields:
        return PLATEAU
    if "lr_lambdas" in fields or fields.get("_scale_fn_custom") is not None:
        return FUNCTIONS
    if len(names) != 1 or names[0].startswith("a scheduler of"):
        return UNKNOWN
    if names[0] == "OneCycleLR" and not all("max_lr" in group for group in groups or [{}]):
        return NO_GROUPS
    if names[0] == "SWALR" and not all("swa_lr" in group for group in groups or [{}]):
        return NO_GROUPS
    inner = fields.get("_schedulers")
    if isinstance(inner, list):
        reasons = [_refusal(each.string_items(), groups) for each in inner if isinstance(each, Mapping)]
        return next((reason for reason in reasons if reason), "")
    return ""


def curve_request(seen: SchedulerView, until: int | None = None) -> dict[str, Any] | None:
    """Return the parameters of the worker's ``lr_curve``; None where torch cannot compute it.

    Args:
        until: last epoch of the curve; a sensible one without.
    """
    if seen.refusal:
        return None
    end = until if until is not None else curve_end(seen.fields)
    groups = [{name: number for name in GROUP_FIELDS if (number := number_of(group.get(name))) is not None}
              for group in seen.groups]  # fmt: skip
    return {
        "state": {name: _plain(value) for name, value in seen.fields.items()},
        "groups": groups,
        "until": min(end, MOST_STEPS),
    }


def known_curve(seen: SchedulerView) -> dict[str, Any] | None:
    """Return the past that the state itself tells, as the worker's ``lr_curve`` would; None where it tells none.

    A ReduceLROnPlateau counts bad epochs, and those that it waits after a drop, from its last change on.
    """
    counted = {name: _whole(seen.fields.get(name)) for name in ("num_bad_epochs", "cooldown", "cooldown_counter")}
    if "num_bad_epochs" not in seen.fields or not seen.rates or seen.epoch is None or seen.epoch < 0:
        return None
    waited = counted["cooldown"] - counted["cooldown_counter"] if counted["cooldown_counter"] else 0
    since = min(max(counted["num_bad_epochs"], waited, 0), seen.epoch, MOST_STEPS)
    rates = [[rate] * (since + 1) for rate in seen.rates]
    return {"epochs": list(range(seen.epoch - since, seen.epoch + 1)), "rates": rates, "now": seen.epoch, "note": SINCE}


GROUP_FIELDS = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")


def curve_end(fields: dict[str, Value]) -> int:
    """Return the epoch up to which a curve tells something: that of the last change, and some beyond the saved one."""
    last = _whole(fields.get("last_epoch"))
    ends = [last + max(AHEAD, last // 2)]
    ends += [_whole(fields.get(name)) for name in ("T_max", "total_iters", "anneal_epochs")]
    ends += [last + 2 * _whole(fields.get(name)) for name in ("step_size", "T_i", "total_size")]
    for name in ("milestones", "_milestones"):
        marks = _plain(fields.get(name))
        places = (
            [pair[0] for pair in marks] if isinstance(marks, list) and marks and isinstance(marks[0], list) else marks
        )
        ends += [int(each * 1.1) + 1 for each in places or [] if isinstance(each, int | float)]
    inner = fields.get("_schedulers")
    for each in inner if isinstance(inner, list) else ():
        if isinstance(each, Mapping):
            ends.append(max(ends) + curve_end(each.string_items()) - _whole(each.get("last_epoch")))
    if "total_steps" in fields:
        return _whole(fields["total_steps"]) - 1
    return min(max(ends), MOST_STEPS)


def _whole(value: Value) -> int:
    number = number_of(value)
    return int(number) if number is not None and 0 <= number < 1 << 53 else 0


def _plain(value: Value) -> Any:
    """Return a value as JSON holds it; what is neither number, text, list nor dict is None."""
    number = number_of(value)
    if value is None or isinstance(value, bool | str) or number is not None:
        return value if number is None else number
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Sequence):
        return [_plain(each) for each in value.items]
    if isinstance(value, Mapping):
        if any(type(key) is not str for key in value.pairs[::2]):  # a Counter of milestones
            return [[_plain(key), _plain(each)] for key, each in zip(value.pairs[::2], value.pairs[1::2], strict=True)]
        return {str(key): _plain(each) for key, each in value.string_items().items()}
    if isinstance(value, Literal):
        return value.text
    return None


def scheduler_json(seen: SchedulerView, curve: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what is known of a scheduler, for ``check --json``."""
    document: dict[str, Any] = {
        "path": [step_json(step) for step in seen.checkpoint.outline.path(seen.row)],
        "class": list(seen.guess.names),
        "reason": seen.guess.reason,
        "epoch": seen.epoch,
        "lr": [scalar_fields(rate)["value"] for rate in seen.rates],
        "curve_refused": seen.refusal or None,
    }
    return document if curve is None else {**document, "curve": curve}
