"""The fixed pattern in which torch.save writes a tensor, recognised at one glance.

After the first tensor of a file, every further one is the same 30 opcodes with other numbers (`_rebuild_tensor_v2`, its
storage's persistent id, offset, size, stride, an empty OrderedDict of hooks). One regular expression reads all of them
and does to stack and memo exactly what the opcodes would do; anything that differs in the least is left to the opcode
loop.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Mapping, Value

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine

_GET = rb"(h.|j.{4})"
_PUT = rb"(q.|r.{4})"
_INT = rb"K.|M..|J.{4}"
_INTS = rb"(\)|(?:" + _INT + rb"){1,3}[\x85-\x87](?:q.|r.{4})|\((?:" + _INT + rb"){4,8}t(?:q.|r.{4}))"
_PATTERN = re.compile(
    rb"\(" + _GET + _GET + rb"X(.{4})([0-9]{1,20})" + _PUT + _GET + rb"(" + _INT + rb")t" + _PUT + rb"Q"
    rb"(" + _INT + rb")" + _INTS + _INTS + rb"([\x88\x89])" + _GET + rb"\)R" + _PUT + rb"t" + _PUT + rb"R" + _PUT,
    re.DOTALL,
)  # fmt: skip
_COST = 600
_U32 = struct.Struct("<I").unpack_from
_shapes: dict[bytes, tuple[int, ...]] = {}
"""Size and stride tuples by their opcodes; few distinct ones occur, so this saves parsing and memory alike."""


def fast_tensor(m: Machine, at: int) -> int:
    """Read a whole tensor whose first MARK was at ``at - 1``; return the position behind it, or 0 if it is not one.

    The rebuild function lies on top of the stack. Size, stride, persistent id, hooks and arguments occupy memo slots
    like in the opcode loop.
    """
    function = m.stack[-1] if m.stack else None
    if type(function) is not Global or function.name != "_rebuild_tensor_v2" or id(function) not in m.recipe_of:
        return 0
    found = _PATTERN.match(m.data, at)
    if found is None:
        return 0
    (word, kind, key_size, key_text, put_key, place, count, put_pid, offset_code, size_code, stride_code, grad, hooks,
     put_hooks, put_arguments, put_tensor) = found.groups()  # fmt: skip
    memo = m.memo
    slot = len(memo)
    if (
        len(key_text) != int.from_bytes(key_size, "little")
        or m.far_memo
        or _get(memo, word) != "storage"
        or type(cls := _get(memo, kind)) is not Global
        or type(location := _get(memo, place)) is not str
        or type(ordered := _get(memo, hooks)) is not Global
        or ordered.name != "OrderedDict"
        or id(ordered) not in m.recipe_of
    ):
        return 0
    size, size_slots = _ints(size_code, slot + 2)
    stride, stride_slots = _ints(stride_code, slot + 2 + size_slots)
    if size is None or stride is None:
        return 0
    last = slot + 2 + size_slots + stride_slots
    if (put_key, put_pid, put_hooks, put_arguments, put_tensor) != (
        _put(slot), _put(slot + 1), _put(last), _put(last + 1), _put(last + 2)
    ):  # fmt: skip
        return 0
    key = key_text.decode("ascii")
    pid = ("storage", cls, key, location, _int(count))
    storage = m.persistent(m, pid)
    offset = _int(offset_code)
    arguments = (storage, offset, size, stride, grad == b"\x88", Mapping(ordered.qualified))
    tensor = m.recipe_of[id(function)](m, arguments)
    if type(tensor) is not TensorSpec or type(storage) is not StorageSpec:
        tensor = m.call(function, arguments)
    memo += (key, pid) + (size,) * size_slots + (stride,) * stride_slots + (arguments[5], arguments, tensor)
    m.stack[-1] = tensor
    m.charged += _COST
    return found.end()


def _get(memo: list[Value], code: bytes) -> Value:
    index = code[1] if len(code) == 2 else _U32(code, 1)[0]
    return memo[index] if index < len(memo) else None


def _put(slot: int) -> bytes:
    return b"q%c" % slot if slot < 256 else b"r" + slot.to_bytes(4, "little")


def _int(code: bytes) -> int:
    return int.from_bytes(code[1:], "little", signed=len(code) == 5)


def _ints(code: bytes, slot: int) -> tuple[tuple[int, ...] | None, int]:
    """Return the tuple that some opcodes make and how many memo slots they fill; None if the slot is not `slot`."""
    if code == b")":
        return (), 0
    put = _put(slot)
    if not code.endswith(put):
        return None, 0
    body = code[: -len(put)]
    values = _shapes.get(body)
    if values is None:
        values = _parse(body)
        if len(_shapes) < 10_000 and values is not None:
            _shapes[body] = values
    return values, 1


def _parse(body: bytes) -> tuple[int, ...] | None:
    numbers: list[int] = []
    at = 1 if body[:1] == b"(" else 0
    while at < len(body) - 1:
        width = {0x4B: 2, 0x4D: 3, 0x4A: 5}[body[at]]
        numbers.append(_int(body[at : at + width]))
        at += width
    expected = {0x85: 1, 0x86: 2, 0x87: 3}.get(body[-1], len(numbers))
    return tuple(numbers) if expected == len(numbers) else None
