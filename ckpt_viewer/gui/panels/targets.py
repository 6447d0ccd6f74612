"""What a histogram is of: a tensor, several that are selected together, or all below a container. No Qt but records."""

from __future__ import annotations

from itertools import islice
from typing import Any

from ckpt_viewer.core.expand import children, is_leaf
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.panels.counting import Target
from ckpt_viewer.gui.picks import Picks, short_names
from ckpt_viewer.gui.tree import ModuleGroup

LOOKED_AT = 400
"""Entries among which a tensor is looked for; a container with more that are none is taken to have one."""


def target_of(subject: Node | ModuleGroup, picks: Picks) -> Target:
    """Return what to look at while `subject` is current and `picks` are selected together with it."""
    if len(picks.tensors) > 1:
        names = short_names([pick.pointer for pick in picks.tensors])
        return Target(
            tuple(plain(name, NAME_LIMIT) for name in names),
            tuple(pick.tensor for pick in picks.tensors),
            selected=picks.total,
        )
    if isinstance(subject, ModuleGroup):
        return Target((plain(subject.prefix, NAME_LIMIT),), (), subject)
    name = plain(subject.name, NAME_LIMIT)
    return Target((name,), (subject.value,)) if isinstance(subject.value, TensorSpec) else Target((name,), (), subject)


def holds_tensors(subject: Any) -> bool:
    """Whether there may be tensors below a container."""
    if isinstance(subject, ModuleGroup):
        return subject.tensors > 0
    if not isinstance(subject, Node) or subject.length is None:
        return False
    waiting, left = [subject.value], LOOKED_AT
    while waiting and left > 0:
        below = [value for _, value in islice(children(waiting.pop(0)), left)]
        if any(isinstance(value, TensorSpec) for value in below):
            return True
        left -= len(below)
        waiting += [value for value in below if not is_leaf(value)]
    return left <= 0
