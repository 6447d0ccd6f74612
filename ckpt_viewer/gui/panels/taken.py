"""What a selected entry is taken for: what the user said of it, else what its structure shows. No Qt."""

from __future__ import annotations

from typing import Any

from ckpt_viewer.analysis.role_rules import role_of
from ckpt_viewer.core.node import Node
from ckpt_viewer.gui.panels.crumbs import outline_row


def is_taken_for(subject: Any, role: str) -> bool:
    """Whether a selection is an entry with a role that has a panel of its own; its name alone is not enough."""
    if not isinstance(subject, Node):
        return False
    checkpoint = subject.checkpoint
    if checkpoint.given:
        row = outline_row(checkpoint.outline, subject)
        given = "" if row is None else checkpoint.given.get(row, "")
        if given:
            return given == role
    found = role_of(subject.value, "", False)
    return found is not None and found.name == role
