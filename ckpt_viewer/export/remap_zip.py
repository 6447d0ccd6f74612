"""New tags in a torch zip. The records behind ``data.pkl`` are moved as one block wherever that keeps the file true.

Moving by a multiple of the alignment leaves every record aligned as it was, and the layout as predictable as torch's
`calculate_storage_offsets` wants it. Only one local header, that of the record behind ``data.pkl``, gets another
padding.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from itertools import count, islice, pairwise
from math import lcm

from zlib_ng.zlib_ng import crc32

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import Damaged
from ckpt_viewer.export.checksums import Stated
from ckpt_viewer.export.parts import LARGE, Parts
from ckpt_viewer.export.zip_writer import ALIGNMENT, ZIP64_LIMIT, CentralEntry, ZipWriter
from ckpt_viewer.formats.zip_directory import Record, ZipDirectory
from ckpt_viewer.formats.zip_entries import Entries
from ckpt_viewer.sources.handover import BLOCK
from ckpt_viewer.unpickle.cut import cut
from ckpt_viewer.unpickle.origins import storage_keys, trace
from ckpt_viewer.unpickle.relocate import Retag, relocate

_LOCAL = 30
"""Bytes of a local header without name and extra fields."""

_SAFE_ALIGNMENT = 32768
"""Padding is an extra field, whose length has 16 bits."""

_LAYOUT_PROMISES = (".format_version", ".storage_alignment")
"""Records that promise torch a predictable layout."""


def remap_zip(
    source: Bytes,
    retag: Retag,
    context: Context = SILENT,
    drop: Collection[str] = (),
    referred: Iterable[str] = (),
    known: ZipDirectory | None = None,
) -> tuple[Parts, int]:
    """Return the new zip, and how many references to storages have a new tag.

    Args:
        drop: keys of the outermost dict that are left out.
        referred: keys of the storages that the whole refers to; what is left keeps those that it refers to.
        known: the directory, where somebody has read it before.

    Raises:
        CheckpointError: the source is damaged, or its tags cannot be rewritten.
        Cancelled: by `context`.
    """
    directory = ZipDirectory(source) if known is None else known
    pickle = directory.get("data.pkl")
    if pickle is None:
        raise Damaged("the archive has no data.pkl any more; open it again")
    data = directory.read(pickle)
    is_wrong = directory.crcs and pickle.crc != crc32(data)
    order = _FileOrder(directory)
    if drop:
        data = cut(data, drop, context)
        order.leave(f"data/{key}" for key in stepped(referred, context))
        order.keep(f"data/{key}" for key in storage_keys(trace(data, context), context))
    new = relocate(data, retag, context)
    del data  # as large as what follows
    copier = _Copier(order, pickle, new.data, context)
    if drop:
        parts = copier.one_by_one()
    elif new.references:
        parts = copier.as_block() or copier.one_by_one()
    else:
        parts = copier.as_it_is()
    if directory.crcs:
        if is_wrong:
            parts.wrong.append("data.pkl")
        copier.state(parts)
    return parts, new.references


class _Copier:
    def __init__(self, order: _FileOrder, pickle: Record, data: bytes, context: Context) -> None:
        self.order, self.directory, self.pickle, self.data, self.context = order, order.directory, pickle, data, context
        self.source = order.directory.source
        self._start_again()

    def as_it_is(self) -> Parts:
        """Copy every byte, whatever there is between records."""
        self.parts.copy(0, self.source.size)
        return self.parts

    def as_block(self) -> Parts | None:
        """Move all records behind ``data.pkl`` together; None where that would not do."""
        first, second = next(self.order.records(), None), next(self.order.records(1), None)
        if first != self.pickle or second is None:
            return None
        start, alignment = self.directory.data_offset(second), self._alignment()
        self._write_pickle(alignment)
        large = self.directory.start - start >= LARGE
        header = self._padded_header(second, start, _common(alignment, BLOCK) if large else alignment)
        shift = self.writer.position + len(header) - start
        if header == b"" or any(_crosses(record.header, shift) for record in self.order.records(1)):
            self._start_again()
            return None
        self.writer.append(header)
        self._copy(start, self.directory.start - start)
        # the second record's header may have moved by another distance than its data
        self.writer.add(self._moved(second, shift)._replace(offset=start + shift - len(header)))
        for record in stepped(self.order.records(2), self.context):
            self.writer.add(self._moved(record, shift))
        self.writer.finish()
        return self.parts

    def one_by_one(self) -> Parts:
        """Write every record anew, each with a header of its own; the promise of a predictable layout is dropped."""
        self.order.leave(_LAYOUT_PROMISES)
        for record in stepped(self.order.records(), self.context):
            if record == self.pickle:
                self._write_pickle(ALIGNMENT)
            else:
                packed = (record.stored, record.method)
                self.writer.begin(self._raw_name(record), record.size, packed=packed)
                self._copy(self.directory.data_offset(record), record.stored)
                self.writer.end(record.crc)
        self.writer.finish()
        return self.parts

    def state(self, parts: Parts) -> None:
        """Say which checksums the copy takes over. Of all that there is here it keeps the directory alone."""
        order, directory, skipped = self.order, self.directory, self.pickle.name
        folder = f"{directory.root}/" if directory.root else ""

        def stated() -> Iterator[Stated]:
            for record in order.records():
                if record.size and not record.method and record.name != skipped:
                    name = f"record {record.name.removeprefix(folder)!a}"
                    yield Stated(directory.data_offset(record), record.size, record.crc, name)

        for record in stepped(order.records(), self.context):
            parts.packed += record.size > 0 and record.method != 0 and record.name != skipped
        parts.stated = stated

    def _start_again(self) -> None:
        self.parts = Parts(self.source)
        self.writer = ZipWriter(self.parts.write)

    def _copy(self, offset: int, nbytes: int) -> None:
        self.parts.copy(offset, nbytes)
        self.writer.skip(nbytes)

    def _write_pickle(self, alignment: int) -> None:
        self.writer.begin(self._raw_name(self.pickle), len(self.data), alignment)
        self.writer.append(self.data)
        # where no record states a checksum, a single one would make the others look wrong
        self.writer.end(crc32(self.data) if self.directory.crcs else 0)

    def _alignment(self) -> int:
        record = self.directory.get(".storage_alignment")
        text = self.directory.read(record) if record is not None and record.size < 20 else b""
        number = int(text) if text.isdigit() else ALIGNMENT
        return number if 0 < number <= _SAFE_ALIGNMENT else ALIGNMENT

    def _padded_header(self, record: Record, start: int, alignment: int) -> bytes:
        """A record's local header, padded so that its data keeps its alignment; ``b""`` if that cannot be."""
        raw = self.source.read_at(record.header, start - record.header)
        name_length = struct.unpack_from("<H", raw, 26)[0]
        extra = _without_padding(raw[_LOCAL + name_length :])
        if extra is None:
            return b""
        padding = (start - self.writer.position - _LOCAL - name_length - len(extra) - 4) % alignment
        extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        if len(extra) > 0xFFFF:
            return b""
        return b"".join((raw[:28], struct.pack("<H", len(extra)), raw[_LOCAL : _LOCAL + name_length], extra))

    def _moved(self, record: Record, shift: int) -> CentralEntry:
        return CentralEntry(
            self._raw_name(record),
            record.crc,
            record.stored,
            record.size,
            record.header + shift,
            record.flags,
            record.method,
        )

    def _raw_name(self, record: Record) -> bytes:
        if record.name.isascii():
            return record.name.encode("ascii")
        length = struct.unpack("<H", self.source.read_at(record.header + 26, 2))[0]
        return self.source.read_at(record.header + _LOCAL, length)


