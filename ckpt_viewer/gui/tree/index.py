"""What the window's tree shows, as one flat table in pre-order: which rows there are and how to find them. No Qt."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.expand import length_of
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path, escape_token
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.value import Value
from ckpt_viewer.gui.tree import places
from ckpt_viewer.gui.tree.compared import Compared
from ckpt_viewer.gui.tree.matches import Matches
from ckpt_viewer.gui.tree.rollup import Totals
from ckpt_viewer.gui.tree.table import GROUP, PLAIN, RUN, Table
from ckpt_viewer.gui.tree.texts import PathText, search_word, write_text

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.query import Query

QUICK = 5000
"""Rows whose text is written when it is first asked for: it takes a few milliseconds."""
MODELS = ("model", "ema")
"""Marks of what has parameters."""


class ModuleGroup(NamedTuple):
    """A module of a state_dict: all entries whose keys begin with `prefix` and a dot. What the tree emits for it.

    Attributes:
        node: the state_dict. prefix: e.g. ``"layer1.0"``.
        tensors: entries in it. elements, nbytes: of its distinct tensors.
    """

    node: Node
    prefix: str
    tensors: int
    elements: int
    nbytes: int

    @property
    def pointer(self) -> str:
        """The state_dict's pointer, the prefix and a dot: no node has it, but the tree and its filter find it."""
        return f"{self.node.pointer}/{escape_token(self.prefix)}."


