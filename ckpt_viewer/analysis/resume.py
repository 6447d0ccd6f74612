"""Can a training go on from this checkpoint? What is there, whether its parts agree, and the code that mends it.

Sources: torch/optim/optimizer.py (`load_state_dict` compares the sizes of groups), torch/optim/lr_scheduler.py
(`_step_count` is one more than `last_epoch`, `_last_lr` is what was put into the groups), torch/amp/grad_scaler.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from ckpt_viewer.analysis.code import access
from ckpt_viewer.analysis.optimizer import OptimizerView
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.analysis.resume_model import model_findings
from ckpt_viewer.analysis.scheduler import SchedulerView
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.value import Instance, Mapping, Value

STEPS_READ = 64
"""Steps of parameters that are read and compared."""
EPOCH_NAMES = frozenset({"epoch", "current_epoch", "last_epoch"})
STEP_NAMES = frozenset({"step", "steps", "global_step", "global_steps", "num_updates", "trainer_global_step"})
"""Names of numbers that count updates."""
OTHER_COUNTS = frozenset({"_schedulers", "anneal_epochs", "T_0"})
"""Fields of schedulers whose `step` does not count, or which others step."""
SAME_RATE = 1e-6
"""Relative difference of learning rates that are called equal: some are kept as float32."""


class Resume(NamedTuple):
    """Whether a training can go on.

    Attributes:
        possible: a model and an optimizer that fit each other, in a file that is whole.
        reason: why not; ``""`` where it is possible.
        findings: what was noticed, each with what it means and the code that mends it.
        optimizers: what is known of each.
    """

    possible: bool
    reason: str
    findings: tuple[Finding, ...]
    optimizers: tuple[OptimizerView, ...]


def resume(checkpoint: Checkpoint, view: Overview, context: Context = SILENT) -> Resume:
    """Look through everything that a training needs to go on; reads single numbers, no weights. Raises Cancelled."""
    rows = [row for row, role in view.role_rows.items() if role.name == "optimizer"]
    optimizers = tuple(OptimizerView(checkpoint, row, context) for row in rows)
    facts = _Facts(checkpoint, view, optimizers)
    findings = [*_present(facts), *model_findings(checkpoint, view)]
    for seen in optimizers:
        findings += _optimizer(facts, seen)
        context.step(0, 0)
    findings += [*_schedulers(facts), *_rates(facts), *_steps(facts), *_scalers(facts)]
    reason = _reason(facts, findings)
    return Resume(not reason, reason, tuple(findings), optimizers)


class _Facts(NamedTuple):
    checkpoint: Checkpoint
    view: Overview
    optimizers: tuple[OptimizerView, ...]

    def has(self, role: str) -> bool:
        return role in self.view.roles

    def rows(self, role: str) -> list[int]:
        return [row for row, each in self.view.role_rows.items() if each.name == role]

    def path(self, row: int) -> Path:
        return self.checkpoint.outline.path(row)

    def fields(self, row: int) -> dict[str, Value]:
        value = self.checkpoint.outline.values[row]
        return value.string_items() if isinstance(value, Mapping) else (
            value.attributes() if isinstance(value, Instance) else {}
        )  # fmt: skip

    def code(self, path: Path) -> str:
        return access(path) or "checkpoint"


def _reason(facts: _Facts, findings: list[Finding]) -> str:
    if facts.checkpoint.contents.salvaged:
        return "the file is damaged; what was salvaged of it is not all"
    missing = [role for role in ("model", "optimizer") if not facts.has(role)]
    if missing:
        return f"it holds no {' and no '.join(missing)}"
    return next((finding.message for finding in findings if finding.severity == "error"), "")


def _present(facts: _Facts) -> Iterator[Finding]:
    """What a training checkpoint has, and this one has not. A bare state_dict lacks nothing."""
    training = facts.has("optimizer") or facts.has("lr_scheduler") or facts.has("progress")
    if not training or not (facts.has("model") or facts.has("ema")):
        return
    if not facts.has("optimizer"):
        yield Finding(
            "warning", "no-optimizer", (), "no optimizer is in it, so a training starts anew from these weights; "
            'save it with torch.save({"optimizer": optimizer.state_dict(), ...})',
        )  # fmt: skip
        return
    if not facts.has("progress"):
        yield Finding(
            "info", "no-progress", (), "neither epoch nor step is in it, so a training counts from zero again; "
            "set start_epoch by hand",
        )  # fmt: skip
    if not facts.has("lr_scheduler"):
        yield Finding(
            "info", "no-scheduler", (), "no lr_scheduler is in it: the learning rate stays where the groups have it; "
            "where the training has one, scheduler.last_epoch has to be set to the saved epoch",
        )  # fmt: skip
    if not facts.has("rng"):
        yield Finding(
            "info", "no-rng", (), "no state of a random generator is in it, so what follows is not repeated bit "
            "by bit; "
            'save it with torch.save({"rng": torch.get_rng_state(), ...})',
        )  # fmt: skip


def _optimizer(facts: _Facts, seen: OptimizerView) -> Iterator[Finding]:
    path, join, count = facts.path(seen.row), seen.join, len(seen.slots)
    code = facts.code(path)
    if facts.has("model") and count and join.method == "none":
        yield Finding(
            "error", "optimizer-other-model", path, f"it was saved for another model: its {count} parameters have "
            f"other shapes; go on without it: leave optimizer.load_state_dict({code}) out",
        )  # fmt: skip
        return
    if join.method == "flat":
        yield Finding(
            "info", "optimizer-flat", path, f"{join.reason}; it loads with the same wrapper and number of ranks"
        )
        return
    if count > join.matched and join.method != "none":
        yield Finding(
            "warning", "optimizer-uncovered", path, f"{count - join.matched} of its {count} parameters are not "
            f"found in "
            f"the model of this file; build the same parameters before optimizer.load_state_dict({code})",
        )  # fmt: skip
    if seen.orphans:
        yield Finding(
            "warning", "optimizer-orphans", path, f"{len(seen.orphans)} states belong to no parameter of any group and "
            f'are lost on loading; compare {code}["state"].keys() with the "params" of the groups',
        )  # fmt: skip
    if seen.missing:
        some = ", ".join(each.weight.name for each in seen.missing[:3] if each.weight) or "unnamed ones"
        yield Finding(
            "info", "optimizer-missing-state", path, f"{len(seen.missing)} of its {count} parameters have no state "
            f"({some}): they were frozen or never used; their moments start from zero",
        )  # fmt: skip
    if seen.left_out and join.confidence != "guess":
        some = ", ".join(weight.name for weight in seen.left_out[:3])
        yield Finding(
            "info", "optimizer-left-out", path, f"{len(seen.left_out)} parameters of the model are in none of "
            f"its groups "
            f"({some}): they were not trained; give the optimizer the same parameters before load_state_dict",
        )  # fmt: skip
    if join.confidence == "guess":
        yield Finding("info", "optimizer-order", path, f"which state belongs to which parameter is a guess, "
                      f"{join.reason}; "
                      "build the optimizer from model.named_parameters() to have the names kept")  # fmt: skip


# --- what has to agree --------------------------------------------------------------------------------------------


def _schedulers(facts: _Facts) -> Iterator[Finding]:
    progress = {item.name: item.value for item in facts.view.progress}
    for row in facts.rows("lr_scheduler"):
        fields, path = facts.fields(row), facts.path(row)
        last, count = number_of(fields.get("last_epoch")), number_of(fields.get("_step_count"))
        code = facts.code(path)
        if last is None:
            continue
        if count is not None and fields.keys().isdisjoint(OTHER_COUNTS) and count != last + 1:
            yield Finding(
                "warning", "scheduler-step-count", path, f"_step_count is {count} and last_epoch {last}, where torch "
                f'keeps _step_count one above; set {code}["_step_count"] = {code}["last_epoch"] + 1',
            )  # fmt: skip
        if progress and not _fits(last, progress, facts):
            told = ", ".join(f"{name} {value}" for name, value in list(progress.items())[:3])
            yield Finding(
                "warning", "scheduler-epoch", path, f"last_epoch is {last}, but {told} and the steps of the "
                f"optimizer say "
                f'otherwise: the learning rate would follow another curve; set {code}["last_epoch"] to what is right',
            )  # fmt: skip


def _fits(last: int | float, progress: dict[str, int | float], facts: _Facts) -> bool:
    """Whether a scheduler's count is that of epochs, steps or updates, before or after the one that was just done."""
    epochs = [value for name, value in progress.items() if name in EPOCH_NAMES]
    if any(epoch > last + 1 for epoch in epochs):
        return False
    steps = [step for seen in facts.optimizers for step in _read_steps(seen)]
    counts = [*progress.values(), *steps]
    if any(abs(last - count) <= 1 for count in counts):
        return True
    # stepped in every iteration: as many in each epoch
    return any(n > 0 and last > n and last % n == 0 for epoch in epochs for n in (epoch, epoch + 1))


