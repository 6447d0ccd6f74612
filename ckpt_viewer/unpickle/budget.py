"""How much work and memory a pickle of a given size may ask for."""

from __future__ import annotations

from typing import NamedTuple

COST = {"tuple": 150, "list": 180, "mapping": 220, "set": 200, "instance": 320, "string": 56, "mark": 88, "bad": 2000,
        "made": 150, "storage": 100, "raw": 200, "note": 700, "nested": 3000, "opcode": 8, "tensor": 600}  # fmt: skip
"""Bytes that objects are charged with, measured with sys.getsizeof on CPython 3.11, and containers with their place
among the entries; an opcode's are its place on the stack. What is `bad` takes long to list, and no real file has much
of it. Real checkpoints come to 6 to 14 times the size of their pickle."""


class Budget(NamedTuple):
    """Limits for one pickle.

    Attributes:
        opcodes: how many are executed. memory: bytes that its objects are charged with.
        nesting: pickles inside pickles. digits: of an integer written as text, which Python parses in quadratic time.
    """

    opcodes: int
    memory: int
    nesting: int = 4
    digits: int = 4000


def budget_for(size: int) -> Budget:
    """Return the limits for a pickle of `size` bytes.

    A tensor of a state_dict takes 70 to 102 bytes of pickle, 32 opcodes and about 600 bytes of memory; a plain list 72
    bytes for one byte of pickle, so a pickle of lists alone is refused. Where a pickle was inflated, the size of its
    file counts: what is not in the file justifies nothing.
    """
    return Budget(opcodes=2_000_000 + size // 2, memory=100_000_000 + 15 * size)
