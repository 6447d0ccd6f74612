"""Whether what a training left behind was saved at one time: epochs, steps, learning rates, the scale of losses.

Sources: torch/optim/optimizer.py (`load_state_dict` compares the sizes of groups), torch/optim/lr_scheduler.py
(`_step_count` is one more than `last_epoch`, `_last_lr` is what was put into the groups), torch/amp/grad_scaler.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ckpt_viewer.analysis.advice import Advice
from ckpt_viewer.analysis.resume_facts import Facts, read_steps
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.value import Value

EPOCH_NAMES = frozenset({"epoch", "current_epoch", "last_epoch"})
STEP_NAMES = frozenset({"step", "steps", "global_step", "global_steps", "num_updates", "trainer_global_step"})
"""Names of numbers that count updates."""
OTHER_COUNTS = frozenset({"_schedulers", "anneal_epochs", "T_0"})
"""Fields of schedulers whose `step` does not count, or which others step."""
SAME_RATE = 1e-6
"""Relative difference of learning rates that are called equal: some are kept as float32."""


def agreement(facts: Facts) -> Iterator[Advice]:
    """Yield what does not agree."""
    yield from _schedulers(facts)
    yield from _rates(facts)
    yield from _steps(facts)
    yield from _scalers(facts)


def _schedulers(facts: Facts) -> Iterator[Advice]:
    progress = {item.name: item.value for item in facts.view.progress if number_of(item.value) is not None}
    for row in facts.rows("lr_scheduler"):
        fields, path = facts.fields(row), facts.path(row)
        last, count = number_of(fields.get("last_epoch")), number_of(fields.get("_step_count"))
        code = facts.code(path)
        if last is None:
            continue
        if count is not None and fields.keys().isdisjoint(OTHER_COUNTS) and count != last + 1:
            yield Advice(
                "warning", "scheduler-step-count", path, f"the scheduler's _step_count is "
                f"{python_repr(count)} and its last_epoch {python_repr(last)}, where torch keeps "
                "_step_count one above: it was changed by hand, or stepped in "
                "an unusual way", "set",
                f'{code}["_step_count"] = {code}["last_epoch"] + 1',
            )  # fmt: skip
        if progress and not _fits(last, progress, facts):
            told = ", ".join(f"{name} {python_repr(value)}" for name, value in list(progress.items())[:3])
            right = next((value for name, value in progress.items() if name in EPOCH_NAMES), last)
            yield Advice(
                "warning", "scheduler-epoch", path, f"the scheduler's last_epoch is {python_repr(last)}, but {told} "
                "and the steps of the optimizer say otherwise: the learning rate would follow another curve",
                "set it right:",
                f'{code}["last_epoch"] = {python_repr(right) if math.isfinite(right) else 0}',
            )  # fmt: skip


def _fits(last: int | float, progress: dict[str, int | float], facts: Facts) -> bool:
    """Whether a scheduler's count is that of epochs, steps or updates, before or after the one that was just done."""
    epochs = [value for name, value in progress.items() if name in EPOCH_NAMES]
    if any(epoch > last + 1 for epoch in epochs):
        return False
    steps = [step for seen in facts.optimizers for step in read_steps(seen)]
    counts = [*progress.values(), *steps]
    if any(abs(last - count) <= 1 for count in counts):
        return True
    # stepped in every iteration: as many in each epoch
    return any(n > 0 and last > n and last % n == 0 for epoch in epochs for n in (epoch, epoch + 1))


def _rates(facts: Facts) -> Iterator[Advice]:
    """The groups' learning rates are what the scheduler put there last."""
    for seen in facts.optimizers:
        path = facts.path(seen.row)
        rates = [number_of(group.fields.get("lr")) for group in seen.groups]
        if any(rate is not None and not math.isfinite(rate) for rate in rates):
            yield Advice(
                "error", "lr-not-finite", path, "a learning rate is NaN or infinite, so the next step destroys the "
                "weights", "put the right one into every group:",
                'for group in optimizer.param_groups: group["lr"] = 1e-3',
            )  # fmt: skip
            continue
        lasts = [(row, _last_rates(facts.fields(row))) for row in facts.rows("lr_scheduler")]
        fitting = [(row, last) for row, last in lasts if last and len(last) == len(rates)]
        if not fitting or None in rates or any(_same(rates, last) for _, last in fitting):
            continue
        if len(facts.optimizers) > 1 and len(fitting) < len(facts.optimizers):
            continue  # the scheduler is another optimizer's
        row, last = fitting[0]
        yield Advice(
            "warning", "lr-differs", path, f"the optimizer's groups have lr {_few(rates)}, its scheduler put "
            f"{_few(last)} there last: one of both was saved at another time", "to follow the scheduler:",
            f'for group, lr in zip(optimizer.param_groups, {facts.code(facts.path(row))}["_last_lr"]): '
            'group["lr"] = lr',
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


def _steps(facts: Facts) -> Iterator[Advice]:
    """How often parameters were updated, against each other and against the step that was saved."""
    saved = next((item for item in facts.view.progress if item.name in STEP_NAMES and number_of(item.value)), None)
    for seen in facts.optimizers:
        steps, path = read_steps(seen), facts.path(seen.row)
        if not steps:
            continue
        if min(steps) != max(steps):
            yield Advice(
                "info", "optimizer-steps", path, f"the optimizer's parameters were updated between {min(steps):g} and "
                f"{max(steps):g} times: some were frozen for a while, or added later",
            )  # fmt: skip
        if saved is not None and len(facts.optimizers) == 1 and abs(max(steps) - saved.value) > 1:
            yield Advice(
                "info", "optimizer-step-differs", path, f"the optimizer's parameters were updated {max(steps):g} "
                f"times, and {saved.name} is {python_repr(saved.value)}: it counts batches where gradients are "
                "accumulated, or one of both was saved at another time",
            )  # fmt: skip


def _scalers(facts: Facts) -> Iterator[Advice]:
    for row in facts.rows("scaler"):
        fields, path = facts.fields(row), facts.path(row)
        scale = number_of(fields.get("scale", fields.get("cur_scale")))
        anew = "scaler = torch.amp.GradScaler()"
        if not fields:
            yield Advice(
                "info", "scaler-disabled", path, "the GradScaler was disabled: it was trained without loss scaling",
                "go on in the same way:", "scaler = torch.amp.GradScaler(enabled=False)",
            )  # fmt: skip
        elif scale is not None and (not math.isfinite(scale) or scale <= 0):
            words = f"the GradScaler's scale is {scale:g}, which no loss survives"
            yield Advice("error", "scaler-broken", path, words, "start a new one:", anew)
        elif scale is not None and scale < 1:
            yield Advice(
                "warning", "scaler-collapsed", path, f"the GradScaler's scale fell to {scale:g}: gradients overflowed "
                "again and again", "look for NaN and Inf in the weights, and start a new one:", anew,
            )  # fmt: skip
