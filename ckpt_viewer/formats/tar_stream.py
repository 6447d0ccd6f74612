"""What the members of a torch 0.1 tar hold: small pickles, each with numbers or data behind it.

FORMATS section 1.4. Source: `legacy_load` in torch/serialization.py.
"""

from __future__ import annotations

import re
import struct

from ckpt_viewer.core.finding import GlobalUse, merge_into
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.tensor import Bytes, StorageHome
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import Damaged, Truncated
from ckpt_viewer.formats.tar_members import Member
from ckpt_viewer.sources import SliceSource
from ckpt_viewer.unpickle.reader import PickleReader
from ckpt_viewer.unpickle.storages import storage_dtype

_WINDOW = 512
SMALL_PICKLE = 1 << 16
"""Bytes of the largest pickle in front of a storage's data."""
_KEY = rb"(K.|M..|J....|\x8a\x04.{4}|\x8a\x05.{5}|\x8a\x06.{6}|\x8a\x07.{7}|\x8a\x08.{8})"
_CLASS = rb"c(torch(?:\.cuda)?)\n(\w+)\n(?:q.)?(?:\x87|t)(?:q.)?\."
_STORAGE = re.compile(rb"\x80\x02\(?" + _KEY + rb"(?:X(.)\0\0\0|U(.))([a-z0-9:]{2,40})(?:q.)?" + _CLASS, re.DOTALL)
_TENSOR = re.compile(rb"\x80\x02\(?" + _KEY + _KEY + _CLASS, re.DOTALL)
"""The pickle in front of a storage or a tensor, as torch wrote it; anything else is read by the machine."""


def number_of(value: Value) -> int | None:
    """Return a key, which is an int or its decimal text; None for anything else."""
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if type(value) is int and 0 <= value < 1 << 64 else None


def _pushed(opcode: bytes) -> int:
    """Return the number that an opcode pushes."""
    start = 2 if opcode[:1] == b"\x8a" else 1
    return int.from_bytes(opcode[start:], "little", signed=start == 2 or len(opcode) == 5)


class Stream:
    """Pickles and numbers one after another.

    Attributes:
        source: what there is of the member. at: bytes from its start. size: bytes that it should have.
    """

    def __init__(self, whole: Bytes, member: Member, home: StorageHome, uses: dict[str, GlobalUse]) -> None:
        there = min(member.size, max(0, whole.size - member.offset))
        self.source, self.size = SliceSource(whole, member.offset, there, member.name), member.size
        self.home, self.uses, self.at = home, uses, 0

    def storage(self) -> tuple[int, str, str] | None:
        """Return (key, location, dtype) where the next pickle has torch's form; there may be 100,000 of them."""
        found = _STORAGE.match(self.source.read_at(self.at, min(_WINDOW, self.source.size - self.at)))
        if found is None or (found[2] or found[3])[0] != len(found[4]):
            return None
        module, name = found[5].decode(), found[6].decode("utf-8", "replace")
        key, dtype = _pushed(found[1]), storage_dtype(module, name)
        if dtype is None or key < 0:
            return None
        self._named(module, name)
        self.at += found.end()
        return key, found[4].decode(), dtype

    def tensor(self) -> tuple[Value, ...] | None:
        """Return (key, storage's key, class) where the next pickle has torch's form."""
        found = _TENSOR.match(self.source.read_at(self.at, min(_WINDOW, self.source.size - self.at)))
        if found is None:
            return None
        module, name = found[3].decode(), found[4].decode("utf-8", "replace")
        if not name.endswith("Tensor"):
            return None
        self._named(module, name)
        self.at += found.end()
        return _pushed(found[1]), _pushed(found[2]), name

    def _named(self, module: str, name: str) -> None:
        """Let the machine judge a name once."""
        if f"{module}.{name}" not in self.uses:
            word = f"\x80\x02c{module}\n{name}\n.".encode("latin-1")
            read = PickleReader(word, self.home, place=self.source.name).read(0)
            merge_into(self.uses, read.globals)

    def pickle(self, limit: int = SMALL_PICKLE) -> Value:
        """Return the value of the next pickle; raises Damaged if it is longer than `limit` or refers to objects."""
        window = _WINDOW
        while True:
            size = min(window, self.source.size - self.at)
            try:
                read = PickleReader(self.source.read_at(self.at, size), self.home, place=self.source.name).read(0)
                break
            except Truncated:
                if size < window or window >= limit:
                    raise
                window *= 8
        merge_into(self.uses, read.globals)
        self.at += read.end
        return read.value

    def count(self, what: str) -> int:
        """Return how many follow; raises Damaged where they could not be in the member."""
        value = self.pickle()
        if type(value) is not int or not 0 <= value <= self.size // 8:
            raise Damaged(f"the tar archive states {python_repr(value)} {what}; it is damaged")
        return value

    def number(self, layout: str) -> int:
        """Return the next number in a layout of `struct`."""
        size = struct.calcsize(layout)
        value: int = struct.unpack(layout, self.source.read_at(self.at, size))[0]
        self.at += size
        return value

    def numbers(self, count: int) -> tuple[int, ...]:
        """Return so many 64-bit numbers."""
        data = self.source.read_at(self.at, 8 * count)
        self.at += 8 * count
        return struct.unpack(f"<{count}q", data)
