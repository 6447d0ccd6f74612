"""What a remapped copy looks like inside: the layout of the zip, the bytes of the legacy stream."""

import os
import sys
import zipfile
import zlib

import builders
import pytest
import torch
from judge import assert_same, bits, remap, tags

import ckpt_viewer
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export import remap_zip, zip_writer
from ckpt_viewer.export.plan import plan_export, plan_remap, write
from ckpt_viewer.sources import FileSource

pytestmark = pytest.mark.torch


def records(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    return records_of(path)


def records_of(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: info for info in archive.infolist()}


def offsets(path):
    """Where the data of each record starts."""
    with path.open("rb") as file:
        found = {}
        for name, info in records_of(path).items():
            file.seek(info.header_offset + 26)
            lengths = file.read(4)
            found[name] = info.header_offset + 30 + sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
    return found


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
@pytest.mark.parametrize("tag", ["cuda:1", "c" * 200])
def test_the_layout_stays_predictable(tmp_path, alignment, tag, monkeypatch):
    """torch can work out where every storage is without reading a local header, and its own check agrees."""
    from torch.utils.serialization import config

    monkeypatch.setattr("ckpt_viewer.export.retag.known_tag", lambda tag: True)
    value = {f"w{n}": torch.randn(n * 7) for n in range(40)}
    with config.patch("save.storage_alignment", alignment):
        source = builders.save(value, tmp_path / "x.pth", tag=tag)
    target = remap(source).path
    assert list(records(target)) == list(records(source))
    assert all(where % alignment == 0 for name, where in offsets(target).items() if "/data" in name)
    monkeypatch.setenv("TORCH_SERIALIZATION_DEBUG", "1")
    with config.patch("load.calculate_storage_offsets", True):
        assert_same(value, torch.load(target, mmap=True, weights_only=True))


def test_checksums_are_kept_and_right(tmp_path):
    source = builders.save({"w": torch.randn(50), "v": torch.randn(3)}, tmp_path / "x.pth", tag="cuda:1")
    before, after = records(source), records(remap(source).path)
    changed = {name for name in before if before[name].CRC != after[name].CRC}
    assert {name.partition("/")[2] for name in changed} == {"data.pkl"}


BODY = builders.pickled(
    builders.listed(builders.tensor(location="cuda:1"), builders.tensor(location="cuda:1", key="1"))
)
STORAGES = {"0": builders.floats(1, 2, 3, 4), "1": builders.floats(5, 6, 7, 8)}


def made(path, **layout):
    path.write_bytes(builders.zip_checkpoint(BODY, STORAGES, **layout))
    return path


def loads_right(path):
    got = torch.load(path, weights_only=True)
    return [tensor.tolist() for tensor in got] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    "layout",
    [
        {"crc": False},
        {"root": "größe/x"[:5]},
        {"extra": {".data/serialization_id": b"7" * 40, "notes.txt": b"keep me"}},
        {"deflate": ("data.pkl",)},
        {"deflate": ("data.pkl", "data/1", "version")},
        {"alignment": 1},
        {"comment": b"a comment"},
        {"zip64_end": False},
        {"byteorder": None},
    ],
    ids=str,
)
def test_zips_of_other_writers(tmp_path, layout):
    source = made(tmp_path / "x.pth", **layout)
    target = remap(source).path
    assert loads_right(target)
    if layout.get("crc", True):
        assert list(records(target)) == list(records(source))
    else:  # no checksum anywhere, not a single one that makes the others look wrong
        with ckpt_viewer.open_checkpoint(target) as checkpoint:
            assert {spec.extent().crc for _, tensor in checkpoint.outline.tensors() if (spec := tensor.storage)} == {
                None
            }


def test_records_in_another_order(tmp_path):
    """As torch 1.4 and re-packing tools write: data.pkl is not the first record."""
    inner = {"version": b"3\n", "data/1": STORAGES["1"], "data.pkl": BODY, "data/0": STORAGES["0"]}
    source = tmp_path / "x.pth"
    source.write_bytes(builders.zip_file({f"archive/{name}": data for name, data in inner.items()}))
    target = remap(source).path
    assert loads_right(target)
    assert list(records(target)) == list(records(source))


def test_big_endian_stays_big_endian(tmp_path):
    swapped = {key: builders.floats(*numbers, order=">") for key, numbers in (("0", (1, 2, 3, 4)), ("1", (5, 6, 7, 8)))}
    source = tmp_path / "x.pth"
    source.write_bytes(builders.zip_checkpoint(BODY, swapped, byteorder="big"))
    assert loads_right(remap(source).path)


