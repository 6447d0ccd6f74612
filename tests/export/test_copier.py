"""Copying by the kernel and by hand gives the same bytes and checksums, whatever the kernel can."""

import os
import zlib

import pytest

from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export import copier as copying
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.reading import Span
from ckpt_viewer.sources import FileSource, SliceSource

DATA = os.urandom(3_000_000)
RANGES = [(0, 3_000_000), (5, 10), (17, 1_000_003), (2_999_999, 1), (1_000, 300_000)]


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(b"before" + DATA)
    file = FileSource(tmp_path / "source")
    yield SliceSource(file, 6, len(DATA))
    file.close()


@pytest.fixture(params=["whole", "nothing", "a little"])
def kernel(request, monkeypatch):
    """What the kernel can copy."""
    real = FileSource.copy_to
    calls = []

    def give(self, fd, offset, nbytes):
        calls.append(nbytes)
        if request.param == "whole":
            return real(self, fd, offset, nbytes)
        return 0 if request.param == "nothing" or len(calls) > 1 else real(self, fd, offset, min(nbytes, 70_001))

    monkeypatch.setattr(FileSource, "copy_to", give)
    monkeypatch.setattr(copying, "STRETCH", 1_100_000)
    return calls


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("check", [True, False])
def test_bytes_and_checksums(tmp_path, source, kernel, checksum, check):
    steps = []
    with AtomicFile(tmp_path / "x") as file, Copier(file, steps.append, check=check) as copier:
        copier.write(b"head")
        found = list(copier.copy_each((Span(source, *each) for each in RANGES), checksum=checksum))
    parts = [DATA[start : start + size] for start, size in RANGES]
    assert (tmp_path / "x").read_bytes() == b"head" + b"".join(parts)
    assert found == [zlib.crc32(part) if checksum else 0 for part in parts]
    assert sum(steps) == sum(map(len, parts)) * (1 + check)
    assert bool(kernel) != checksum  # whose bytes have to be seen anyway


def test_a_byte_that_the_kernel_got_wrong_is_noticed(tmp_path, source, monkeypatch):
    take = AtomicFile.take

    def wrong(self, give, offset, nbytes):
        count = take(self, give, offset, nbytes)
        os.pwrite(self._fd, bytes([DATA[12_345] ^ 1]), 12_345)
        return count

    monkeypatch.setattr(AtomicFile, "take", wrong)
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
    monkeypatch.setattr(copying, "STRETCH", 1_100_000)
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
def test_a_disk_that_is_full_for_the_kernel_too(tmp_path, source, monkeypatch, number):
    import errno

    def full(*args):
        raise OSError(getattr(errno, number), "full")

    monkeypatch.setattr(os, "copy_file_range", full)
    with (
        pytest.raises(WriteFailed, match=r"is full|not allowed"),
        AtomicFile(tmp_path / "x") as file,
        Copier(file, lambda nbytes: None, check=False) as copier,
    ):
        copier.copy(Span(source, 0, len(DATA)))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
