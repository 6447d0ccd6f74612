"""How the opcodes of a distributed checkpoint's metadata look: chunks, places, and the numbers in them.

Source: what CPython's pickle of protocol 4 and 5 makes of the classes of torch/distributed/checkpoint/metadata.py.
"""

from __future__ import annotations

import re

from ckpt_viewer.core.regions import Box

_REF = rb"(?:h.|j.{4})"
_INT = rb"(?:K.|M..|J.{4}|\x8a\x05.{5}|\x8a\x06.{6}|\x8a\x07.{7}|\x8a\x08.{8})"
_INTS = rb"(?:\)|" + _INT + rb"{1,3}[\x85-\x87]\x94|\(" + _INT + rb"{4,64}?t\x94)"
_TEXT = rb"(?:h.|j.{4}|\x8c.[ -~]*\x94)"
_MADE = rb"\)\x81"
_STATE = rb"\x94}\x94\("
_SIZE_END = rb"\x85\x94R\x94"


_SIZES = _INTS + _SIZE_END


def _chunk(start: bytes, cls: bytes, size: bytes, again: bytes) -> bytes:
    """The state of a chunk: names of its two attributes, the class of both, and the class as the second is made."""
    return _STATE + start + cls + _SIZES + size + again + _SIZES + rb"ub"


_SAME = _chunk(rb"(?P=start)", rb"(?P=cls)", rb"(?P=size)", rb"(?P=cls)")
RUN = re.compile(
    _chunk(rb"(?P<start>" + _REF + rb")", rb"(?P<cls>" + _REF + rb")", rb"(?P<size>" + _REF + rb")", rb"(?P=cls)")
    + rb"(?:(?P<chunk>"
    + _REF
    + rb")"
    + _MADE
    + _SAME
    + rb"(?:(?P=chunk)"
    + _MADE
    + _SAME
    + rb")*)?",
    re.DOTALL,
)
_CHUNK = re.compile(
    _STATE + (_REF + _REF + rb"(" + _INTS + rb")" + _SIZE_END) * 2 + rb"ub(?:" + _REF + _MADE + rb")?", re.DOTALL
)
PLACE_STATE = re.compile(
    _STATE + rb"(" + _REF + rb")(" + _TEXT + rb")(" + _REF + rb")(?:" + _INT + rb"|N)"
    rb"(?:(" + _REF + rb")(" + _REF + rb")(" + _INTS + rb")" + _SIZE_END + rb")?ub"
    rb"(" + _REF + rb")" + _MADE + _STATE + rb"(" + _REF + rb")(" + _TEXT + rb")"
    rb"(" + _REF + rb")(" + _INT + rb")(" + _REF + rb")(" + _INT + rb")ub(" + _REF + _MADE + rb")?",
    re.DOTALL,
)


def boxes_of(raw: bytes) -> tuple[tuple[Box, ...], int] | None:
    """Return the chunks of a run and how many memo slots they fill; None where a tuple is shorter than stated."""
    boxes, slots, at = [], 0, 0
    while at < len(raw):
        found = _CHUNK.match(raw, at)
        start, size = (integers(found[1]), integers(found[2])) if found is not None else (None, None)
        if found is None or start is None or size is None:
            return None
        boxes.append(Box(start, size))
        slots += 8 - (found[1] == b")") - (found[2] == b")")
        at = found.end()
    return tuple(boxes), slots


def integer(code: bytes) -> int:
    """Return the number that one opcode makes."""
    if code[0] == 0x4B:
        return code[1]
    if code[0] == 0x4D:
        return code[1] | code[2] << 8
    return int.from_bytes(code[1 if code[0] == 0x4A else 2 :], "little", signed=True)


_SPLIT = re.compile(_INT, re.DOTALL)


def integers(code: bytes) -> tuple[int, ...] | None:
    """Return the tuple that some opcodes make, None where it has a negative number or another length than stated."""
    if code == b")":
        return ()
    marked = code[:1] == b"("
    numbers, at = [], int(marked)
    while (found := _SPLIT.match(code, at)) is not None:
        numbers.append(integer(found[0]))
        at = found.end()
    stated = len(numbers) if marked else code[-2] - 0x84
    if at != len(code) - 2 or len(numbers) != stated or min(numbers) < 0:
        return None
    return tuple(numbers)