def _read_steps(seen: OptimizerView) -> list[int | float]:
    slots = [slot for slot in seen.slots if slot.entry is not None]
    every = max(1, len(slots) // STEPS_READ)
    found = (seen.step(slot) for slot in slots[::every])
    return [step for step in found if step is not None]


def _rates(facts: _Facts) -> Iterator[Finding]:
    """The groups' learning rates are what the scheduler put there last."""
    for seen in facts.optimizers:
        path = facts.path(seen.row)
        rates = [number_of(group.fields.get("lr")) for group in seen.groups]
        if any(rate is not None and not math.isfinite(rate) for rate in rates):
            yield Finding("error", "lr-not-finite", path, "a learning rate is NaN or infinite, so the next step "
                          "destroys "
                          'the weights; set group["lr"] for group in optimizer.param_groups')  # fmt: skip
            continue
        lasts = [(row, _last_rates(facts.fields(row))) for row in facts.rows("lr_scheduler")]
        fitting = [(row, last) for row, last in lasts if last and len(last) == len(rates)]
        if not fitting or None in rates or any(_same(rates, last) for _, last in fitting):
            continue
        if len(facts.optimizers) > 1 and len(fitting) < len(facts.optimizers):
            continue  # the scheduler is another optimizer's
        row, last = fitting[0]
        yield Finding(
            "warning", "lr-differs", path, f"its groups have lr {_few(rates)}, its scheduler put {_few(last)} "
            f"there last: "
            f'one of both was saved at another time; set group["lr"] = lr for group, lr in '
            f'zip(optimizer.param_groups, {facts.code(facts.path(row))}["_last_lr"])',
        )  # fmt: skip


def _last_rates(fields: dict[str, Value]) -> list[int | float | None]:
    last = fields.get("_last_lr")
    return [number_of(each) for each in last] if isinstance(last, list) else []


def _same(rates: list[int | float | None], last: list[int | float | None]) -> bool:
    return all(
        a is not None and b is not None and math.isclose(a, b, rel_tol=SAME_RATE, abs_tol=1e-300)
        for a, b in zip(rates, last, strict=True)
    )


def _few(rates: list[int | float | None]) -> str:
    text = ", ".join("?" if rate is None else f"{rate:.9g}" for rate in rates[:3])
    return text + (", ..." if len(rates) > 3 else "")


def _steps(facts: _Facts) -> Iterator[Finding]:
    """How often parameters were updated, against each other and against the step that was saved."""
    saved = next((item for item in facts.view.progress if item.name in STEP_NAMES), None)
    for seen in facts.optimizers:
        steps, path = _read_steps(seen), facts.path(seen.row)
        if not steps:
            continue
        if min(steps) != max(steps):
            yield Finding("info", "optimizer-steps", path, f"its parameters were updated between {min(steps):g} and "
                          f"{max(steps):g} times: some were frozen for a while, or added later")  # fmt: skip
        if saved is not None and len(facts.optimizers) == 1 and saved.value and abs(max(steps) - saved.value) > 1:
            yield Finding(
                "info", "optimizer-step-differs", path, f"its parameters were updated {max(steps):g} times, and "
                f"{saved.name} is {saved.value}: it counts batches where gradients are accumulated, or one of both was "
                "saved at another time",
            )  # fmt: skip


def _scalers(facts: _Facts) -> Iterator[Finding]:
    for row in facts.rows("scaler"):
        fields, path = facts.fields(row), facts.path(row)
        scale = number_of(fields.get("scale", fields.get("cur_scale")))
        if not fields:
            yield Finding("info", "scaler-disabled", path, "the GradScaler was disabled: it was trained without loss "
                          "scaling")  # fmt: skip
        elif scale is not None and (not math.isfinite(scale) or scale <= 0):
            yield Finding("error", "scaler-broken", path, f"its scale is {scale:g}, which no loss survives; "
                          f"start a new one: "
                          "scaler = torch.amp.GradScaler()")  # fmt: skip
        elif scale is not None and scale < 1:
            yield Finding("warning", "scaler-collapsed", path, f"its scale fell to {scale:g}: gradients "
                          f"overflowed again "
                          "and again; look for NaN and Inf in the weights, or train in bfloat16")  # fmt: skip


def scheduler_views(going_on: Resume, checkpoint: Checkpoint, view: Overview) -> list[SchedulerView]:
    """Return the schedulers of a checkpoint, each with the groups of the optimizer that it steers."""
    found = []
    rows = [row for row, role in view.role_rows.items() if role.name == "lr_scheduler"]
    for number, row in enumerate(rows):
        seen = SchedulerView(checkpoint, row)
        fitting = [each for each in going_on.optimizers if len(each.groups) == len(seen.rates)] or going_on.optimizers
        chosen = fitting[min(number, len(fitting) - 1)] if fitting else None
        found.append(SchedulerView(checkpoint, row, [group.fields for group in chosen.groups] if chosen else []))
    return found
