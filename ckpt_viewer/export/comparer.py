"""Comparing a copy with its source while both are still in memory.

Comparing everything at the end would read a file that is larger than the memory from the disk again, twice. So every
stretch is read back and compared as soon as it is written; the disk works on it meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.blocks import StepBytes, comparable
from ckpt_viewer.export.checksums import Sums
from ckpt_viewer.export.reading import Reader, Span

if TYPE_CHECKING:
    from concurrent.futures import Executor

MOST_BYTES = 64 << 20
"""Bytes that are written before they are compared."""
MOST_WAITING = 4096
"""Ranges that are written before they are compared, however small."""


class Copied(NamedTuple):
    """Bytes that were copied.

    Attributes:
        span: from where. position: to where in the new file, in bytes.
        sums: what is computed of them, where nobody has seen them yet.
        digest: of what was read from a source that is slow to read; it is not read again.
    """

    span: Span
    position: int
    sums: Sums | None = None
    digest: Any = None


class Comparer:
    """Compares what was copied into a file, a stretch at a time.

    Args:
        step: told of every byte that is compared. pool: gives what runs the threads that read.
    """

    def __init__(self, file: AtomicFile, step: StepBytes, pool: Callable[[], Executor]) -> None:
        self._file, self._step = file, step
        self._reader, self._other = Reader(pool), Reader(pool)
        self._waiting: deque[Copied] = deque()
        self._waiting_bytes = 0

    def add(self, copied: Copied) -> None:
        """Compare some bytes, now or later; raises as `settle`."""
        self._waiting.append(copied)
        self._waiting_bytes += copied.span.nbytes
        if self._waiting_bytes >= MOST_BYTES or len(self._waiting) == MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Compare what is waiting; then its sources may be closed.

        Raises:
            WriteFailed: the file is not what was copied into it. SourceError. Cancelled: by `step`.
        """
        self._file.flush()
        while self._waiting:  # one by one: to free 100,000 at once would hold everybody up
            copied = self._waiting.popleft()
            if not self._same(copied):
                raise differs(f"bytes {copied.position} and following")
        self._waiting_bytes = 0

    def free(self) -> None:
        """Let go of the blocks that were read into."""
        self._reader.free()
        self._other.free()

    def _same(self, copied: Copied) -> bool:
        if copied.digest is not None:
            return self._same_digest(copied)
        offset = copied.span.offset
        ours = self._reader.blocks(copied.span)
        theirs = self._other.blocks(Span(self._file, copied.position, copied.span.nbytes))
        with closing(ours), closing(theirs):
            for one, other in zip(ours, theirs, strict=True):
                if copied.sums is not None:
                    copied.sums.feed(offset, one)
                if comparable(one) != comparable(other):
                    return False
                offset += len(one)
                self._step(len(one))
        return True

    def _same_digest(self, copied: Copied) -> bool:
        """Compare with what was read when it was written."""
        found = digest()
        with closing(self._other.blocks(Span(self._file, copied.position, copied.span.nbytes))) as blocks:
            for block in blocks:
                found.update(block)
                self._step(len(block))
        return bool(found.digest() == copied.digest.digest())


def digest() -> Any:
    """Return what a digest of bytes is made with: SHA-256."""
    from hashlib import sha256  # for the few exports that need it

    return sha256()


def differs(where: str) -> WriteFailed:
    """Return the error for a copy that is not what it should be."""
    return WriteFailed(f"the copy differs from the source at {where}, so it was removed; check the disk and try again")
