"""Whether what is in a checkpoint's records is what was written: the checksums of its archive, on demand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ckpt_viewer.analysis.loading import distinct_storages
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import Bytes, StorageSpec
from ckpt_viewer.core.text import bytes_text, shorten
from ckpt_viewer.errors import CheckpointError
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
    if checkpoint.contents.salvaged:
        message = "the file is broken; what is left of it was compared with its checksums when it was salvaged"
        return (Finding("info", "crc-absent", (), message),)
    rows = _users(checkpoint, context)
    archives = archives_of(checkpoint, context)
    stating = [archive for archive in archives if archive.crcs]
    if not stating:
        what = "the archive states no checksums" if archives else "a file of this format has no checksums"
        return (Finding("info", "crc-absent", (), f"{what}, so nothing can be verified"),)
    findings: list[Finding] = []
    count = nbytes = 0
    for archive in stating:
        for checked in check_records(archive, context):
            count, nbytes = count + 1, nbytes + checked.record.stored
            if not checked.matches:
                findings.append(_finding(checkpoint, checked, rows.get((id(archive), checked.record.name), [])))
    if not findings:
        findings.append(
            Finding("info", "crc-ok", (), f"all {count} records ({bytes_text(nbytes)}) match their checksums")
        )
    return tuple(findings)


def verify_headers(checkpoint: Checkpoint, context: Context) -> tuple[Finding, ...]:
    """Compare the own header of every record with the directory, which is what torch believes; reads no values.

    Raises:
        Cancelled: by `context`.
    """
    if checkpoint.contents.salvaged:
        return ()
    notes = [note for archive in archives_of(checkpoint, context) for note in check_all_local(archive, context)]
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
    if source is not None and not any(each.source is source for each in found.values()):
        try:
            whole = ZipDirectory(source, context) if source.read_at(0, min(4, source.size)) == b"PK\x03\x04" else None
        except CheckpointError:
            whole = None
        if whole is not None:
            found[id(whole)] = whole
    return list(found.values())


def _users(checkpoint: Checkpoint, context: Context) -> dict[tuple[int, str], list[int]]:
    """Return (archive, name of a record) -> rows of the tensors that use it."""
    rows: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, storage in _storages(checkpoint, context):
        home = storage.home
        record = home.record(storage.key) if isinstance(home, Records) else None
        if isinstance(home, Records) and record is not None:
            rows[id(home.directory), record.name].append(row)
    return rows


def _finding(checkpoint: Checkpoint, checked: Checked, rows: list[int]) -> Finding:
    outline, record = checkpoint.outline, checked.record
    name = shorten(record.name, _NAME)
    if checked.crc is None:
        code, problem = "record-unreadable", f"record {name!r} cannot be read: {checked.problem.partition(';')[0]}"
    else:
        code = "crc-mismatch"
        problem = f"record {name!r} does not match its checksum ({record.crc:08x} stated, {checked.crc:08x} found)"
    pointers = Pointers(outline)
    used = [shorten(pointers.of(row) or "the root", _NAME) for row in rows[:NAMED]]
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    by = f", so these values may be wrong: {', '.join(used)}{more}" if used else ""
    return Finding("error", code, outline.path(rows[0]) if rows else (), f"{problem}{by}; copy or download it again")
