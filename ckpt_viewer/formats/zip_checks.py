"""Is an archive what it seems? Hazards that the central directory alone shows, for the zip of torch.save. FORMATS 8.

They cost no read beyond the directory, and next to nothing for 100,000 sound records: each question is put to all names
or numbers at once, and only where the answer is suspicious to one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.text import escape_text, shorten
from ckpt_viewer.errors import CheckpointError, Damaged
from ckpt_viewer.formats.zip_directory import SLACK, Record, ZipDirectory

MOST_TOLD = 50
"""Records whose own header differs that are told one by one."""
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte != ord("\\"))
_BETWEEN = "\n"
"""Joins names for looking at all of them at once."""
_SLASHES = ("\n/", "//", "/../", "/./", "\n../", "\n./", "/..\n", "/.\n", "\n..\n", "\n.\n")
_UNREADABLE = 0x61
"""Flags of records that are encrypted or patched."""


def check_archive(archive: ZipDirectory) -> list[Note]:
    """Return what is wrong or odd about the records.

    Raises:
        Damaged: two names differ in case only, so that torch's choice between them depends on chance.
    """
    joined = f"{_BETWEEN}{archive.joined(_BETWEEN)}{_BETWEEN}"
    _refuse_twins(archive, joined)
    return [
        *_paths(archive, joined),
        *_letters(archive, joined),
        *_outside(archive, joined),
        *_places(archive),
        *_contents(archive),
    ]


def _refuse_twins(archive: ZipDirectory, joined: str) -> None:
    """H3: torch looks names up without regard to case, by a binary search that finds either."""
    inner = joined.replace(f"{_BETWEEN}{archive.root}/", _BETWEEN)
    if inner == inner.lower():
        return
    seen: dict[str, str] = {}
    for name in archive.records:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise Damaged(
                f"the archive has records {_shown(other)} and {_shown(name)}, which torch takes for one; "
                "do not load it",
                code="duplicate-record",
            )


def _paths(archive: ZipDirectory, joined: str) -> Iterable[Note]:
    """H3: names that would lead out of a folder that the archive is unpacked into."""
    if any(part in joined for part in _SLASHES) or "\\" in joined:
        bad = [name for name in archive.records if _leaves(name)]
        yield from _told("error", "record-path", bad, "the name would lead out of a folder that it is unpacked into")


def _leaves(name: str) -> bool:
    steps = name.removesuffix("/").replace("\\", "/").split("/")
    return bool({"", ".", ".."} & set(steps)) or "\\" in name


def _letters(archive: ZipDirectory, joined: str) -> Iterable[Note]:
    """H3, H15: names that look like others."""
    strange = joined.encode("utf-8", "surrogatepass").translate(None, _PLAIN)
    if archive.undecoded:
        yield from _told("warning", "record-name", archive.undecoded, "the name is no UTF-8")
    if len(strange) != len(archive.records) + 1:
        root = f"{archive.root}/"  # what the file was called when it was written, which nobody looks up
        bad = [name for name in archive.records if escape_text(own := name.removeprefix(root)) != own]
        yield from _told("warning", "record-name", bad, "the name has characters that are not seen")


def _outside(archive: ZipDirectory, joined: str) -> Iterable[Note]:
    """H3: torch loads no archive that has a record outside of its first record's folder."""
    if not archive.root or joined.count(f"{_BETWEEN}{archive.root}/") == len(archive.records):
        return
    bad = [name for name in archive.records if not name.startswith(f"{archive.root}/")]
    message = f"it is not in the folder {_shown(archive.root)} as all others, so torch refuses the archive"
    yield from _told("error", "record-outside", bad, message)


def _places(archive: ZipDirectory) -> Iterable[Note]:
    """H4, H12: records that share bytes, and bytes that belong to no record."""
    records = archive.records
    if not records:
        return
    first, last = records[next(iter(records))], records[next(reversed(records))]
    if not archive.jumps and first.header == 0 and 0 <= archive.start - _end(last) <= SLACK:
        return
    reached, gaps, bad = 0, 0, []
    for record in sorted(records.values(), key=lambda record: record.header):
        if record.header < reached or _end(record) > archive.start:
            bad.append(record.name)
        elif record.header - reached > (SLACK if reached else 0):
            gaps += record.header - reached
        reached = max(reached, _end(record))
    if archive.start - reached > SLACK:
        gaps += archive.start - reached
    yield from _told("error", "overlapping-records", bad, "it shares bytes of the file with another record")
    if gaps:
        message = f"{gaps} bytes of the archive belong to no record, so that something else may be hidden in them"
        yield Note("error", "unclaimed-bytes", None, message)


def _contents(archive: ZipDirectory) -> Iterable[Note]:
    """H5: flags, packing, checksums."""
    records = archive.records.values()
    if archive.flags & _UNREADABLE:
        bad = [record.name for record in records if record.flags & _UNREADABLE]
        yield from _told("error", "record-encrypted", bad, "it is encrypted or patched, which torch cannot read either")
    packed = [record for record in records if record.method] if archive.packed else []
    unknown = [record.name for record in packed if record.method != 8]
    yield from _told("error", "record-packed", unknown, "it is packed in a way that torch cannot read either")
    storages = [record.name for record in packed if record.method == 8 and "/data/" in record.name]
    message = "it is compressed; torch.load(mmap=True) would take the compressed bytes for numbers"
    yield from _told("warning", "storage-packed", storages, message)
    if not archive.crcs and any(record.size for record in records):
        message = "the archive states no checksums, so damage to its bytes cannot be found"
        yield Note("info", "crc-absent", None, message)


def check_local(archive: ZipDirectory, record: Record) -> list[Note]:
    """Compare a record's own header with the directory; torch believes the directory, other programs refuse. H3, H5.

    Raises:
        CheckpointError: the header cannot be read.
    """
    local = archive.local(record)
    wrong = []
    if local.name != record.name:
        wrong.append(f"the name {_shown(local.name)}")
    if local.method != record.method:
        wrong.append(f"the packing {local.method}")
    if (local.flags ^ record.flags) & _UNREADABLE:
        wrong.append("other encryption flags")
    sizes = (local.stored, local.size)
    if not local.flags & 8 and any(sizes) and 0xFFFFFFFF not in sizes and sizes != (record.stored, record.size):
        wrong.append("other sizes")
    if not local.flags & 8 and local.crc not in (0, record.crc):
        wrong.append("another checksum")
    if not wrong:
        return []
    return [*_told("error", "local-header", [record.name], f"its own header states {', '.join(wrong)}")]


def check_all_local(archive: ZipDirectory, context: Context = SILENT) -> list[Note]:
    """Compare the own header of every record; reads a little of each. Raises Cancelled by `context`."""
    notes: list[Note] = []
    for record in stepped(archive.records.values(), context, len(archive.records)):
        try:
            notes += check_local(archive, record)
        except CheckpointError as error:
            notes += _told("error", "local-header", [record.name], f"its own header cannot be read: {error}")
    if len(notes) > MOST_TOLD:
        more = f"{len(notes) - MOST_TOLD} more records whose own headers differ from the directory"
        notes = [*notes[:MOST_TOLD], Note("error", "local-header", None, more)]
    return notes


def _end(record: Record) -> int:
    """Return where a record's data end at the earliest: without its extra field, and with a name of ASCII."""
    return record.header + 30 + len(record.name) + record.stored


def _shown(name: str) -> str:
    return repr(shorten(name, 60))


def _told(severity: str, code: str, names: list[str], message: str) -> Iterable[Note]:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield Note(severity, code, None, f"record {_shown(names[0])}{more}: {message}")
