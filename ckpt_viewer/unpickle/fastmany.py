"""Hundreds of entries of a state_dict at once, where they are alike but for name, key and memo slots.

One regular expression takes them apart: name, storage's key, and the bytes around them, of which only lengths count.
What has to stand around them is then written for all of them together, from the first of them and the memo slots that
are next, and compared. So nothing is believed that has not been compared byte by byte.
"""

from __future__ import annotations

import re
from itertools import chain, repeat
from typing import TYPE_CHECKING

from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.unpickle.fastrun import TURNS, fast_entries, take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ckpt_viewer.unpickle.fastrun import Form, Layout, Layouts
    from ckpt_viewer.unpickle.machine import Machine

Row = tuple[bytes, bytes, bytes, bytes, bytes]
"""Of an entry: the opcode of its name, its name, what stands before the storage's key, the key, and what is behind."""
Columns = tuple[tuple[bytes, ...], ...]
"""The same of many entries."""
WORTH, FEWEST = 4096, 8
"""Tensors after which a pickle has been seen to have many, and entries that are worth reading together.

The expression takes some milliseconds to compile, in which a thousand entries are read alone.
"""
LEAST, MOST = 1 << 12, 1 << 15
"""Bytes that are looked at together: few at first; 300 entries are read in some 0.3 ms."""
LONGEST_REST = 64
"""Runs of `fast_entries` before entries are looked at together again that were not alike before."""
_BORDER = b"u("
"""Stands between two thousands of entries; elsewhere by chance, where it does no harm."""
_BEHIND = 20
"""Bytes of a tail that no pattern leaves open: its first, and from the call that makes the hooks to the end."""
_SLOTS = 1 << 16
"""Memo slots whose upper two bytes are the same."""


class Many:
    """How entries are taken apart, for what the layouts of a pickle are now.

    Attributes:
        split: gives the rows between two positions. window: bytes that are looked at together.
        rest: for how many turns entries are read alone. patience: for how many, once they are not alike again.
        counted: the lower two bytes of all memo slots in turn. until: tensors up to which this is good enough.
    """

    def __init__(self, layouts: Layouts, tensors: int) -> None:
        self.until = 2 * tensors
        self.head, self.tails, self.window = layouts.head, {*layouts.by_tail}, LEAST
        self.rest, self.patience = 0, 1
        ends = b"|".join(rb"r.{%d}\)R.{17}" % (tail - _BEHIND) for tail in sorted(self.tails))
        pattern = rb"(X.\0\0\0)([ -~]{1,255})(r.{4}[hj].{%d}X.\0\0\0)([0-9]{1,20})(%b)" % (self.head - 2, ends)
        self.split: Callable[[bytes, int, int], list[Row]] = re.compile(pattern, re.DOTALL).findall
        self.counted = bytearray(2 * _SLOTS)
        self.counted[::2] = bytes(range(256)) * 256
        self.counted[1::2] = b"".join(bytes((upper,)) * 256 for upper in range(256))

    def is_old(self, layouts: Layouts, tensors: int) -> bool:
        """Whether it is worth while to do without for one with more layouts."""
        return tensors >= self.until and (self.head, self.tails) != (layouts.head, {*layouts.by_tail})

    def judge(self, read: int, rows: int) -> None:
        """Look at more together where all were alike, and at none for a while where they were not."""
        if read:
            self.window, self.patience = (min(2 * self.window, MOST) if read == rows else LEAST), 1
        else:
            self.window, self.rest = LEAST, self.patience
            self.patience = min(2 * self.patience, LONGEST_REST)

    def repeated(self, part: bytes, count: int, places: Iterable[tuple[int, int]], step: int) -> bytearray:
        """Return a part of an entry `count` times, the memo slots counted on by `step`.

        Args:
            places: a place in the part and the slot that is written there the first time.
        """
        block, size = bytearray(part) * count, len(part)
        for place, slot in places:
            first, end = 2 * (slot % _SLOTS), 2 * (slot % _SLOTS + step * count)
            block[place::size] = self.counted[first : end : 2 * step]
            block[place + 1 :: size] = self.counted[first + 1 : end : 2 * step]
        return block


