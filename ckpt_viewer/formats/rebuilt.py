"""The directory of a zip, rebuilt from the local headers of its records, for a file that has lost its own.

Each record's length is stated in front of its data or behind it, in a data descriptor. A descriptor that is searched
for counts only where it states the very distance to it; what follows has to be a record again, or the end. Where the
walk loses its way, the rest is lost. Source: FORMATS H13 and 2.1, APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

from collections.abc import Iterator

from zlib_ng.zlib_ng import crc32

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.tensor import Bytes, Extent
from ckpt_viewer.errors import CheckpointError, Damaged, Lost, Truncated
from ckpt_viewer.formats.base import Inside
from ckpt_viewer.formats.local_headers import Local, Locals
from ckpt_viewer.formats.zip_directory import END, ENTRY_SIZE, Record, ZipDirectory
from ckpt_viewer.sources import CutSource, written_end

_BLOCK = 1 << 20
_BEHIND = b"PK\x07\x08"
_NEXT = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x06\x06", END)
"""What can follow a record: another one, the directory, its end records."""
_END_RECORD = 22
_TAIL = 65_535 + _END_RECORD
_NAMES = (".pkl", "_config.json")
"""How the names of records end that say which tensors there are."""
_WHOLE_ONLY = (".debug_pkl", ".json", ".py", ".txt", "version", "byteorder")
"""How the names of records end of which a part is of no use."""


class RebuiltDirectory(ZipDirectory):
    """The records that are left of an archive, whole ones and the one that the file ends in.

    Attributes:
        lost: name of a record -> what is wrong with it, a sentence; those that are cut off among them.
        cut_names: the record of names and shapes (a pickle, the JSON of a ``.pt2``) that the file ends in, by its name;
            its beginning is a record. ``""`` without one.
        has_end: whether the file goes on to the record that ends a zip, so that it is damaged and not cut off.
    """

    rebuilt = True

    def __init__(self, source: Bytes, inside: Inside) -> None:
        """Walk through the records; raises Truncated or Damaged where there is not one, Cancelled by the context."""
        # not ZipDirectory's own: that reads the directory, which is not there
        self.source, self.inside = source, inside
        self.notes, self.jumps, self.undecoded = [], [], []
        self.flags, self.packed, self.crcs = 0, False, False
        self.records: dict[str, Record] = {}
        self.lost: dict[str, str] = {}
        self.cut_names = ""
        self._locals = Locals(source, inside.context)
        self.start = self.end = 0
        for record in self._walk():
            if record.name in self.records:
                self.lost[record.name] = f"record {record.name!r} is in the file twice"
            self.records[record.name] = record
            self.packed |= bool(record.method)
            self.crcs |= bool(record.crc)
        tail = min(_TAIL, max(0, source.size - self.end))
        self.has_end = END in source.read_at(source.size - tail, tail)[: 4 - _END_RECORD]
        first = next(iter(self.records), "")
        self.root = first.partition("/")[0] if "/" in first else ""
        if not first and self.has_end:
            raise Damaged("the archive has no readable record; copy or download the file again")
        if not first:
            raise Truncated("the archive", wanted=source.size + 1, found=source.size, offset=0)

    @property
    def least_size(self) -> int:
        """Bytes that the file had at the least: what is there and a directory of it."""
        names = sum(ENTRY_SIZE + len(name.encode()) for name in self.records)
        return max(self.source.size + 1, self.end + names + _END_RECORD)

    def extent(self, record: Record, *, big_endian: bool = False) -> Extent:
        """Return where the bytes of a record lie; raises as `ZipDirectory.extent`, and Lost.

        Of a record that the file ends in its beginning can be read.
        """
        problem = self.lost.get(record.name)
        if problem is None:
            return super().extent(record, big_endian=big_endian)
        start = self.data_offset(record)
        trusted = written_end(self.source, start) if start + record.stored == self.source.size else start
        if record.method or trusted == start:
            raise Lost(f"{problem}; copy or download the file again")
        cut = CutSource(self.source, trusted, f"{problem}; copy or download the file again")
        return Extent(cut, start, record.size, big_endian)

    def _walk(self) -> Iterator[Record]:
        at: int | None = 0
        while at is not None and at < self.source.size:
            self.inside.context.step(at, self.source.size)
            local = self._locals.read(at)
            if local is None:
                return
            record, at = self._record(local)
            if record is not None:
                yield record

    def _record(self, local: Local) -> tuple[Record | None, int | None]:
        """Return a record and where the next begins; None for one that is of no use, and where the walk ends."""
        size = self.source.size
        length = self._locals.length(local, None)
        after = None
        if length is not None and local.start + length <= size:
            after = self._locals.after(local, length, None if local.method or not local.streamed else length)
        if length is None or after is None or not self._goes_on(after.end):
            self.end = local.start + max(length or 0, size - local.start)
            name, there = local.name, self._there(local)
            if name.endswith(_NAMES) and not local.method:
                there = min(there, written_end(self.source, local.start) - local.start)
                self.cut_names = name if there else ""
                return _made(local, there, there, 0) if there else None, None
            self.lost[name] = f"record {name!r} is cut off: {there} of its bytes are there"
            useless = local.method or name.endswith(_WHOLE_ONLY) or not there
            return None if useless else _made(local, there, there, 0), None
        self.end = after.end
        plain = local.size if not local.streamed else self._plain_size(local, length)
        record = _made(local, length, plain, after.crc or 0)
        if self.inside.verify and not self._is_right(record):
            problem = f"record {record.name!r} is damaged: its bytes do not match their checksum"
            if record.name.endswith(".json"):  # a text: what is wrong with it mostly shows
                self.notes.append(Note("error", "crc-mismatch", None, problem))
            else:
                self.lost[record.name] = problem
        return record, after.end

    def _there(self, local: Local) -> int:
        """Return the bytes of a record that the file ends in, less what may be the beginning of its descriptor."""
        there = self.source.size - local.start
        tail = self.source.read_at(self.source.size - min(24, there), min(24, there))
        for at in range(len(tail) if local.streamed else 0):
            size = (there - len(tail) + at).to_bytes(4, "little")
            if _BEHIND.startswith(tail[at : at + 4]) and size.startswith(tail[at + 8 : at + 12]):
                return there - len(tail) + at
        return there

    def _goes_on(self, at: int) -> bool:
        """Whether what follows a record makes sense: another one, the directory, or the end of the file."""
        left = self.source.size - at
        if left <= 0:
            return True
        behind = self.source.read_at(at, min(4, left))
        return any(magic.startswith(behind) for magic in _NEXT)

    def _plain_size(self, local: Local, stored: int) -> int:
        """Return the inflated size that the descriptor behind a record's data states."""
        if not local.method:
            return stored
        tail = self.source.read_at(local.start + stored, min(24, self.source.size - local.start - stored))
        for width in (4, 8):
            packed = tail[8 : 8 + width]
            if len(tail) >= 8 + 2 * width and int.from_bytes(packed, "little") == stored:
                return int.from_bytes(tail[8 + width : 8 + 2 * width], "little")
        return 0

    def _is_right(self, record: Record) -> bool:
        """Whether the bytes of a record match its checksum, where it has one."""
        if not record.crc:
            return True
        try:
            extent = super().extent(record)
        except CheckpointError:
            return False
        crc = 0
        for at in range(0, extent.nbytes, _BLOCK):
            self.inside.context.step(record.header + at, self.source.size)
            crc = crc32(extent.source.read_at(extent.offset + at, min(_BLOCK, extent.nbytes - at)), crc)
        return crc == record.crc


def _made(local: Local, stored: int, size: int, crc: int) -> Record:
    return Record(local.name, local.header, stored, size, local.method, 0, crc)
