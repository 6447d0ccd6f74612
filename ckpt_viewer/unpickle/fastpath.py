"""The fixed pattern in which torch.save writes a tensor, recognised at one glance.

After the first tensor of a file, every further one is the same 30 opcodes with other numbers (`_rebuild_tensor_v2`, its
storage's persistent id, which None ends in the legacy stream, offset, size, stride, an empty OrderedDict of hooks). One
regular expression reads all of them and does to stack and memo what the opcodes would do; anything that differs in the
least is left to the opcode loop.

Three memo slots of each tensor (persistent id, hooks, arguments) are marked as skipped: no real file reads them again.
One that does is read once more from its beginning without this shortcut.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Literal, Value
from ckpt_viewer.unpickle.fastmany import fast_run
from ckpt_viewer.unpickle.fastrun import learn
from ckpt_viewer.unpickle.geometry import problem

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine

_INT = rb"(?:K.|M..|J.{4})"
_GET = rb"(h.|j.{4})"
_INTS = rb"(\)|" + _INT + rb"{1,3}[\x85-\x87]|\(" + _INT + rb"{4,8}t)"


def _pattern(put: bytes) -> re.Pattern[bytes]:
    return re.compile(
        rb"\(" + _GET + _GET + rb"X(.\0\0\0)([0-9]{1,20})" + put + _GET + rb"(" + _INT + rb")(N?)t" + put + rb"Q"
        rb"(" + _INT + rb")" + _INTS + rb"(?:" + put + rb")?" + _INTS + rb"(?:" + put + rb")?"
        rb"([\x88\x89])" + _GET + rb"\)R" + put + rb"t" + put + rb"R" + put,
        re.DOTALL,
    )  # fmt: skip


_SHORT, _LONG = _pattern(rb"q(.)").match, _pattern(rb"r(.{4})").match
_KEY, _PUTS = 4, (5, 9, 12, 14, 17, 18, 19)
"""Groups of the pattern: the storage's key, and the memo slots behind it."""
_PACK = {count: struct.Struct(f"<{count}I").pack for count in (5, 6, 7)}
SKIPPED = Literal("object", "skipped", "")
"""Stands in memo slots whose values were not made."""


class SkippedSlot(Exception):
    """A memo slot was read whose value the shortcut did not make."""


class Pattern(NamedTuple):
    """What the numbers of a tensor say; shared by all tensors of the same size, stride and place.

    Attributes:
        numel: elements of its storage. offset, size, stride: as in `TensorSpec`.
    """

    numel: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def fast_tensor(m: Machine, at: int) -> int:
    """Read a whole tensor whose first MARK was at ``at - 1``; return the position behind it, or 0 if it is not one."""
    if not m.stack or m.stack[-1] is not m.rebuild or m.far_memo:
        return 0
    memo = m.memo
    slot = len(memo)
    found = (_LONG if slot >= 256 else _SHORT)(m.data, at)
    if found is None:
        return 0
    (word, kind, key_size, key_text, put_key, place, count, legacy, put_pid, offset, size, put_size, stride,
     put_stride, grad, hooks, put_hooks, put_arguments, put_tensor) = found.groups(b"")  # fmt: skip
    names = m.seen_names.get((word, kind, place, hooks)) or _names(m, word, kind, place, hooks)
    numbers = m.seen_numbers.get((count, offset, size, stride, kind)) or _numbers(m, count, offset, size, stride, kind)
    puts = put_key + put_pid + put_size + put_stride + put_hooks + put_arguments + put_tensor
    if names is None or numbers is None or puts != _expected(slot, numbers) or len(key_text) != key_size[0]:
        return 0
    key = key_text.decode("ascii")
    storage = m.fast_storage(key, names[1], names[0], numbers.numel, bool(legacy))
    if storage is None:
        return 0
    tensor = TensorSpec(storage, storage.dtype, numbers.size, numbers.stride, numbers.offset, grad == b"\x88")
    geometry: tuple[Value, ...] = tuple(each for each in (numbers.size, numbers.stride) if each)
    kept = (SKIPPED, *geometry, SKIPPED, SKIPPED)
    if slot >= 256:
        learn(m, found, _KEY, _PUTS, (storage.form, tensor.form, kept))
    memo.append(key)
    memo += kept
    memo.append(tensor)
    m.stack[-1] = tensor
    if not m.shortcuts:  # the loop notes what a name described first, and may not have come to one
        m.made.setdefault(id(m.rebuild), (0, tensor))
    m.shortcuts += 1
    return fast_run(m, found.end()) if m.layouts else found.end()


def _expected(slot: int, numbers: Pattern) -> bytes:
    """Return the memo slots that the opcodes have to fill, as they are written."""
    count = 5 + bool(numbers.size) + bool(numbers.stride)
    if slot >= 256:
        return _PACK[count](*range(slot, slot + count))
    return bytes(range(slot, slot + count)) if slot + count <= 256 else b""


def _names(m: Machine, word: bytes, kind: bytes, place: bytes, hooks: bytes) -> tuple[Global, str] | None:
    """Return storage class and location that the memo reads stand for; None unless all four are what they must be."""
    text, cls, location, ordered = (_get(m.memo, code) for code in (word, kind, place, hooks))
    if text != "storage" or type(cls) is not Global or type(location) is not str or type(ordered) is not Global:
        return None
    if ordered.qualified != "collections.OrderedDict" or m.storage_dtype(cls) is None:
        return None
    m.seen_names[word, kind, place, hooks] = found = (cls, location)
    return found


def _numbers(m: Machine, count: bytes, offset: bytes, size: bytes, stride: bytes, kind: bytes) -> Pattern | None:
    """Return what the numbers say; None if they are no sane view of their storage."""
    cls = _get(m.memo, kind)
    dtype = m.storage_dtype(cls) if type(cls) is Global else None
    found = Pattern(_int(count), _int(offset), _ints(size), _ints(stride))
    if not dtype or found.numel < 0 or found.offset < 0 or min((*found.size, *found.stride), default=0) < 0:
        return None
    storage = StorageSpec("", None, dtype, found.numel, None)
    if problem(storage, dtype, found.offset, found.size, found.stride):
        return None
    if len(m.seen_numbers) < 20_000:
        m.seen_numbers[count, offset, size, stride, kind] = found
    return found


def _get(memo: list[Value], code: bytes) -> Value:
    index = int.from_bytes(code[1:], "little")
    return memo[index] if index < len(memo) else None


def _int(code: bytes) -> int:
    return int.from_bytes(code[1:], "little", signed=len(code) == 5)


def _ints(body: bytes) -> tuple[int, ...]:
    """Return the tuple that some integer opcodes make, the opcode that closes it included."""
    numbers: list[int] = []
    at, end = (1 if body[:1] == b"(" else 0), len(body) - 1
    while at < end:
        width = {0x4B: 2, 0x4D: 3, 0x4A: 5}[body[at]]
        numbers.append(_int(body[at : at + width]))
        at += width
    taken = {0x85: 1, 0x86: 2, 0x87: 3}.get(body[end], len(numbers))
    return tuple(numbers) if taken == len(numbers) else (-1,)