@pytest.mark.parametrize("limit", [64, 700, 1500])
def test_where_offsets_grow_beyond_32_bits(tmp_path, monkeypatch, limit):
    """The limit is lowered, so that the block cannot be moved and every header is written anew."""
    value = {f"w{n}": torch.randn(n) for n in range(20)}
    source = builders.save(value, tmp_path / "x.pth", tag="cuda:1")
    monkeypatch.setattr(remap_zip, "_crosses", lambda offset, shift: offset > limit)
    monkeypatch.setattr(remap_zip, "ZipWriter", lambda write: zip_writer.ZipWriter(write, limit=limit))
    target = remap(source).path
    names = {name.partition("/")[2] for name in records(target)}
    assert ".format_version" not in names
    assert ".storage_alignment" not in names
    assert all(where % 64 == 0 for where in offsets(target).values())
    assert_same(value, torch.load(target, mmap=True, weights_only=True))


def test_crossing_is_noticed():
    limit = zip_writer.ZIP64_LIMIT
    assert remap_zip._crosses(limit - 1, 64)
    assert remap_zip._crosses(limit, -64)
    assert not remap_zip._crosses(limit, 64)
    assert not remap_zip._crosses(0, 64)


# --- the legacy stream ----------------------------------------------------------------------------------------------


def test_views_of_storages_of_old_writers(tmp_path):
    whole = builders.tensor((2,), of=builders.storage("9", 4, location="cuda:1", legacy=True, view=("90", 1, 2)))
    rest = builders.tensor((4,), of=builders.storage("9", 4, location="cuda:1", legacy=True))
    source = tmp_path / "x.pth"
    source.write_bytes(builders.legacy_stream(builders.pickled(builders.listed(whole, rest)), {"9": STORAGES["0"]}))
    got = torch.load(remap(source).path, weights_only=False)
    assert [tensor.tolist() for tensor in got] == [[2, 3], [1, 2, 3, 4]]


def test_new_dtypes_in_a_stream_keep_every_byte(tmp_path):
    """torch writes these but cannot read them back."""
    source = builders.save({"w": bits(9, torch.float8_e5m2)}, tmp_path / "x.pth", legacy=True, tag="cuda:1")
    target = remap(source).path
    assert tags(target) == ["cpu"]
    assert target.read_bytes()[-9:] == source.read_bytes()[-9:]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_storages_named_as_text(tmp_path, legacy):
    """Protocol 0, which torch writes and cannot read."""
    source = builders.save({"w": torch.zeros(3)}, tmp_path / "x.pth", legacy=legacy, protocol=0, tag="cuda:1")
    with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(CannotExport, match="does not take either"):
        plan_remap(checkpoint, "cpu")


def test_only_the_fourth_pickle_changes(tmp_path):
    source = builders.save({"w": torch.randn(1000)}, tmp_path / "x.pth", legacy=True, tag="cuda:1")
    old, new = source.read_bytes(), remap(source).path.read_bytes()
    assert new == old.replace(b"X\x06\x00\x00\x00cuda:1", b"X\x03\x00\x00\x00cpu")


# --- checksums of the source ----------------------------------------------------------------------------------------


def damaged(path, *keys):
    """Change a byte in the data of some storages, without their checksums."""
    raw = bytearray(path.read_bytes())
    for name, at in offsets(path).items():
        if name.rpartition("/")[2] in keys:
            raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("as_block", [True, False])
@pytest.mark.parametrize("numel", [5, 300_000])
def test_a_wrong_checksum_is_told_and_stays(tmp_path, monkeypatch, as_block, numel):
    if not as_block:
        monkeypatch.setattr(remap_zip._Copier, "as_block", lambda self: None)
    value = {f"w{n}": torch.full((numel,), float(n)) for n in range(9)}
    source = builders.save(value, tmp_path / "x.pth", tag="cuda:1")
    before = records(source)
    damaged(source, "3", "7")
    written = remap(source)
    (warning,) = written.warnings
    assert warning.startswith("record 'data/3', record 'data/7': not what the checksum in the source was computed from")
    assert (written.verified, written.carried) == ("ckpt-viewer", 0)
    with zipfile.ZipFile(written.path) as archive:
        for name, info in before.items():
            if "/data/" in name:
                assert archive.getinfo(name).CRC == info.CRC
        with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
            archive.read("x/data/3")


def test_a_wrong_checksum_of_the_pickle_is_told_though_it_gets_a_new_one(tmp_path):
    path = made(tmp_path / "x.pth")
    raw = path.read_bytes()
    crc = zlib.crc32(BODY).to_bytes(4, "little")
    assert raw.count(crc) == 2
    path.write_bytes(raw.replace(crc, b"abcd"))
    assert remap(path).warnings[0].startswith("data.pkl: not what the checksum")


