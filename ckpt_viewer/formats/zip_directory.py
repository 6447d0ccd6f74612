"""The directory of a zip file as torch's reader sees it.

Python's zipfile is not used: it refuses what torch writes with `compute_crc32=False`, and it takes other bytes than
torch where two archives are appended to each other.

Source: APPNOTE.TXT 6.3.10, caffe2/serialize/inline_container.cc, FORMATS section 2.
"""

from __future__ import annotations

import struct
import zlib

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.errors import Damaged, OverBudget, Truncated, Unsupported
from ckpt_viewer.formats.zip_entries import ENTRY, MAX16, MAX32, SLACK, Entries, Record, name_of
from ckpt_viewer.sources import MemorySource, backing

__all__ = ["END", "ENTRY_SIZE", "INFLATE_BASE", "INFLATE_LIMIT", "SLACK", "Record", "ZipDirectory"]

END = b"PK\x05\x06"
_END_RECORD = struct.Struct("<4s4H2IH")
_LOCATOR64 = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
ENTRY_SIZE = ENTRY.size
_LOCAL = struct.Struct("<4s5H3I2H")
TAIL = 65_535 + _END_RECORD.size
INFLATE_LIMIT = 1 << 30
"""Bytes that one compressed record may have in memory; for a small file `INFLATE_BASE` and 15 times its size."""
INFLATE_BASE = 64_000_000
APPENDED = (
    "its directory does not end where its end record begins, by {} bytes, as where two archives were appended to each "
    "other: torch reads the first of them, other programs the second"
)


