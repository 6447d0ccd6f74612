"""The entries of a zip's central directory, read some hundred at a time, and the records that they describe.

An archive can have 100,000 records of which hardly one is ever asked for alone. So the bytes of the directory are kept
as they are, and a `Record` is made of them when somebody wants it. To read on, each question is put to one field of
many entries at once; entries of which an answer is unusual are read one after the other.

Source: APPNOTE.TXT 6.3.10, FORMATS section 2.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping, ValuesView
from operator import sub
from typing import NamedTuple, Protocol

from ckpt_viewer.core.progress import EVERY, Context
from ckpt_viewer.errors import Damaged
from ckpt_viewer.formats.zip_names import FEWEST, Names

ENTRY = struct.Struct("<4s4x2H4x3I3H4x2I")
MAGIC = b"PK\x01\x02"
MAX32, MAX16 = 0xFFFFFFFF, 0xFFFF
SLACK = MAX16 + 24
"""Bytes that may lie between the data of one record and the header of the next: an extra field and a descriptor."""
TWICE = "the archive has two records named {!r}, of which programs take different ones; do not load it"
TOGETHER = 512
"""Entries that are read at once; about 0.2 ms."""
WORTH, LONGEST = FEWEST, 255
"""Entries that are worth reading together, and bytes of a name of theirs."""
_LOCAL_HEAD = 30
_FLAGS, _METHOD, _CRC, _STORED, _SIZE, _NAMES, _ATTRIBUTES, _HEADER = 8, 10, 16, 20, 24, 28, 38, 42
"""Where fields stand in an entry, in bytes."""
_ZERO = b"\0"
_NO_FOLDER = bytes(byte for byte in range(256) if not byte & 0x10)
"""What the first byte of the attributes of a record is that is no folder."""


class Record(NamedTuple):
    """One record of the central directory.

    Attributes:
        name: path inside the archive. header: bytes from the start of the file to its local header.
        stored: bytes in the file. size: bytes once inflated; the same where nothing is compressed.
        method: 0 stored, 8 deflated. flags: general purpose bits. crc: CRC-32 as stated.
    """

    name: str
    header: int
    stored: int
    size: int
    method: int
    flags: int
    crc: int


class Noted(Protocol):
    """Who is told what is odd: a `ZipDirectory`, whose attributes these are."""

    jumps: list[str]
    undecoded: list[str]
    flags: int
    packed: bool
    crcs: bool


class Entries(Mapping[str, Record]):
    """The records of a directory by name, in its order.

    Attributes:
        end: bytes from the start of the directory to what follows its last entry.
    """

    def __init__(self, data: bytes, count: int, noted: Noted, context: Context) -> None:
        """Read `count` entries.

        Raises:
            Damaged: they make no sense, or two have one name. Cancelled: by `context`.
        """
        self._data, self._noted = data, noted
        self._names = Names()
        self._starts, self._sizes = array("q"), array("Q")
        self._reached = self.end = alone = 0
        while (left := count - len(self._names)) > 0:
            if alone % EVERY == 0:
                context.step(len(self._names), count)
            if alone == 0 and self._read_many(min(left, TOGETHER)):
                continue
            self._read_one()
            alone = (alone or TOGETHER) - 1

    def _read_one(self) -> None:
        at = self.end
        if at + ENTRY.size > len(self._data):
            raise Damaged("the zip directory is shorter than it says; copy or download the file again")
        magic, _, _, _, _, _, names, extras, comments, attributes, _ = ENTRY.unpack_from(self._data, at)
        if magic != MAGIC:
            raise Damaged("the zip directory is damaged; copy or download the file again")
        raw = self._data[at + ENTRY.size : at + ENTRY.size + names]
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            name = name_of(raw)
            self._noted.undecoded.append(name)
        _, header, stored, size, method, flags, crc = self._record(name, at)
        if self._names.row(name) is not None:
            raise _twice(name)
        if attributes & 0x10 and not name.endswith("/"):
            raise Damaged(f"the archive calls {name!r} a folder though it is a record", code="record-folder")
        if not 0 <= header - self._reached <= SLACK:
            self._noted.jumps.append(name)
        self._reached = header + _LOCAL_HEAD + names + stored
        self._noted.flags |= flags
        self._noted.packed |= method != 0
        self._noted.crcs |= crc != 0
        self._names.add([name])
        self._starts.append(at)
        self._sizes.append(size)
        self.end = at + ENTRY.size + names + extras + comments

    def _read_many(self, most: int) -> bool:
        """Read up to `most` entries of one length if nothing about them is unusual; else read none and return False."""
        alike = _Alike(self._data, self.end, most)
        if alike.count < WORTH or alike.any(_ATTRIBUTES, _NO_FOLDER) or alike.saturated():
            return False
        words = alike.names()
        headers, stored, sizes = (alike.numbers(at, 4) for at in (_HEADER, _STORED, _SIZE))
        distance = _LOCAL_HEAD + alike.length
        gaps = [headers[0] - self._reached, *map(sub, map(sub, headers[1:], headers), map(distance.__add__, stored))]
        if len(words) != alike.count or min(gaps) < 0 or max(gaps) > SLACK:
            return False
        for flags in {*alike.numbers(_FLAGS, 2)}:
            self._noted.flags |= flags
        self._noted.packed |= alike.any(_METHOD) or alike.any(_METHOD + 1)
        self._noted.crcs |= any(alike.any(_CRC + byte) for byte in range(4))
        again = self._names.add(words)
        if again is not None:
            raise _twice(again)
        end = self.end + alike.count * alike.step
        self._starts.extend(range(self.end, end, alike.step))
        self._sizes.extend(sizes)
        self.end, self._reached = end, headers[-1] + stored[-1] + distance
        return True

    def _record(self, name: str, at: int) -> Record:
        _, flags, method, crc, stored, size, names, extras, _, _, header = ENTRY.unpack_from(self._data, at)
        if MAX32 in (stored, size, header):
            behind = at + ENTRY.size + names
            size, stored, header = _zip64(self._data[behind : behind + extras], size, stored, header)
        return Record(name, header, stored, size, method, flags, crc)

    def row(self, name: str) -> int | None:
        """Return the place of a record among all, from 0; None if there is none of this name."""
        return self._names.row(name)

    def __getitem__(self, name: str) -> Record:
        row = self._names.row(name)
        if row is None:
            raise KeyError(name)
        return self._record(name, self._starts[row])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._names.row(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def values(self) -> ValuesView[Record]:
        """Return the records in the order of the directory."""
        return _Values(self)

    def in_order(self) -> Iterator[Record]:
        """Yield the records in the order of the directory, none of them looked up by its name."""
        return map(self._record, self._names, self._starts)

    def __reversed__(self) -> Iterator[str]:
        for at in reversed(self._starts):
            length = ENTRY.unpack_from(self._data, at)[6]
            yield name_of(self._data[at + ENTRY.size : at + ENTRY.size + length])

    def sizes(self, folder: str, keys: list[str], suffix: str = "") -> list[int | None]:
        """Return the bytes that records have once inflated; None for those that are not there.

        Args:
            folder, suffix: what stands before and behind each of the `keys` in a name.
        """
        first = self._names.follow(folder, keys) if keys and not suffix else None
        if first is not None:  # as torch writes them
            return [*self._sizes[first : first + len(keys)]]
        rows = (self._names.row(f"{folder}{key}{suffix}") for key in keys)
        return [None if row is None else self._sizes[row] for row in rows]

    def joined(self, between: str) -> str:
        """Return all names in the order of the directory, with something between them."""
        return self._names.joined(between)


class _Values(ValuesView[Record]):
    """Records in the order of the directory."""

    _mapping: Entries

    def __iter__(self) -> Iterator[Record]:
        return self._mapping.in_order()


class _Alike:
    """Entries that follow each other, whose names are of one length as are their extra fields.

    Attributes:
        count: how many; 0 if the first makes no sense. step: bytes of an entry. length: bytes of a name.
    """

    def __init__(self, data: bytes, at: int, most: int) -> None:
        self.count = self.length = 0
        if at + ENTRY.size > len(data):
            return
        lengths = ENTRY.unpack_from(data, at)[6:9]
        self.length, self.step = lengths[0], ENTRY.size + sum(lengths)
        self._data = data[at : at + most * self.step]
        count = len(self._data) // self.step
        for byte in (*range(len(MAGIC)), *range(_NAMES, _NAMES + 6)):
            column = self._data[byte : count * self.step : self.step]
            count = len(column) - len(column.lstrip(column[:1]))
        self.count = count if self._data.startswith(MAGIC) and 0 < self.length <= LONGEST else 0
        self._data = self._data[: count * self.step]

    def any(self, byte: int, usual: bytes = _ZERO) -> bool:
        """Whether a byte of the entries is none of the usual ones."""
        return bool(self._data[byte :: self.step].translate(None, usual))

    def saturated(self) -> bool:
        """Whether a number may stand in an extra field because it has no place here."""
        return any(255 in self._data[field + 3 :: self.step] for field in (_STORED, _SIZE, _HEADER))

    def numbers(self, at: int, width: int) -> list[int]:
        """Return a field of the entries, `width` bytes wide."""
        numbers = bytearray(self.count * width)
        for byte in range(width):
            numbers[byte::width] = self._data[at + byte :: self.step]
        return [*memoryview(numbers).cast("H" if width == 2 else "I")]

    def names(self) -> list[str]:
        """Return the names; fewer or others where they are no plain text."""
        joined = bytearray(b"\n") * (self.count * (self.length + 1))
        for byte in range(self.length):
            joined[byte :: self.length + 1] = self._data[ENTRY.size + byte :: self.step]
        return joined[:-1].decode().split("\n") if joined.isascii() else []


def _twice(name: str) -> Damaged:
    return Damaged(TWICE.format(name), code="duplicate-record")


def name_of(raw: bytes) -> str:
    """Return a name as text: UTF-8, or what old programs wrote."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _zip64(extra: bytes, size: int, stored: int, header: int) -> tuple[int, int, int]:
    """Return sizes and header offset, the saturated ones from the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            wanted = [value == MAX32 for value in (size, stored, header)]
            if length < 8 * sum(wanted) or at + 4 + length > len(extra):
                break
            numbers = list(struct.unpack_from(f"<{sum(wanted)}Q", extra, at + 4))
            size, stored, header = (
                numbers.pop(0) if large else value for large, value in zip(wanted, (size, stored, header), strict=True)
            )
            return size, stored, header
        at += 4 + length
    raise Damaged("the zip directory has a record above 4 GB without its size; the archive is damaged")
