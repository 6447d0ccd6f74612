"""An optimizer in ``check --json``: class, groups, and which parameter each state belongs to."""

from __future__ import annotations

import math
from typing import Any

from ckpt_viewer.analysis.listing import non_finite, scalar_fields
from ckpt_viewer.analysis.optimizer import Joined, OptimizerView
from ckpt_viewer.core.path import key_step, step_json
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.value import Value

MOST_LISTED = 10_000
"""Parameters that are listed one by one."""


def optimizer_json(seen: OptimizerView) -> dict[str, Any]:
    """Return what is known of an optimizer."""
    outline = seen.checkpoint.outline
    return {
        "path": [step_json(step) for step in outline.path(seen.row)],
        "class": list(seen.guess.names),
        "reason": seen.guess.reason,
        "groups": [
            {**{name: _field(value) for name, value in group.fields.items()}, "params": group.size}
            for group in seen.groups
        ],
        "differing": sorted(seen.differing),
        "join": {
            "method": seen.join.method,
            "confidence": seen.join.confidence,
            "reason": seen.join.reason,
            "matched": seen.join.matched,
        },
        "parameters": [_parameter(seen, each) for each in seen.joined[:MOST_LISTED]],
        "left_out": [weight.name for weight in seen.left_out[:MOST_LISTED]],
        "orphans": [step_json(key_step(key)) for key, _ in seen.orphans[:MOST_LISTED]],
        "state_bytes": seen.state_bytes,
        "model_bytes": seen.model_bytes,
    }


def _parameter(seen: OptimizerView, joined: Joined) -> dict[str, Any]:
    slot = joined.slot
    return {
        "key": step_json(key_step(slot.key)),
        "name": joined.weight.name if joined.weight is not None else None,
        "sure": joined.sure,
        "group": slot.group,
        "state": None if slot.row is None else [step_json(step) for step in seen.checkpoint.outline.path(slot.row)],
        "step": _number(seen.step(slot)),
        "effective_lr": _number(seen.effective_rate(slot)),
    }


def _field(value: Value) -> Any:
    if isinstance(value, list | tuple):
        return [_field(each) for each in value[:100]]
    number = number_of(value)
    return scalar_fields(value)["value"] if number is None or type(value) is not float else _number(number)


def _number(number: float | None) -> Any:
    return non_finite(number) if number is not None and not math.isfinite(number) else number