class ZipDirectory:
    """Finds records by name, and their bytes.

    Attributes:
        records: by name, in directory order. root: the folder that all of them are in, ``""`` without one.
        notes: what is odd about the directory. crcs: whether any record states a CRC.
        start: bytes from the start of the file to the central directory; end: to what follows it.
        flags: general purpose bits that any record has. packed: whether any is not stored as it is.
        jumps: records that do not follow the one before them.
        undecoded: names that are no UTF-8. rebuilt: whether the directory is lost, and this is what headers tell.
    """

    rebuilt = False

    def __init__(self, source: Bytes, context: Context = SILENT) -> None:
        self.source = source
        self.notes: list[Note] = []
        count, self.start, size = self._find()
        if size > source.size or count > source.size // ENTRY.size or self.start + size > source.size:
            raise Damaged("the zip directory claims more than the file holds; copy or download the file again")
        self.end = self.start + size
        self.flags, self.packed, self.crcs = 0, False, False
        self.jumps: list[str] = []
        self.undecoded: list[str] = []
        self.records: Entries | dict[str, Record] = self._read(source.read_at(self.start, size), count, context)
        first = next(iter(self.records), "")
        self.root = first.partition("/")[0] if "/" in first else ""

    def _find(self) -> tuple[int, int, int]:
        """Return number of entries, offset and size of the central directory."""
        size = self.source.size
        length = min(size, TAIL + _LOCATOR64.size + _END64.size)
        tail = self.source.read_at(size - length, length)
        at = tail.rfind(END)
        if at < 0 or at + _END_RECORD.size > length:
            raise Damaged(
                "the zip directory at the end is missing, so the file is cut off or still being written; "
                "copy or download it again"
            )
        _, _, _, _, count, directory, offset, comment = _END_RECORD.unpack_from(tail, at)
        behind = length - at - _END_RECORD.size - comment
        if behind:
            self.notes.append(
                Note("warning", "trailing-bytes", None, f"{abs(behind)} bytes follow the end of the archive")
            )
        if at >= _LOCATOR64.size and tail[at - _LOCATOR64.size : at - 16] == b"PK\x06\x07":
            where = _LOCATOR64.unpack_from(tail, at - _LOCATOR64.size)[2]
            record = self.source.read_at(where, _END64.size) if where + _END64.size <= size else b""
            if record[:4] != b"PK\x06\x06":
                raise Damaged(
                    "the zip64 directory record is not where the archive says; copy or download the file again"
                )
            stated = count, directory, offset
            count, directory, offset = _END64.unpack(record)[7:10]
            self._check_ends(stated, (count, directory, offset), size - length + at, where)
            end = where
        else:
            end = size - length + at
        if offset + directory != end:
            self._note("appended-archive", APPENDED.format(end - offset - directory))
        self._look_for_ends(tail[:at], at)
        return count, offset, directory

    def _check_ends(self, stated: tuple[int, ...], true: tuple[int, ...], end: int, where: int) -> None:
        """Compare the two end records, which different programs believe."""
        for value, real, saturated in zip(stated, true, (MAX16, MAX32, MAX32), strict=True):
            if value not in (real, saturated):
                self._note("directory-disagrees", "its two end records describe different directories")
                break
        if where + _END64.size + _LOCATOR64.size != end:
            self._note("appended-archive", "there are bytes between its two end records, where none belong")

    def _look_for_ends(self, tail: bytes, last: int) -> None:
        """Look for a further end record that would reach to the end of the file: some programs take the first."""
        at = tail.find(END)
        while at >= 0:
            if at + _END_RECORD.size <= len(tail):
                comment = _END_RECORD.unpack_from(tail, at)[7]
                if at + _END_RECORD.size + comment >= last + _END_RECORD.size:
                    self._note("appended-archive", "it has two end records, of which programs take different ones")
                    return
            at = tail.find(END, at + 1)

    def _note(self, code: str, message: str) -> None:
        self.notes.append(Note("error", code, None, message))

    def _read(self, data: bytes, count: int, context: Context) -> Entries:
        entries = Entries(data, count, self, context)
        if entries.end != len(data):
            more = len(data) - entries.end
            self._note("directory-disagrees", f"its directory has {more} bytes more than its {count} records")
        return entries

    def sizes(self, folder: str, keys: list[str], suffix: str = "") -> list[int | None]:
        """Return the bytes that the records of some keys have once inflated; see `Entries.sizes`."""
        if isinstance(self.records, Entries):
            return self.records.sizes(folder, keys, suffix)
        records = (self.records.get(f"{folder}{key}{suffix}") for key in keys)
        return [None if record is None else record.size for record in records]

    def joined(self, between: str) -> str:
        """Return the names of all records, with something between them."""
        return self.records.joined(between) if isinstance(self.records, Entries) else between.join(self.records)

    def get(self, name: str) -> Record | None:
        """Return the record of a path below the root folder."""
        return self.records.get(f"{self.root}/{name}" if self.root else name)

    def extent(self, record: Record, *, big_endian: bool = False) -> Extent:
        """Return where the bytes of a record lie; deflated ones are inflated into memory.

        Raises:
            Damaged, Unsupported, OverBudget: the record contradicts itself, is encrypted, or is too large inflated.
        """
        offset = self.data_offset(record)
        crc = record.crc if self.crcs else None
        if record.method == 0:
            return Extent(self.source, offset, record.size, big_endian, crc)
        data = self._inflate(record, offset)
        return Extent(MemorySource(data, record.name), 0, len(data), big_endian, crc)

    def data_offset(self, record: Record) -> int:
        """Return bytes from the start of the file to a record's data, from its local header."""
        if record.flags & 0x61:
            raise Unsupported(f"record {record.name!r} is encrypted or patched, which torch cannot read either")
        try:
            local = self.source.read_at(record.header, _LOCAL.size)
        except Truncated as error:
            raise Damaged(f"record {record.name!r} lies outside of the file; copy or download it again") from error
        fields = _LOCAL.unpack(local)
        names, extras = fields[9], fields[10]
        if fields[0] != b"PK\x03\x04":
            raise Damaged(f"record {record.name!r} is not where the directory says; the archive is damaged")
        offset: int = record.header + _LOCAL.size + names + extras
        if offset + record.stored > self.source.size:
            found = max(0, self.source.size - offset)
            raise Truncated(f"record {record.name!r}", wanted=record.stored, found=found, offset=offset)
        if record.method == 0 and record.stored != record.size:
            raise Damaged(f"record {record.name!r} states two sizes; the archive is damaged")
        return offset

    def local(self, record: Record) -> Record:
        """Return what a record's own header says of it, which torch does not look at; raises as `data_offset`."""
        self.data_offset(record)
        _, _, flags, method, _, _, crc, stored, size, names, _ = _LOCAL.unpack(
            self.source.read_at(record.header, _LOCAL.size)
        )
        name = self.source.read_at(record.header + _LOCAL.size, names)
        return Record(name_of(name), record.header, stored, size, method, flags, crc)

    def _inflate(self, record: Record, offset: int) -> bytes:
        if record.method != 8:
            raise Unsupported(
                f"record {record.name!r} is packed by method {record.method}; only stored and deflated are read"
            )
        if record.size > min(INFLATE_LIMIT, INFLATE_BASE + 15 * backing(self.source)):
            raise OverBudget(f"record {record.name!r} would inflate to {record.size} bytes; it is damaged or hostile")
        unpacker = zlib.decompressobj(-15)
        try:
            data = unpacker.decompress(self.source.read_at(offset, record.stored), record.size + 1)
        except zlib.error as error:
            raise Damaged(f"record {record.name!r} cannot be inflated; the archive is damaged") from error
        if len(data) != record.size:
            raise Damaged(f"record {record.name!r} inflates to another size than stated; the archive is damaged")
        return data

    def read(self, record: Record) -> bytes:
        """Return all bytes of a record; raises as `extent`."""
        extent = self.extent(record)
        return extent.source.read_at(extent.offset, extent.nbytes)
