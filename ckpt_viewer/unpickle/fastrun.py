"""Runs of entries of a state_dict, ``name: tensor``, that are written alike but for name, storage and memo slots.

What `fastpath` has read with a regular expression is kept here: the bytes around the storage's key as one large number
from which the memo slots are taken away. They are counted on from the name's, so one multiplication does that for all
of them. What is left is the same number for every entry of the same form, wherever it stands in the file: reading one
takes a few slices and a look into a dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Global, Value

if TYPE_CHECKING:
    import re

    from ckpt_viewer.unpickle.fastpath import Pattern
    from ckpt_viewer.unpickle.machine import Machine

MOST_FORMS, MOST_LAYOUTS = 20_000, 8
TURNS = range(48)
"""Entries that are read between two looks at the meter; about 0.1 ms."""
LONGEST = 1024
"""Bytes that an entry has at the most: a name of 255, a key of 20, and numbers."""
_TEXT, _SHORT = 0x58, b"\0\0\0"


class Form(NamedTuple):
    """What entries that are written alike describe.

    Attributes:
        cls, location: of the storage. numbers: of the tensor. grad: whether it requires one.
        kept: what goes into the memo between the storage's key and the tensor.
    """

    cls: Global
    location: str
    numbers: Pattern
    grad: bool
    kept: tuple[Value, ...]


class Layout(NamedTuple):
    """Where the parts of an entry stand.

    Attributes:
        head: bytes between the end of the name and the length of the storage's key. tail: bytes behind the key.
        slots: a number with a one at the place of each memo slot. forms: what is written besides -> what it describes.
    """

    head: int
    tail: int
    slots: int
    forms: dict[int, Form]


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
    layout = next((each for each in m.layouts if each[:3] == (head, tail, slots)), None)
    if layout is None:
        layout = Layout(head, tail, slots, {})
        m.layouts.insert(0, layout)
        del m.layouts[MOST_LAYOUTS:]
    if len(layout.forms) < MOST_FORMS:
        written = data[start : start + head] + _SHORT + data[last : found.end()]
        layout.forms[int.from_bytes(written, "little") - slot * slots] = form


def fast_entries(m: Machine, at: int) -> int:
    """Read entries of known forms, as many as follow each other; return the position behind the last."""
    data, last, memo, stack, storage_of = m.data, len(m.data) - LONGEST, m.memo, m.stack, m.fast_storage
    start, tensor = at, TensorSpec
    for _ in TURNS:
        if at > last or data[at] != _TEXT or data[at + 2 : at + 5] != _SHORT:
            break
        name = data[at + 5 : at + 5 + data[at + 1]]
        key, end, form = _form(m, data, at + 5 + len(name))
        if form is None or not name.isascii() or not key.isdigit() or len(key) > 20:
            break
        cls, location, numbers, grad, kept = form
        text = key.decode()
        storage = storage_of(text, location, cls, numbers[0])
        if storage is None:
            break
        at = end
        made = tensor(storage, storage.dtype, numbers[2], numbers[3], numbers[1], grad)
        word = name.decode()
        stack.append(word)
        stack.append(made)
        memo.append(word)
        memo.append(text)
        memo += kept
        memo.append(made)
        m.shortcuts += 1
    else:
        m.meter(at)
    m.charged += at - start
    return at


def _form(m: Machine, data: bytes, name: int) -> tuple[bytes, int, Form | None]:
    """Return the storage's key of the entry whose name ends at `name`, the end of the entry, and its form if known."""
    slot = len(m.memo)
    for number, (head, tail, slots, forms) in enumerate(m.layouts):
        size = name + head
        key = size + 4
        behind = key + data[size]
        end = behind + tail
        written = data[name:size] + data[size + 1 : key] + data[behind:end]
        form = forms.get(int.from_bytes(written, "little") - slot * slots)
        if form is not None:
            if number:
                m.layouts.insert(0, m.layouts.pop(number))
            return data[key:behind], end, form
    return b"", 0, None
