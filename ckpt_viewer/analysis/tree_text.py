"""`ls` for people: the tree with its shapes, sizes and roles, every text from the file escaped."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter

from ckpt_viewer.analysis.overview import Overview, overview
from ckpt_viewer.analysis.packed import Packed
from ckpt_viewer.analysis.side_by_side import SideBySide
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import kind_of, length_of, type_of
from ckpt_viewer.core.outline import Outline, Pointers
from ckpt_viewer.core.path import Step, python_repr, step_text
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import bytes_text, counted, escape_text, parameters_text, shape_text, shorten
from ckpt_viewer.core.value import Value

NAME_LIMIT, VALUE_LIMIT, POINTER_LIMIT = 100, 80, 400
LOST_TOLD = 5
"""Lost tensors that are told above the tree."""
RUN = 12
"""Members of a list of plain numbers that are printed one by one."""
_SHORT, _KEPT = 32, 1000
"""Characters of a text whose words are kept for when it comes again, and how many of them."""
_PLAIN = frozenset({int, float, bool, type(None)})
_OTHER_KEY = r"(?:-?[0-9]+|True|False|None)"
"""What a key is printed as that is no string."""


def tree_lines(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield a heading and one line for each entry; long lists of scalars are cut short with a count.

    Lines of many tensors come together, with line breaks between.
    """
    view = overview(checkpoint)
    yield summary_line(checkpoint, view)
    told = 0
    for finding in view.findings:
        told += finding.code == "tensor-lost"
        if finding.code != "tensor-lost" or told <= LOST_TOLD:  # the rows say it too
            yield f"{finding.severity}: {escape_text(finding.message)}"
    dangerous = [use.name for use in checkpoint.contents.globals if use.status == "dangerous"]
    if dangerous:
        yield f"warning: names {escape_text(shorten(', '.join(dangerous), 200))}, which could run code; nothing was run"
    yield ""
    yield from _rows(checkpoint, view)


def summary_line(checkpoint: Checkpoint, view: Overview) -> str:
    """Return kind, progress, parameters, size, format and devices in one line."""
    progress = list(dict.fromkeys(f", {item.name} {item.value}" for item in view.progress))  # files of a folder agree
    words = [view.kind + "".join(progress[:2])]
    if view.parameters is not None:
        words.append(parameters_text(view.parameters))
    words += [counted(view.tensors, "tensor"), bytes_text(checkpoint.size), checkpoint.format]
    words += [str(tag) for tag, _ in view.locations if tag is not None][:4]
    return escape_text(" | ".join(words))


def _rows(checkpoint: Checkpoint, view: Overview) -> Iterator[str]:
    """Yield the line of each row; what siblings share is found once for all of them."""
    outline, words = checkpoint.outline, _Words(checkpoint, view)
    values, steps, parents, ends, describe_row = outline.values, outline.steps, outline.parents, outline.ends, words.of
    special = words.special
    containers, above, indent = [-1], -2, ""  # those that the row is in
    row, plain, count = 0, 0, len(outline)
    while row < count:
        value, step = values[row], steps[row]
        if parents[row] != above:
            above, plain = parents[row], 0
            while containers[-1] != above:
                containers.pop()
            indent = "  " * (len(containers) - 1)
        plain = plain + 1 if type(step) is int and type(value) in _PLAIN else 0
        if plain > RUN:
            last = _run_end(outline, row)
            yield f"{indent}… {last - row} more"
            row, plain = last, 0
            continue
        if type(value) is TensorSpec and (together := words.lines(row, indent)):
            yield "\n".join(together)
            row += len(together)
            continue
        name = str(step) if type(step) is int else name_text(step) if row else "(root)"
        if ends[row] > row + 1:
            if step == "_metadata" and above in view.role_rows:
                yield f"{indent}{name}  versions of {counted(length_of(value) or 0, 'module')}"
                row = ends[row]
                continue
            containers.append(row)
        yield f"{indent}{name}  {describe_row(value)}{words.behind(row) if row in special else ''}"
        row += 1


def name_text(step: Step) -> str:
    """Return a step for a terminal, escaped and shortened.

    A key whose ends would not be seen is quoted, and a string that reads as another kind of key: 0 is not "0".
    """
    text = shorten(escape_text(step_text(step)), NAME_LIMIT)
    if isinstance(step, str) and re.fullmatch(_OTHER_KEY, step):
        return f'"{text}"'
    return text if text and not text[0].isspace() and not text[-1].isspace() else f'"{text}"'


def _run_end(outline: Outline, row: int) -> int:
    """Return the row behind the last of a run of plain members of one container."""
    values, steps, parents, above = outline.values, outline.steps, outline.parents, outline.parents[row]
    end = outline.ends[above]
    while row < end and parents[row] == above and type(values[row]) in _PLAIN and type(steps[row]) is int:
        row += 1
    return row


