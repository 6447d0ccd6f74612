"""The places that an export was pointed at: which nodes, which of their entries, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.model import is_module, wrapped_module
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.path import Arg, escape_token, split_pointer, step_text, unescape_token
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.errors import NoSuchNode

_OWN = frozenset({"_parameters", "_buffers", "_modules"})
"""Attributes of a module that are no part of its entries' names."""


class Part(NamedTuple):
    """A place that was chosen.

    Attributes:
        node: what lies there. path: positions from the root, so that places sort as in the file.
        names, prefixes: which of a state_dict's entries were chosen; all of them where both are empty.
    """

    node: Node
    path: tuple[int, ...]
    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    @property
    def is_some(self) -> bool:
        """Whether it is only some entries of the node."""
        return bool(self.names or self.prefixes)

    def takes(self, name: str) -> bool:
        """Whether an entry of the node was chosen."""
        return not self.is_some or name in self.names or name.startswith(self.prefixes)


def find_parts(checkpoint: Checkpoint, pointers: Sequence[str], context: Context = SILENT) -> list[Part]:
    """Return what pointers lead to, in the file's order, without what lies in another one of them.

    Raises:
        NoSuchNode: one leads nowhere. Cancelled: by `context`.
    """
    finder = _Finder(checkpoint)
    whole: dict[tuple[int, ...], Part] = {}
    some: dict[tuple[int, ...], list[Part]] = {}
    for pointer in stepped(dict.fromkeys(pointers), context):
        part = finder.find(pointer)
        if part.is_some:
            some.setdefault(part.path, []).append(part)
        else:
            whole[part.path] = part
    merged = [
        parts[0]._replace(
            names=frozenset().union(*(part.names for part in parts)),
            prefixes=tuple(prefix for part in parts for prefix in part.prefixes),
        )
        for path, parts in some.items()
        if path not in whole
    ]
    found = [*whole.values(), *merged]
    return sorted(
        (part for part in found if not any(part.path[:length] in whole for length in range(len(part.path)))),
        key=lambda part: part.path,
    )


class _Finder:
    """Finds nodes by their pointers; the members of a container are gone through once for all that lie in it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._root = checkpoint.root
        self._below: dict[str, dict[str, Node]] = {}

    def find(self, pointer: str) -> Part:
        """Return the place: an entry of a dict as some of that dict, so that many of them stay one place."""
        split_pointer(pointer)
        ends = [at for at, character in enumerate(pointer) if character == "/"] + [len(pointer)]
        node = self._root
        for start, end in pairwise(ends):
            token = pointer[start + 1 : end]
            try:
                node = self._child(node, pointer[:start], token)
            except NoSuchNode:
                prefix = unescape_token(token)
                if end < len(pointer) or not prefix.endswith(".") or not _begins(node, prefix):
                    raise
                return Part(node, _path(node), prefixes=(prefix,))
        holder = node.parent
        if (
            isinstance(node.value, TensorSpec)
            and holder is not None
            and _is_plain_dict(holder)
            and type(node.step) is str
        ):
            return Part(holder, _path(holder), frozenset({node.step}))
        return Part(node, _path(node))

    def _child(self, node: Node, pointer: str, token: str) -> Node:
        if pointer not in self._below:
            self._below[pointer] = {escape_token(one.step): one for one in node.children if isinstance(one.step, str)}
        known = self._below[pointer]
        if token not in known:
            known[token] = node.child(token)
        return known[token]


def _is_plain_dict(node: Node) -> bool:
    """Whether a node is a dict, and none of those that a module keeps its tensors in: there it is the module's name."""
    within = node.parent
    return isinstance(node.value, Mapping) and not (within is not None and is_module(within.value))


def _begins(node: Node, prefix: str) -> bool:
    value = node.value
    return isinstance(value, Mapping) and any(type(key) is str and key.startswith(prefix) for key in value.pairs[::2])


def _chain(node: Node) -> list[Node]:
    """Return the nodes from the root to `node`."""
    found = [node]
    while found[-1].parent is not None:
        found.append(found[-1].parent)
    return found[::-1]


def _path(node: Node) -> tuple[int, ...]:
    return tuple(above.index for above in _chain(node)[1:])


def common_node(nodes: list[Node]) -> Node:
    """Return the innermost node that all of several lie in, none of them itself."""
    chains = [_chain(node) for node in nodes]
    shared = chains[0][0]
    for level in zip(*(chain[:-1] for chain in chains), strict=False):
        if any(node.index != level[0].index for node in level):
            break
        shared = level[0]
    return shared


def dotted(node: Node, base: Node) -> str:
    """Return the way from `base` to `node` as a name: inside a module, the one that its state_dict gives."""
    chain = _chain(node)[len(_chain(base)) - 1 :]
    steps = [
        "_orig_mod"
        if isinstance(child.step, Arg) and wrapped_module(parent.value) is not None
        else step_text(child.step)
        for parent, child in pairwise(chain)
        if not (is_module(parent.value) and child.step in _OWN)
    ]
    return ".".join(steps)
