"""Copying gives the same bytes and checksums, whatever the file system takes over by itself."""

import errno
import os
import zlib

import pytest

from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export import copier as copying
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.checksums import Checksums, Stated
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.reading import Span
from ckpt_viewer.sources import FileSource, SliceSource
from ckpt_viewer.sources.handover import BLOCK

DATA = os.urandom(3_000_000)
RANGES = [(0, 3_000_000), (5, 10), (17, 1_000_003), (2_999_999, 1), (1_000, 300_000)]


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(b"before" + DATA)
    file = FileSource(tmp_path / "source")
    yield SliceSource(file, 6, len(DATA))
    file.close()


@pytest.fixture(params=["whole", "nothing", "a little", "blocks"])
def handed(request, monkeypatch):
    """What the file system takes over by itself, and how much of it that was."""
    counts, most = [], {"whole": 1 << 62, "nothing": 0, "a little": 70_001, "blocks": 1 << 62}[request.param]

    def give(self, fd, offset, nbytes):
        count = min(nbytes, most if request.param != "a little" or not counts else 0)
        if request.param == "blocks":
            at_blocks = (os.lseek(fd, 0, os.SEEK_CUR) % BLOCK, offset % BLOCK) == (0, 0)
            count = count // BLOCK * BLOCK if at_blocks else 0
        counts.append(os.write(fd, self.read_at(offset, count)))
        return counts[-1]

    monkeypatch.setattr(FileSource, "copy_to", give)
    monkeypatch.setattr(copying, "STRETCH", 269 * BLOCK)
    return counts


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("check", [True, False])
def test_bytes_and_checksums(tmp_path, source, handed, checksum, check):
    steps = []
    with AtomicFile(tmp_path / "x") as file, Copier(file, steps.append, check=check) as copier:
        copier.write(b"head")
        found = list(copier.copy_each((Span(source, *each) for each in RANGES), checksum=checksum))
    parts = [DATA[start : start + size] for start, size in RANGES]
    assert (tmp_path / "x").read_bytes() == b"head" + b"".join(parts)
    assert found == [zlib.crc32(part) if checksum else 0 for part in parts]
    assert sum(steps) == sum(map(len, parts)) * (1 + check)
    assert bool(handed) != checksum  # whose bytes have to be seen anyway


@pytest.mark.parametrize("wrong", [True, False])
@pytest.mark.parametrize("check", [True, False])
def test_checksums_that_the_source_states(tmp_path, source, handed, check, wrong):
    """Compared whoever copies, but where nobody sees the bytes; and what the source states is what comes out."""
    stated = [zlib.crc32(DATA[start : start + size]) for start, size in RANGES]
    stated[2] ^= wrong
    spans = [Span(source, *each, 1, crc, str(n)) for n, (each, crc) in enumerate(zip(RANGES, stated, strict=True))]
    with AtomicFile(tmp_path / "x") as file, Copier(file, lambda nbytes: None, check=check) as copier:
        assert list(copier.copy_each(spans)) == stated
    unseen = not check and sum(handed) > 100_000
    assert copier.wrong == (["2"] if wrong and not unseen else [])
    assert bool(copier.carried) == (not check and sum(handed) > 0)


@pytest.mark.parametrize("check", [True, False])
def test_a_long_range_is_handed_over_in_whole_blocks(tmp_path, handed, check):
    """What lies at the same distance from a block in both files; what is in front of it and behind is copied."""
    (tmp_path / "source").write_bytes(DATA)
    stated = [
        Stated(n, 1000, zlib.crc32(DATA[n : n + 1000]) ^ (n == 5000), str(n)) for n in range(1000, 2_900_000, 1000)
    ]
    source, sums = FileSource(tmp_path / "source"), Checksums(stated)
    with AtomicFile(tmp_path / "x") as file, Copier(file, lambda nbytes: None, check=check) as copier:
        copier.write(bytes(BLOCK + 100))
        copier.copy(Span(source, 100, 2_900_000), sums)
    source.close()
    assert (tmp_path / "x").read_bytes() == bytes(BLOCK + 100) + DATA[100:2_900_100]
    if sum(handed) > 100_000:
        assert sum(handed) >= 2_900_000 - 2 * BLOCK
    assert sums.missed == 0 if check or not sum(handed) else sums.missed >= sum(handed) // 1000
    assert sums.wrong == (["5000"] if check or not sum(handed) else [])


def test_a_byte_that_the_file_system_got_wrong_is_noticed(tmp_path, source, monkeypatch):
    def wrong(self, fd, offset, nbytes):
        data = bytearray(self.read_at(offset, nbytes))
        data[12_345] ^= 1
        return os.write(fd, data)

    monkeypatch.setattr(FileSource, "copy_to", wrong)
    with (
        pytest.raises(WriteFailed, match="differs from the source at bytes 0"),
        AtomicFile(tmp_path / "x") as file,
        Copier(file, lambda nbytes: None, check=True) as copier,
    ):
        copier.copy(Span(source, 0, len(DATA)))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


class Costly:
    """A source that is slow to read, and counts what is read of it."""

    name, size, costly = "slow", len(DATA), True

    def __init__(self):
        self.read = 0

    def read_into(self, offset, buffer):
        self.read += len(buffer)
        buffer[:] = DATA[offset : offset + len(buffer)]


def test_what_is_slow_to_read_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "STRETCH", 269 * BLOCK)
    slow, steps = Costly(), []
    with AtomicFile(tmp_path / "x") as file, Copier(file, steps.append, check=True) as copier:
        (found,) = copier.copy_each([Span(slow, 5, 2_900_000)], checksum=True)
    assert (tmp_path / "x").read_bytes() == DATA[5:2_900_005]
    assert (found, slow.read, sum(steps)) == (zlib.crc32(DATA[5:2_900_005]), 2_900_000, 2 * 2_900_000)


@pytest.mark.parametrize("at", [0, 1_234_567, 2_999_999])
def test_a_byte_of_it_that_the_disk_got_wrong_is_noticed(tmp_path, monkeypatch, at):
    flush = AtomicFile.flush

    def wrong(self):
        flush(self)
        if self.position > at:
            os.pwrite(self._fd, bytes([DATA[at] ^ 1]), at)

    monkeypatch.setattr(AtomicFile, "flush", wrong)
    with (
        pytest.raises(WriteFailed, match="differs from the source at bytes 0"),
        AtomicFile(tmp_path / "x") as file,
        Copier(file, lambda nbytes: None, check=True) as copier,
    ):
        copier.copy(Span(Costly(), 0, len(DATA)))
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EFBIG"])
def test_a_disk_that_is_full_while_bytes_are_handed_over(tmp_path, source, monkeypatch, number):
    def full(*args):
        raise OSError(getattr(errno, number), "full")

    monkeypatch.setattr(FileSource, "copy_to", full)
    with (
        pytest.raises(WriteFailed, match=r"is full|used up|not allowed"),
        AtomicFile(tmp_path / "x") as file,
        Copier(file, lambda nbytes: None, check=False) as copier,
    ):
        copier.copy(Span(source, 0, len(DATA)))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
