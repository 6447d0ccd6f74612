"""What each cell of the tree shows. No Qt. Tool tips, what is read aloud and copied: see `cell_words`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.expand import SCALARS, length_of, type_of
from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import (
    DIMENSIONS,
    bytes_text,
    count_text,
    escape_text,
    grouped,
    parameters_text,
    shape_text,
    shorten,
)
from ckpt_viewer.core.value import Global, Instance, NdArray
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.gui.tree.compared import SIGNS
from ckpt_viewer.gui.tree.figure_cells import HISTOGRAM, TITLES, figure_text, unsound_words
from ckpt_viewer.gui.tree.index import TreeIndex
from ckpt_viewer.gui.tree.names import display_name, raw_name, role_word
from ckpt_viewer.gui.tree.values import amount_text, is_short, value_text

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.stats.figures import Figures

COLUMNS = ("Name", "Type", "Shape", "Dtype", "Device", "Parameters", "Size", *TITLES, HISTOGRAM)
NAME, TYPE, SHAPE, DTYPE, DEVICE, PARAMETERS, SIZE = range(7)
FIGURES = range(7, 7 + len(TITLES))
"""Columns whose numbers a scan finds."""
PICTURE = FIGURES.stop
"""The column of small histograms: a character for the height of each bar."""

ARROW = "\N{RIGHTWARDS ARROW}"
NOTE_LIMIT = 120
"""Characters of a value that a row shows."""
NAMED_DEVICES = 2
"""Devices that one cell names; more are counted, and named in the tool tip."""
KEPT = 2000
"""Rows whose painted texts are kept."""

UNSOUND = "unsound"
"""The mark of a tensor with NaN or Inf, and of what it lies in."""
_BARE = ("torch.", "collections.")
"""Classes from these modules are shown by their name alone; all others with their module."""


class Place(NamedTuple):
    """Where tensors are: device tags as saved (None: the file states none) and where map_location puts them."""

    saved: str | None
    mapped: str

    def text(self, arrow: str = ARROW) -> str:
        """Return ``cuda:1``, or ``cuda:1 → cpu`` where it is mapped elsewhere."""
        mapped = escape_text(shorten(self.mapped, 40))
        if self.saved is None or self.saved == self.mapped:
            return mapped
        return f"{escape_text(shorten(self.saved, 40))} {arrow} {mapped}"


class RowTexts(NamedTuple):
    """Everything that is painted in a row: see `Cells.shown`, `Cells.note`, `Cells.mark`, `TreeIndex.same_as`."""

    cells: tuple[str, ...]
    note: str
    mark: str
    is_link: bool


class Cells:
    """The texts of an index's rows under one map_location.

    Attributes:
        index: the rows. title: the root's name.
        dangerous: names of classes and functions that would do harm if they were called; nothing is called here.
    """

    def __init__(self, index: TreeIndex, locator: Locator, title: str, dangerous: frozenset[str] = frozenset()) -> None:
        self.index, self.title, self.dangerous = index, title, dangerous
        self._locator = locator
        self._table: FigureTable | None = None
        self._painted: dict[int, RowTexts] = {}

    @property
    def locator(self) -> Locator:
        """Answers where tensors go; another one maps everything anew."""
        return self._locator

    @locator.setter
    def locator(self, locator: Locator) -> None:
        self._locator = locator
        self._painted.clear()

    @property
    def table(self) -> FigureTable | None:
        """What a scan has found so far."""
        return self._table

    @table.setter
    def table(self, table: FigureTable | None) -> None:
        self._table = table
        self._painted.clear()

    def forget(self) -> None:
        """The index was marked anew: no text is kept."""
        self._painted.clear()

    def figures(self, row: int) -> Figures | None:
        """Return the figures of a tensor, or of all in a row; None where they are not known."""
        return self._table.figures(row) if self._table is not None else None

    def figure(self, row: int, column: int) -> str:
        """Return the text of one of the columns `FIGURES` or `PICTURE`."""
        if self._table is None:
            return ""
        return self._table.spark(row) if column == PICTURE else figure_text(self.figures(row), COLUMNS[column])

    def painted(self, row: int, *, figures: bool = True) -> RowTexts:
        """Return what is painted in a row; kept until there is another map_location.

        Args:
            figures: whether the columns `FIGURES` and `PICTURE` are wanted: to write them takes as long as the rest.
        """
        texts, wide = self._painted.get(row), figures and self._table is not None
        if texts is None or (wide and len(texts.cells) == len(_SHOWN)):
            if len(self._painted) >= KEPT:
                self._painted.clear()
            cells = tuple(shown(self, row) for shown in _SHOWN)
            if wide and self._table is not None:
                found = self.figures(row)
                cells += (*(figure_text(found, title) for title in TITLES), self._table.spark(row))
            link = self.index.same_as(row) is not None
            texts = self._painted[row] = RowTexts(cells, self.note(row), self.mark(row), link)
        return texts

    def shown(self, row: int, column: int) -> str:
        """Return the text of a cell, numbers with three digits."""
        return _SHOWN[column](self, row) if column < len(_SHOWN) else self.figure(row, column)

    def name(self, row: int) -> str:
        """Return the name; see `names.display_name`."""
        index = self.index
        if row == 0:
            return escape_text(shorten(self.title, 200))
        if index.is_entry(row):
            step = index.names[row]
            in_module = index.kinds[index.parents[row]] and type(step) is str and step
            return escape_text(shorten(step, 160)) if in_module else display_name(step)  # type: ignore[arg-type]
        return escape_text(shorten(str(index.names[row]), 160)) or '""'

    def note(self, row: int) -> str:
        """Return what stands behind the name: a scalar's value, ``same as /model``, how many blocks a run has."""
        return ", ".join(filter(None, (self._compared(row), self._note(row), unsound_words(self.figures(row)))))

    def _compared(self, row: int) -> str:
        """Return what a comparison with another file says of a row."""
        compared = self.index.compared
        kind = compared.rows.get(row, "")
        if not kind:
            return compared.notes.get(row, "")
        return kind if self.mark(row) == kind else f"{SIGNS[kind]} {kind}"  # the sign stands before the name already

    def _note(self, row: int) -> str:
        index = self.index
        if index.is_run(row):
            return f"{index.count(row)} equal blocks, {parameters_text(index.totals.elements(row))}"
        target = index.same_as(row)
        if target is not None:
            return "same as " + (shorten(self.pointer(target), NOTE_LIMIT) or "the root")
        if not index.is_entry(row):
            return index.notes.get(row, "")
        value = index.value(row)
        if type(value) in SCALARS or is_short(value):
            return ", ".join(filter(None, (self._mark_word(row), value_text(value, NOTE_LIMIT))))
        given = escape_text(shorten(index.notes.get(row, ""), NOTE_LIMIT))
        return ", ".join(filter(None, (self._mark_word(row), given)))

    def mark(self, row: int) -> str:
        """Return what was recognised at a row: ``model`` ...; ``dangerous`` for what must never be called."""
        index = self.index
        if self.dangerous and index.is_entry(row):
            value = index.value(row)
            if isinstance(value, Instance | Global) and type_of(value) in self.dangerous:
                return "dangerous"
        figures = self.figures(row)
        found = index.marks.get(row, "") or ("" if figures is None or figures.is_sound else UNSOUND)
        return found or index.compared.rows.get(row, "")

    def _mark_word(self, row: int) -> str:
        """Return the word for a row's mark, unless its name says so already."""
        mark = self.mark(row)
        if mark == "dangerous":
            is_call = isinstance(self.index.value(row), Instance)  # a name by itself is its own value
            return f"dangerous, not called{f': {self.type(row)}' if is_call else ''}"  # a narrow tree has no Type
        if mark == UNSOUND or mark in SIGNS:
            return ""
        named = row > 0 and mark in raw_name(self.index.names[row])
        return "" if named or mark == "progress" else role_word(mark)

    def type(self, row: int) -> str:
        """Return the class, short where it is torch's own; ``module`` for a module, ``dict`` ..."""
        if self.index.is_run(row):
            return ""
        if self.index.is_group(row):
            return "module"
        full = type_of(self.index.value(row))
        short = full.rpartition(".")[2] if full.startswith(_BARE) else full
        return escape_text(shorten(short, 60))

    def shape(self, row: int) -> str:
        """Return ``64 × 3 × 7 × 7``; for containers how many tensors or entries are in them."""
        index = self.index
        if index.same_as(row) is not None:
            return ""
        value = index.value(row) if index.is_entry(row) else None
        if isinstance(value, TensorSpec | NdArray):
            absurd = any(size.bit_length() > 64 for size in (value.shape or ())[:DIMENSIONS])
            return "absurd" if absurd else shape_text(value.shape)
        tensors = index.totals.tensors(row)
        if tensors:
            return "1 tensor" if tensors == 1 else f"{grouped(tensors)} tensors"
        length = length_of(value) if value is not None else None
        if length is None or isinstance(value, Instance):
            return ""
        return "1 entry" if length == 1 else f"{grouped(length)} entries"

    def dtype(self, row: int) -> str:
        """Return a tensor's dtype, an array's as numpy writes it."""
        value = self.index.value(row) if self.index.is_entry(row) else None
        if isinstance(value, TensorSpec):
            return value.dtype or "?"
        return escape_text(value.dtype[:40]) if isinstance(value, NdArray) else ""

    def places(self, row: int) -> list[Place]:
        """Return where the tensors at or below a row are and go; no pair twice."""
        index = self.index
        value = index.value(row) if index.is_entry(row) else None
        tensors = [value] if isinstance(value, TensorSpec) else index.totals.saved(row)
        return list(dict.fromkeys(Place(tensor.location, self._mapped(tensor)) for tensor in tensors))

    def _mapped(self, tensor: TensorSpec) -> str:
        try:
            return self.locator.tensor(tensor)
        except BadMapLocation:
            return "?"

    def device(self, row: int, arrow: str = ARROW) -> str:
        """Return ``cuda:1 → cpu``; for containers all that are below, those with one target together."""
        places = self.places(row)
        if len(places) <= 1:
            return places[0].text(arrow) if places else ""
        saved = list(dict.fromkeys(Place(place.saved, place.saved or "cpu").text() for place in places))
        targets = list(dict.fromkeys(Place(None, place.mapped).text() for place in places))
        if saved == targets:
            return _listed(saved)
        return f"{saved[0] if len(saved) == 1 else _counted(saved)} {arrow} {_listed(targets)}"

    def device_lines(self, row: int) -> list[str]:
        """Return each way from a saved to a mapped device, the first twenty."""
        return list(dict.fromkeys(place.text() for place in self.places(row)))[:20]

    def amounts(self, row: int) -> tuple[int, int] | None:
        """Return elements and bytes; None for rows without tensors."""
        index = self.index
        value = index.value(row) if index.is_entry(row) else None
        if isinstance(value, TensorSpec):
            return value.numel, value.nbytes
        return (index.totals.elements(row), index.totals.nbytes(row)) if index.totals.tensors(row) else None

    def parameters(self, row: int) -> str:
        """Return how many elements the distinct tensors of models have, with K, M, B."""
        count = self.parameter_count(row)
        return "" if count is None else amount_text(count, count_text)

    def parameter_count(self, row: int) -> int | None:
        """Return that number; None for rows without tensors."""
        return self.index.parameters(row) if self.amounts(row) else None

    def size(self, row: int) -> str:
        """Return how many bytes those take."""
        amounts = self.amounts(row)
        return "" if amounts is None else amount_text(amounts[1], bytes_text)

    def pointer(self, row: int) -> str:
        """Return the pointer of a row, escaped for people and the clipboard."""
        return escape_text(self.index.pointer(row))


_SHOWN = (Cells.name, Cells.type, Cells.shape, Cells.dtype, Cells.device, Cells.parameters, Cells.size)


def _listed(texts: list[str]) -> str:
    return ", ".join(texts) if len(texts) <= NAMED_DEVICES else _counted(texts)


def _counted(texts: list[str]) -> str:
    return f"{len(texts)} devices"
