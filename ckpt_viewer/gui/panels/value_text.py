"""A value that is no tensor, written out for reading: bounded, escaped, nothing of it ever run. No Qt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import children
from ckpt_viewer.core.path import python_repr, step_text
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import escape_text, grouped, shape_text, shorten
from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, NdArray, Value, state_items

TEXT_LIMIT = 100_000
"""Characters of a text that are shown."""
LINE_LIMIT = 2_000
"""Characters of one line: Qt lays out a line of 100,000 in half a second, fifty lines in a few milliseconds."""
DUMP_LIMIT = 32 * 1024
"""Bytes that are shown in hexadecimal."""
MOST_ITEMS = 200
"""Arguments, attributes or array elements that are listed."""
MOST_BITS = 4096
"""Of an integer that is shown in decimal."""


class ValueText(NamedTuple):
    """A value for reading.

    Attributes:
        about: what it is, a line. text: the value. note: what was left out; ``""`` if nothing.
        warning: a sentence that has to be seen; ``""`` for most.
        code: whether columns matter, so that the font has to be of fixed width.
    """

    about: str
    text: str
    note: str = ""
    warning: str = ""
    code: bool = False


def describe(value: Value, checkpoint: Checkpoint, context: Context) -> ValueText:
    """Return any value but a container or tensor for reading.

    Raises:
        Cancelled: by `context`.
    """
    context.step(0, 0)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bytes):
        return _bytes(value, context)
    if isinstance(value, NdArray):
        return _ndarray(value)
    if isinstance(value, Global):
        about, warning = _status(value, checkpoint)
        return ValueText(about or "a name that the file refers to", value.qualified, warning=warning)
    if isinstance(value, Instance):
        return _instance(value, checkpoint, context)
    if isinstance(value, Literal):
        return ValueText("", value.text)
    if type(value) is int and value.bit_length() > MOST_BITS:
        return _cut(ValueText(f"int of {grouped(value.bit_length())} bits, in hexadecimal", hex(value)))
    return ValueText("", repr(value))


def _string(value: str) -> ValueText:
    lines = value.count("\n") + 1
    return _cut(ValueText(f"{grouped(lines)} lines" if lines > 1 else "", value))


def _cut(shown: ValueText) -> ValueText:
    """Make the text readable and say what was cut off."""
    whole, note = shown.text, ""
    if len(whole) > TEXT_LIMIT:
        note = f"The first {grouped(TEXT_LIMIT)} of {grouped(len(whole))} characters; `ckpt-viewer show` prints all."
    return shown._replace(text=readable(whole), note=note)


def readable(text: str) -> str:
    """Return text of many lines, escaped, wrapped where it is too long for a line and cut where it is for a panel."""
    text = "".join(part if part in ("\n", "\t") else escape_text(part) for part in _parts(text[:TEXT_LIMIT]))
    lines = [line[at : at + LINE_LIMIT] for line in text.split("\n") for at in range(0, max(len(line), 1), LINE_LIMIT)]
    return "\n".join(lines)


def _parts(text: str) -> list[str]:
    return re.split("([\n\t])", text)


def _bytes(value: bytes, context: Context) -> ValueText:
    lines: list[str] = []
    for at in range(0, min(len(value), DUMP_LIMIT), 16):
        row = value[at : at + 16]
        letters = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        lines.append(f"{at:08x}  {row.hex(' ', 1):<47}  {letters}")
        context.step(at, len(value))
    note = ""
    if len(value) > DUMP_LIMIT:
        note = f"The first {grouped(DUMP_LIMIT)} of {grouped(len(value))} bytes; `ckpt-viewer show` prints all."
    return ValueText("in hexadecimal", "\n".join(lines), note, code=True)


def _ndarray(value: NdArray) -> ValueText:
    order = ", column-major" if value.fortran else ""
    about = f"{value.type}, {shape_text(value.shape)}, dtype {value.dtype}{order}"
    if isinstance(value.data, list):
        items = [python_repr(item) for item in value.data[:MOST_ITEMS]]
        return ValueText(about, "\n".join(map(escape_text, items)), _first(len(items), len(value.data)))
    decoded = array_items(value)
    if decoded is None:
        return ValueText(about, "", f"Values of the dtype {value.dtype} are not decoded.")
    items, total = decoded
    return ValueText(about, "\n".join(items), _first(len(items), total), code=True)


def array_items(value: NdArray) -> tuple[list[str], int] | None:
    """Return the first values of an array in memory order and how many there are; None for dtypes that we leave alone.

    numpy is handed a dtype only if it is a plain number: no objects, no structures, nothing that the file made up.
    """
    import numpy as np

    data = value.data
    if not isinstance(data, bytes) or not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16))|bool", value.dtype):
        return None
    dtype = np.dtype(value.dtype)
    total = len(data) // dtype.itemsize
    array = np.frombuffer(data, dtype, min(total, MOST_ITEMS))
    return [str(item) for item in array], total


def _first(shown: int, total: int) -> str:
    return f"The first {grouped(shown)} of {grouped(total)} values." if shown < total else ""


def _instance(value: Instance, checkpoint: Checkpoint, context: Context) -> ValueText:
    lines = list(_sections(value, context))
    maker = value.callable
    while isinstance(maker, Instance):
        maker = maker.callable
    about, warning = _status(maker, checkpoint) if isinstance(maker, Global) else ("", "")
    return ValueText(about or "An object as the file describes it; it was not made.", "\n".join(lines), "", warning)


def _sections(value: Instance, context: Context) -> Iterator[str]:
    yield ("made by" if value.new else "made by calling") + f"  {escape_text(shorten(value.type, 400))}"
    keywords = value.keywords.pairs if isinstance(value.keywords, Mapping) else []
    arguments = [(f"argument {number}", each) for number, each in enumerate(value.arguments)]
    arguments += [(step_text(str(keywords[at])), keywords[at + 1]) for at in range(0, len(keywords), 2)]
    yield from _section("arguments", arguments, context)
    state = state_items(value.state)
    if value.state is not None and not state:
        yield from ("", f"state  {escape_text(python_repr(value.state))}")
    yield from _section("state", state.items(), context)
    known = len(value.arguments) + len(keywords) // 2 + len(state)
    rest = [(step_text(step), each) for step, each in islice(children(value), known, known + MOST_ITEMS)]
    yield from _section("contents", rest if value.items or value.pairs else [], context)


def _section(title: str, entries: Iterable[tuple[str, Value]], context: Context) -> Iterator[str]:
    listed = list(entries)
    if not listed:
        return
    yield ""
    yield f"{title} ({grouped(len(listed))})"
    for name, each in listed[:MOST_ITEMS]:
        context.step(0, 0)
        yield f"    {escape_text(shorten(name, 80))}:  {escape_text(python_repr(each))}"
    if len(listed) > MOST_ITEMS:
        yield f"    … {grouped(len(listed) - MOST_ITEMS)} more in the tree"


def _status(name: Global, checkpoint: Checkpoint) -> tuple[str, str]:
    """Return a reassurance about a name that is not known, and a warning of one that is dangerous."""
    full = f"{name.module}.{name.name}"
    status = next((use.status for use in checkpoint.contents.globals if use.name == full), "unknown")
    shown = escape_text(shorten(name.qualified, 200))
    if status == "dangerous":
        return "", (
            f"{shown} can run commands or reach other files. Nothing was run: here it is only a name. "
            "Do not load this file with torch.load(weights_only=False)."
        )
    known = status == "known"
    return "" if known else f"{shown} is not known to this program: it was not imported, this is its description.", ""
