"""A pickle by itself: pickle.dump, cloudpickle, a model zoo's ``.pkl``. FORMATS section 1.5."""

from __future__ import annotations

from ckpt_viewer.core.finding import Note, merged
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, OverBudget, Truncated
from ckpt_viewer.formats.base import Head, Inside, NestedOpener, Opened, Salvaged
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.reader import PickleReader
from ckpt_viewer.unpickle.weights_only import OTHER_FILE

SIZE_LIMIT = 2 << 30
_LOOKED_AT = 1 << 20
_FIRST = b"(]}cILFSVNGXUTKMJ"
"""Opcodes that a pickle of protocol 0 or 1 begins with."""


class RawPickle:
    """A single pickle that is the whole file."""

    name = "pickle"

    def __init__(self, nested: NestedOpener | None = None) -> None:
        self.nested = nested

    def matches(self, head: Head) -> bool:
        """A protocol header; protocols 0 and 1 have none, so what is there has to make sense as opcodes."""
        if head.data[:1] == b"\x80":
            return len(head.data) > 2 and head.data[1] <= 5
        if not head.data or head.data[:1] not in _FIRST:
            return False
        try:
            end = PickleReader(head.data, Nowhere()).read(0).end
        except Truncated:
            return head.size > len(head.data)
        except CheckpointError:
            return False
        return end == head.size or end > 64

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the pickle; raises CheckpointError."""
        data, reader = self._reader(source, context, depth, prefix)
        try:
            read = reader.read(0)
        except (Damaged, Truncated) as error:
            raise _foreign(data) or error from error
        notes: list[Note] = []
        if read.end < len(data):
            from ckpt_viewer.formats.behind import look_behind, refuse_archive

            refuse_archive(source, read.end, "the pickle")
            notes, uses = look_behind(data, read.end, "the pickle", "", context, backing(source))
            read = read._replace(globals=merged((*read.globals, *uses)))
        return Opened(read, tuple(notes), refused=OTHER_FILE.reason, says=OTHER_FILE.message)

    def salvage(self, source: Bytes, inside: Inside) -> Salvaged:
        """Read the pickle as far as it goes; raises CheckpointError where nothing of it is whole, or it is damaged."""
        _, reader = self._reader(source, inside.context, inside.depth, inside.prefix)
        try:
            reader.read(0)
        except Truncated as error:
            from ckpt_viewer.formats.salvage_pickle import left_of  # few files need it

            read = left_of(reader)
            if read is None:
                raise
            opened = Opened(read, refused=OTHER_FILE.reason, says=OTHER_FILE.message)
            return Salvaged(opened, error.offset + error.wanted, "at least ", open_end=True)
        return Salvaged(self.open(source, inside.context, depth=inside.depth, prefix=inside.prefix), None)

    def _reader(self, source: Bytes, context: Context, depth: int, prefix: str) -> tuple[bytes, PickleReader]:
        if source.size > SIZE_LIMIT:
            raise OverBudget(f"a plain pickle of {source.size} bytes is too large to be read whole")
        data, home = source.read_at(0, source.size), Nowhere(prefix)
        return data, PickleReader(
            data, home, context=context, depth=depth, nested=self.nested, justified=backing(source)
        )


def _foreign(data: bytes) -> NotACheckpoint | None:
    """Say which program mixed its pickle with other data; None if none is known to."""
    if b"joblib.numpy_pickle" in data[:_LOOKED_AT]:
        return NotACheckpoint(
            "this is a joblib file, whose arrays lie within its pickle, no checkpoint; open it with joblib.load, where "
            "you trust it"
        )
    return None


class Nowhere:
    """Stands for the storages of a pickle that has none beside itself."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def extent(self, key: str) -> Extent:
        """Always raises Damaged."""
        raise Damaged(f"storage {key!r} is not in the file")
