"""The work behind the contents panel: numbers about a container and its first entries. No Qt but the rows' record."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.core.text import grouped as with_groups
from ckpt_viewer.gui.panels.crumbs import outline_row
from ckpt_viewer.gui.panels.facts_table import Fact
from ckpt_viewer.gui.panels.rollup import Rollup, roll_up
from ckpt_viewer.gui.tree import ModuleGroup, TreeIndex

MOST_ENTRIES = 200
"""Entries that are listed; the tree has all."""
MOST_KINDS = 6
"""Devices or dtypes that one row names."""


class Contents(NamedTuple):
    """What is in a container.

    Attributes:
        facts: rows of numbers. tree: what has the rows. lines: its rows, the first entries. total: how many there are.
        grouped: whether some of them are modules or runs of blocks.
    """

    facts: list[Fact]
    tree: TreeIndex
    lines: list[int]
    total: int
    grouped: bool = False

    @property
    def heading(self) -> str:
        """What stands above the list."""
        if not self.total:
            return "It is empty."
        shown = len(self.lines)
        words = "Modules and entries" if self.grouped else "Entries"
        if shown < self.total:
            return f"{words}: the first {with_groups(shown)} of {with_groups(self.total)}; the tree has all"
        return f"{words}: {with_groups(shown)}"


def look_into(subject: Node | ModuleGroup, index: TreeIndex, context: Context) -> Contents:
    """Add up a container or a module.

    Raises:
        Cancelled: by `context`.
    """
    row = tree_row(subject, index)
    if row is None:
        return Contents(_facts(subject, None), index, [], 0)
    rows = [index.sources[row]] if isinstance(subject, Node) else list(entries_below(index, row))
    node = subject if isinstance(subject, Node) else subject.node
    rollup = roll_up(index.outline, rows, node.checkpoint.locator, context)
    target = index.same_as(row)
    row = row if target is None else target
    lines = list(islice(index.children(row), MOST_ENTRIES))
    grouped = not all(index.is_entry(line) for line in lines)
    return Contents(_facts(subject, rollup), index, lines, sum(1 for _ in index.children(row)), grouped)


def tree_row(subject: Node | ModuleGroup, index: TreeIndex) -> int | None:
    """Return the row of the tree that a selection has; None where it has none."""
    if isinstance(subject, ModuleGroup):
        return index.find(subject.pointer)
    row = outline_row(index.outline, subject)
    return None if row is None else index.rows[row]


def entries_below(index: TreeIndex, row: int) -> list[int]:
    """Return the rows of the outline directly in a module and the modules below it."""
    found: list[int] = []
    at, end = row + 1, index.ends[row]
    while at < end:
        if index.is_entry(at):
            found.append(index.sources[at])
            at = index.ends[at]
        else:
            at += 1
    return found


def _facts(subject: Node | ModuleGroup, rollup: Rollup | None) -> list[Fact]:
    facts: list[Fact] = []
    if isinstance(subject, Node):
        facts.append(Fact("class", subject.type))
        facts.append(Fact("entries", with_groups(subject.length or 0), str(subject.length or 0)))
    else:
        facts.append(Fact("module", subject.prefix))
    if rollup is None:
        return facts
    facts.append(Fact("tensors", _tensors(rollup), str(rollup.tensors)))
    if rollup.tensors:
        facts.append(Fact("values", with_groups(rollup.elements), str(rollup.elements)))
        facts.append(
            Fact("bytes", f"{bytes_text(rollup.nbytes)}  ({with_groups(rollup.nbytes)} B)", str(rollup.nbytes))
        )
        facts.append(Fact("devices", _counted(rollup.devices)))
        facts.append(Fact("dtypes", _counted(rollup.dtypes)))
    facts.append(Fact("other entries", with_groups(rollup.others), str(rollup.others)))
    return facts


def _tensors(rollup: Rollup) -> str:
    repeated = rollup.tensors - rollup.distinct
    text = with_groups(rollup.tensors)
    return f"{text}, {with_groups(rollup.distinct)} of them distinct" if repeated else text


def _counted(counts: dict[str, int]) -> str:
    """Return ``float32 (60), int64 (2)``; the number is left out where there is but one kind."""
    if len(counts) == 1:
        return next(iter(counts))
    named = [f"{name} ({with_groups(count)})" for name, count in list(counts.items())[:MOST_KINDS]]
    return ", ".join(named) + (f" and {len(counts) - MOST_KINDS} more" if len(counts) > MOST_KINDS else "")
