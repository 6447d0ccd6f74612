"""A table of the values of a tensor: any two of its dimensions, the others at an index of one's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.slicing import Slicing, first_slicing
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped, shape_text
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, menu_text
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.dimensions import Dimensions
from ckpt_viewer.gui.panels.facts import count_words
from ckpt_viewer.gui.panels.tiles import make_grid
from ckpt_viewer.gui.panels.values_model import MOST_COLUMNS_SHOWN
from ckpt_viewer.gui.panels.values_table import ValuesTable
from ckpt_viewer.gui.panels.values_tools import ValuesTools

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

JUMP_FROM = 200
"""Rows from which on there is a box to jump to one."""


class ValuesPanel(Panel):
    """Choice of the slice, and its values."""

    title = "Values"
    shows_places = True

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._whole: TensorSpec | None = None
        self._tensor: TensorSpec | None = None
        self._slicings: dict[int, Slicing] = {}
        self._place: tuple[int, ...] | None = None  # waits until the tensor is open
        self._opening = Latest(session.jobs, self)
        self._opening.finished.connect(self._on_opened)
        self._opening.failed.connect(self.show_error)
        self._build()
        self.table.tiles.failed.connect(self.show_error)
        self.table.tiles.idle.connect(self._on_idle)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """The second thing to see of a tensor."""
        return BEST - 20 if isinstance(subject, Node) and isinstance(subject.value, TensorSpec) else UNSUPPORTED

    def _build(self) -> None:
        self.table = ValuesTable(self.session)
        self.parts = QComboBox()
        self.parts.setObjectName("valuesPart")
        self.parts.setAccessibleName("Part of the tensor")
        self.parts.activated.connect(self._on_part)
        self.dimensions = Dimensions()
        self.dimensions.chosen.connect(self._show_slicing)
        self.jump = QLineEdit()
        self.jump.setObjectName("valuesJump")
        self.jump.setAccessibleName("Go to row")
        self.jump.setPlaceholderText("go to row")
        self.jump.setMaximumWidth(110)
        self.jump.returnPressed.connect(self._on_jump)
        self.status = label(muted=True, selectable=True, name="Slice")
        self.status.setObjectName("valuesStatus")
        self.status.setWordWrap(True)  # the slice of forty dimensions is long
        self.table.said.connect(self.status.setText)
        self.tools = ValuesTools(self.session, self.table)
        self.tools.said.connect(self.status.setText)
        self.tools.found.connect(self.show_place)
        below = QHBoxLayout()
        below.addWidget(self.status, 1)
        below.addWidget(self.jump)
        below.addWidget(self.tools)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addWidget(self.parts, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.dimensions)
        layout.addWidget(self.table, 1)
        layout.addLayout(below)

    def show_subject(self, subject: Node) -> None:
        """Show the values of another tensor; of a composite one those of its last part (the values)."""
        self._whole = subject.tensor
        parts = subject.tensor.extra.parts if subject.tensor.extra is not None else {}
        self.parts.clear()
        self.parts.addItems([menu_text(f"{name}  {shape_text(part.shape)}") for name, part in parts.items()])
        self.parts.setVisible(bool(parts))
        names = list(parts)
        if names:
            self.parts.setCurrentIndex(names.index("values") if "values" in names else len(names) - 1)
        self._open(parts[names[self.parts.currentIndex()]] if names else subject.tensor)

    def clear(self) -> None:
        """Stop reading and forget the values."""
        self._opening.cancel()
        self.table.show_grid(None)
        self.tools.show_slice(None, None)
        self._place = None
        self._whole = self._tensor = None

    def _on_part(self, chosen: int) -> None:
        if self._whole is not None and self._whole.extra is not None:
            self._open(list(self._whole.extra.parts.values())[chosen])

    def _open(self, tensor: TensorSpec) -> None:
        self._tensor = tensor
        self._place = None
        self.table.show_grid(None)
        self.tools.show_slice(None, None)
        self.begin()
        self._opening.start(lambda _context: value_shape(tensor))

    def _on_opened(self, shape: tuple[int, ...]) -> None:
        if 0 in shape:
            self.show_sentence(f"This tensor is empty: its shape {shape_text(shape)} has no values.")
            return
        kept = self._slicings.get(id(self._tensor))
        place, self._place = self._place, None
        self._show_slicing(kept if kept is not None and kept.shape == shape else first_slicing(shape))
        if place is not None:
            self.show_place(place)

    def show_place(self, index: tuple[int, ...]) -> None:
        """Make the cell at an index of the tensor current, in another slice if need be."""
        grid = self.table.tiles.grid
        if grid is None or self._opening.job is not None:
            self._place = index
            return
        slicing = grid.slicing.reaching(index)
        if slicing.columns is not None and index[slicing.columns] >= MOST_COLUMNS_SHOWN:
            slicing = slicing.with_rows(slicing.columns)
        if slicing != grid.slicing._replace(fixed=slicing.fixed) or slicing.text != grid.slicing.text:
            self._show_slicing(slicing)
        row = 0 if slicing.rows is None else index[slicing.rows]
        self.table.go_to(row, 0 if slicing.columns is None else index[slicing.columns])
        self.table.setFocus()

    def _show_slicing(self, slicing: Slicing) -> None:
        assert self._tensor is not None
        self._slicings = {id(self._tensor): slicing}
        self.dimensions.show_slicing(slicing)
        self.begin("")
        self.table.show_grid(make_grid(self._tensor, slicing))
        self.tools.show_slice(self._tensor, slicing)
        rows, columns = slicing.row_count, slicing.column_count
        self.jump.setVisible(rows >= JUMP_FROM)
        size = f"{count_words(rows, 'row')}, {count_words(columns, 'column')}"
        self.status.setText(f"{slicing.text}   {size}" if slicing.shape else "scalar")
        self.show_body()
        self.table.values.value(0, 0)  # begins to read even before anything is painted

    def _on_idle(self) -> None:
        self.settle()

    def _on_jump(self) -> None:
        grid = self.table.tiles.grid
        text = self.jump.text().replace(" ", "").replace(",", "")
        if grid is None:
            return
        rows = grid.slicing.row_count
        if text.isascii() and text.isdigit() and len(text) < 20 and int(text) < rows:
            self.table.go_to(int(text))
            self.table.setFocus()
        else:
            self.status.setText(f"There is no row {menu_text(text, 30)}; choose from 0 to {grouped(rows - 1)}.")


def value_shape(tensor: TensorSpec) -> tuple[int, ...]:
    """Return the shape of the array that a tensor's values make (packed types have more values than elements).

    Raises:
        CheckpointError: there are no dense values, or they are not where the file says.
    """
    from ckpt_viewer.core.stored import open_values

    return open_values(tensor).shape