def fast_run(m: Machine, at: int) -> int:
    """Read entries of known forms, as many as follow each other; return the position behind the last."""
    while True:
        if m.shortcuts >= WORTH:
            if m.many is None or m.many.is_old(m.layouts, m.shortcuts):
                m.many = Many(m.layouts, m.shortcuts)
            while m.many.rest == 0 and m.many.head == m.layouts.head and (end := fast_many(m, m.many, at)) > at:
                at = end
            m.many.rest = max(0, m.many.rest - 1)
        before = m.shortcuts
        at = fast_entries(m, at)
        if m.shortcuts < before + len(TURNS):
            return at


def fast_many(m: Machine, many: Many, at: int) -> int:
    """Read some hundred entries of one form; return the position behind the last, `at` if there are none."""
    data, slot = m.data, len(m.memo)
    border = data.find(_BORDER, at, at + many.window)
    rows = many.split(data, at, border if border >= 0 else at + many.window)
    while not data.startswith(joined := b"".join(chain.from_iterable(rows)), at):
        del rows[len(rows) // 2 :]  # something else stands between them
    known = _known(m.layouts, rows[0], slot) if len(rows) >= FEWEST else None
    read = 0
    if known is not None and slot % _SLOTS + known[0].count * len(rows) <= _SLOTS:
        firsts, names, heads, keys, tails = zip(*rows, strict=True)
        if _alike(many, known[0], (firsts, names, heads, keys, tails), slot):
            read = take_alike(m, _texts(names), _texts(keys), known[1])
    many.judge(read, len(rows))
    end = at + (len(joined) if read == len(rows) else sum(map(len, chain.from_iterable(rows[:read]))))
    m.charged += end - at
    if read:
        m.meter(end, -(-read // len(TURNS)))
    return end


def _texts(words: Sequence[bytes]) -> list[str]:
    return b"\n".join(words).decode("ascii").split("\n")


def _known(layouts: Layouts, row: Row, slot: int) -> tuple[Layout, Form] | None:
    """Return layout and form of an entry; None if they are not known."""
    _, _, head, _, tail = row
    written = int.from_bytes(head[:-4] + head[-3:] + tail, "little")
    for layout in layouts.by_tail.get(len(tail), ()):
        form = layout.forms.get(written - slot * layout.slots)
        if form is not None:
            return layout, form
    return None


def _alike(many: Many, layout: Layout, columns: Columns, slot: int) -> bool:
    """Whether entries say the same as the first, with the memo slots that are next."""
    firsts, names, heads, keys, tails = columns
    if b"".join(firsts)[1::5] != bytes(map(len, names)):
        return False
    size, count = len(heads[0]), len(heads)
    shift = size - 1
    before = many.repeated(heads[0], count, ((1, slot),), layout.count)
    before[size - 4 :: size] = bytes(map(len, keys))
    if before != b"".join(heads):
        return False
    places = [(place - shift, slot + number) for number, place in enumerate(layout.places) if number]
    return many.repeated(tails[0], count, places, layout.count) == b"".join(tails)


def take_alike(m: Machine, names: Sequence[str], keys: Sequence[str], form: Form) -> int:
    """Do to stack, memo and storages what the opcodes of entries of one form would do; return for how many."""
    storages, count, new = m.storages, len(names), object.__new__
    if len({*keys}) < count or not storages.keys().isdisjoint(keys):
        return take(m, names, keys, [form] * count)
    described, view, kept, _ = form
    made: list[StorageSpec] = [*map(new, repeat(StorageSpec, count))]
    tensors: list[TensorSpec] = [*map(new, repeat(TensorSpec, count))]
    home = m.home
    for key, storage, tensor in zip(keys, made, tensors, strict=True):
        storage.form = described  # not three at once, which would cost a tuple
        storage.key = key
        storage.home = home
        tensor.storage = storage
        tensor.form = view
        tensor.extra = None
    storages.update(zip(keys, made, strict=True))
    m.stack += chain.from_iterable(zip(names, tensors, strict=True))
    m.memo += chain.from_iterable(zip(names, keys, *map(repeat, kept), tensors))  # noqa: B905  what is kept has no end
    m.shortcuts += count
    return count
