"""From a row of the tree to its JSON Pointer and back. No Qt.

A module of a state_dict has the state_dict's pointer, its prefix and a dot (`ModuleGroup.pointer`); a run has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ckpt_viewer.core.path import Step, escape_token, is_printed_as, unescape_token
from ckpt_viewer.gui.tree.table import GROUP, RUN

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.index import TreeIndex

PRINTED_BITS = 4096
"""Bits of an int key that a pointer spells out; Python may refuse to print a longer one."""


def pointer_of(index: TreeIndex, row: int) -> str:
    """Return the JSON Pointer that `find` leads to a row by: that of its node, of a module, or for a run of blocks
    that of what holds it.
    """
    while index.kinds[row] == RUN:
        row = index.parents[row]
    tokens = [escape_token(index.prefix(row)) + "."] if index.kinds[row] == GROUP else []
    source = index.sources[row]
    while source > 0:
        tokens.append(_token(index, source))
        source = index.outline.parents[source]
    return "".join("/" + token for token in reversed(tokens))


def _token(index: TreeIndex, row: int) -> str:
    step, parent = index.outline.steps[row], index.outline.parents[row]
    if isinstance(step, str):
        return escape_token(step)
    if type(step) is int and step.bit_length() <= PRINTED_BITS:
        in_list = isinstance(index.outline.values[parent], list | tuple)
        if in_list or _step(index, parent, str(step)) is None:
            return str(step)
    return f"~2{index.position(row)}"


def row_of(index: TreeIndex, pointer: str) -> int | None:
    """Return the row of a JSON Pointer, or of a `ModuleGroup.pointer`; None if it leads nowhere."""
    if pointer and not pointer.startswith("/"):
        return None
    row = 0
    tokens = pointer.split("/")[1:]
    for number, token in enumerate(tokens):
        row = index.outline.aliases.get(row, row)
        child = _child(index, row, token)
        if child is None:
            last = number == len(tokens) - 1 and token.endswith(".")
            return _group(index, row, unescape_token(token)) if last else None
        row = child
    return index.rows[row]


def _child(index: TreeIndex, row: int, token: str) -> int | None:
    if token.startswith("~2") and token[2:].isascii() and token[2:].isdigit():
        position = int(token[2:]) if len(token) < 20 else len(index)
        return next((child for number, child in enumerate(index.outline.children(row)) if number == position), None)
    text = unescape_token(token)
    in_list = isinstance(index.outline.values[row], list | tuple)
    child = None if in_list else _step(index, row, text)
    if (
        child is None
        and text.isascii()
        and text.removeprefix("-").isdigit()
        and len(text) < PRINTED_BITS // 3
        and str(int(text)) == text
    ):
        child = _step(index, row, int(text))
    if child is None and "\\" in text:
        below = index.outline.children(row)
        child = next((each for each in below if is_printed_as(index.outline.steps[each], text)), None)
    return child


def _step(index: TreeIndex, row: int, step: Step) -> int | None:
    """Return the first child with a step. `list.index` passes 100,000 rows in a millisecond or two."""
    steps, parents, end = index.outline.steps, index.outline.parents, index.outline.ends[row]
    at = row
    while True:
        try:
            at = steps.index(step, at + 1, end)
        except ValueError:
            return None
        if parents[at] == row and type(steps[at]) is type(step):
            return at


def _group(index: TreeIndex, row: int, dotted: str) -> int | None:
    """Return the module that a prefix with a dot behind it leads to, in the state_dict at an outline row."""
    at = index.rows[row]
    while dotted:
        for child in _members(index, at):
            if index.kinds[child] == GROUP and dotted.startswith(f"{index.names[child]}."):
                at, dotted = child, dotted[len(str(index.names[child])) + 1 :]
                break
        else:
            return None
    return at


def _members(index: TreeIndex, row: int) -> Iterator[int]:
    for child in index.children(row):
        if index.kinds[child] == RUN:
            yield from index.children(child)
        else:
            yield child
