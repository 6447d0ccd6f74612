"""The whole tree as one flat table in pre-order.

Row 0 is the root; the rows below row r are r + 1 ... ends[r] - 1. Everything that walks a checkpoint (the listing,
roles, the window's tree and its filter) walks this table, so a container that is reached twice is described once, and
cycles end.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator

from ckpt_viewer.core.expand import SCALARS, children, is_leaf, is_scalar_tuple, tensors_alone
from ckpt_viewer.core.path import Path, Step, escape_token
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Mapping, Sequence, Value

MOST_LEAVES, BYTES_A_LEAF = 700_000, 40
"""Plain values and containers met again that are listed of a small file, and bytes of a file for each one more.

A pickle has one for every byte or two, and listing each takes 70 to 170 bytes and 1 to 4 microseconds.
"""
WORTH = 16
"""Tensors of a dict that are worth looking at together."""
AT_ONCE = 2048
"""Members of a list that are left out at once; some 0.1 ms."""
REPEATS = 1_000_000
"""Rows that may be spent on describing tuples of scalars again; past it they are aliases like any container."""


MOST_POINTERS = 4096
"""Pointers that are kept for those below: deep ones are long."""
MAX_DEPTH = 1000
"""Containers are entered to this depth: a path is as long as it is deep, so lists in lists are quadratic to list."""


class Outline:
    """A checkpoint's entries in pre-order.

    Attributes:
        values: the value of each row. steps: its step from its parent (``""`` for the root).
        parents: row of the parent, -1 for the root. ends: one past the last row of its subtree.
        aliases: rows of containers that were described before -> the row that describes them.
        alone: rows of dicts of plain tensors alone -> first row of these, behind attributes; they end with the dict.
        too_deep: rows of containers that were not entered. unlisted: entries that were left out, there were so many.
    """

    __slots__ = ("aliases", "alone", "ends", "parents", "steps", "too_deep", "unlisted", "values")

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self.parents = array("q")
        self.ends = array("q")
        self.aliases: dict[int, int] = {}
        self.alone: dict[int, int] = {}
        self.too_deep: list[int] = []
        self.unlisted = 0

    def __len__(self) -> int:
        return len(self.values)

    def children(self, row: int) -> Iterator[int]:
        """Yield the rows directly below `row`."""
        child, end = row + 1, self.ends[row]
        while child < end:
            yield child
            child = self.ends[child]

    def path(self, row: int) -> Path:
        """Return the steps from the root to `row`."""
        steps: list[Step] = []
        while row > 0:
            steps.append(self.steps[row])
            row = self.parents[row]
        return tuple(reversed(steps))

    def find(self, path: Path) -> int | None:
        """Return the row of a path; through an alias, the row inside what it stands for. None if there is none."""
        return self.find_all((path,)).get(path)

    def find_all(self, paths: Iterable[Path]) -> dict[Path, int]:
        """Return the rows of those paths that exist; the members of a container are gone through once for all."""
        found: dict[Path, int] = {}
        below: list[tuple[int, int, list[Path]]] = [(0, 0, list(dict.fromkeys(paths)))]
        while below:
            row, depth, wanted = below.pop()
            found.update((path, row) for path in wanted if len(path) == depth)
            groups: dict[tuple[type, Step], list[Path]] = {}
            for path in wanted:
                if len(path) > depth:
                    groups.setdefault((type(path[depth]), path[depth]), []).append(path)
            children = self.children(self.aliases.get(row, row))
            while groups and (child := next(children, None)) is not None:
                step = self.steps[child]
                group = groups.pop((type(step), step), None)
                if group is not None:
                    below.append((child, depth + 1, group))
        return found

    def tensors(self) -> Iterator[tuple[int, TensorSpec]]:
        """Yield row and spec of every tensor, in order."""
        for row, value in enumerate(self.values):
            if type(value) is TensorSpec:
                yield row, value

    def distinct_tensors(self) -> Iterator[tuple[int, TensorSpec]]:
        """Yield every tensor once, at its first row, in order: a file can refer to one tensor a million times."""
        seen: set[int] = set()
        for row, value in enumerate(self.values):
            if type(value) is TensorSpec and id(value) not in seen:
                seen.add(id(value))
                yield row, value


class Pointers:
    """JSON Pointers of an outline's rows, the same that `Node.pointer` gives; all of them together in linear time."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._known: dict[int, str] = {0: ""}
        self._above: tuple[int, str] = (0, "")
        self._names: dict[int, set[Step]] = {}
        self._positions: dict[int, dict[int, int]] = {}

    def of(self, row: int) -> str:
        """Return the pointer of a row."""
        parent = self._outline.parents[row]
        if parent < 0:
            return ""
        if parent != self._above[0]:  # siblings are asked for one after another
            self._above = parent, self._of_container(parent)
        return f"{self._above[1]}/{self._token(row)}"

    def _of_container(self, row: int) -> str:
        if len(self._known) > MOST_POINTERS:
            self._known = {0: ""}
        above: list[int] = []
        while row not in self._known:
            above.append(row)
            row = self._outline.parents[row]
        text = self._known[row]
        for each in reversed(above):
            text = f"{text}/{self._token(each)}"
            self._known[each] = text
        return text

    def _token(self, row: int) -> str:
        outline = self._outline
        step, parent = outline.steps[row], outline.parents[row]
        if isinstance(step, str):
            return escape_token(step)
        if type(step) is int:
            text = str(step)
            if isinstance(outline.values[parent], list | tuple) or text not in self._strings(parent):
                return text
        return f"~2{self._position(parent, row)}"

    def _strings(self, parent: int) -> set[Step]:
        names = self._names.get(parent)
        if names is None:
            steps = self._outline.steps
            names = {steps[row] for row in self._outline.children(parent) if isinstance(steps[row], str)}
            self._names[parent] = names
        return names

    def _position(self, parent: int, row: int) -> int:
        positions = self._positions.get(parent)
        if positions is None:
            positions = {child: number for number, child in enumerate(self._outline.children(parent))}
            self._positions[parent] = positions
        return positions[row]