class _FileOrder:
    """The records of a directory in the order in which they lie in the file, but for those that are left out."""

    def __init__(self, directory: ZipDirectory) -> None:
        self.directory, records = directory, directory.records
        self._gone = bytearray(len(records))
        self._row = records.row if isinstance(records, Entries) else dict(zip(records, count(), strict=False)).get
        self._sorted = list[tuple[int, Record]]()
        if any(one > other for one, other in pairwise(record.header for record in records.values())):
            self._sorted = sorted(enumerate(records.values()), key=lambda each: each[1].header)

    def leave(self, names: Iterable[str]) -> None:
        """Leave out records, by their paths below the root folder, as far as they are there."""
        self._mark(names, gone=True)

    def keep(self, names: Iterable[str]) -> None:
        """Leave them in after all."""
        self._mark(names, gone=False)

    def _mark(self, names: Iterable[str], *, gone: bool) -> None:
        folder = f"{self.directory.root}/" if self.directory.root else ""
        for name in names:
            row = self._row(folder + name)
            if row is not None:
                self._gone[row] = gone

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yield them, but for the first `start`; they are made on demand, and there may be 100,000."""
        every = self._sorted or enumerate(self.directory.records.values())
        return islice((record for row, record in every if not self._gone[row]), start, None)


def _common(alignment: int, block: int) -> int:
    """Return what moves data by whole blocks, so that two files can share them; `alignment` where that is too much."""
    both = lcm(alignment, block)
    return both if both <= _SAFE_ALIGNMENT else alignment


def _without_padding(extra: bytes) -> bytes | None:
    """Return extra fields other than torch's padding; None if they are malformed."""
    kept, at = b"", 0
    while at < len(extra):
        if at + 4 > len(extra):
            return None
        end = at + 4 + struct.unpack_from("<H", extra, at + 2)[0]
        if end > len(extra):
            return None
        kept += extra[at:end] if extra[at : at + 2] != b"FB" else b""
        at = end
    return kept


def _crosses(offset: int, shift: int) -> bool:
    """Whether moving a header changes the width of the fields that torch writes for it."""
    return (offset >= ZIP64_LIMIT) != (offset + shift >= ZIP64_LIMIT)
