"""What differs between two checkpoints as a JSON document: ``diff --json``."""

from __future__ import annotations

from typing import Any

from ckpt_viewer.analysis.diff import Change, Diff
from ckpt_viewer.analysis.listing import scalar_fields
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.path import step_json


def diff_json(a: Checkpoint, b: Checkpoint, found: Diff) -> dict[str, Any]:
    """Return the document of ``diff --json``."""
    return {
        "schema": 1,
        "only_a": [_path(a, row) for row in found.only_a],
        "only_b": [_path(b, row) for row in found.only_b],
        "changed": [_change(a, b, each) for each in found.changed],
        "same": found.same,
    }


def _path(checkpoint: Checkpoint, row: int) -> list[Any]:
    return [step_json(step) for step in checkpoint.outline.path(row)]


def _change(a: Checkpoint, b: Checkpoint, each: Change) -> dict[str, Any]:
    path, other = _path(a, each.row_a), _path(b, each.row_b)
    told: dict[str, Any] = {"path": path, "field": each.field, "a": each.a, "b": each.b}
    if other != path:
        told["path_b"] = other
    if each.by is not None:
        told.update({name: _number(getattr(each.by, name)) for name in ("max_abs", "max_rel", "cosine", "elements")})
        told.update(a=_number(each.a), b=_number(each.b))
    if each.problem:
        told["problem"] = each.problem
    return told


def _number(value: Any) -> Any:
    return scalar_fields(value)["value"] if isinstance(value, int | float) else value
