"""The steps to a selection, as a person reads them: dotted names of a state_dict are several. No Qt."""

from __future__ import annotations

from typing import Any, NamedTuple

from ckpt_viewer.core.node import Node

ROOT = "/"
"""Stands for the root at the head of every path."""


class Crumb(NamedTuple):
    """One step: its text, and what selecting it selects."""

    text: str
    target: Any


def crumbs_of(subject: Any) -> list[Crumb]:
    """Return the steps from the root to a Node or a module group, the root first."""
    if not isinstance(subject, Node):
        return []
    crumbs: list[Crumb] = []
    node: Node | None = subject
    while node is not None:
        crumbs.append(Crumb(node.name if node.parent is not None else ROOT, node))
        node = node.parent
    crumbs.reverse()
    return crumbs
