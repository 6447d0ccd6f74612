"""Storages that a pickle names: their dtypes, those whose bytes lie in it or in others, and ids written as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckpt_viewer.core.dtype import STORAGE_CLASSES, STORAGE_MODULES
from ckpt_viewer.core.tensor import Extent, StorageSpec
from ckpt_viewer.core.value import Value
from ckpt_viewer.sources import MemorySource

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine


class MemoryHome:
    """Holds the bytes of one storage that lie in the pickle itself."""

    def __init__(self, prefix: str, data: bytes) -> None:
        self.prefix, self.data = prefix, data

    def extent(self, key: str) -> Extent:
        """Return the bytes in memory."""
        return Extent(MemorySource(self.data, key), 0, len(self.data))


class ViewHome:
    """Finds the bytes of a storage view inside its root storage."""

    def __init__(self, root: StorageSpec, offset: int) -> None:
        self.root, self.offset = root, offset
        self.prefix = f"{root.unique_key}!"

    def extent(self, key: str) -> Extent:
        """Return the rest of the root from where the view starts; raises as the root's home does."""
        del key
        whole = self.root.extent()
        return whole._replace(offset=whole.offset + self.offset, nbytes=whole.nbytes - self.offset, crc=None)


def storage_dtype(module: str, name: str) -> str | None:
    """Return the dtype of a storage class, ``""`` for the untyped one; None if the name is no storage class."""
    return STORAGE_CLASSES.get(name) if module in STORAGE_MODULES else None


_PID_TEXT = r"\('storage', <class '([\w.]+)'>, '(\d+)', '([^'\\\n]*)', (\d+)(, None)?\)"
"""A storage's persistent id as protocol 0 writes it: the repr of the tuple."""


def pid_from_text(machine: Machine, pid: Value) -> Value:
    found = re.fullmatch(_PID_TEXT, pid) if type(pid) is str else None
    if found is None:
        return pid
    module, _, name = found[1].rpartition(".")
    plain = ("storage", machine.find_global(module, name), found[2], found[3], int(found[4]))
    return plain if found[5] is None else (*plain, None)