class TreeIndex:
    """The rows of the tree: entries of the outline, modules of state_dicts, runs of equal blocks.

    Row 0 is the root; the rows below row r are r + 1 ... ends[r] - 1. Frozen once built, so that a worker thread may
    build it and the GUI thread read it.

    Attributes:
        outline: what it was built from. grouped: whether state_dicts are shown as modules.
        names, sources, kinds, parents: see `table.Table`.
        rows: outline row -> row. ends: one past the subtree. totals: see `rollup.Totals`. paths: see `texts`.
        large: rows with more than PAGE rows directly below -> how many.
        compared: which rows differ from those of another file.
        marks: row -> what was recognised there. notes: row -> a few words about it. reasons: row -> how it was told.
    """

    __slots__ = (
        "_models", "_paths", "compared", "ends", "grouped", "kinds", "large", "marks", "names", "notes", "outline",
        "parents", "reasons", "rows", "sources", "totals",
    )  # fmt: skip

    def __init__(
        self,
        outline: Outline,
        table: Table,
        rows: array[int],
        ends: array[int],
        totals: Totals,
        grouped: bool,
    ) -> None:
        self.outline, self.rows, self.ends, self.totals = outline, rows, ends, totals
        self.names, self.sources, self.kinds, self.parents = table.names, table.sources, table.kinds, table.parents
        self._paths: PathText | None = None
        self.grouped = grouped
        self.large: dict[int, int] = {}
        self.marks: dict[int, str] = {}
        self.notes: dict[int, str] = {}
        self.reasons: dict[int, str] = {}
        self.compared = Compared()
        self._models: list[int] = []

    @property
    def paths(self) -> PathText:
        """The text of all names and paths; see `texts`."""
        if self._paths is None:
            self._paths = self.write_text(SILENT)
        return self._paths

    @property
    def has_text(self) -> bool:
        """Whether `paths` is there, or there at once: else a job should `write_text` before anything is searched."""
        return self._paths is not None or len(self) <= QUICK

    def write_text(self, context: Context) -> PathText:
        """Return what `paths` is to be; raises Cancelled by `context`."""
        return write_text(self.names, self.kinds, self.ends, self.totals.tensor_rows, context)

    def keep_text(self, paths: PathText) -> None:
        """Take what `write_text` returned."""
        self._paths = paths

    def mark(self, marks: dict[int, str]) -> None:
        """Learn what was recognised: row -> model, optimizer ..."""
        self.marks, self._models = marks, []
        for row in sorted(row for row, mark in marks.items() if mark in MODELS):
            if not self._models or row >= self.ends[self._models[-1]]:
                self._models.append(row)

    def parameters(self, row: int) -> int | None:
        """Return the elements of the distinct tensors at and below a row that belong to a model.

        Of a row around several models those of the averaged copies are left out. None where models were recognised and
        the row has no part in them; without any model every tensor counts.
        """
        models, elements, end = self._models, self.totals.elements, self.ends[row]
        at = bisect_right(models, row) - 1
        if not models or (at >= 0 and row < self.ends[models[at]]):
            return elements(row)
        below = models[at + 1 : bisect_left(models, end)]
        raw = [elements(model) for model in below if self.marks[model] == "model"]
        return sum(raw) if raw else None

    def __len__(self) -> int:
        return len(self.names)

    def value(self, row: int) -> Value:
        """Return the value at a row; for a module or a run that of the dict or list which holds it."""
        return self.outline.values[self.sources[row]]

    def is_entry(self, row: int) -> bool:
        """Whether a row is an entry of the checkpoint and not a module or a run of blocks."""
        return self.kinds[row] == PLAIN

    def is_group(self, row: int) -> bool:
        """Whether a row is a module of a state_dict."""
        return self.kinds[row] == GROUP

    def is_run(self, row: int) -> bool:
        """Whether a row is a run of equal blocks."""
        return self.kinds[row] == RUN

    def children(self, row: int) -> Iterator[int]:
        """Yield the rows directly below `row`."""
        child, end = row + 1, self.ends[row]
        while child < end:
            yield child
            child = self.ends[child]

    def count(self, row: int) -> int:
        """Return how many rows are directly below `row`."""
        return self.large.get(row) or sum(1 for _ in self.children(row))

    def above(self, row: int) -> list[int]:
        """Return the rows from the root to the parent of `row`."""
        found: list[int] = []
        while (row := self.parents[row]) >= 0:
            found.append(row)
        return found[::-1]

    def sibling_before(self, row: int) -> int:
        """Return the row that stands before `row` below the same parent, -1 for the first."""
        parent = self.parents[row]
        before = row - 1
        if before == parent:
            return -1
        while self.parents[before] != parent:
            before = self.parents[before]
        return before

    def same_as(self, row: int) -> int | None:
        """Return the row that describes the container which `row` is a second way to; None for all other rows."""
        target = self.outline.aliases.get(self.sources[row]) if self.kinds[row] == PLAIN else None
        return None if target is None else self.rows[target]

    def prefix(self, row: int) -> str:
        """Return the prefix that the keys in a module begin with, without the last dot; ``""`` outside modules."""
        names: list[str] = []
        while self.kinds[row] != PLAIN:
            if self.kinds[row] == GROUP:
                names.append(str(self.names[row]))
            row = self.parents[row]
        return ".".join(reversed(names))

    def matches(self, query: str | Query, figures: FigureTable | None = None) -> Matches:
        """Return the rows that a filter finds, lazily: a text of names only, or what `parse_query` made of one.

        Args:
            figures: what a scan has found, for words about values.
        """
        if isinstance(query, str):
            return Matches(self.paths, self.parents, query)
        if query.is_plain:
            return Matches(self.paths, self.parents, [search_word(word) for word in query.words])
        from ckpt_viewer.gui.tree.conditions import TensorMatches

        return TensorMatches(self, query, figures)

    def has_name(self, word: str) -> bool:
        """Whether a lower-case word is a part of any path."""
        looked_for, paths = search_word(word), self.paths
        return paths.may_match([looked_for]) and paths.text.find(looked_for) >= 0

    def match(self, query: str) -> list[int]:
        """Return the rows whose path contains every word of `query`, ascending; none for a blank one."""
        return list(self.matches(query).rows()) if query.split() else []

    def named(self, beginning: bytes, row: int) -> int:
        """Return the first row from `row` on whose lower-case name begins with `beginning`, -1 if there is none."""
        from bisect import bisect_right

        if row >= len(self):
            return -1
        hit = self.paths.text.find(b"\n" + beginning, self.paths.starts[row])
        return bisect_right(self.paths.starts, hit) - 1 if hit >= 0 else -1

    def subject(self, row: int, checkpoint: Checkpoint) -> Node | ModuleGroup:
        """Return what a row stands for; a run of blocks for the module, dict or list that holds them."""
        while self.kinds[row] == RUN:
            row = self.parents[row]
        node = self.node(self.sources[row], checkpoint)
        if self.kinds[row] == PLAIN:
            return node
        totals = self.totals
        return ModuleGroup(node, self.prefix(row), totals.tensors(row), totals.elements(row), totals.nbytes(row))

    def node(self, row: int, checkpoint: Checkpoint) -> Node:
        """Return the node of a row of the outline."""
        outline = self.outline
        above = [row]
        while (row := outline.parents[row]) >= 0:
            above.append(row)
        node = checkpoint.root
        for each in reversed(above[:-1]):
            node = Node(checkpoint, outline.values[each], node, outline.steps[each], self.position(each))
        return node

    def position(self, row: int) -> int:
        """Return the position of an outline row among its siblings."""
        outline = self.outline
        parent = outline.parents[row]
        if outline.ends[parent] - parent - 1 == length_of(outline.values[parent]):  # nothing has children
            return row - parent - 1
        return next(number for number, child in enumerate(outline.children(parent)) if child == row)

    def pointer(self, row: int) -> str:
        """Return the JSON Pointer that `find` leads to a row by: that of its node, of a module, or for a run of blocks
        that of what holds it.
        """
        return places.pointer_of(self, row)

    def find(self, pointer: str) -> int | None:
        """Return the row of a JSON Pointer, or of a `ModuleGroup.pointer`; None if it leads nowhere."""
        return places.row_of(self, pointer)

    def find_path(self, path: Path) -> int | None:
        """Return the row of a path of typed steps; None if it leads nowhere."""
        row = self.outline.find(path)
        return None if row is None else self.rows[row]
