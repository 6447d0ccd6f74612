"""Lays the outline out as rows of the tree; the keys of a state_dict are grouped into modules by their dots. No Qt."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TypeAlias

from ckpt_viewer.core.model import is_state_dict
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.gui.tree.table import EVERY, GROUP, PLAIN, Table, zeros

DEEPEST = 64
"""Dots in a key that is still taken apart."""
LONGEST = 2048
"""Characters in a key that is still taken apart: every prefix of it is kept for a moment."""

Members: TypeAlias = "list[int | str]"
"""What is directly in a module: rows of the outline, and prefixes of the modules inside."""


def lay_out(outline: Outline, context: Context, *, grouped: bool) -> tuple[Table, array[int]]:
    """Return the rows of the tree, and the row of each row of the outline.

    Raises:
        Cancelled: by `context`.
    """
    return _Layout(outline, context).run(grouped=grouped)


class _Layout:
    def __init__(self, outline: Outline, context: Context) -> None:
        self.outline, self.context = outline, context
        self.table = Table()
        self.rows = zeros("i", len(outline))
        self._same: dict[str, str] = {}

    def run(self, *, grouped: bool) -> tuple[Table, array[int]]:
        """Return the rows, and for each row of the outline its row; raises Cancelled."""
        values, ends, step = self.outline.values, self.outline.ends, self.context.step
        row, total = 0, len(self.outline)
        while row < total:
            self._plain(row)
            value = values[row]
            if grouped and type(value) is Mapping and ends[row] > row + 1 and self._has_modules(row, value):
                self._modules(row, value)
                row = ends[row]
            else:
                row += 1
            if not row & EVERY:
                step(row, total)
        return self.table, self.rows

    def _plain(self, row: int) -> None:
        parent = self.outline.parents[row]
        self.rows[row] = self.table.add(self.outline.steps[row], row, PLAIN, self.rows[parent] if parent >= 0 else -1)

    def _below(self, row: int) -> None:
        for each in range(row + 1, self.outline.ends[row]):
            self._plain(each)
            if not each & EVERY:
                self.context.step(each, len(self.outline))

    def _modules(self, row: int, value: Mapping) -> None:
        """Lay out one state_dict: its modules and entries, then attributes such as `_metadata`, which come first in
        the outline but are the least of what one looks for.
        """
        children = list(self._children(row))
        first = len(children) - len(value)
        root, modules = _take_apart(children[first:], self.outline, self.context)
        self._emit(row, root, modules)
        for child in children[:first]:
            self._plain(child)
            self._below(child)

    def _children(self, row: int) -> Iterator[int]:
        for count, child in enumerate(self.outline.children(row)):
            if not count & EVERY:
                self.context.step(child, len(self.outline))
            yield child

    def _has_modules(self, row: int, value: Mapping) -> bool:
        key = self.outline.steps[row]
        if not is_state_dict(value, key if isinstance(key, str) else ""):
            return False
        return any("." in str(key) for key in value.pairs[::2])

    def _emit(self, row: int, root: Members, modules: dict[str, Members]) -> None:
        steps, ends, rows, table, count = self.outline.steps, self.outline.ends, self.rows, self.table, 0
        add, once = table.add, self._same.setdefault  # one object for equal names: a large model has few different ones
        stack: list[tuple[Iterator[int | str], int, int]] = [(iter(root), rows[row], 0)]
        while stack:
            members, parent, cut = stack[-1]
            for member in members:
                count += 1
                if not count & EVERY:
                    self.context.step(row + count, len(self.outline))
                if isinstance(member, str):
                    prefix, below = _sole_chain(member, modules)
                    name = prefix[cut:]
                    group = add(once(name, name), row, GROUP, parent)
                    stack.append((iter(below), group, len(prefix) + 1))
                    break
                step = steps[member]
                if cut:
                    name = str(step)[cut:]
                    step = once(name, name)
                rows[member] = add(step, member, PLAIN, parent)
                if ends[member] > member + 1:
                    self._below(member)
            else:
                stack.pop()


def _take_apart(children: list[int], outline: Outline, context: Context) -> tuple[Members, dict[str, Members]]:
    """Return what is directly in the state_dict, and the members of each prefix. Equal prefixes meet in one module
    even where other keys stand between them; the order is that of the first appearance.
    """
    root: Members = []
    modules: dict[str, Members] = {}
    steps = outline.steps
    for count, child in enumerate(children):
        if not count & EVERY:
            context.step(child, len(outline))
        step = steps[child]
        prefix, dot, _ = step.rpartition(".") if isinstance(step, str) else ("", "", "")
        if not dot:
            root.append(child)
            continue
        members = modules.get(prefix)
        if members is None:
            if len(prefix) > LONGEST or prefix.count(".") >= DEEPEST:
                root.append(child)
                continue
            members = _open(prefix, root, modules)
        members.append(child)
    return root, modules


def _open(prefix: str, root: Members, modules: dict[str, Members]) -> Members:
    """Make the module `prefix` and those around it that are not there yet."""
    innermost = modules[prefix] = []
    while True:
        outer, dot, _ = prefix.rpartition(".")
        if not dot:
            root.append(prefix)
            return innermost
        around = modules.get(outer)
        if around is not None:
            around.append(prefix)
            return innermost
        modules[outer] = [prefix]
        prefix = outer


def _sole_chain(prefix: str, modules: dict[str, Members]) -> tuple[str, Members]:
    """Return the innermost of modules that hold nothing but one another, so that they share a row (``0.conv1``), and
    its members; takes them out of `modules`.
    """
    while len(members := modules.pop(prefix)) == 1 and isinstance(only := members[0], str):
        prefix = only
    return prefix, members
