"""Opcodes that push a value by itself: numbers, text, bytes. The form of a handler is told in `opcodes`."""

from __future__ import annotations

import re
import struct
from typing import NoReturn

from ckpt_viewer.errors import Damaged, Unsupported
from ckpt_viewer.unpickle.budget import COST
from ckpt_viewer.unpickle.machine import Machine

U16 = struct.Struct("<H").unpack_from
I32 = struct.Struct("<i").unpack_from
U32 = struct.Struct("<I").unpack_from
U64 = struct.Struct("<Q").unpack_from
F64 = struct.Struct(">d").unpack_from


LONG_TEXT = 1 << 16
"""Bytes of a text from which on it matters how it is decoded."""
_NOT_ASCII, _WIDEST = re.compile(rb"[\x80-\xff]|\\[uU]"), re.compile(rb"[\xf0-\xff]|\\U")
"""What makes a character of a str take more than a byte, and more than two; escapes are those of protocol 0."""


def read_line(m: Machine, at: int) -> tuple[bytes, int]:
    end = m.data.find(b"\n", at)
    if end < 0:
        m.need(len(m.data) + 1)
    return m.data[at:end], end + 1


def text_line(m: Machine, at: int) -> tuple[str, int]:
    raw, at = read_line(m, at)
    return raw.decode("utf-8", "surrogateescape"), at


def int_text(m: Machine, text: bytes) -> int:
    if len(text) > m.budget.digits:
        raise Damaged(f"the pickle is damaged: an integer of {len(text)} digits as text")
    return int(text)


# --- plain values -------------------------------------------------------------------------------------------------


def op_none(m: Machine, at: int) -> int:
    m.stack.append(None)
    return at


def op_true(m: Machine, at: int) -> int:
    m.stack.append(True)
    return at


def op_false(m: Machine, at: int) -> int:
    m.stack.append(False)
    return at


def op_int(m: Machine, at: int) -> int:
    raw, at = read_line(m, at)
    m.stack.append({b"00": False, b"01": True}[raw] if raw in (b"00", b"01") else int_text(m, raw))
    return at


def op_binint(m: Machine, at: int) -> int:
    m.stack.append(I32(m.data, at)[0])
    return at + 4


def op_binint1(m: Machine, at: int) -> int:
    m.stack.append(m.data[at])
    return at + 1


def op_binint2(m: Machine, at: int) -> int:
    m.stack.append(U16(m.data, at)[0])
    return at + 2


def op_long(m: Machine, at: int) -> int:
    raw, at = read_line(m, at)
    m.stack.append(int_text(m, raw.rstrip(b"L")))
    return at


def op_long1(m: Machine, at: int) -> int:
    end = at + 1 + m.data[at]
    m.need(end)
    m.stack.append(int.from_bytes(m.data[at + 1 : end], "little", signed=True))
    return end


def op_long4(m: Machine, at: int) -> int:
    end: int = at + 4 + I32(m.data, at)[0]
    if end < at + 4:
        raise Damaged("the pickle is damaged: an integer of negative length")
    m.need(end)
    m.stack.append(int.from_bytes(m.data[at + 4 : end], "little", signed=True))
    return end


def op_float(m: Machine, at: int) -> int:
    raw, at = read_line(m, at)
    m.stack.append(float(raw))
    return at


def op_binfloat(m: Machine, at: int) -> int:
    m.stack.append(F64(m.data, at)[0])
    return at + 8


_ESCAPE = rb"(?s)\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))"
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\\": b"\\",
            b"'": b"'", b'"': b'"', b"\n": b""}  # fmt: skip


def _unescaped(found: re.Match[bytes]) -> bytes:
    """What an escape of a Python string stands for; codecs.escape_decode warns about those that stand for nothing."""
    if found[1] is not None:
        return bytes([int(found[1], 16)])
    return bytes([int(found[2], 8) & 255]) if found[2] is not None else _ESCAPES.get(found[3], found[0])


# --- text and bytes -----------------------------------------------------------------------------------------------


def _push_text(m: Machine, start: int, end: int) -> int:
    m.need(end)
    m.charged += COST["string"] + end - start
    if end - start <= LONG_TEXT:
        m.stack.append(m.data[start:end].decode("utf-8", "surrogatepass"))
        return end
    raw = memoryview(m.data)[start:end]  # a slice would be a second copy
    _charge_wide(m, raw)
    m.stack.append(str(raw, "utf-8", "surrogatepass"))
    return end


def _charge_wide(m: Machine, raw: bytes | memoryview) -> None:
    """Charge a long text for its widest character: a single one makes all of a str take 2 or 4 bytes."""
    if len(raw) > LONG_TEXT and _NOT_ASCII.search(raw):
        m.charged += len(raw) * (3 if _WIDEST.search(raw) else 1)
        m.check_budget()


def op_unicode(m: Machine, at: int) -> int:
    raw, at = read_line(m, at)
    m.charged += COST["string"] + len(raw)
    _charge_wide(m, raw)
    m.stack.append(raw.decode("raw-unicode-escape"))
    return at


def op_binunicode(m: Machine, at: int) -> int:
    end = at + 4 + U32(m.data, at)[0]
    return _push_text(m, at + 4, end)


def op_short_binunicode(m: Machine, at: int) -> int:
    return _push_text(m, at + 1, at + 1 + m.data[at])


def op_binunicode8(m: Machine, at: int) -> int:
    return _push_text(m, at + 8, at + 8 + U64(m.data, at)[0])


def _push_python2(m: Machine, raw: bytes) -> None:
    """A Python 2 `str`: text where it is UTF-8, else Latin-1; the bytes are kept for those who meant bytes."""
    m.charged += COST["string"] + len(raw)
    _charge_wide(m, raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if not text.isascii():
        m.raw[id(text)] = (text, raw)
        m.charged += COST["raw"] + len(raw)
    m.stack.append(text)


def op_string(m: Machine, at: int) -> int:
    raw, at = read_line(m, at)
    if len(raw) < 2 or raw[:1] not in b"'\"" or raw[-1:] != raw[:1]:
        raise Damaged("the pickle is damaged: a string without its quotes")
    _push_python2(m, re.sub(_ESCAPE, _unescaped, raw[1:-1]))
    return at


def op_binstring(m: Machine, at: int) -> int:
    end: int = at + 4 + U32(m.data, at)[0]
    m.need(end)
    _push_python2(m, m.data[at + 4 : end])
    return end


def op_short_binstring(m: Machine, at: int) -> int:
    end = at + 1 + m.data[at]
    m.need(end)
    _push_python2(m, m.data[at + 1 : end])
    return end


def _push_bytes(m: Machine, start: int, end: int) -> int:
    m.need(end)
    m.charged += COST["string"] + end - start
    m.stack.append(m.data[start:end])
    return end


def op_binbytes(m: Machine, at: int) -> int:
    return _push_bytes(m, at + 4, at + 4 + U32(m.data, at)[0])


def op_short_binbytes(m: Machine, at: int) -> int:
    return _push_bytes(m, at + 1, at + 1 + m.data[at])


def op_binbytes8(m: Machine, at: int) -> int:
    return _push_bytes(m, at + 8, at + 8 + U64(m.data, at)[0])


def op_out_of_band(m: Machine, at: int) -> NoReturn:
    raise Unsupported("the pickle refers to buffers outside of the file (pickle protocol 5); save it without them")