@pytest.fixture
def sharing(monkeypatch):
    """A file system that takes over whole blocks, unseen, whatever they hold."""

    def give(self, fd, offset, nbytes):
        return os.write(fd, self.read_at(offset, nbytes))

    monkeypatch.setattr(FileSource, "copy_to", give)


def test_what_nobody_compared_is_called_unchecked(tmp_path, sharing):
    source = builders.save({"w": torch.ones(300_000), "v": torch.ones(3)}, tmp_path / "x.pth", tag="cuda:1")
    damaged(source, "0")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_remap(checkpoint, "cpu"), verify=False)
        state_dict = write(plan_export(checkpoint, ""), tmp_path / "z.pth", verify=False)
    assert written.warnings == state_dict.warnings == ()
    assert 1 <= written.carried < len(records_of(source))  # what lies in front of the first block is read
    assert state_dict.carried == 1  # the other one is small, so it is read


def test_deflated_records_keep_their_checksums_unchecked(tmp_path):
    packed = made(tmp_path / "y.pth", deflate=("data/1",))
    assert remap(packed).carried == 1


def test_a_state_dict_keeps_wrong_checksums_too(tmp_path):
    source = builders.save({"w": torch.ones(300_000), "v": torch.ones(3)}, tmp_path / "x.pth", tag="cuda:1")
    stated = records(source)["x/data/1"].CRC
    damaged(source, "1")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_export(checkpoint, ""), tmp_path / "y.pth")
        unverified = write(plan_export(checkpoint, ""), tmp_path / "z.pth", verify=False)
    assert written.warnings[0].startswith("storage '1': not what the checksum")
    assert stated == records_of(written.path)["archive/data/1"].CRC
    assert (unverified.warnings, unverified.carried) == (written.warnings, 0)


# --- real sizes -----------------------------------------------------------------------------------------------------


def sparse(path, filling):
    """A zip whose first storage is a hole that ends so that the header behind it is 32 bytes below the limit."""
    tail = builders.floats(1, 2, 3, 4)
    size = zip_writer.ZIP64_LIMIT - 1000
    for _ in range(2):  # the size stands in the pickle, which stands before the hole
        whole = builders.tensor((size,), cls="ByteStorage")
        body = builders.pickled(builders.listed(whole, builders.tensor(key="1"), builders.text("x" * filling)))
        with path.open("wb") as file:
            writer = zip_writer.ZipWriter(file.write)
            writer.begin(b"a/data.pkl", len(body))
            writer.append(body)
            writer.end(zlib.crc32(body))
            start = writer.begin(b"a/data/0", size)
            file.seek(size, os.SEEK_CUR)
            writer.skip(size)
            writer.end(0)
            size -= writer.position - (zip_writer.ZIP64_LIMIT - 32)
            for name, data in ((b"a/data/1", tail), (b"a/version", b"3\n")):
                writer.begin(name, len(data))
                writer.append(data)
                writer.end(zlib.crc32(data))
            writer.finish()
            file.truncate()
    assert start % 64 == 0


def filled(path, parts):
    """Write parts, holes as holes."""
    with path.open("wb") as file:
        for position, part in parts.placed():
            file.seek(position)
            if isinstance(part, bytearray):
                file.write(part)
                continue
            for at in (0, part.nbytes - (1 << 20)) if part.nbytes > 1 << 21 else (0,):
                size = min(part.nbytes, 1 << 20)
                file.seek(position + at)
                file.write(parts.source.read_at(part.offset + at, size))


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
def test_a_header_that_really_crosses_4_gib(tmp_path):
    """The block behind the pickle is moved by 64 bytes or not at all: somewhere the header behind the hole crosses."""
    source, target = tmp_path / "x.pth", tmp_path / "y.pth"
    for filling in range(64):
        sparse(source, filling)
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            parts = plan_remap(checkpoint, "cuda:1").recipe.parts
            filled(target, parts)
        header = records_of(target)["a/data/1"].header_offset
        if header >= zip_writer.ZIP64_LIMIT:
            break
        assert header == records_of(source)["a/data/1"].header_offset
    assert records_of(source)["a/data/1"].header_offset == zip_writer.ZIP64_LIMIT - 32
    assert header > zip_writer.ZIP64_LIMIT
    assert target.stat().st_size == parts.nbytes
    hole, tail, _ = torch.load(target, mmap=True, weights_only=True, map_location="cpu")
    assert hole.numel() > zip_writer.ZIP64_LIMIT - 2000
    assert tail.tolist() == [1, 2, 3, 4]
    assert tags(target) == ["cuda:1", "cuda:1"]
