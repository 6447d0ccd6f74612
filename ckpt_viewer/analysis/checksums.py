"""Whether what is in a checkpoint's records is what was written: the checksums of its archive, on demand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress

from ckpt_viewer.analysis.loading import distinct_storages
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import Bytes, StorageSpec
from ckpt_viewer.core.text import bytes_text, shorten
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.distributed_items import ZIP, Chunks
from ckpt_viewer.formats.torch_zip import Records
from ckpt_viewer.formats.zip_checks import check_all_local
from ckpt_viewer.formats.zip_checksums import Checked, check_records
from ckpt_viewer.formats.zip_directory import ZipDirectory

NAMED = 5
"""Tensors that a finding names; more are counted."""
_NAME = 120


def verify_checksums(checkpoint: Checkpoint, context: Context) -> tuple[Finding, ...]:
    """Read the whole file and compare every record with its checksum.

    Returns:
        A finding for each record that differs or cannot be read, with the tensors that use it; or one that says that
        all match, or that there are none to compare with.

    Raises:
        SourceError: the file cannot be read any more. Cancelled: by `context`.
    """
    verifying = _Verifying(checkpoint, context)
    rows = _users(checkpoint, context)
    for archive in archives_of(checkpoint, context):
        verifying.compare(archive, rows.get(id(archive), {}))
    verifying.compare_parts()
    return verifying.found()


class _Verifying:
    """What came of the archives so far; reports bytes of the whole checkpoint."""

    def __init__(self, checkpoint: Checkpoint, context: Context) -> None:
        self._checkpoint, self._context = checkpoint, context
        self._findings: list[Finding] = []
        self._archives = self._rebuilt = self._count = self._nbytes = 0

    def step(self, done: int, total: int) -> None:
        """Report what is done of an archive of `total` bytes; see `core.progress.Context`."""
        del total
        done += self._nbytes
        self._context.step(done, max(done, self._checkpoint.size))

    def compare(self, archive: ZipDirectory, users: Mapping[str, list[int]], within: str = "") -> None:
        """Compare the records of an archive.

        Args:
            users: name of a record -> rows of the tensors that use it. within: what the archive is, for messages.
        """
        self._archives += 1
        self._rebuilt += archive.rebuilt
        if archive.rebuilt or not archive.crcs:
            return
        before = self._nbytes
        for checked in check_records(archive, self):
            self._count += 1
            before += checked.record.stored
            if not checked.matches:
                self._findings.append(_finding(self._checkpoint, checked, users.get(checked.record.name, []), within))
        self._nbytes = before

    def compare_parts(self) -> None:
        """Compare the parts that a distributed checkpoint is assembled from: each is an archive of its own."""
        rows: dict[int, dict[str, int]] = defaultdict(dict)
        homes: dict[int, Chunks] = {}
        for row, storage in _storages(self._checkpoint, self._context):
            if isinstance(storage.home, Chunks):
                homes[id(storage.home)] = storage.home
                rows[id(storage.home)].setdefault(storage.key, row)
        for at, home in homes.items():
            for key, item, archive in home.archives(self._context):
                used = [rows[at][key]] if key in rows[at] else []
                name = shorten(home.data.names[item.file], _NAME)
                part = f"the part at byte {item.offset} of {name!r}"
                if isinstance(archive, ZipDirectory):
                    self.compare(archive, dict.fromkeys(archive.records, used), f" of {part}")
                else:
                    problem = f"{part} cannot be read: {archive}"
                    self._findings.append(_blaming(self._checkpoint, "record-unreadable", problem, used))

    def found(self) -> tuple[Finding, ...]:
        """Return all findings, or one that says that there are none, and why."""
        if self._findings:
            return tuple(self._findings)
        is_broken = not self._archives and self._checkpoint.contents.salvaged and _is_zip(self._checkpoint)
        if self._rebuilt or is_broken:
            message = "a file is broken; what is left of it was compared with its checksums when it was salvaged"
            return (Finding("info", "crc-absent", (), message),)
        if not self._count:
            what = "the archive states no checksums" if self._archives else "a file of this format has no checksums"
            return (Finding("info", "crc-absent", (), f"{what}, so nothing can be verified"),)
        message = f"all {self._count} records ({bytes_text(self._nbytes)}) match their checksums"
        return (Finding("info", "crc-ok", (), message),)


def verify_headers(checkpoint: Checkpoint, context: Context) -> tuple[Finding, ...]:
    """Compare the own header of every record with the directory, which is what torch believes; reads no values.

    Raises:
        Cancelled: by `context`.
    """
    whole = [archive for archive in archives_of(checkpoint, context) if not archive.rebuilt]
    notes = [note for archive in whole for note in check_all_local(archive, context)]
    known = {note.message for note in checkpoint.contents.notes}  # opening the file looks at that of its pickle
    return tuple(Finding(note.severity, note.code, (), note.message) for note in notes if note.message not in known)


def _storages(checkpoint: Checkpoint, context: Context) -> Iterator[tuple[int, StorageSpec]]:
    """Yield row and storage for every tensor of the outline, those of its parts included."""
    for row, tensor in stepped(checkpoint.load_outline(context).tensors(), context):
        for each in (tensor, *(tensor.extra.parts.values() if tensor.extra else ())):
            if each.storage is not None:
                yield row, each.storage


def archives_of(checkpoint: Checkpoint, context: Context) -> list[ZipDirectory]:
    """Return the archives that the tensors lie in, each once, and that of the file itself where it holds none."""
    homes = (storage.home for storage in distinct_storages(checkpoint, context))
    found = {id(home.directory): home.directory for home in homes if isinstance(home, Records)}
    source: Bytes | None = checkpoint.contents.source
    if source is not None and _is_zip(checkpoint) and not any(each.source is source for each in found.values()):
        with suppress(CheckpointError):  # whatever is wrong with it was told when it was opened
            whole = ZipDirectory(source, context)
            found[id(whole)] = whole
    return list(found.values())


def _is_zip(checkpoint: Checkpoint) -> bool:
    source: Bytes | None = checkpoint.contents.source
    return source is not None and source.read_at(0, min(len(ZIP), source.size)) == ZIP


def _users(checkpoint: Checkpoint, context: Context) -> dict[int, dict[str, list[int]]]:
    """Return for the id of each archive: name of a record -> rows of the tensors that use it."""
    rows: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, storage in _storages(checkpoint, context):
        home = storage.home
        record = home.record(storage.key) if isinstance(home, Records) else None
        if isinstance(home, Records) and record is not None:
            rows[id(home.directory)][record.name].append(row)
    return rows


def _finding(checkpoint: Checkpoint, checked: Checked, rows: list[int], within: str) -> Finding:
    record = checked.record
    name = f"record {shorten(record.name, _NAME)!r}{within}"
    if checked.crc is None:
        problem = f"{name} cannot be read: {checked.problem.partition(';')[0]}"
        return _blaming(checkpoint, "record-unreadable", problem, rows)
    problem = f"{name} does not match its checksum ({record.crc:08x} stated, {checked.crc:08x} found)"
    return _blaming(checkpoint, "crc-mismatch", problem, rows)


def _blaming(checkpoint: Checkpoint, code: str, problem: str, rows: list[int]) -> Finding:
    """Return an error with the tensors that it concerns."""
    outline = checkpoint.outline
    pointers = Pointers(outline)
    used = [shorten(pointers.of(row) or "the root", _NAME) for row in rows[:NAMED]]
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    by = f", so these values may be wrong: {', '.join(used)}{more}" if used else ""
    message = f"{problem.partition(';')[0]}{by}; copy or download it again"
    return Finding("error", code, outline.path(rows[0]) if rows else (), message)
