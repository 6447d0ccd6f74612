"""What each pickle opcode does to the strings on the stack; see `origins`.

Source for the opcodes: CPython's pickletools.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NoReturn

from ckpt_viewer.unpickle.origins import STRINGS, Pid, Stop

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.origins import Handler, Item, Origins

_U32 = struct.Struct("<I").unpack_from
_U64 = struct.Struct("<Q").unpack_from

FRAME_HEAD = 9
"""Bytes of a FRAME opcode with its length."""

# Opcodes by what they do to a stack on which only strings matter: (bytes of argument, how many items go, how many
# come).
_FIXED: dict[bytes, tuple[int, int, int]] = {
    b"N": (0, 0, 1), b"\x88": (0, 0, 1), b"\x89": (0, 0, 1), b"]": (0, 0, 1), b"}": (0, 0, 1), b")": (0, 0, 1),
    b"\x8f": (0, 0, 1), b"K": (1, 0, 1), b"M": (2, 0, 1), b"J": (4, 0, 1), b"G": (8, 0, 1), b"R": (0, 2, 1),
    b"\x81": (0, 2, 1), b"\x92": (0, 3, 1), b"b": (0, 1, 0), b"a": (0, 1, 0), b"s": (0, 2, 0), b"\x85": (0, 1, 1),
    b"\x86": (0, 2, 1), b"\x87": (0, 3, 1), b"\x93": (0, 2, 1), b"\x80": (1, 0, 0), b"\x82": (1, 0, 1),
    b"\x83": (2, 0, 1), b"\x84": (4, 0, 1), b"\x97": (0, 0, 1), b"\x98": (0, 0, 0),
}  # fmt: skip
_LINES = {b"I": 1, b"L": 1, b"F": 1, b"P": 1, b"c": 2}
"""Opcodes that are followed by so many lines of text, and push one thing."""
_COUNTED = {b"\x8a": 1, b"\x8b": 4, b"B": 4, b"C": 1, b"\x8e": 8, b"\x96": 8}
"""Opcodes with a length field of so many bytes, that push no string."""
_GROUPS = {b"u": 0, b"e": 0, b"\x90": 0, b"1": 0, b"l": 1, b"d": 1, b"\x91": 1, b"o": 1}
"""Opcodes that take everything above the last MARK, and how many things they push."""


def _after_count(data: bytes, at: int, width: int) -> int:
    size = data[at] if width == 1 else (_U32(data, at) if width == 4 else _U64(data, at))[0]
    end = at + width + int(size)
    if end > len(data):
        raise IndexError(end)
    return end


def _after_lines(data: bytes, at: int, lines: int) -> int:
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return at


def _slot(data: bytes, at: int) -> tuple[int, int]:
    end = data.index(b"\n", at)
    if end - at > 20:
        raise ValueError(end)
    return int(data[at:end]), end + 1


def _fixed(width: int, pops: int, pushes: int) -> Handler:
    def handler(o: Origins, at: int) -> int:
        if pops:
            stack = o.stack
            if len(stack) < pops:
                raise IndexError(at)
            del stack[-pops:]
        if pushes:
            o.stack.append(None)
        return at + 1 + width

    return handler


def _lines(lines: int) -> Handler:
    def handler(o: Origins, at: int) -> int:
        end = _after_lines(o.data, at + 1, lines)
        o.stack.append(None)
        return end

    return handler


def _counted(width: int, string: bool) -> Handler:
    def handler(o: Origins, at: int) -> int:
        end = _after_count(o.data, at + 1, width)
        o.stack.append(at if string else None)
        return end

    return handler


def _grouped(pushes: int) -> Handler:
    def handler(o: Origins, at: int) -> int:
        o.group()
        if pushes:
            o.stack.append(None)
        return at + 1

    return handler


def _line_string(o: Origins, at: int) -> int:
    end = _after_lines(o.data, at + 1, 1)
    o.stack.append(at)
    return end


def _inst(o: Origins, at: int) -> int:
    o.group()
    o.stack.append(None)
    return _after_lines(o.data, at + 1, 2)


# How torch.save writes every tensor but the first of a file, from the persistent id's MARK to behind the REDUCE: the
# same thirty opcodes with other numbers; in a legacy stream the id has a None more. Following only strings, all that
# they do is fill memo slots.
_GET, _PUT, _INT = rb"(?:h.|j.{4})", rb"(q.|r.{4})", rb"(?:K.|M..|J.{4})"
_INTS = rb"(?:\)|" + _INT + rb"{1,3}[\x85-\x87]" + _PUT + rb"|\(" + _INT + rb"{4,8}t" + _PUT + rb")"
_TENSOR = re.compile(
    rb"\((" + _GET + rb")" + _GET + rb"(X.{4})([0-9]{1,20})" + _PUT + rb"(" + _GET + rb")" + _INT + rb"N?t" + _PUT
    + rb"Q" + _INT + _INTS + _INTS + rb"[\x88\x89]" + _GET + rb"\)R" + _PUT + rb"t" + _PUT + rb"R" + _PUT,
    re.DOTALL,
)  # fmt: skip


def _tensor(o: Origins, at: int) -> int:
    """Walk over a tensor whose own MARK was at ``at - 1``; return the position behind it, or 0 if it is not one."""
    found = _TENSOR.match(o.data, at)
    if found is None or o.far_memo or not o.stack:
        return 0
    word, head, key_text, first, tag, *puts = found.groups()
    slots = [first, *(put for put in puts if put is not None)]
    slot = len(o.memo)
    if slots != [b"q%c" % n if n < 256 else b"r" + n.to_bytes(4, "little") for n in range(slot, slot + len(slots))]:
        return 0
    if int.from_bytes(head[1:], "little") != len(key_text) or not o.is_storage(_slot_of(o, word)):
        return 0
    source = o.push_of(_slot_of(o, tag))
    if source is None:
        return 0
    o.tensors.add(slot, (found.start(2), found.end(3)), found.span(5), source)
    o.taken.append(None)
    o.memo.skip(len(slots))
    return found.end()


def _slot_of(o: Origins, get: bytes) -> Item:
    return o.memo[int.from_bytes(get[1:], "little")]


def _mark(o: Origins, at: int) -> int:
    if o.data[at + 1] == 0x28:
        after = _tensor(o, at + 1)
        if after:
            return after
    o.below.append(o.stack)
    o.stack = []
    return at + 1


def _tuple(o: Origins, at: int) -> int:
    items = o.group()
    pid: Item = None
    if len(items) in (5, 6):
        word, _, key, tag = items[:4]
        key, tag = o.push_of(key), o.push_of(tag)
        if key is not None and tag is not None and o.is_storage(word):
            pid = Pid(key, tag)
    o.stack.append(pid)
    return at + 1


def _binpersid(o: Origins, at: int) -> int:
    pid = o.stack[-1]
    if type(pid) is Pid:
        pid.uses -= 1
        o.taken.append(pid)
    o.stack[-1] = None
    return at + 1


def _pop(o: Origins, at: int) -> int:
    if o.stack:
        item = o.stack.pop()
        if type(item) is Pid:
            item.uses -= 1
    else:
        o.group()
    return at + 1


def _frame(o: Origins, at: int) -> int:
    o.frames.append((at, _U64(o.data, at + 1)[0]))
    return at + FRAME_HEAD


def _stop(o: Origins, at: int) -> NoReturn:
    o.end = at + 1
    raise Stop


def _unknown(o: Origins, at: int) -> int:
    raise ValueError(o.data[at])


def _put(o: Origins, at: int) -> int:
    slot, end = _slot(o.data, at + 1)
    return o.put(slot, end)


def _get(o: Origins, at: int) -> int:
    slot, end = _slot(o.data, at + 1)
    return o.get(slot, at, end)


_SPECIAL: dict[bytes, Handler] = {
    b"(": _mark, b"t": _tuple, b"Q": _binpersid, b"0": _pop, b"i": _inst, b"V": _line_string, b"S": _line_string,
    b"\x95": _frame, b".": _stop, b"p": _put, b"g": _get,
    b"q": lambda o, at: o.put(o.data[at + 1], at + 2),
    b"r": lambda o, at: o.put(_U32(o.data, at + 1)[0], at + 5),
    b"\x94": lambda o, at: o.put(len(o.memo) + len(o.far_memo), at + 1),
    b"h": lambda o, at: o.get(o.data[at + 1], at, at + 2),
    b"j": lambda o, at: o.get(_U32(o.data, at + 1)[0], at, at + 5),
    b"2": lambda o, at: o.push_again(o.stack[-1], at, at + 1),
}  # fmt: skip


def _table() -> list[Handler]:
    table: list[Handler] = [_unknown] * 256
    for code, effect in _FIXED.items():
        table[code[0]] = _fixed(*effect)
    for code, lines in _LINES.items():
        table[code[0]] = _lines(lines)
    for code, width in _COUNTED.items():
        table[code[0]] = _counted(width, False)
    for code, width in STRINGS.items():
        table[code[0]] = _counted(width, True)
    for code, pushes in _GROUPS.items():
        table[code[0]] = _grouped(pushes)
    for code, handler in _SPECIAL.items():
        table[code[0]] = handler
    return table


TABLE = _table()
"""What each opcode byte does."""
