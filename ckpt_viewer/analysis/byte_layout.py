"""Makes the byte maps of a checkpoint: from its ledger, the places of its storages and the directories of archives.

A few bytes are read for each record of an archive, no values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

from ckpt_viewer.analysis.byte_map import (
    AVERAGED,
    DIRECTORY,
    DRAGGED,
    FRAME,
    MODEL,
    OPTIMIZER,
    OTHER,
    PICKLE,
    PLAIN,
    UNUSED,
    FileMap,
    Maps,
)
from ckpt_viewer.analysis.checksums import archives_of
from ckpt_viewer.analysis.ledger import Ledger, Line
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.progress import SILENT, Context, Phase
from ckpt_viewer.core.tensor import Bytes, Extent, bottom
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.torch_zip import Records
from ckpt_viewer.formats.zip_directory import SLACK, Record, ZipDirectory

KIND_OF_ROLE = {"model": MODEL, "optimizer": OPTIMIZER, "ema": AVERAGED}
EVERY = 16
"""Records whose place is read between two steps."""
COUNT = 16
"""Bytes between two storages of a stream that are no more than the count of the next one."""
NAMED = 1000
"""Characters of a record's name that are kept."""


class _Piece(NamedTuple):
    start: int
    end: int
    kind: int
    line: int
    name: str


class _File:
    """What was found in one file so far."""

    def __init__(self, source: Bytes) -> None:
        self.source = source
        self.pieces: list[_Piece] = []


def byte_maps(checkpoint: Checkpoint, book: Ledger, context: Context = SILENT) -> Maps:
    """Return the maps of all files that hold tensors; raises Cancelled by `context`."""
    gathered = _Gathering(checkpoint)
    lines, archives, laying = (Phase(context, number, 3) for number in range(3))
    for number, line in enumerate(book.lines):
        if number % EVERY == 0:
            lines.step(number, len(book.lines))
        gathered.add_line(number, line)
    for archive in archives_of(checkpoint, archives):
        gathered.add_archive(archive, archives)
    files, places, overlapping = [], dict[int, tuple[int, int]](), 0
    for index, each in enumerate(gathered.files.values()):
        made, over = _lay_out(each, checkpoint, laying)
        files.append(made)
        overlapping += over
        for region, line_number in enumerate(made.lines):
            if line_number >= 0:
                places.setdefault(line_number, (index, region))
    return Maps(tuple(files), places, gathered.elsewhere, gathered.elsewhere_bytes, overlapping)


class _Gathering:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self.files: dict[int, _File] = {}
        self.elsewhere = self.elsewhere_bytes = 0
        self._used: set[tuple[int, str]] = set()
        self._folders: dict[int, tuple[str, str]] = {}
        self._unreferenced = any(note.code == "unreferenced-records" for note in checkpoint.contents.notes)
        whole: Any = checkpoint.contents.source
        if whole is not None:
            self._file(bottom(whole, 0)[0])

    def _file(self, source: Any) -> _File | None:
        """Return the file of a source; None where that is no file but something unpacked into memory."""
        found = self.files.get(id(source))
        if found is None and (hasattr(source, "identity") or not self.files):
            found = self.files[id(source)] = _File(source)
        return found

    def add_line(self, number: int, line: Line) -> None:
        """Put a storage, line `number` of the ledger, where its bytes lie, or count it among those that lie nowhere."""
        placed = False
        try:
            for source, start, nbytes in self._extents(line):
                below, at = bottom(source, start)
                file = self._file(below)
                if file is not None:
                    file.pieces += _parts_of(line, number, at, nbytes)
                    placed = True
        except CheckpointError:  # cut off or missing: the reader has told it
            placed = True
        if not placed:
            self.elsewhere += 1
            self.elsewhere_bytes += line.storage.nbytes

    def _extents(self, line: Line) -> Iterator[tuple[Bytes, int, int]]:
        """Yield source, offset and bytes of each piece of a storage in the file; raises CheckpointError."""
        home = line.storage.home
        if isinstance(home, Records):  # not `extent`, which would unpack what is packed
            record = home.record(line.storage.key)
            if record is not None:
                self._used.add((id(home.directory), record.name))
                self._folders[id(home.directory)] = home.folder, home.suffix
                yield home.directory.source, home.directory.data_offset(record), record.stored
            return
        extent: Extent = line.storage.extent()
        source: Any = extent.source
        if hasattr(source, "views"):  # put together of parts
            for _, view in source.views():
                yield view.source, view.start, view.span * view.item
        else:
            yield getattr(source, "whole", source), extent.offset, extent.nbytes

    def add_archive(self, archive: ZipDirectory, context: Context) -> None:
        """Add the records that are no storages, and the directory."""
        below, base = bottom(archive.source, 0)
        file = self.files.get(id(below))
        if file is None:
            return
        for number, record in enumerate(archive.records.values()):
            if number % EVERY == 0:
                context.step(number, len(archive.records))
            if (id(archive), record.name) in self._used:
                continue
            try:
                start = base + archive.data_offset(record)
            except CheckpointError:  # damaged: the reader has told it
                continue
            kind = self._kind(archive, record)
            file.pieces.append(_Piece(start, start + record.stored, kind, -1, record.name[:NAMED]))
        file.pieces.append(_Piece(base + archive.start, base + archive.source.size, DIRECTORY, -1, ""))

    def _kind(self, archive: ZipDirectory, record: Record) -> int:
        if record.name.endswith((".pkl", ".pickle")):
            return PICKLE
        folder, suffix = self._folders.get(id(archive), ("", ""))
        if not folder or not record.name.startswith(folder) or not record.name.endswith(suffix):
            return PLAIN
        return UNUSED if self._unreferenced else OTHER  # what only an object refers to that the tree does not enter


