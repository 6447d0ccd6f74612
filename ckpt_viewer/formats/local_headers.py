"""The local headers of a zip, for files whose directory cannot be used. FORMATS sections 2.1 and 2.2."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import Damaged, OverBudget, Truncated
from ckpt_viewer.formats.zip_directory import INFLATE_BASE, INFLATE_LIMIT

_HEADER = struct.Struct("<4s5H3I2H")
_DESCRIPTOR, _DESCRIPTOR64 = struct.Struct("<4s3I"), struct.Struct("<4sI2Q")
_MAGIC, _BEHIND = b"PK\x03\x04", b"PK\x07\x08"
_MAX32 = 0xFFFFFFFF
_BLOCK = 1 << 16
_NAME = 4096
_ALIGNMENTS = (64, 1, 8, 16, 32, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Local(NamedTuple):
    """One local header.

    Attributes:
        name: path inside the archive. header: bytes from the start of the file to it. start: to the record's data.
        method: 0 stored, 8 deflated. streamed: whether sizes and CRC follow the data instead of standing here.
        stored, size, crc: as stated; 0 where `streamed`. padding: bytes of its extra field, 4 for tag and length less.
    """

    name: str
    header: int
    start: int
    method: int
    streamed: bool
    stored: int
    size: int
    crc: int
    padding: int


class After(NamedTuple):
    """What follows the data of a record: where the next one begins, and the CRC if one is stated."""

    end: int
    crc: int | None


class Locals:
    """Reads local headers and what confirms them."""

    def __init__(self, source: Bytes, context: Context) -> None:
        self.source, self.context = source, context
        self.search_left = source.size + (16 << 20)
        self._alignments = set(_ALIGNMENTS)

    def read(self, at: int) -> Local | None:
        """Return the header at a place; None if there is none, or one that the file ends in."""
        if not 0 <= at <= self.source.size - _HEADER.size:
            return None
        fields = _HEADER.unpack(self.source.read_at(at, _HEADER.size))
        magic, _, flags, method, _, _, crc, stored, size, names, extras = fields
        start = at + _HEADER.size + names + extras
        if magic != _MAGIC or method not in (0, 8) or flags & 0x61 or not 0 < names <= _NAME:
            return None
        if start > self.source.size:
            return None
        raw = self.source.read_at(at + _HEADER.size, names + extras)
        try:
            name = raw[:names].decode("utf-8")
        except UnicodeDecodeError:
            return None
        streamed = bool(flags & 8)
        if not streamed and _MAX32 in (stored, size):
            stored, size = _zip64(raw[names:])
        padding = extras - 4 if raw[names : names + 2] == b"FB" else -1
        local = Local(name, at, start, method, streamed, 0 if streamed else stored, 0 if streamed else size,
                      0 if streamed else crc, padding)  # fmt: skip
        self._learn(local, names)
        return local

    def _learn(self, local: Local, names: int) -> None:
        """Keep the alignments that the padding of a record fits."""
        if local.padding >= 0:
            begin = local.header + _HEADER.size + names + 4
            fitting = {each for each in self._alignments if -begin % each == local.padding}
            self._alignments = fitting or self._alignments

    def predict(self, at: int, name: int, size: int) -> tuple[int, int]:
        """Return where torch's writer puts the data of a record, and where the next record begins.

        Args:
            at: where its header begins. name: bytes of its name. size: bytes of its data.
        """
        alignment = next(each for each in _ALIGNMENTS if each in self._alignments)
        zip64 = 4 + 16 * (size >= _MAX32) + 8 * (at >= _MAX32) if max(size, at) >= _MAX32 else 0
        start = at + _HEADER.size + name + 4 + zip64
        start += -start % alignment
        behind = 0 if not size else _DESCRIPTOR64.size if zip64 else _DESCRIPTOR.size
        return start, start + size + behind

    def after(self, local: Local, stored: int, size: int | None) -> After | None:
        """Return what follows a record's data; None if it does not confirm the sizes.

        Where the file ends within what should follow, all of the data are there, and that is confirmation enough.

        Args:
            stored: bytes it takes in the file. size: bytes once inflated; None to believe what is stated.
        """
        at = local.start + stored
        if not local.streamed:
            right = local.stored == stored and size in (None, local.size) and at <= self.source.size
            return After(at, local.crc or None) if right else None
        tail = (
            self.source.read_at(at, min(_DESCRIPTOR64.size, self.source.size - at)) if at <= self.source.size else b"?"
        )
        for form in (_DESCRIPTOR, _DESCRIPTOR64):
            if form is _DESCRIPTOR and max(stored, size or 0) > _MAX32:
                continue
            if len(tail) >= form.size:
                magic, crc, packed, plain = form.unpack_from(tail)
                if magic == _BEHIND and packed == stored and size in (None, plain):
                    return After(at + form.size, crc or None)
            elif _begins(form.pack(_BEHIND, 0, stored, stored if size is None else size), tail):
                return After(at + form.size, None)
        return None

    def behind(self, local: Local, stored: int, root: str) -> int | None:
        """Return where the next record begins behind one whose descriptor is damaged; None if none does."""
        for form in (_DESCRIPTOR, _DESCRIPTOR64):
            at = local.start + stored + form.size
            following = self.read(at)
            if following is not None and following.name.startswith(root):
                return at
        return None

    def length(self, local: Local, least: int | None) -> int | None:
        """Return the bytes of a stored record, by what is stated before or behind it; `least` if nothing says it.

        Args:
            least: what is known of its length: it is asked first.
        """
        if not local.streamed:
            return local.stored
        if least is not None and self.after(local, least, least) is not None:
            return least
        at, overlap = local.start + (least or 0), _DESCRIPTOR64.size
        while at < self.source.size and self.search_left > 0:
            self.context.step(at, self.source.size)
            window = self.source.read_at(at, min(_BLOCK + overlap, self.source.size - at))
            self.search_left -= _BLOCK
            place = window.find(_BEHIND)
            while 0 <= place < _BLOCK:
                length = at + place - local.start
                if self.after(local, length, None if local.method else length) is not None:
                    return length
                place = window.find(_BEHIND, place + 1)
            at += _BLOCK
        return least


def _begins(whole: bytes, tail: bytes) -> bool:
    """Whether `tail` is how a descriptor begins, whatever its CRC."""
    return tail[:4] == whole[: len(tail)][:4] and tail[8:] == whole[8 : len(tail)]


def _zip64(extra: bytes) -> tuple[int, int]:
    """Return the stored and the inflated size from the zip64 field of a local header; zeros without one."""
    at = 0
    while at + 20 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1 and length >= 16:
            size, stored = struct.unpack_from("<2Q", extra, at + 4)
            return stored, size
        at += 4 + length
    return 0, 0


def inflate(source: Bytes, local: Local, size: int | None) -> tuple[bytes, int]:
    """Inflate a deflated record.

    Args:
        size: bytes that it must have inflated; None if that is unknown.

    Returns:
        Its data, and the bytes that they take in the file.

    Raises:
        Damaged, Truncated: it cannot be inflated. OverBudget: it would be too large.
    """
    data, stored = inflate_some(source, local, size)
    if local.start + stored > source.size:
        raise Truncated(f"record {local.name!r}", wanted=1, found=0, offset=source.size)
    if size is not None and len(data) != size:
        raise Damaged(f"record {local.name!r} inflates to another size than expected; the archive is damaged")
    return data, stored


def inflate_some(source: Bytes, local: Local, size: int | None) -> tuple[bytes, int]:
    """Return the same of a record that may be cut off: it takes a byte more then than the file has. Raises the same."""
    limit = min(INFLATE_LIMIT, INFLATE_BASE + 15 * source.size)
    if size is not None and size > limit:
        raise OverBudget(f"record {local.name!r} would inflate to {size} bytes; it is damaged or hostile")
    unpacker, pieces, at, count = zlib.decompressobj(-15), list[bytes](), local.start, 0
    most = limit if size is None else size
    try:
        while not unpacker.eof:
            block = unpacker.unconsumed_tail
            if not block and at >= source.size:
                return b"".join(pieces), source.size + 1 - local.start
            if not block:
                block = source.read_at(at, min(_BLOCK, source.size - at))
                at += len(block)
            piece = unpacker.decompress(block, most + 1 - count)
            pieces.append(piece)
            count += len(piece)
            if count > most:
                raise Damaged(f"record {local.name!r} inflates to more than {most} bytes; the archive is damaged")
    except zlib.error as error:
        raise Damaged(f"record {local.name!r} cannot be inflated; the archive is damaged") from error
    return b"".join(pieces), at - len(unpacker.unused_data) - local.start
