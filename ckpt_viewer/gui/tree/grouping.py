"""Lays the outline out as rows of the tree; the keys of a state_dict are grouped into modules by their dots. No Qt."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from operator import eq
from typing import Any, TypeAlias, cast

from ckpt_viewer.core.model import is_state_dict
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.gui.tree.table import EVERY, GROUP, PLAIN, Table, zeros

DEEPEST = 64
"""Dots in a key that is still taken apart."""
LONGEST = 2048
"""Characters in a key that is still taken apart."""

Module: TypeAlias = "list[Any]"
"""A module: its name; the modules in it (None, the only one, or several by name); then, from `_MEMBERS` on, all that is
directly in it, in order: rows of the outline, and modules.
"""
_NAME, _INSIDE, _MEMBERS = range(3)


def lay_out(outline: Outline, context: Context, *, grouped: bool) -> tuple[Table, array[int]]:
    """Return the rows of the tree, and the row of each row of the outline.

    Raises:
        Cancelled: by `context`.
    """
    return _Layout(outline, context).run(grouped=grouped)


class _Layout:
    def __init__(self, outline: Outline, context: Context) -> None:
        self.outline, self.context = outline, context
        self._steps, self._ends = outline.steps, outline.ends
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
        self._emit(row, _take_apart(children[first:], self.outline, self.context))
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

    def _emit(self, row: int, root: Module) -> None:
        """Append the rows of what is in a state_dict's modules, depth first; they are let go of one after the other."""
        add, once = self.table.add, self._same.setdefault
        stack = [(_taken(root), self.rows[row], False)]
        while stack:
            members, parent, inside = stack[-1]
            while members:
                member = members.pop()
                if type(member) is int:
                    self._leaf(member, parent, inside)
                    continue
                name = member[_NAME]
                while len(member) == _MEMBERS + 1 and type(member[_MEMBERS]) is list:
                    member = member[_MEMBERS]  # hold nothing but one another, so that they share a row (``0.conv1``)
                    name = f"{name}.{member[_NAME]}"
                group = add(once(name, name), row, GROUP, parent)
                if member[_INSIDE] is not None:
                    stack.append((_taken(member), group, True))
                    break
                for leaf in member[_MEMBERS:]:
                    self._leaf(leaf, group, True)
            else:
                stack.pop()

    def _leaf(self, row: int, parent: int, inside: bool) -> None:
        """Append an entry of a state_dict, and what is below it; `inside` a module it goes by the end of its key."""
        step = self._steps[row]
        if inside:
            name = str(step).rpartition(".")[2]
            step = self._same.setdefault(name, name)  # one object for equal names: a large model has few different ones
        self.rows[row] = self.table.add(step, row, PLAIN, parent)
        if self._ends[row] > row + 1:
            self._below(row)
        if not row & EVERY:
            self.context.step(row, len(self._steps))


def _taken(module: Module) -> Module:
    """Return what is in a module, the last first, and leave nothing in it."""
    members = module[_MEMBERS:]
    members.reverse()
    module.clear()
    return members


def _take_apart(children: list[int], outline: Outline, context: Context) -> Module:
    """Return what is in a state_dict, as a module without a name. Equal prefixes meet in one module even where other
    keys stand between them; the order is that of the first appearance.
    """
    root: Module = ["", None]
    steps = outline.steps
    before: str | None = None  # prefix of the last key, its names, and the modules that it leads through
    names: list[str] = []
    path = [root]
    for count, child in enumerate(children):
        if not count & EVERY:
            context.step(child, len(outline))
        step = steps[child]
        prefix, dot, _ = step.rpartition(".") if isinstance(step, str) else ("", "", "")
        if not dot or len(prefix) > LONGEST or prefix.count(".") >= DEEPEST:
            root.append(child)
            continue
        if prefix != before:
            before, last, names = prefix, names, prefix.split(".")
            same = [*map(eq, names, last), False].index(False)  # so many of them lead the same way
            del path[same + 1 :]
            for name in names[same:]:
                path.append(_open(name, path[-1]))
        path[-1].append(child)
    return root


def _open(name: str, around: Module) -> Module:
    """Return the module `name` in another, which is new if it has not been there."""
    inside, module = around[_INSIDE], [name, None]
    if inside is None:
        around[_INSIDE] = module
    elif type(inside) is dict:
        known: Module = inside.setdefault(name, module)
        if known is not module:
            return known
    elif inside[_NAME] == name:
        return cast("Module", inside)
    else:
        around[_INSIDE] = {inside[_NAME]: inside, name: module}
    around.append(module)
    return module