class _Builder:
    def __init__(self, context: Context, size: int) -> None:
        self.outline = Outline()
        self.seen: dict[int, int] = {}
        self.repeats = REPEATS
        self.leaves = MOST_LEAVES + size // BYTES_A_LEAF
        self.context = context
        self.behind: dict[int, tuple[list[str], list[TensorSpec]]] = {}

    def build(self, root: Value) -> Outline:
        """Go through everything below `root` in pre-order; raises Cancelled."""
        outline = self.outline
        self._add(-1, "", root)
        stack: list[tuple[int, Iterator[tuple[Step, Value]]]] = [(0, self._below(0, root))]
        self.seen[id(root)] = 0
        while stack:
            row, below = stack[-1]
            deeper = self._fill(row, below)
            if deeper is None:
                if row in self.behind:
                    self._append(row, *self.behind.pop(row))
                outline.ends[row] = len(outline.values)
                stack.pop()
            elif len(stack) > MAX_DEPTH:
                outline.too_deep.append(deeper[0])
            else:
                stack.append(deeper)
            self.context.step(len(outline.values), 0)
        return outline

    def _fill(self, row: int, below: Iterator[tuple[Step, Value]]) -> tuple[int, Iterator[tuple[Step, Value]]] | None:
        """Append leaves until a container has to be entered; None once `below` is exhausted."""
        values, steps, parents, ends = self.outline.values, self.outline.steps, self.outline.parents, self.outline.ends
        step_context, count, seen, left_out = self.context.step, 0, self.seen, 0
        for step, value in below:
            new, kind = len(values), type(value)
            plain = kind is TensorSpec and value.extra is None  # type: ignore[union-attr]  # as nearly all are
            if not plain and (kind in SCALARS or (id(value) in seen and kind is not TensorSpec)):
                self.leaves -= 1
                if self.leaves < 0:
                    left_out += 1
                    if left_out & 4095 == 0:
                        step_context(new, 0)
                    continue
            values.append(value)
            steps.append(step)
            parents.append(row)
            ends.append(new + 1)
            count += 1
            if count & 255 == 0:
                step_context(new, 0)
            if plain or is_leaf(value):
                continue
            if self._is_new(new, value):
                self.outline.unlisted += left_out
                return new, self._below(new, value)
        self.outline.unlisted += left_out
        return None

    def _append(self, row: int, names: list[str], tensors: list[TensorSpec]) -> None:
        """Append rows that have nothing below them."""
        outline = self.outline
        outline.alone[row] = len(outline.values)
        for start in range(0, len(names), AT_ONCE):
            first, some = len(outline.values), tensors[start : start + AT_ONCE]
            outline.values += some
            outline.steps += names[start : start + AT_ONCE]
            outline.parents += array("q", (row,)) * len(some)
            outline.ends.extend(range(first + 1, first + len(some) + 1))
            self.context.step(first, 0)

    def _below(self, row: int, value: Value) -> Iterator[tuple[Step, Value]]:
        """Yield what is below a value; once no more leaves are listed, not those of long lists, which count here.

        Of a dict of many plain tensors those are left to `_append`.
        """
        if type(value) is not list and type(value) is not tuple:
            alone = tensors_alone(value) if type(value) is Mapping and len(value) >= WORTH else None
            if alone is None:
                yield from children(value)
            else:
                yield from alone[0]
                self.behind[row] = alone[1:]
            return
        for start in range(0, len(value), AT_ONCE):
            some = value[start : start + AT_ONCE]
            if self.leaves <= 0 and self._are_left_out(some):
                self.outline.unlisted += len(some)
                self.context.step(len(self.outline.values), 0)
            else:
                yield from enumerate(some, start)

    def _are_left_out(self, some: Collection[Value]) -> bool:
        kinds = {*map(type, some)}
        return kinds <= SCALARS or (TensorSpec not in kinds and {*map(id, some)} <= self.seen.keys())

    def _is_new(self, row: int, value: Value) -> bool:
        first = self.seen.setdefault(id(value), row)
        if first == row:
            return True
        if type(value) is TensorSpec:  # repeated, but its attributes are described once
            return False
        if self.repeats > 0 and (type(value) is tuple or isinstance(value, Sequence)):
            self.repeats -= len(value)
            if is_scalar_tuple(value):
                return True
        self.outline.aliases[row] = first
        return False

    def _add(self, parent: int, step: Step, value: Value) -> None:
        outline = self.outline
        outline.values.append(value)
        outline.steps.append(step)
        outline.parents.append(parent)
        outline.ends.append(len(outline.values))


def build_outline(root: Value, context: Context = SILENT, size: int = 0) -> Outline:
    """Walk everything below `root` once.

    Args:
        size: bytes of the file, which answer for how much is listed.

    Raises:
        Cancelled: by `context`.
    """
    return _Builder(context, size).build(root)
