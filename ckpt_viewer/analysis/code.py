"""Python that leads to a place in a loaded checkpoint. Every name from a file goes in as an ASCII literal."""

from __future__ import annotations

from ckpt_viewer.core.path import Path
from ckpt_viewer.core.text import python_literal


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