def _are_plain(names: list[str]) -> bool:
    """Whether names are printed as they are."""
    if max(map(len, names)) > NAME_LIMIT:
        return False
    joined = "\n".join(names)
    if not joined.replace("\n", "").isprintable() or joined.count("\n") >= len(names):
        return False
    lines = f"\n{joined}\n"
    return not any(each in lines for each in ("\n\n", "\n ", " \n")) and re.search(rf"\n{_OTHER_KEY}\n", lines) is None


_FORM, _STORAGE_FORM = map(attrgetter, ("form", "storage.form"))


class _Words:
    """What stands behind names, for a terminal; that of many tensors which are alike is put together once."""

    def __init__(self, checkpoint: Checkpoint, view: Overview) -> None:
        self.checkpoint, self.packed, self.marks = checkpoint, view.packed, view.role_rows
        self._pointer = Pointers(checkpoint.outline).of
        self._same: tuple[int, str] = (-1, "")
        self._texts: dict[str, str] = {}
        self._before: tuple[Value, str] = (None, "None")
        self._alike: dict[tuple[object, ...], str] = {}
        self.special = {*view.role_rows, *checkpoint.outline.aliases, *checkpoint.lost}
        self._stops = sorted(self.special)
        self._alone = SideBySide(checkpoint.outline)
        self._together = not view.packed.found and not callable(checkpoint.locator.map_location)

    def lines(self, row: int, indent: str) -> list[str]:
        """Return the lines of plain tensors from `row` on that lie in one container; none where they are few."""
        outline, stop = self.checkpoint.outline, bisect_left(self._stops, row)
        end = self._alone.end(row, *self._stops[stop : stop + 1]) if self._together else 0
        if not end:
            return []
        names: list[str] = outline.steps[row:end]  # type: ignore[assignment]  # only such
        tensors: list[TensorSpec] = outline.values[row:end]  # type: ignore[assignment]
        if not _are_plain(names):
            return []
        words: list[str] = []
        for form in zip(map(_FORM, tensors), map(_STORAGE_FORM, tensors), strict=True):
            text = self._alike.get(form)
            if text is None:
                text = self._alike[form] = self.of(tensors[len(words)])
            words.append(text)
        return [f"{indent}{name}  {text}" for name, text in zip(names, words, strict=True)]

    def of(self, value: Value) -> str:
        """Return the words for one entry."""
        if type(value) is int and value.bit_length() <= 64:
            return str(value)
        if type(value) is str and len(value) < _SHORT:
            return self._text(value)
        before, words = self._before
        if value is not before:  # one container may stand in a million places
            words = self._tensor(value) if type(value) is TensorSpec else escape_text(describe(self.checkpoint, value))
            self._before = value, words
        return words

    def _text(self, value: str) -> str:
        words = self._texts.get(value)
        if words is None:
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            words = self._texts[value] = escape_text(describe(self.checkpoint, value))
        return words

    def _tensor(self, value: TensorSpec) -> str:
        storage, more = value.storage, packed_words(self.packed.of(value))
        if storage is None or value.extra is not None or more:
            return escape_text(describe(self.checkpoint, value) + more)
        key = (value.shape, value.dtype, storage.location, self.checkpoint.locator.storage(storage))
        words = self._alike.get(key)
        if words is None:
            words = self._alike[key] = escape_text(describe(self.checkpoint, value))
        return words

    def behind(self, row: int) -> str:
        """Return what is said of an entry beyond itself: where it was described, its role, that its values are lost."""
        first = self.checkpoint.outline.aliases.get(row)
        if first is not None and first != self._same[0]:
            pointer = escape_text(shorten(self._pointer(first), POINTER_LIMIT))
            self._same = first, f"  same as {pointer or '(root)'}"
        same = self._same[1] if first is not None else ""
        mark = f"  [{self.marks[row].name}]" if row in self.marks else "  [LOST]" if row in self.checkpoint.lost else ""
        return f"{same}{mark}"


def packed_words(packed: Packed | None) -> str:
    """Return what a packed weight stands for, to be put behind what it is."""
    if packed is None:
        return ""
    bits = f", {packed.bits} bits" if packed.bits is not None else ""
    shape = f", for {shape_text(packed.shape, 'x')} {packed.dtype}".rstrip() if packed.shape is not None else ""
    return f"  packed by {packed.scheme}{bits}{shape}"


def describe(checkpoint: Checkpoint, value: Value) -> str:
    """Return what stands behind a name: shape, dtype and device of a tensor, a scalar's value, a container's length."""
    if isinstance(value, TensorSpec):
        device, saved = checkpoint.locator.tensor(value), value.location
        place = device if saved in (None, device) else f"{saved} -> {device}"
        return f"{shape_text(value.shape, 'x')} {value.dtype} {place} {bytes_text(value.nbytes)}"
    length = length_of(value)
    if length is not None:
        return f"{type_of(value)} of {length}"
    if kind_of(value) in ("ndarray", "storage"):
        return type_of(value)
    return shorten(python_repr(value), VALUE_LIMIT)
