"""The checksums of a zip, compared with what its records really hold. torch never does this when it loads."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from zlib_ng.zlib_ng import crc32

from ckpt_viewer.core.progress import Context
from ckpt_viewer.errors import CheckpointError, Damaged, SourceChanged, Unreadable
from ckpt_viewer.formats.zip_directory import Record, ZipDirectory

_BLOCK = 1 << 20


class Checked(NamedTuple):
    """A record and what came of it.

    Attributes:
        crc: CRC-32 of its content; None where that cannot be read, and `problem` says why.
    """

    record: Record
    crc: int | None
    problem: str = ""

    @property
    def matches(self) -> bool:
        """Whether the record holds what its checksum was computed from."""
        return self.crc == self.record.crc


def check_records(directory: ZipDirectory, context: Context) -> Iterator[Checked]:
    """Read every record of an archive, in the order of the file and in bounded memory.

    Raises:
        SourceChanged, Unreadable: the file cannot be read any more. Cancelled: by `context`.
    """
    records = sorted(directory.records.values(), key=lambda record: record.header)
    total, before = sum(record.stored for record in records), 0
    for record in records:

        def step(done: int, before: int = before) -> None:
            context.step(before + done, total)

        try:
            yield Checked(record, _crc(directory, record, step))
        except (SourceChanged, Unreadable):
            raise
        except CheckpointError as error:
            yield Checked(record, None, str(error))
        before += record.stored


def _crc(directory: ZipDirectory, record: Record, step: Callable[[int], None]) -> int:
    """Return the CRC-32 of a record's content, inflated where it is deflated; raises CheckpointError."""
    crc = size = 0
    offset, unpacker = directory.data_offset(record), zlib.decompressobj(-15) if record.method else None
    for at in range(0, record.stored, _BLOCK):
        step(at)
        block = directory.source.read_at(offset + at, min(_BLOCK, record.stored - at))
        for piece in _inflated(unpacker, block, record) if unpacker is not None else (block,):
            crc, size = crc32(piece, crc), size + len(piece)
            if size > record.size:
                break
    if size != record.size:
        raise Damaged(f"record {record.name!r} holds another number of bytes than stated; the archive is damaged")
    return crc


def _inflated(unpacker: zlib._Decompress, block: bytes, record: Record) -> Iterator[bytes]:
    try:
        while block:
            yield unpacker.decompress(block, _BLOCK)
            block = unpacker.unconsumed_tail
    except zlib.error as error:
        raise Damaged(f"record {record.name!r} cannot be inflated; the archive is damaged") from error
