"""Entries of a zip's directory that are read together say what they say when they are read one by one."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from ckpt_viewer.errors import Damaged
from ckpt_viewer.formats import zip_entries
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.sources import MemorySource

NUMBERS = [f"a/data/{number}" for number in range(1500)]

STRANGERS = ["a/data/01203", "a/data/1500", "a/data/-1", "a/data/", "a/data/ 7", "a/data/\u0661", "1203", "a/data/1203"]


def entry(name: bytes, header: int, **fields: int) -> bytes:
    """One entry of a central directory, of a record of four bytes."""
    given = {"flags": 0, "method": 0, "crc": 7, "stored": 4, "size": 4, "attributes": 0, **fields}
    order = (given[each] for each in ("flags", "method"))
    sizes = (given[each] for each in ("crc", "stored", "size"))
    return (
        struct.pack("<4s4x2H4x3I3H4x2I", b"PK\x01\x02", *order, *sizes, len(name), 0, 0, given["attributes"], header)
        + name
    )


def archive(names: list[str | bytes], odd: dict[int, dict[str, int]] | None = None) -> bytes:
    """A zip of records whose own headers are not there; some entries differ from the others."""
    out, headers = b"", 0
    for number, name in enumerate(names):
        raw = name if isinstance(name, bytes) else name.encode()
        fields = dict((odd or {}).get(number, {}))
        out += entry(raw, headers + fields.pop("shift", 0), **fields)
        headers += 30 + len(raw) + 4
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, len(names), len(names), len(out), headers, 0)
    return b"\0" * headers + out + end


ASKED = [
    ("a/data/", [*map(str, range(1250, 1450))], ""), ("a/data/", [*map(str, range(7, 40)), "39", "x", ""], ""),
    ("a/data/", ["01", "2"], ""), ("a/data", ["/3", "/4"], ""), ("a/data/1", ["0", "1"], ""), ("a/da", ["ta/5"], ""),
    ("a/", ["data", "b"], "/7"), ("", [], ""),
]  # fmt: skip


def size(read: ZipDirectory, folder: str, keys: list[str], suffix: str) -> list[int | None]:
    """Ask for sizes together, which gives the same as one by one."""
    found = read.sizes(folder, keys, suffix)
    records = (read.records.get(f"{folder}{key}{suffix}") for key in keys)
    assert found == [None if record is None else record.size for record in records]
    return found


def facts(data: bytes) -> object:
    """All that a directory says, or the error."""
    try:
        read = ZipDirectory(MemorySource(data, "a.zip"))
    except Damaged as error:
        return str(error), error.code
    records = read.records
    return (list(records.items()), read.flags, read.packed, read.crcs, read.jumps, read.undecoded, read.root,
            [size(read, *each) for each in ASKED], read.sizes("", [*records, "b"]), read.joined("|"),
            list(reversed(records)), list(records.values()), [name in records for name in STRANGERS])  # fmt: skip


ODD = {
    "plain": (NUMBERS, {}),
    "twice within": ([*NUMBERS[:600], NUMBERS[590], *NUMBERS[601:]], {}),
    "twice far apart": ([*NUMBERS, NUMBERS[3]], {}),
    "twice among entries of one length": ([*NUMBERS[1000:], *NUMBERS[1000:]], {}),
    "a folder": (NUMBERS, {1203: {"attributes": 0x10}}),
    "a flag": (NUMBERS, {1203: {"flags": 1}, 1300: {"flags": 8}}),
    "packed": (NUMBERS, {1400: {"method": 8, "size": 9}}),
    "no crc": (NUMBERS[:500], {number: {"crc": 0} for number in range(500)}),
    "a gap": (NUMBERS, {1203: {"shift": 1 << 20}}),
    "overlap": (NUMBERS, {1203: {"shift": -1}}),
    "large without its size": (NUMBERS, {1203: {"size": 0xFFFFFFFF}}),
    "large": (NUMBERS, {1203: {"size": 0xFF000001, "stored": 0xFF000001}}),
    "two lines": ([*NUMBERS[:1200], "a/data/\n200", *NUMBERS[1201:]], {}),
    "other letters": ([*NUMBERS[:1200], "a/data/é20", *NUMBERS[1201:]], {}),
    "no letters": ([*NUMBERS[:1200], b"a/data/\xff\xfe20", *NUMBERS[1201:]], {}),
    "magic in a name": ([*NUMBERS[:1200], b"a/data/PK\x01\x02", *NUMBERS[1201:]], {}),
    "sorted as text": (sorted(NUMBERS), {}),
    "counted down": (NUMBERS[::-1], {}),
    "with zeros before them": ([f"a/data/{number:04}" for number in range(1500)], {}),
    "of two words": ([*NUMBERS, *(f"a/tensors/{number}" for number in range(1500))], {}),
    "the end before the beginning": ([*NUMBERS[1200:], *NUMBERS[:1200]], {}),
    "twice, within a range": ([*NUMBERS[1000:1100], "a/b", *NUMBERS[1050:1060]], {}),
    "twice, ranges that overlap": ([*NUMBERS[1000:1100], "a/b", *NUMBERS[1050:1150]], {}),
    "twice, a range before the other": ([*NUMBERS[1050:1150], "a/b", *NUMBERS[1000:1051]], {}),
    "twice, a range around the other": ([*NUMBERS[1050:1090], "a/b", *NUMBERS[1000:1100]], {}),
    "twice, alone and then in a range": ([NUMBERS[1203], "a/b", *NUMBERS[1000:]], {}),
}


@pytest.mark.parametrize("kind", ODD)
def test_many_together_say_what_they_say_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch):
    data = archive(*ODD[kind])
    together = facts(data)
    monkeypatch.setattr(zip_entries, "WORTH", 1 << 30)
    assert together == facts(data)


def test_entries_of_one_length_are_read_together(monkeypatch: pytest.MonkeyPatch):
    def refuse(self: object) -> None:
        raise AssertionError("an entry was read alone")

    monkeypatch.setattr(zip_entries.Entries, "_read_one", refuse)
    assert len(ZipDirectory(MemorySource(archive(NUMBERS[1000:]), "a.zip")).records) == 500


def test_numbered_names_take_no_memory():
    """100,000 texts in a dict were 15 MB; the bytes of the directory themselves are kept."""
    data = archive([f"a/data/{number}" for number in range(20_000)])
    source = MemorySource(data, "a.zip")
    tracemalloc.start()
    try:
        read = ZipDirectory(source)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert read.records["a/data/19999"].size == 4
    assert taken < 20_000 * (46 + len("a/data/19999") + 16 + 8)


@pytest.mark.parametrize("cut", [46, 46 * 40])
def test_a_directory_that_ends_first_is_refused(cut: int):
    data = archive(NUMBERS)
    at = data.index(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    short = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1500, 1500, end - at - cut, at, 0)
    with pytest.raises(Damaged, match="shorter than it says"):
        ZipDirectory(MemorySource(data[: end - cut] + short, "a.zip"))
