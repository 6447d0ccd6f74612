"""What every part of the resume check looks at."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.analysis.code import access
from ckpt_viewer.analysis.optimizer import OptimizerView
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.value import Instance, Mapping, Value

STEPS_READ = 64
"""Steps of parameters that are read and compared."""


class Facts(NamedTuple):
    """A checkpoint with what was recognised in it, and its optimizers."""

    checkpoint: Checkpoint
    view: Overview
    optimizers: tuple[OptimizerView, ...]

    def has(self, role: str) -> bool:
        """Whether anything in the file has a role."""
        return role in self.view.roles

    def rows(self, role: str) -> list[int]:
        """Return the rows of what has a role."""
        return [row for row, each in self.view.role_rows.items() if each.name == role]

    def path(self, row: int) -> Path:
        """Return the path of a row."""
        return self.checkpoint.outline.path(row)

    def fields(self, row: int) -> dict[str, Value]:
        """Return the named values of a dict or an object."""
        value = self.checkpoint.outline.values[row]
        if isinstance(value, Mapping):
            return value.string_items()
        return value.attributes() if isinstance(value, Instance) else {}

    def code(self, path: Path) -> str:
        """Return the expression that leads to a path."""
        return access(path) or "checkpoint"


def read_steps(seen: OptimizerView) -> list[int | float]:
    """Return how often some of an optimizer's parameters were updated; reads one number for each."""
    slots = [slot for slot in seen.slots if slot.entry is not None]
    every = max(1, len(slots) // STEPS_READ)
    found = (seen.step(slot) for slot in slots[::every])
    return [step for step in found if step is not None]
