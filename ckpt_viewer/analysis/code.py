"""Python that leads to a place in a loaded checkpoint. Every name from a file goes in as an ASCII literal."""

from __future__ import annotations

import os
from collections.abc import Mapping as Given

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.core.value import Instance, Mapping

FOLDER = "folder"
"""Type of the dict that stands for a folder of files."""


def access(path: Path, base: str = "checkpoint") -> str:
    """Return the expression for a path: ``checkpoint["model"]["a.b"]``; ``""`` where a step has no literal.

    Args:
        base: what the path starts from.
    """
    steps = []
    for step in path:
        if type(step) is str:
            steps.append(f"[{python_literal(step)}]")
        elif type(step) is int:
            steps.append(f"[{step}]")
        else:
            return ""
    return base + "".join(steps)


class Access:
    """Expressions for rows of an outline; attributes of objects are not taken for keys.

    Args:
        base: expression for the root. bases: expressions for other rows, where what is below is reached from them.
    """

    def __init__(self, outline: Outline, base: str, bases: Given[int, str] | None = None) -> None:
        self.outline, self._bases = outline, dict(bases or {})
        if base:
            self._bases[0] = base

    def of(self, row: int) -> str:
        """Return the expression for a row; ``""`` where there is none."""
        steps: list[tuple[str, str]] = []
        while row not in self._bases:
            if row <= 0:
                return ""
            step, parent = self.outline.steps[row], self.outline.parents[row]
            if type(step) is str:
                literal = python_literal(step)
                inside = isinstance(self.outline.values[parent], Instance)
                steps.append(("getattr(", f", {literal})") if inside else ("", f"[{literal}]"))
            elif type(step) is int:
                steps.append(("", f"[{step}]"))
            else:
                return ""
            row = parent
        expression = self._bases[row]
        for before, after in reversed(steps):
            expression = f"{before}{expression}{after}"
        return expression


def is_folder(value: object) -> bool:
    """Whether a value stands for a folder of files."""
    return isinstance(value, Mapping) and value.type == FOLDER


def base_name(checkpoint: Checkpoint) -> str:
    """Return the name of a checkpoint's file or folder, as code beside it would open it."""
    return os.path.basename(os.path.abspath(checkpoint.path))  # noqa: PTH100, PTH119  pathlib would cost 7 ms
