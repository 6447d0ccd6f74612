"""A pickle in an archive without a usable directory: nothing may say how long it is, and the file may end in it."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.expand import children
from ckpt_viewer.core.tensor import StorageHome
from ckpt_viewer.errors import Truncated
from ckpt_viewer.formats.base import Inside, NestedOpener
from ckpt_viewer.formats.local_headers import Local, Locals, inflate_some
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled

_WINDOW = 1 << 20


class Pickle(NamedTuple):
    """What is there of the pickle that describes an archive.

    Attributes:
        read: what it describes. data: its bytes, inflated. stored: bytes that it takes in the file.
        missing: bytes that it has at the least behind the end of the file; 0 if it is whole.
    """

    read: Unpickled
    data: bytes
    stored: int
    missing: int = 0


def read_pickle(places: Locals, local: Local, home: StorageHome, inside: Inside, nested: NestedOpener | None) -> Pickle:
    """Read the pickle behind a local header, or as much of it as the file has.

    Raises:
        CheckpointError: it is damaged, too large, or nothing of it is whole. Cancelled: by the context.
    """
    source, rest, window = places.source, places.source.size - local.start, _WINDOW
    sized = bool(local.method) or not local.streamed
    while True:
        data, stored = _bytes_of(places, local, rest if sized else min(window, rest))
        reader = PickleReader(
            data, home, context=inside.context, depth=inside.depth, nested=nested, justified=source.size
        )
        try:
            read = reader.read(0)
            break
        except Truncated as error:
            if sized or window >= rest:
                left = left_of(reader) if stored > rest or not sized else None
                if left is None:
                    raise
                missing = error.offset + error.wanted - len(data)
                return Pickle(left, data, stored, max(1, stored - rest, 0 if local.method else missing))
        window *= 8
    if not sized:
        stored = places.length(local, read.end) or read.end
        data = data[:stored] if stored <= len(data) else source.read_at(local.start, stored)
    return Pickle(read, data, stored)


def _bytes_of(places: Locals, local: Local, most: int) -> tuple[bytes, int]:
    """Return the bytes of a record, inflated, and how many it takes in the file: more than are there if it is cut."""
    if local.method:
        return inflate_some(places.source, local, None if local.streamed else local.size)
    size = most if local.streamed else local.stored
    return places.source.read_at(local.start, min(size, most)), size


def left_of(reader: PickleReader) -> Unpickled | None:
    """Return what is whole of a pickle that breaks off; None where that is nothing, or an empty container."""
    left = reader.left()
    return None if left is None or next(iter(children(left.value)), None) is None else left


def read_or_left(reader: PickleReader, inside: Inside) -> Unpickled:
    """Return what a pickle describes, or where salvaging is asked for what is whole of one that breaks off.

    Raises:
        CheckpointError: it is damaged, or nothing of it is whole. Cancelled: by the context.
    """
    try:
        return reader.read(0)
    except Truncated:
        left = left_of(reader) if inside.salvage else None
        if left is None:
            raise
        return left
