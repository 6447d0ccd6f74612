"""The storages of a torch zip whose directory is missing or damaged, as far as their records were found."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.tensor import Bytes, Extent, StorageSpec
from ckpt_viewer.errors import Lost
from ckpt_viewer.formats.local_headers import Local, inflate
from ckpt_viewer.sources import CutSource, MemorySource


class Found(NamedTuple):
    """A storage of which a record was found.

    Attributes:
        local: its header. stored: bytes it takes in the file. trusted: bytes of its data, from their start, that are
        there and right, as far as can be told. crc: as stated behind the data; None without.
        problem: why not all of it is trusted; ``""`` if it is.
    """

    local: Local
    stored: int
    trusted: int
    crc: int | None
    problem: str


class SalvagedStorages:
    """The home of the storages of a broken archive.

    Attributes:
        found: by key, those of which there is a record. sizes: by key, those that the pickle describes.
        big_endian: whether the archive states that order.
    """

    def __init__(self, source: Bytes, prefix: str) -> None:
        self.source, self.prefix, self.big_endian = source, prefix, False
        self.found: dict[str, Found] = {}
        self.sizes: dict[str, StorageSpec] = {}

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie; raises Lost. A part that is cut off raises Lost when it is read."""
        found = self.found.get(key)
        if found is None:
            raise Lost(f"storage {key} is not in what is left of the file; copy or download it again")
        problem = f"storage {key} is {found.problem}; copy or download the file again"
        if found.problem and not found.trusted:
            raise Lost(problem)
        start, nbytes = found.local.start, self.sizes[key].nbytes
        if found.problem:
            return Extent(CutSource(self.source, start + found.trusted, problem), start, nbytes, self.big_endian)
        if found.local.method:
            data = inflate(self.source, found.local, nbytes)[0]
            return Extent(MemorySource(data, found.local.name), 0, len(data), self.big_endian, found.crc)
        return Extent(self.source, start, nbytes, self.big_endian, found.crc)
