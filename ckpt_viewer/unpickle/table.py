"""Which byte is which opcode, and which of them torch's weights_only unpickler understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.unpickle import opcodes as op
from ckpt_viewer.unpickle import opcodes_plain as val
from ckpt_viewer.unpickle import opcodes_stack as stack
from ckpt_viewer.unpickle.weights_only import of_opcode

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Handler, Machine

# Both dicts map the opcode's byte to its handler. Source of the split: torch/_weights_only_unpickler.py (FORMATS 3.1).
WEIGHTS_ONLY_OPCODES: dict[bytes, Handler] = {
    b"c": op.op_global, b"\x81": op.op_newobj, b"R": op.op_reduce, b"b": op.op_build, b"a": op.op_append,
    b"e": op.op_appends, b"s": op.op_setitem, b"u": op.op_setitems, b"(": op.op_mark, b"t": op.op_tuple,
    b"\x85": op.op_tuple1, b"\x86": op.op_tuple2, b"\x87": op.op_tuple3, b"N": val.op_none, b"\x89": val.op_false,
    b"\x88": val.op_true, b")": op.op_empty_tuple, b"]": op.op_empty_list, b"}": op.op_empty_dict,
    b"\x8f": op.op_empty_set, b"J": val.op_binint, b"K": val.op_binint1, b"M": val.op_binint2, b"G": val.op_binfloat,
    b"X": val.op_binunicode, b"U": val.op_short_binstring, b"Q": op.op_binpersid, b"h": stack.op_binget,
    b"j": stack.op_long_binget, b"q": stack.op_binput, b"r": stack.op_long_binput, b"\x8a": val.op_long1,
    b"\x80": stack.op_proto, b".": stack.op_stop,
}  # fmt: skip

OTHER_OPCODES: dict[bytes, Handler] = {
    b"0": stack.op_pop, b"1": stack.op_pop_mark, b"2": stack.op_dup, b"F": val.op_float, b"I": val.op_int,
    b"L": val.op_long, b"P": op.op_persid, b"S": val.op_string, b"T": val.op_binstring, b"V": val.op_unicode,
    b"d": op.op_dict, b"g": stack.op_get, b"i": op.op_inst, b"l": op.op_list, b"o": op.op_obj, b"p": stack.op_put,
    b"\x82": op.op_ext1, b"\x83": op.op_ext2, b"\x84": op.op_ext4, b"\x8b": val.op_long4, b"B": val.op_binbytes,
    b"C": val.op_short_binbytes, b"\x8c": val.op_short_binunicode, b"\x8d": val.op_binunicode8,
    b"\x8e": val.op_binbytes8, b"\x90": op.op_appends, b"\x91": op.op_frozenset, b"\x92": op.op_newobj_ex,
    b"\x93": op.op_stack_global, b"\x94": stack.op_memoize, b"\x95": stack.op_frame, b"\x96": val.op_binbytes8,
    b"\x97": val.op_out_of_band, b"\x98": val.op_out_of_band,
}  # fmt: skip


def _refused(code: bytes, handler: Handler) -> Handler:
    """The handler, noting that weights_only would stop here; so the usual opcodes pay nothing for the question."""

    def noted(m: Machine, at: int) -> int:
        if m.refusal is None:
            m.refusal = of_opcode(code[0], m.protocol)
        return handler(m, at)

    return noted


def _table() -> list[Handler]:
    table: list[Handler] = [stack.op_unknown] * 256
    for code, handler in WEIGHTS_ONLY_OPCODES.items():
        table[code[0]] = handler
    for code, handler in OTHER_OPCODES.items():
        table[code[0]] = _refused(code, handler)
    return table


TABLE = _table()
"""Handler of each opcode byte."""
