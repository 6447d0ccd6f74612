"""A device of this computer, as torch names it."""

from __future__ import annotations

from typing import NamedTuple


class DeviceInfo(NamedTuple):
    """A device that tensors can be loaded onto.

    Attributes:
        tag: ``"cpu"``, ``"cuda:0"``, ``"mps"``.
        name: what its maker calls it; ``""`` if unknown.
        memory: bytes in all, None if unknown.
    """

    tag: str
    name: str
    memory: int | None
