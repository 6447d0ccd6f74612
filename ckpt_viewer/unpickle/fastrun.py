"""Runs of entries of a state_dict, ``name: tensor``, that are written alike but for name, storage and memo slots.

What `fastpath` has read with a regular expression is kept here: the bytes around the storage's key as one large number
from which the memo slots are taken away. They are counted on from the name's, so one multiplication does that for all
of them. What is left is the same number for every entry of the same form, wherever it stands in the file: reading one
takes a few slices and a look into a dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Value

if TYPE_CHECKING:
    import re

    from ckpt_viewer.unpickle.machine import Machine

MOST_FORMS, MOST_LAYOUTS = 20_000, 16
TURNS = range(64)
"""Entries that are read between two looks at the meter; about 0.1 ms."""
WORTH_A_LOOK = 4
"""Entries after which the meter is looked at: they take as long as a burst of opcodes, and stand for more of them."""
LONGEST = 1024
"""Bytes that an entry has at the most: a name and a key of 255 each, and numbers."""
_TEXT, _SHORT = 0x58, b"\0\0\0"
_CALL, _AFTER_CALL = b")R", 19
"""What makes the hooks, and bytes from there to the end of an entry."""


class Form(NamedTuple):
    """What entries that are written alike describe.

    Attributes:
        dtype, location, numel: of the storage. offset, shape, stride, grad: of the tensor, as in `TensorSpec`.
        kept: what goes into the memo between the storage's key and the tensor.
    """

    dtype: str
    location: str
    numel: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    grad: bool
    kept: tuple[Value, ...]


class Layout(NamedTuple):
    """Where the memo slots of an entry stand.

    Attributes:
        slots: a number with a one at the place of each memo slot. forms: what is written besides -> what it describes.
    """

    slots: int
    forms: dict[int, Form]


class Layouts:
    """How the tensors of a pickle are written, as far as has been seen.

    Attributes:
        head: bytes between the end of a name and the length of the storage's key, the same for all.
        by_tail: bytes behind the key -> the layouts that have so many.
    """

    def __init__(self) -> None:
        self.head = 0
        self.by_tail: dict[int, list[Layout]] = {}

    def __bool__(self) -> bool:
        return bool(self.by_tail)

    def clear(self) -> None:
        """Forget all."""
        self.by_tail.clear()

    def of(self, head: int, tail: int, slots: int) -> Layout:
        """Return a layout, which is new where it has not been seen."""
        if head != self.head or sum(map(len, self.by_tail.values())) > MOST_LAYOUTS:
            self.clear()
            self.head = head
        known = self.by_tail.setdefault(tail, [])
        for layout in known:
            if layout.slots == slots:
                return layout
        known.append(Layout(slots, {}))
        return known[-1]


def learn(m: Machine, found: re.Match[bytes], key: int, puts: tuple[int, ...], form: Form) -> None:
    """Keep how a tensor is written, if a name with a memo slot of its own stands before it.

    Args:
        found: the tensor from its second MARK on. key: number of the group that is the storage's key. puts: numbers of
            the groups that are memo slots of four bytes; their numbers follow each other.
    """
    data, slot, mark = m.data, len(m.memo) - 1, found.start() - 1
    for get in (2, 5):  # bytes of the opcode that gets the rebuild function from the memo
        start = mark - get - 5
        if start > 0 and data[start : start + 5] == b"r" + slot.to_bytes(4, "little"):
            break
    else:
        return
    opcode, index = data[start + 5], int.from_bytes(data[start + 6 : mark], "little")
    if opcode != (0x68 if get == 2 else 0x6A) or index >= slot or m.memo[index] is not m.rebuild:
        return
    first, last = found.span(key)
    head, tail = first - 4 - start, found.end() - last
    places = [1, *(head + 3 + found.start(put) - last for put in puts if found.start(put) >= 0)]
    slots = sum(1 << 8 * place for place in places)
    layout = m.layouts.of(head, tail, slots)
    if len(layout.forms) < MOST_FORMS:
        written = data[start : start + head] + _SHORT + data[last : found.end()]
        layout.forms[int.from_bytes(written, "little") - slot * slots] = form


def fast_entries(m: Machine, at: int) -> int:
    """Read entries of known forms, as many as follow each other; return the position behind the last.

    One long function: a call for each part of an entry would cost more than the part.
    """
    data, last, memo, stack, storages, home = m.data, len(m.data) - LONGEST, m.memo, m.stack, m.storages, m.home
    start, slot, before, integer, find = at, len(memo), len(stack), int.from_bytes, data.find
    head, layouts = m.layouts.head, m.layouts.by_tail
    try:
        for _ in TURNS:
            if at > last or data[at] != _TEXT or data[at + 2 : at + 5] != _SHORT:
                break
            begin = at + 5
            name = begin + data[at + 1]
            size = name + head
            key = size + 4
            behind = key + data[size]
            end = find(_CALL, behind, behind + LONGEST) + _AFTER_CALL
            written = integer(data[name:size] + data[size + 1 : key] + data[behind:end], "little")
            for slots, forms in layouts.get(end - behind, ()):
                form = forms.get(written - slot * slots)
                if form is not None:
                    break
            else:
                break
            dtype, location, numel, offset, shape, stride, grad, kept = form
            word, text = data[begin:name].decode("ascii"), data[key:behind].decode("ascii")
            storage = storages.get(text)
            if storage is None:
                storages[text] = storage = StorageSpec(text, location, dtype, numel, home, len(storages))
            elif storage.numel != numel or storage.location != location or storage.dtype != dtype:
                break
            made = TensorSpec(storage, dtype, shape, stride, offset, grad)
            stack.append(word)
            stack.append(made)
            memo += (word, text)
            memo += kept
            memo.append(made)
            slot, at = len(memo), end
    except UnicodeDecodeError:
        pass  # left to the opcodes
    read = (len(stack) - before) // 2
    m.shortcuts += read
    m.charged += at - start
    if read >= WORTH_A_LOOK:
        m.meter(at)
    return at
