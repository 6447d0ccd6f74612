"""The zip that we write, read by Python's zipfile, by torch and by our own reader."""

import io
import os
import struct
import zipfile
import zlib

import pytest

from ckpt_viewer.export.zip_writer import ZIP64_LIMIT, ZipWriter, zip_size
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.sources import FileSource, MemorySource

RECORDS = {b"archive/data.pkl": b"\x80\x02N.", b"archive/data/0": bytes(range(256)) * 5, b"archive/data/1": b"",
           "archive/größe".encode(): b"x" * 63, b"archive/version": b"3\n"}  # fmt: skip


def written(records, limit=ZIP64_LIMIT):
    out = io.BytesIO()
    writer = ZipWriter(out.write, limit=limit)
    for name, data in records.items():
        start = writer.begin(name, len(data))
        assert start % 64 == 0
        assert start == out.tell() == writer.position
        for at in range(0, len(data), 100):
            writer.append(data[at : at + 100])
        writer.end(zlib.crc32(data))
    writer.finish()
    assert writer.position == out.tell()
    return out.getvalue()


@pytest.mark.parametrize("limit", [ZIP64_LIMIT, 1, 64, 300, 1000, 2000])
class TestReadByOthers:
    """A lower limit makes small files need the zip64 fields."""

    def test_by_zipfile(self, limit):
        with zipfile.ZipFile(io.BytesIO(written(RECORDS, limit))) as archive:
            assert archive.testzip() is None
            assert {info.filename.encode(): archive.read(info) for info in archive.infolist()} == RECORDS
            assert all(info.date_time == (1980, 1, 1, 0, 0, 0) for info in archive.infolist())

    def test_by_our_reader(self, limit):
        directory = ZipDirectory(MemorySource(written(RECORDS, limit)))
        assert {name.encode(): directory.read(record) for name, record in directory.records.items()} == RECORDS
        assert directory.notes == []

    @pytest.mark.torch
    def test_by_torch(self, limit, tmp_path):
        import torch

        saved = io.BytesIO()
        value = {f"w{n}": torch.randn(n) for n in range(8)}
        torch.save(value, saved)
        with zipfile.ZipFile(saved) as archive:
            records = {name.encode(): archive.read(name) for name in archive.namelist()}
        path = tmp_path / "x.pth"
        path.write_bytes(written(records, limit))
        for loaded in (torch.load(path, weights_only=True), torch.load(path, mmap=True, weights_only=True)):
            assert list(loaded) == list(value)
            assert all(torch.equal(loaded[name], tensor) for name, tensor in value.items())


def test_the_size_is_known_beforehand():
    assert zip_size((name, len(data)) for name, data in RECORDS.items()) == len(written(RECORDS))


def test_zip64_fields_stand_where_they_belong():
    data = written({b"a": b"x" * 500}, limit=500)
    assert data[:4] == b"PK\3\4"
    assert struct.unpack_from("<II", data, 18) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert struct.unpack_from("<HHQQ", data, 31) == (1, 16, 500, 500)
    at = data.index(b"PK\7\x08")
    assert struct.unpack_from("<IQQ", data, at + 4) == (zlib.crc32(b"x" * 500), 500, 500)


def test_more_than_65535_records():
    records = {f"archive/data/{number}".encode(): b"" for number in range(70_000)}
    data = written(records)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 70_000


def test_deflated_records_can_be_copied():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(b"a" * 1000) + packer.flush()
    out = io.BytesIO()
    writer = ZipWriter(out.write)
    writer.begin(b"a", 1000, packed=(len(packed), 8))
    writer.append(packed)
    writer.end(zlib.crc32(b"a" * 1000))
    writer.finish()
    with zipfile.ZipFile(out) as archive:
        assert archive.read("a") == b"a" * 1000


@pytest.mark.torch
@pytest.mark.skipif("CKPT_VIEWER_LARGE_TESTS" not in os.environ, reason="4.6 GB; set CKPT_VIEWER_LARGE_TESTS")
def test_a_record_beyond_4_gib(tmp_path):
    """Written sparsely: the storage is a hole, so that it costs little disk. Checksums are left at zero."""
    import torch

    size = (1 << 32) + 4096
    pickle = io.BytesIO()
    torch.save({"w": torch.zeros(2, dtype=torch.uint8), "tail": torch.arange(3)}, pickle)
    with zipfile.ZipFile(pickle) as archive:
        data = archive.read("archive/data.pkl").replace(b"K\x02tq", b"\x8a\x05" + size.to_bytes(5, "little") + b"tq", 1)
        tail = archive.read("archive/data/1")
    path = tmp_path / "large.pth"
    with path.open("wb") as file:
        writer = ZipWriter(file.write)
        for name, content in ((b"data.pkl", data), (b"byteorder", b"little")):
            writer.begin(b"archive/" + name, len(content))
            writer.append(content)
            writer.end(zlib.crc32(content))
        writer.begin(b"archive/data/0", size)
        file.seek(size, os.SEEK_CUR)
        writer.skip(size)
        writer.end(0)
        for name, content in ((b"data/1", tail), (b"version", b"3\n")):
            writer.begin(b"archive/" + name, len(content))
            writer.append(content)
            writer.end(zlib.crc32(content))
        writer.finish()
    loaded = torch.load(path, mmap=True, weights_only=True)
    assert loaded["w"].untyped_storage().nbytes() == size
    assert loaded["tail"].tolist() == [0, 1, 2]
    source = FileSource(path)
    assert ZipDirectory(source).records["archive/data/0"].size == size
    source.close()
