"""Runs of entries of a dict, ``name: tensor``, that are written alike but for name, storage and memo slots.

What `fastpath` has read with a regular expression is kept here: the bytes around the storage's key as one large number
from which the memo slots are taken away. They are counted on from the name's, so one multiplication does that for all
of them. What is left is the same number for every entry of the same form, wherever it stands in the file: reading one
takes a few slices and a look into a dict. A name that came before (``exp_avg``, ``weight``) is a memo slot that is
read instead of a text that fills one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Value

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from ckpt_viewer.core.forms import StorageForm, TensorForm
    from ckpt_viewer.unpickle.machine import Machine

MOST_FORMS, MOST_LAYOUTS = 20_000, 16
TURNS = range(64)
"""Entries that are read between two looks at the meter; about 0.1 ms."""
WORTH_A_LOOK = 4
"""Entries after which the meter is looked at: they take as long as a burst of opcodes, and stand for more of them."""
LONGEST = 1024
"""Bytes that an entry has at the most: a name and a key of 255 each, and numbers."""
_TEXT, _SHORT = 0x58, b"\0\0\0"
_GETS = {0x68: 2, 0x6A: 5}
"""Opcodes that read a memo slot, and bytes that they take."""
_PUT = 5
"""Bytes of the opcode that fills a memo slot with a name."""
BEGINS = frozenset({_TEXT, *_GETS})
"""Opcodes that an entry may begin with."""
_CALL, _AFTER_CALL = b")R", 19
"""What makes the hooks, and bytes from there to the end of an entry."""


class Form(NamedTuple):
    """What entries that are written alike describe.

    Attributes:
        storage, tensor: what they have in common.
        kept: what goes into the memo between the storage's key and the tensor.
        new: whether the name goes into the memo too, since it was not there.
    """

    storage: StorageForm
    tensor: TensorForm
    kept: tuple[Value, ...]
    new: bool


class Layout:
    """Where the memo slots of an entry stand.

    Attributes:
        slots: a number with a one at the place of each memo slot. places: the same as bytes from the end of the name.
        count: how many there are.
        forms: what is written besides -> what it describes.
    """

    def __init__(self, slots: int) -> None:
        self.slots, self.count = slots, slots.bit_count()
        self.forms: dict[int, Form] = {}
        self.places = [place for place in range(slots.bit_length() // 8 + 1) if slots >> 8 * place & 1]


class Layouts:
    """How the tensors of a pickle are written, as far as has been seen.

    Attributes:
        head: bytes between a name, in the memo, and the length of the storage's key, the same for all.
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
        known.append(Layout(slots))
        return known[-1]


def learn(
    m: Machine,
    found: re.Match[bytes],
    key: int,
    puts: tuple[int, ...],
    form: tuple[StorageForm, TensorForm, tuple[Value, ...]],
) -> None:
    """Keep how a tensor is written.

    Args:
        found: the tensor from its second MARK on. key: number of the group that is the storage's key. puts: numbers of
            the groups that are memo slots of four bytes; their numbers follow each other. form: without `Form.new`.
    """
    data, slot, mark = m.data, len(m.memo), found.start() - 1
    for opcode, size in _GETS.items():  # of the rebuild function
        start = max(mark - size, 0)
        index = int.from_bytes(data[start + 1 : mark], "little")
        if data[start] == opcode and index < slot and m.memo[index] is m.rebuild:
            break
    else:
        return
    first, last = found.span(key)
    head, tail, places = first - 4 - start, found.end() - last, []
    if new := data[max(start - _PUT, 0) : start] == b"r" + (slot - 1).to_bytes(4, "little"):
        start, slot, places = start - _PUT, slot - 1, [1]
    places += [first - 1 - start + found.start(put) - last for put in puts if found.start(put) >= 0]
    slots = sum(1 << 8 * place for place in places)
    layout = m.layouts.of(head, tail, slots)
    if len(layout.forms) < MOST_FORMS:
        written = data[start : first - 4] + _SHORT + data[last : found.end()]
        layout.forms[int.from_bytes(written, "little") - slot * slots] = Form(*form, new)


def fast_entries(m: Machine, at: int) -> int:
    """Read entries of known forms, as many as follow each other; return the position behind the last.

    One long loop: a call for each part of an entry would cost more than the part.
    """
    data, last, integer, find, memo = m.data, len(m.data) - LONGEST, int.from_bytes, m.data.find, m.memo
    start, slot, head, layouts = at, len(m.memo), m.layouts.head, m.layouts.by_tail
    names: list[str] = []
    keys: list[str] = []
    forms: list[Form] = []
    ends = [at]
    try:
        for _ in TURNS:
            if at > last:
                break
            if data[at] == _TEXT and data[at + 2 : at + 5] == _SHORT:
                begin = at + 5
                name = begin + data[at + 1]
                size = name + _PUT + head
                word = data[begin:name].decode("ascii")
            else:
                name = at + _GETS.get(data[at], 0)
                index = integer(data[at + 1 : name], "little")
                known = memo[index] if at < name and index < len(memo) else None
                if type(known) is not str:
                    break
                word, size = known, name + head
            key = size + 4
            behind = key + data[size]
            end = find(_CALL, behind, behind + LONGEST) + _AFTER_CALL
            written = integer(data[name:size] + data[size + 1 : key] + data[behind:end], "little")
            for layout in layouts.get(end - behind, ()):
                form = layout.forms.get(written - slot * layout.slots)
                if form is not None:
                    break
            else:
                break
            keys.append(data[key:behind].decode("ascii"))
            names.append(word)
            forms.append(form)
            slot, at = slot + layout.count, end
            ends.append(end)
    except UnicodeDecodeError:
        pass  # left to the opcodes
    if not forms:
        return start
    read = take(m, names, keys, forms)
    m.charged += ends[read] - start
    if read >= WORTH_A_LOOK:
        m.meter(ends[read])
    return ends[read]


def take(m: Machine, names: Sequence[str], keys: Sequence[str], forms: Sequence[Form]) -> int:
    """Do to stack, memo and storages what the opcodes of entries would do.

    Returns:
        For how many; those from the first on that describes a known storage in another way are left.
    """
    memo, stack, storages, home, new, read = m.memo, m.stack, m.storages, m.home, object.__new__, 0
    for name, key, (form, view, kept, is_new) in zip(names, keys, forms, strict=True):
        storage = storages.get(key)
        if storage is None:
            storage = new(StorageSpec)
            storage.form, storage.key, storage.home = form, key, home
            storages[key] = storage
        elif storage.form is not form and storage.form.parts != form.parts:
            break
        tensor = new(TensorSpec)
        tensor.storage, tensor.form, tensor.extra = storage, view, None
        stack.append(name)
        stack.append(tensor)
        if is_new:
            memo.append(name)
        memo.append(key)
        memo += kept
        memo.append(tensor)
        read += 1
    m.shortcuts += read
    return read