def _parts_of(line: Line, number: int, start: int, nbytes: int) -> Iterator[_Piece]:
    """Yield a storage in one piece, or where much of it is dragged along, the parts that tensors span and the rest."""
    kind = KIND_OF_ROLE.get(line.role, OTHER)
    if not line.bloated or nbytes != line.storage.nbytes:  # packed, or one part of several
        yield _Piece(start, start + nbytes, kind, number, "")
        return
    reached = 0
    for use in sorted(line.uses, key=lambda use: use.start):
        low, high = max(reached, use.start), min(use.end, nbytes)
        if low < high:
            yield _Piece(start + reached, start + low, DRAGGED, number, "")
            yield _Piece(start + low, start + high, kind, number, "")
            reached = high
    yield _Piece(start + reached, start + nbytes, DRAGGED, number, "")


def _lay_out(file: _File, checkpoint: Checkpoint, context: Context) -> tuple[FileMap, int]:
    """Return the map of a file, and how many of its storages begin inside of others.

    A record may hold an archive of its own, so what lies inside comes before what it lies in.
    """
    file.pieces.sort(key=lambda piece: (piece.start, -piece.end))
    context.step(0, 0)
    made, overlapping = FileMap(PurePath(file.source.name or checkpoint.path).name, file.source.size), 0
    between, around = _Between(file.source), list[_Piece]()

    def reach(end: int) -> None:
        """Go on to `end`, out of every piece that ends before it."""
        while around and around[-1].end <= end:
            piece = around.pop()
            made.add(min(piece.end, made.size), piece.kind, piece.line, piece.name)
        if around:
            made.add(end, around[-1].kind, around[-1].line, around[-1].name)
        else:
            made.add(end, between.kind(made.bounds[-1], end))

    for number, piece in enumerate(file.pieces):
        if number % EVERY == 0:
            context.step(number, len(file.pieces))
        if piece.start < min(piece.end, made.size):
            reach(piece.start)
            overlapping += bool(around) and around[-1].line >= 0
            around.append(piece)
    reach(made.size)
    made.finish()
    return made, overlapping


class _Between:
    """Says what lies between the regions of a file, by how the file begins."""

    def __init__(self, source: Bytes) -> None:
        try:
            head = source.read_at(0, min(source.size, 9))
        except CheckpointError:
            head = b""
        self._zip, self._json, self._stream = head[:2] == b"PK", head[8:9] == b"{", head[:1] == b"\x80"

    def kind(self, start: int, end: int) -> int:
        """Return the kind of a gap."""
        if self._zip:
            return FRAME if end - start <= SLACK + NAMED else UNUSED
        if start == 0:
            return PICKLE
        known = self._json or self._stream
        return UNUSED if known and end - start > COUNT else FRAME
