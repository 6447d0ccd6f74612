"""The storages behind the pickles of a legacy stream: each an eight-byte element count and its data.

Source: FORMATS 1.3 and H13.
"""

from __future__ import annotations

from array import array
from itertools import accumulate

from ckpt_viewer.core.tensor import Bytes, Extent, StorageSpec
from ckpt_viewer.errors import Damaged, Lost
from ckpt_viewer.sources import CutSource, written_end

HEADER = 8
FAR = 1 << 63
"""Behind the end of any file: what a pickle claims may not fit into eight bytes."""
_AGAIN = "copy or download the file again"


class Tail:
    """The home of the storages, also of a stream that is cut off: what is not there raises Lost."""

    def __init__(self, source: Bytes, prefix: str) -> None:
        self.source, self.prefix = source, prefix
        self._numbers: dict[str, int] = {}
        self._starts = array("Q")
        self._storages: list[StorageSpec] = []

    def place(self, storages: list[StorageSpec], start: int) -> int:
        """Compute where every storage lies, and return where the last ends, be that behind the file.

        Args:
            storages: in the order of the file. start: bytes from the start of the file to the first.
        """
        self._numbers = {each.key: number for number, each in enumerate(storages)}
        starts = list(accumulate((HEADER + each.nbytes for each in storages), initial=start))
        self._starts = array("Q", (min(each, FAR) for each in starts))
        self._storages = storages
        return starts[-1]

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie. Where one is cut off, reading what is not there raises Lost.

        Raises:
            Damaged: its own count says something else than the pickle. Lost: it is not there.
        """
        number = self._numbers.get(key)
        if number is None:
            raise Lost(f"storage {key!r} is not in the file; {_AGAIN}")
        start, storage = self._starts[number], self._storages[number]
        there, nbytes = self.source.size - start - HEADER, storage.nbytes
        if there < 0:
            raise Lost(f"storage {key!r} lies behind the end of the file; {_AGAIN}")
        stated = int.from_bytes(self.source.read_at(start, HEADER), "little", signed=True)
        if stated not in (storage.numel, nbytes):  # an untyped storage that shares memory with a tensor counts bytes
            raise Damaged(
                f"storage {key!r} says {stated} elements in its data and {storage.numel} in the pickle; {_AGAIN}"
            )
        if there < nbytes:
            problem = f"storage {key!r} is cut off: {there} of its {nbytes} bytes are there; {_AGAIN}"
            trusted = written_end(self.source, start + HEADER)
            return Extent(CutSource(self.source, trusted, problem), start + HEADER, nbytes)
        if self._unwritten_behind(number):
            raise Lost(f"storage {key!r} ends in space that was reserved and never written; {_AGAIN}")
        return Extent(self.source, start + HEADER, nbytes)

    def _unwritten_behind(self, number: int) -> bool:
        """Whether the count behind a storage is zero and should not be: the file's space was reserved, not filled."""
        if number + 1 == len(self._storages) or not self._storages[number + 1].numel:
            return False
        at, following = self._starts[number + 1], self._storages[number + 1]
        there = self.source.read_at(at, max(0, min(HEADER, self.source.size - at)))
        return bool(there) and not there.strip(b"\0") and following.numel % (1 << 8 * len(there)) != 0
