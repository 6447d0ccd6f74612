"""`ls` for people: the tree with its shapes, sizes and roles, every text from the file escaped."""

from __future__ import annotations

from collections.abc import Iterator

from ckpt_viewer.analysis.overview import Overview, overview
from ckpt_viewer.analysis.packed import Packed
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import kind_of, length_of, type_of
from ckpt_viewer.core.outline import Outline, Pointers
from ckpt_viewer.core.path import python_repr, step_text
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import bytes_text, escape_text, parameters_text, shape_text, shorten
from ckpt_viewer.core.value import Value

NAME_LIMIT, VALUE_LIMIT, POINTER_LIMIT = 100, 80, 400
LOST_TOLD = 5
"""Lost tensors that are told above the tree."""
RUN = 12
"""Members of a list of plain numbers that are printed one by one."""


def tree_lines(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield a heading and one line for each entry; long lists of scalars are cut short with a count."""
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
    words = [view.kind + "".join(f", {item.name} {item.value}" for item in view.progress[:2])]
    if view.parameters is not None:
        words.append(parameters_text(view.parameters))
    words += [f"{view.tensors} tensors", bytes_text(checkpoint.size), checkpoint.format]
    words += [str(tag) for tag, _ in view.locations if tag is not None][:4]
    return escape_text(" | ".join(words))


def _rows(checkpoint: Checkpoint, view: Overview) -> Iterator[str]:
    outline = checkpoint.outline
    marks, pointer, lost, words = view.role_rows, Pointers(outline).of, checkpoint.lost, _Words(checkpoint, view)
    depths = {0: 0}
    row, plain, above = 0, 0, -1
    while row < len(outline):
        parent, value = outline.parents[row], outline.values[row]
        plain = (plain if parent == above else 0) + 1 if _is_plain(outline, row) else 0
        above = parent
        if plain > RUN:
            last = row
            while last < outline.ends[parent] and outline.parents[last] == parent and _is_plain(outline, last):
                last += 1
            yield f"{'  ' * depths[parent]}  … {last - row} more"
            row, plain = last, 0
            continue
        depths[row] = depths[parent] + 1 if row else 0
        name = shorten(escape_text(step_text(outline.steps[row])), NAME_LIMIT) if row else "(root)"
        mark = f"  [{marks[row].name}]" if row in marks else "  [LOST]" if row in lost else ""
        if outline.steps[row] == "_metadata" and outline.parents[row] in marks:
            yield f"{'  ' * depths[row]}{name}  versions of {length_of(value) or 0} modules"
            row = outline.ends[row]
            continue
        first = outline.aliases.get(row)
        same = f"  same as {shorten(pointer(first), POINTER_LIMIT) or '(root)'}" if first is not None else ""
        yield f"{'  ' * depths[row]}{name}  {words.of(value)}{escape_text(same)}{mark}"
        row += 1


class _Words:
    """What stands behind names, for a terminal; that of many tensors which are alike is put together once."""

    def __init__(self, checkpoint: Checkpoint, view: Overview) -> None:
        self.checkpoint, self.packed = checkpoint, view.packed
        self._alike: dict[tuple[object, ...], str] = {}

    def of(self, value: Value) -> str:
        """Return the words for one entry."""
        if type(value) is not TensorSpec:
            return escape_text(describe(self.checkpoint, value))
        storage, more = value.storage, packed_words(self.packed.of(value))
        if storage is None or value.extra is not None or more:
            return escape_text(describe(self.checkpoint, value) + more)
        key = (value.shape, value.dtype, storage.location, self.checkpoint.locator.storage(storage))
        words = self._alike.get(key)
        if words is None:
            words = self._alike[key] = escape_text(describe(self.checkpoint, value))
        return words


def packed_words(packed: Packed | None) -> str:
    """Return what a packed weight stands for, to be put behind what it is."""
    if packed is None:
        return ""
    bits = f", {packed.bits} bits" if packed.bits is not None else ""
    shape = f", for {shape_text(packed.shape, 'x')} {packed.dtype}".rstrip() if packed.shape is not None else ""
    return f"  packed by {packed.scheme}{bits}{shape}"


def _is_plain(outline: Outline, row: int) -> bool:
    return type(outline.steps[row]) is int and type(outline.values[row]) in (int, float, bool)


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
