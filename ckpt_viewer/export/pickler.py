"""The opcodes that torch.load(weights_only=True) accepts, for writing a state_dict without torch.

Protocol 2, nothing but the opcodes of FORMATS 3.1; every torch since 1.6 reads them. Source: CPython's pickletools.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from ckpt_viewer.errors import CannotExport

BATCH = 32
"""Pairs in one SETITEMS: keeps a reader's stack short, and the writer looks up after each."""

PART = 1 << 16
"""Bytes of a pickle that are handed over at once."""


class Pickler:
    """Appends one value after another; who uses it keeps the order that a pickle needs (postfix).

    Attributes:
        data: the pickle so far, or what of it was not handed over.
    """

    def __init__(self) -> None:
        self.data = bytearray(b"\x80\x02")
        self._memo: dict[tuple[str, ...], int] = {}

    def hand_over(self, take: Callable[[bytearray], object]) -> None:
        """Give what there is so far to `take`, and forget it but for what the memo knows."""
        take(self.data)
        self.data = bytearray()

    def op(self, code: bytes) -> None:
        """Append opcodes that need no argument."""
        self.data += code

    def text(self, value: str, *, once: bool = False) -> None:
        """Push a string; one that comes again is taken from the memo, unless it is known to come only `once`."""
        if once or not self._recall((value,)):
            raw = value.encode("utf-8", "surrogatepass")
            self.data += b"X" + struct.pack("<I", len(raw)) + raw
            if not once:
                self._remember((value,))

    def name(self, module: str, name: str) -> None:
        """Push a GLOBAL."""
        if not self._recall((module, name)):
            self.data += b"c" + module.encode("ascii") + b"\n" + name.encode("ascii") + b"\n"
            self._remember((module, name))

    def integer(self, value: int) -> None:
        """Push an int; raises CannotExport beyond 255 bytes, for which weights_only has no opcode."""
        if 0 <= value < 256:
            self.data += b"K%c" % value
        elif 0 <= value < 65536:
            self.data += b"M" + struct.pack("<H", value)
        elif -(1 << 31) <= value < 1 << 31:
            self.data += b"J" + struct.pack("<i", value)
        else:
            size = value.bit_length() // 8 + 1
            if size > 255:
                raise CannotExport("an integer of more than 255 bytes cannot be written")
            self.data += b"\x8a%c" % size + value.to_bytes(size, "little", signed=True)

    def number(self, value: float) -> None:
        """Push a float."""
        self.data += b"G" + struct.pack(">d", value)

    def truth(self, value: bool) -> None:
        """Push a bool."""
        self.data += b"\x88" if value else b"\x89"

    def integers(self, values: Iterable[int]) -> None:
        """Push a tuple of ints."""
        items = tuple(values)
        self.open_tuple(len(items))
        for item in items:
            self.integer(item)
        self.close_tuple(len(items))

    def open_tuple(self, length: int) -> None:
        """Start a tuple of `length` items, which are pushed next."""
        if length > 3:
            self.data += b"("

    def close_tuple(self, length: int) -> None:
        """Finish the tuple that `open_tuple` started."""
        self.data += (b")", b"\x85", b"\x86", b"\x87")[length] if length <= 3 else b"t"

    def ordered_dict(self) -> None:
        """Push an empty collections.OrderedDict."""
        self.name("collections", "OrderedDict")
        self.data += b")R"

    def _recall(self, key: tuple[str, ...]) -> bool:
        slot = self._memo.get(key)
        if slot is None:
            return False
        self.data += b"h%c" % slot if slot < 256 else b"j" + struct.pack("<I", slot)
        return True

    def _remember(self, key: tuple[str, ...]) -> None:
        slot = self._memo[key] = len(self._memo)
        self.data += b"q%c" % slot if slot < 256 else b"r" + struct.pack("<I", slot)
