"""The steps to a selection, as a person reads them: dotted names of a state_dict are several. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path, Step
from ckpt_viewer.gui.tree import ModuleGroup, TreeIndex
from ckpt_viewer.gui.tree.names import display_name

ROOT = "/"
"""Stands for the root at the head of every path."""


class Crumb(NamedTuple):
    """One step: its text, and a function that returns what selecting it selects."""

    text: str
    target: Callable[[], Any]


def crumbs_of(subject: Any, index: TreeIndex | None) -> list[Crumb]:
    """Return the steps from the root to a Node or a module group, the root first.

    Args:
        index: the tree's, which knows the modules of a state_dict; without it a key is one step.
    """
    if isinstance(subject, ModuleGroup):
        modules = _modules(index, index.find(subject.pointer), subject.node) if index is not None else []
        return [*_chain(subject.node, index), *(modules or [Crumb(subject.prefix, lambda: subject)])]
    return _chain(subject, index) if isinstance(subject, Node) else []


def _chain(node: Node, index: TreeIndex | None) -> list[Crumb]:
    chain: list[Node] = []
    above: Node | None = node
    while above is not None:
        chain.append(above)
        above = above.parent
    chain.reverse()
    crumbs = [Crumb(ROOT, lambda: chain[0])]
    row: int | None = 0
    for parent, each in pairwise(chain):
        row = None if index is None or row is None else child_row(index.outline, row, each)
        groups = _modules(index, index.rows[row], parent)[:-1] if index is not None and row is not None else []
        crumbs += groups
        name = index.names[index.rows[row]] if groups and index is not None and row is not None else each.step
        crumbs.append(Crumb(display_name(name), lambda each=each: each))  # type: ignore[misc]
    return crumbs


def _modules(index: TreeIndex | None, row: int | None, holder: Node) -> list[Crumb]:
    """Return a crumb for each module above a row of the tree, and for the row itself as the last."""
    if index is None or row is None:
        return []
    found: list[Crumb] = []
    at = row
    while at == row or (at >= 0 and not index.is_entry(at)):
        if not index.is_run(at):
            subject = _subject(index, at, holder)
            found.append(Crumb(display_name(index.names[at]), subject))
        at = index.parents[at]
    return found[::-1]


def _subject(index: TreeIndex, row: int, holder: Node) -> Callable[[], Any]:
    return lambda: index.subject(row, holder.checkpoint)


def child_row(outline: Outline, row: int, child: Node) -> int | None:
    """Return the row of the outline that describes a child of the entry at `row`; None if there is none.

    Fast where siblings are leaves and where steps differ: a checkpoint may have a million of them.
    """
    row = outline.aliases.get(row, row)
    guess, end = row + 1 + child.index, outline.ends[row]
    if guess < end and _is_child(outline, guess, row, child.step):
        return guess
    at = row
    while True:
        try:
            at = outline.steps.index(child.step, at + 1, end)
        except ValueError:
            return None
        if _is_child(outline, at, row, child.step):
            return at


def _is_child(outline: Outline, at: int, row: int, step: Step) -> bool:
    return outline.parents[at] == row and outline.steps[at] == step and type(outline.steps[at]) is type(step)


def outline_row(outline: Outline, node: Node) -> int | None:
    """Return the row of the outline that describes a node, inside what an alias stands for if the path leads there."""
    chain: list[Node] = []
    above: Node | None = node
    while above is not None and above.parent is not None:
        chain.append(above)
        above = above.parent
    row: int | None = 0
    for each in reversed(chain):
        row = None if row is None else child_row(outline, row, each)
    return row


def row_pointer(outline: Outline, row: int) -> str:
    """Return the path of a row as text for reading: like a JSON Pointer, cheap, not meant to be resolved."""
    path: Path = outline.path(row)
    return "/" + "/".join(display_name(step) for step in path)
