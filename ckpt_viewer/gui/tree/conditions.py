"""Which tensors of the tree satisfy the words of a filter: a byte for each, at the speed of `map`. No Qt, no numpy."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import compress, repeat
from operator import sub
from typing import TYPE_CHECKING

from ckpt_viewer.gui.tree.compared import mask_of_word
from ckpt_viewer.gui.tree.matches import Matches
from ckpt_viewer.gui.tree.query import COMPARED_KEY, OPERATORS, Condition, Query
from ckpt_viewer.gui.tree.texts import search_word

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.rollup import Kind, Totals

PATIENCE = 64
"""Tensors whose names do not fit, after which the next name that does is looked for instead."""
STRETCH = 1 << 14
"""Tensors whose names are looked at together for what they must not contain: 2 ms, and 0.1 s for a million."""
SPARSE = 16
"""In a stretch with fewer tensors than one of so many it is not worth looking at all names."""
KEPT = 16
"""Words whose tensors are known from one keystroke to the next: a million take 1 MB a word."""
YES = b"\x01"
_MARK = b"\x00"
_OTHERS = bytes(set(range(256)) - {*_MARK, *b"\n"})


class TensorMatches(Matches):
    """The tensors that satisfy every word, of words about a comparison all that differs; see `Matches`."""

    __slots__ = ("_asked", "_ends", "_mask", "_named", "_rows", "_without")

    def __init__(self, index: TreeIndex, query: Query, figures: FigureTable | None) -> None:
        super().__init__(index.paths, index.parents, [search_word(word) for word in query.words])
        self._without = [search_word(word) for word in query.without]
        self._rows, self._ends = index.totals.tensor_rows, index.ends
        self._asked = b""
        compared = any(condition.key == COMPARED_KEY and not condition.negated for condition in query.conditions)
        if index.paths.may_match(self.words) if compared else index.paths.may_leave(self.words, self._without):
            self._asked = mask_of(index, query.conditions, figures)
            if compared:
                self._rows, self._asked = _compared(index, query.conditions, self._asked)
        self._mask = bytearray(self._asked)  # and by and by without those whose names must not be so
        self._named: set[int] = set()

    def hit(self, row: int) -> bool:
        at = bisect_left(self._rows, row)
        if at >= len(self._mask) or self._rows[at] != row or not self._mask[at]:
            return False
        return self._is_named(row)

    def _leave_out(self, at: int) -> None:
        """Take what must not be there out of the mask: all that is below the same row as a tensor, or a stretch."""
        stretch = at // STRETCH
        if not self._without or stretch in self._named:
            return
        top = self._outermost_without(self._rows[at])
        stop = bisect_left(self._rows, self._ends[top]) if top >= 0 else at
        if stop - at >= STRETCH // 8:
            self._mask[at:stop] = bytes(stop - at)
            return
        self._named.add(stretch)
        self.context.step(at, len(self._mask))
        part = slice(stretch * STRETCH, min((stretch + 1) * STRETCH, len(self._mask)))
        if self._mask.count(YES, part.start, part.stop) < STRETCH // SPARSE:  # each is looked at by itself
            return
        rows = self._rows[part]
        text = self._text[self._starts[rows[0]] : self._starts[rows[-1] + 1]]
        named = _lines_with(self._without, text)
        if len(named) != len(rows):
            named = bytes(map(named.__getitem__, map(sub, rows, repeat(rows[0]))))
        self._mask[part] = _both(self._mask[part], _negated(named, True))

    def _outermost_without(self, row: int) -> int:
        """Return the outermost row around a tensor that has what must not be there; -1 if none has."""
        top, row = -1, self._parents[row]
        while row >= 0:
            low, high = self._starts[row], self._starts[row + 1]
            if any(self._text.find(word, low, high) >= 0 for word in self._without):
                top = row
            row = self._parents[row]
        return top

    def _is_named(self, row: int) -> bool:
        if not super().hit(row):
            return False
        low, high = self._starts[row], self._starts[row + 1]
        return not any(self._text.find(word, low, high) >= 0 for word in self._without)

    def is_other(self, other: Matches) -> bool:
        if not isinstance(other, TensorMatches):
            return True
        one, two = ((each._asked, each._without, each._rows) for each in (self, other))
        return super().is_other(other) or one != two

    def _search(self, row: int) -> int:
        mask, rows, misses = self._mask, self._rows, 0
        at = bisect_left(rows, row)
        while (at := mask.find(YES, at)) >= 0:
            self._leave_out(at)
            if not mask[at]:
                continue
            if self._is_named(rows[at]):
                return rows[at]
            misses += 1
            at += 1
            if misses % PATIENCE == 0:
                self.context.step(at, len(rows))
            if self.words and misses % PATIENCE == 0 and at < len(rows):
                at = bisect_left(rows, super()._search(rows[at]))
        return len(self._starts) - 1


def _lines_with(words: Iterable[bytes], text: bytes) -> bytes:
    """Return a byte for each line of a text, in which each begins with a line feed: 1 with one of the words in it."""
    for word in words:
        text = text.replace(word, _MARK)  # no name has this character, which is escaped there
    return bytes(map(bool, text.translate(None, _OTHERS).split(b"\n")[1:]))


def mask_of(index: TreeIndex, conditions: Iterable[Condition], figures: FigureTable | None) -> bytes:
    """Return a byte for each tensor of the tree, in its order: 1 where it satisfies all conditions.

    What is not known yet satisfies nothing, negated or not.
    """
    count = len(index.totals.tensor_rows)
    mask = YES * count
    for condition in conditions:
        if not condition.needs_scan:
            one = _negated(_mask_of(index, condition), condition.negated)
        elif figures is None:
            one = bytes(count)
        else:
            one = figures.mask(condition)
        mask = _both(mask, one)
    return mask


def _compared(index: TreeIndex, conditions: Iterable[Condition], mask: bytes) -> tuple[array[int], bytes]:
    """Return the rows that differ from another file's, and a byte for each: 1 where it satisfies all conditions.

    Args:
        mask: the same of all tensors; what is none can satisfy words about the comparison alone.
    """
    rows, kinds, fits = index.compared.order, index.compared.kinds, YES * len(index.compared.order)
    for each in conditions:
        if each.key == COMPARED_KEY:
            one = mask_of_word(kinds, each.text, negated=each.negated)
        else:
            tensors = set(compress(index.totals.tensor_rows, mask))
            one = bytes(map(tensors.__contains__, rows))
        fits = _both(fits, one)
    return rows, fits


def _both(one: bytes | bytearray, other: bytes) -> bytes:
    both = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


def _negated(mask: bytes, negated: bool) -> bytes:
    return mask.translate(b"\x01\x00" + bytes(254)) if negated else mask


def _mask_of(index: TreeIndex, condition: Condition) -> bytes:
    totals = index.totals
    if condition.key == "role":
        return _inside(index, totals.tensor_rows, condition.text)
    if condition.key == COMPARED_KEY:
        return mask_of_word(index.compared.tensors, condition.text, negated=False)
    about = condition._replace(negated=False)
    kept = totals.masks.get(about)
    if kept is None:
        if len(totals.masks) >= KEPT:
            totals.masks.clear()
        kept = totals.masks[about] = (
            _on_device(totals, condition.text) if condition.key == "device" else _of_kind(totals, condition)
        )
    return kept


def _of_kind(totals: Totals, condition: Condition) -> bytes:
    fits = _TESTS[condition.key](condition)
    flags = bytes(fits(kind) for kind in totals.kinds)
    if all(flags) or not any(flags):
        return flags[:1] * len(totals.tensor_kinds)
    return bytes(map(flags.__getitem__, totals.tensor_kinds))


def _inside(index: TreeIndex, rows: array[int], role: str) -> bytes:
    """Mark what is at or below rows that were recognised as something."""
    mask = bytearray(len(rows))
    for row, mark in index.marks.items():
        if mark.startswith(role):
            low, high = bisect_left(rows, row), bisect_left(rows, index.ends[row])
            mask[low:high] = YES * (high - low)
    return bytes(mask)


def _on_device(totals: Totals, device: str) -> bytes:
    """Mark what was saved on a device, ``cuda`` being any of ``cuda:0``, ``cuda:1`` ..."""
    mask = bytes(len(totals.tensor_rows))
    for tag, (_, rows) in zip(totals.tags, totals.saved_on(), strict=True):
        if not _is_device(tag, device):
            continue
        if len(rows) == len(totals.tensor_rows):
            return YES * len(rows)
        there = bytes(map(frozenset(rows).__contains__, totals.tensor_rows))
        mask = (int.from_bytes(mask, "little") | int.from_bytes(there, "little")).to_bytes(len(mask), "little")
    return mask


def _is_device(tag: str, device: str) -> bool:
    return tag == device or (tag.startswith(device) and not device[-1:].isdigit())


def _dtype(condition: Condition) -> Callable[[Kind], bool]:
    return lambda kind: (
        kind.dtype == condition.text or (kind.dtype.startswith(condition.text) and not condition.text[-1:].isdigit())
    )


def _shape(condition: Condition) -> Callable[[Kind], bool]:
    wanted = condition.text.split("x")
    begun = wanted[-1] == ""  # "64x" is being typed

    def fits(kind: Kind) -> bool:
        sizes = wanted[:-1] if begun else wanted
        shape = kind.shape
        if shape is None or (len(shape) < len(sizes) if begun else len(shape) != len(sizes)):
            return False
        return all(size == "*" or int(size) == own for size, own in zip(sizes, shape, strict=False))

    return fits


def _sized(size: Callable[[Kind], int]) -> Callable[[Condition], Callable[[Kind], bool]]:
    def test(condition: Condition) -> Callable[[Kind], bool]:
        compare = OPERATORS[condition.operator]
        return lambda kind: compare(size(kind), condition.number)

    return test


_TESTS: dict[str, Callable[[Condition], Callable[[Kind], bool]]] = {
    "dtype": _dtype,
    "shape": _shape,
    "ndim": _sized(lambda kind: -1 if kind.shape is None else len(kind.shape)),
    "size": _sized(lambda kind: kind.nbytes),
    "params": _sized(lambda kind: kind.numel),
}
