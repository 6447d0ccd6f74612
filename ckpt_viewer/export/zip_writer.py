"""A zip file as torch reads it, written front to back without ever seeking.

Records are stored, not deflated, and start at multiples of 64 bytes, so that torch can map them. Their checksums
follow them (data descriptors). Sizes are known beforehand, so whether a record needs zip64 fields is too. Source:
caffe2/serialize/inline_container.cc, PKWARE's APPNOTE 6.3.9; FORMATS 2.1 and 7.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from ckpt_viewer.core.progress import SILENT, Context

ALIGNMENT = 64
"""Bytes; what torch aligns records to."""

ZIP64_LIMIT = 0xFFFFFFFF
"""Sizes and offsets from here on do not fit into the old 32-bit fields."""

COUNT_LIMIT = 0xFFFF
_DESCRIPTOR, _UTF8 = 0x0008, 0x0800
_DATE = 0x0021
"""1980-01-01, the first day that a zip can name: torch's 0 is none and makes some programs fail."""

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")

Write: TypeAlias = Callable[["bytes | bytearray | memoryview"], object]


class CentralEntry(NamedTuple):
    """One record as the central directory describes it.

    Attributes:
        name: raw bytes, the root folder included. crc: CRC-32 of the data.
        stored, size: bytes in the file and when inflated. offset: of the local header, bytes from the start of the
            file.
        flags, method, time, date, attributes: the fields of these names, unchanged where a record is copied.
    """

    name: bytes
    crc: int
    stored: int
    size: int
    offset: int
    flags: int = _DESCRIPTOR | _UTF8
    method: int = 0
    time: int = 0
    date: int = _DATE
    attributes: int = 0


class ZipWriter:
    """Writes records, then the directory. Every method appends.

    The directory is kept as the bytes that it will be: 100,000 records of it would take four times the memory.

    Attributes:
        position: bytes from the start of the file. count: records so far.
    """

    def __init__(self, write: Write, *, limit: int = ZIP64_LIMIT) -> None:
        self._write, self.limit = write, limit
        self.position = 0
        self.count = 0
        self._directory = bytearray()
        self._forgotten = 0
        self._begun = CentralEntry(b"", 0, 0, 0, 0)

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes of the record begun, or of records copied whole."""
        self._write(data)
        self.position += len(data)

    def skip(self, nbytes: int) -> None:
        """Count bytes that somebody else has written to the same file."""
        self.position += nbytes

    def begin(
        self, name: bytes, size: int, alignment: int = ALIGNMENT, *, packed: tuple[int, int] | None = None
    ) -> int:
        """Write the local header of a record; return where its data starts.

        Args:
            size: bytes once inflated, which is all there is to say of a stored record.
            packed: bytes in the file and method of a record that is copied in its deflated form.
        """
        stored, method = packed if packed is not None else (size, 0)
        flags = _UTF8 | (_DESCRIPTOR if stored else 0)
        self._begun = CentralEntry(name, 0, stored, size, self.position, flags=flags, method=method)
        big = max(size, stored) >= self.limit
        extra = struct.pack("<HHQQ", 1, 16, size, stored) if big else b""
        padding = -(self.position + _LOCAL.size + len(name) + len(extra) + 4) % alignment
        field, version = (0xFFFFFFFF, 45) if big else (0, 20)
        lengths = len(name), len(extra) + 4 + padding
        header = _LOCAL.pack(b"PK\3\4", version, flags, method, 0, _DATE, 0, field, field, *lengths)
        self.append(header + name + extra + struct.pack("<2sH", b"FB", padding) + b"Z" * padding)
        return self.position

    def end(self, crc: int) -> None:
        """Finish the record begun: its data has been written and has this CRC-32 once inflated."""
        entry = self._begun._replace(crc=crc)
        if entry.stored:
            form = "<4sIQQ" if max(entry.size, entry.stored) >= self.limit else "<4sIII"
            self.append(struct.pack(form, b"PK\7\10", crc, entry.stored, entry.size))
        self.add(entry)

    def add(self, entry: CentralEntry) -> None:
        """Put a record into the directory: one that was copied whole."""
        self._directory += self.central(entry)
        self.count += 1

    def forget(self) -> None:
        """Only count what the directory holds so far: for whoever asks for sizes."""
        self._forgotten += len(self._directory)
        self._directory.clear()

    def finish(self) -> None:
        """Write the directory and its end records (the zip64 ones always, as torch does)."""
        start = self.position
        self.append(self._directory)
        self.skip(self._forgotten)
        length, end, count = self.position - start, self.position, self.count
        self.append(_END64.pack(b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, count, count, length, start))
        self.append(_LOCATOR.pack(b"PK\6\7", 0, end, 1))
        few = min(count, COUNT_LIMIT)
        self.append(_END.pack(b"PK\5\6", 0, 0, few, few, min(length, 0xFFFFFFFF), self._field(start), 0))

    def _field(self, number: int) -> int:
        return 0xFFFFFFFF if number >= self.limit else number

    def central(self, entry: CentralEntry) -> bytes:
        """Return what the directory says of a record."""
        wide = [number for number in (entry.size, entry.stored, entry.offset) if number >= self.limit]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        header = _CENTRAL.pack(
            b"PK\1\2", 0, 45 if wide else 20, entry.flags, entry.method, entry.time, entry.date, entry.crc,
            self._field(entry.stored), self._field(entry.size), len(entry.name), len(extra), 0, 0, 0, entry.attributes,
            self._field(entry.offset),
        )  # fmt: skip
        return header + entry.name + extra


def zip_size(records: Iterable[tuple[bytes, int]], context: Context = SILENT) -> int:
    """Return the length in bytes of a zip with these records (raw name, size), in this order; raises Cancelled."""
    writer = ZipWriter(lambda _: context.step(0, 0))
    for name, size in records:
        writer.begin(name, size)
        writer.skip(size)
        writer.end(0)
        writer.forget()
    writer.finish()
    return writer.position
