"""The opcodes that move values about: stack, memo, protocol, frames and the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ckpt_viewer.errors import Damaged
from ckpt_viewer.unpickle.machine import Stop
from ckpt_viewer.unpickle.opcodes_plain import U32, int_text, read_line

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine


def op_pop(m: Machine, at: int) -> int:
    if m.stack:
        m.stack.pop()
    else:
        m.pop_mark()
    return at


def op_pop_mark(m: Machine, at: int) -> int:
    m.pop_mark()
    return at


def op_dup(m: Machine, at: int) -> int:
    m.stack.append(m.stack[-1])
    return at


def op_get(m: Machine, at: int) -> int:
    raw, at = read_line(m, at)
    m.stack.append(m.get(int_text(m, raw)))
    return at


def op_binget(m: Machine, at: int) -> int:
    m.stack.append(m.get(m.data[at]))
    return at + 1


def op_long_binget(m: Machine, at: int) -> int:
    m.stack.append(m.get(U32(m.data, at)[0]))
    return at + 4


def op_put(m: Machine, at: int) -> int:
    raw, at = read_line(m, at)
    index = int_text(m, raw)
    if index < 0:
        raise Damaged("the pickle is damaged: a negative memo slot")
    m.put(index, m.stack[-1])
    return at


def op_binput(m: Machine, at: int) -> int:
    m.put(m.data[at], m.stack[-1])
    return at + 1


def op_long_binput(m: Machine, at: int) -> int:
    m.put(U32(m.data, at)[0], m.stack[-1])
    return at + 4


def op_memoize(m: Machine, at: int) -> int:
    m.put(len(m.memo) + len(m.far_memo), m.stack[-1])
    return at


def op_proto(m: Machine, at: int) -> int:
    version = m.data[at]
    if version > 5:
        raise Damaged(f"the pickle is damaged: there is no pickle protocol {version}")
    m.protocol, m.stated = max(m.protocol, version), version
    return at + 1


def op_frame(m: Machine, at: int) -> int:
    m.need(at + 8)
    return at + 8


def op_stop(m: Machine, at: int) -> NoReturn:
    if not m.stack:
        raise Damaged("the pickle is damaged: it ends without a value")
    raise Stop(at)


def op_unknown(m: Machine, at: int) -> NoReturn:
    raise Damaged(f"the pickle is damaged at byte {at - 1}: {m.data[at - 1]:#04x} is no opcode")
