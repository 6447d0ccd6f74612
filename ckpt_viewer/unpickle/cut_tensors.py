"""Tensors as torch.save writes all but the first of a file: what `cut` remembers of one, in a single step.

The same thirty opcodes with other numbers, in a legacy stream with a None more. Going through them one by one takes
ten times as long.
"""

from __future__ import annotations

import re

from ckpt_viewer.unpickle.cut_records import NOWHERE, Events, Item, Memo

_GET, _PUT, _INT = rb"(h.|j.{4})", rb"(q.|r.{4})", rb"(?:K.|M..|J.{4})"
_INTS = rb"(\)|" + _INT + rb"{1,3}[\x85-\x87]" + _PUT + rb"|\(" + _INT + rb"{4,8}t" + _PUT + rb")"
_TENSOR = re.compile(
    rb"\(\(" + _GET + _GET + rb"(X.\0\0\0[0-9]{1,20})" + _PUT + _GET + _INT + rb"N?t" + _PUT + rb"Q" + _INT + _INTS
    + _INTS + rb"[\x88\x89]" + _GET + rb"\)R" + _PUT + rb"t" + _PUT + rb"R" + _PUT,
    re.DOTALL,
)  # fmt: skip
"""From the MARK of its arguments to behind the slot that it is put into."""
_SIZES, _STRIDES = (7, 8, 9), (10, 11, 12)
"""Groups of the tuples: all of it, and what puts it into a slot, if that is done, in one of two places."""


def pass_tensor(data: bytes, at: int, stack: list[Item], memo: Memo, events: Events) -> int:
    """Do what the opcodes of a tensor do, whose MARK lies at `at`; return the position behind, 0 if it is none."""
    found = _TENSOR.match(data, at)
    if found is None or not stack or stack[-1].is_mark or memo.filled != len(memo.begins):
        return 0
    places = found.regs
    (word, _), (kind, _), key, (put_key, _), (tag, _), put_pid = places[1:7]
    (hooks, _), put_hooks, put_all, put_tensor = places[13:]
    sizes, strides = places[_SIZES[0]], places[_STRIDES[0]]
    puts, begins, ends = [put_key, put_pid[0]], [key[0], at + 1], [tag, put_pid[1]]
    for first, *others in (_SIZES, _STRIDES):
        where = max(places[other][0] for other in others)
        if where >= 0:
            puts.append(where)
            begins.append(places[first][0])
            ends.append(places[first][1])
    puts += (put_hooks[0], put_all[0], put_tensor[0])
    slot, callable_ = len(memo.begins), stack[-1]
    gets = (word, kind, tag, hooks)
    if data[key[0] + 1] != key[1] - key[0] - 5 or sizes[1] != strides[0]:
        return 0
    if any(_number(data, get) >= slot for get in gets) or [_number(data, put) for put in puts] != [
        *range(slot, slot + len(puts))
    ]:
        return 0
    callable_.end = at
    for each in callable_.slots:
        memo.ends[each] = at
    memo.extend([*begins, hooks, at, callable_.start], [*ends, put_hooks[1], put_all[1], NOWHERE])
    events.extend((word, kind, put_key, tag, *puts[1:-3], hooks, *puts[-3:]))
    stack[-1] = tensor = Item(callable_.start)
    tensor.slots = (slot + len(puts) - 1,)
    return found.end()


def _number(data: bytes, at: int) -> int:
    """Return the slot that an opcode means."""
    return data[at + 1] if data[at] in b"qh" else int.from_bytes(data[at + 1 : at + 5], "little")
