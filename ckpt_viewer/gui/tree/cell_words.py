"""What the cells of the tree say where they are not painted: in tool tips, read aloud and copied. No Qt.

Apart from `cells`, since a start-up needs none of it.
"""

from __future__ import annotations

from html import escape

from ckpt_viewer.core.expand import SCALARS, type_of
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import escape_text, grouped, parameters_text, shorten
from ckpt_viewer.core.value import Instance, NdArray
from ckpt_viewer.gui.tree.cells import (
    ARROW,
    COLUMNS,
    DEVICE,
    FIGURES,
    NAME,
    PARAMETERS,
    PICTURE,
    SIZE,
    TYPE,
    UNSOUND,
    Cells,
)
from ckpt_viewer.gui.tree.compared import SIGNS
from ckpt_viewer.gui.tree.figure_cells import TITLES, figure_tip, value_of
from ckpt_viewer.gui.tree.names import TEXT_LIMIT, role_word
from ckpt_viewer.gui.tree.values import amount_text, full_text, value_text


def tip(cells: Cells, row: int, column: int) -> str:
    """Return a tool tip: rich text with nothing of the file left unescaped."""
    text = "<br>".join(escape(shorten(line, TEXT_LIMIT)) for line in _tip_lines(cells, row, column) if line)
    return f'<p style="white-space:pre-wrap">{text}</p>' if text else ""


def _tip_lines(cells: Cells, row: int, column: int) -> list[str]:
    index, amounts, count = cells.index, cells.amounts(row), cells.parameter_count(row)
    inert = column in (NAME, TYPE) and index.is_entry(row) and isinstance(index.value(row), Instance)
    last = "Shown as it is in the file; the class is not loaded." if inert else ""
    if column == NAME:
        return [cells.pointer(row), _value(cells, row), index.reasons.get(row, ""), last]
    if column == TYPE and index.is_entry(row):
        return [escape_text(type_of(index.value(row))), last]
    if column == DEVICE and (lines := cells.device_lines(row)):
        arrows = any(ARROW in line for line in lines)
        return [*lines, "saved on → loads onto" if arrows else "saved there, loads there"]
    if column == PARAMETERS and count is not None:
        return [parameters_text(1) if count == 1 else f"{amount_text(count, grouped)} parameters"]
    if column == SIZE and amounts:
        return [f"{amount_text(amounts[1], grouped)} bytes"]
    if column in FIGURES:
        return figure_tip(cells.figures(row), COLUMNS[column])
    return [cells.shown(row, column)] if column != PICTURE else []


def _value(cells: Cells, row: int) -> str:
    value = cells.index.value(row) if cells.index.is_entry(row) else None
    return value_text(value, TEXT_LIMIT) if type(value) in SCALARS and cells.index.is_entry(row) else ""


def spoken(cells: Cells, row: int, column: int) -> str:
    """Return what a screen reader says."""
    if column == NAME:
        mark, note = role_word(cells.mark(row)).replace("_", " "), cells.note(row)
        mark = "" if mark == UNSOUND or mark in SIGNS else mark
        return ", ".join(filter(None, (cells.name(row), "" if note.startswith(mark) else mark, note)))
    if column == DEVICE:
        return ", ".join(
            f"saved on {line.replace(ARROW, 'loads onto')}" if ARROW in line else line
            for line in cells.device_lines(row)
        )
    return cells.shown(row, column) if column != PICTURE else ""


def copied_value(cells: Cells, row: int) -> str | None:
    """Return a scalar's full value for the clipboard: a string bare, all else as Python writes it; None without."""
    value = cells.index.value(row) if cells.index.is_entry(row) else None
    if not cells.index.is_entry(row) or type(value) not in SCALARS:
        return None
    return escape_text(value if isinstance(value, str) else full_text(value))


def copied_row(cells: Cells, row: int) -> str:
    """Return the row for the clipboard: all columns, tab separated, full precision, ASCII arrow, no grouping."""
    index, amounts, count = cells.index, cells.amounts(row), cells.parameter_count(row)
    value = index.value(row) if index.is_entry(row) else None
    shape = value.shape if isinstance(value, TensorSpec | NdArray) else None
    kind = escape_text(type_of(value)) if index.is_entry(row) else "module" if index.is_group(row) else "run"
    told = copied_value(cells, row)
    texts = [
        cells.pointer(row),
        kind,
        told or "" if shape is None else f"[{', '.join(amount_text(size, str) for size in shape)}]",
        cells.dtype(row),
        cells.device(row, "->"),
        "" if count is None else amount_text(count, str),
        amount_text(amounts[1], str) if amounts else "",
    ]
    figures = cells.figures(row)
    if figures is not None:
        values = (value_of(figures, title) for title in TITLES)
        texts += ["" if value is None else repr(value) for value in values]
    return "\t".join(texts)
