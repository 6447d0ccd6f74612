"""The storages behind the pickles of a legacy stream: each an eight-byte element count and its data.

Source: FORMATS 1.3 and H13.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

from ckpt_viewer.core.tensor import Bytes, Extent, StorageSpec
from ckpt_viewer.errors import Damaged, Lost
from ckpt_viewer.sources import CutSource, written_end

HEADER = 8
_AGAIN = "copy or download the file again"


class Tail:
    """The home of the storages, also of a stream that is cut off: what is not there raises Lost."""

    def __init__(self, source: Bytes, prefix: str) -> None:
        self.source, self.prefix = source, prefix
        self._places: dict[str, tuple[int, StorageSpec]] = {}
        self._after: dict[str, tuple[int, StorageSpec]] = {}

    def place(self, storages: list[StorageSpec], start: int) -> int:
        """Compute where every storage lies, and return where the last ends, be that behind the file.

        Args:
            storages: in the order of the file. start: bytes from the start of the file to the first.
        """
        starts = list(accumulate((HEADER + each.nbytes for each in storages), initial=start))
        placed = list(zip(starts, storages, strict=False))
        self._places = {each.key: (at, each) for at, each in placed}
        self._after = {each.key: following for (_, each), following in pairwise(placed)}
        return starts[-1]

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie. Where one is cut off, reading what is not there raises Lost.

        Raises:
            Damaged: its own count says something else than the pickle. Lost: it is not there.
        """
        if key not in self._places:
            raise Lost(f"storage {key!r} is not in the file; {_AGAIN}")
        start, storage = self._places[key]
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
        if self._unwritten_behind(key):
            raise Lost(f"storage {key!r} ends in space that was reserved and never written; {_AGAIN}")
        return Extent(self.source, start + HEADER, nbytes)

    def _unwritten_behind(self, key: str) -> bool:
        """Whether the count behind a storage is zero and should not be: the file's space was reserved, not filled."""
        at, following = self._after.get(key, (0, None))
        if following is None or not following.numel:
            return False
        there = self.source.read_at(at, max(0, min(HEADER, self.source.size - at)))
        return bool(there) and not there.strip(b"\0") and following.numel % (1 << 8 * len(there)) != 0
