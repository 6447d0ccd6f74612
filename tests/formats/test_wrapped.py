"""Compressed files around a checkpoint: one layer is taken off in memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from builders import floats, integer, legacy_stream, mapped, pickled, save, tensor, text, zip_checkpoint
from contract import VALUES
from opening import memory

from ckpt_viewer.errors import Cancelled, CheckpointError, Damaged, NotACheckpoint, Truncated
from ckpt_viewer.formats import open_checkpoint, wrapped


def zstd_frame(data: bytes, *, repeat: int = 1) -> bytes:
    """A zstd frame whose blocks are not compressed, or say one byte `repeat` times (RFC 8878, section 3.1.1)."""
    blocks = [data[at : at + 65536] for at in range(0, len(data), 65536)] or [b""]
    sizes = [repeat if repeat > 1 else len(block) for block in blocks]
    heads = [(at == len(blocks) - 1) | (repeat > 1) << 1 | size << 3 for at, size in enumerate(sizes)]
    body = b"".join(head.to_bytes(3, "little") + block for head, block in zip(heads, blocks, strict=True))
    return b"\x28\xb5\x2f\xfd\x00\x58" + body  # no size, a window of 2 MiB


PACKERS = {"gzip": gzip.compress, "bz2": bz2.compress, "lzma": lzma.compress, "zstd": zstd_frame}
COMMANDS = {"gzip": "gunzip", "bz2": "bunzip2", "lzma": "unxz", "zstd": "unzstd"}
BODY = mapped((text("weight"), tensor()), (text("epoch"), integer(3)))
ZIP = zip_checkpoint(pickled(BODY), {"0": floats(*VALUES)})
LEGACY = legacy_stream(pickled(mapped((text("weight"), tensor(legacy=True)))), {"0": floats(*VALUES)})


@pytest.fixture
def wrote(tmp_path):
    """Return a function that writes a file, and afterwards make sure that nothing else was written."""
    path = tmp_path / "model.pth.packed"

    def write(data: bytes) -> Path:
        path.write_bytes(data)
        return path

    yield write
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize(("inner", "format_"), [(ZIP, "torch-zip"), (LEGACY, "torch-legacy")])
def test_a_packed_checkpoint_opens_and_says_what_torch_would_do(wrote, packer, inner, format_):
    path = wrote(PACKERS[packer](inner))
    with open_checkpoint(path) as checkpoint:
        assert (checkpoint.format, checkpoint.size) == (format_, path.stat().st_size)
        assert checkpoint["/weight"].numpy(copy=True).tolist()[:3] == VALUES[:3]
        assert checkpoint["/weight"].numpy().tolist()[:3] == VALUES[:3]
        finding = next(each for each in checkpoint.findings if each.code == "compressed")
        assert finding.severity == "warning"
        assert "torch.load would refuse" in finding.message
        assert COMMANDS[packer] in finding.message


@pytest.mark.parametrize("packer", ["gzip", "bz2", "lzma"])
def test_torch_agrees_with_the_advice(tmp_path, packer):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pth"
    save({"a": torch.arange(3.0)}, path)
    path.write_bytes(PACKERS[packer](path.read_bytes()))
    with pytest.raises(Exception, match=r"(?i)unpickl|weights_only|invalid"):
        torch.load(path)
    with {"gzip": gzip, "bz2": bz2, "lzma": lzma}[packer].open(path) as file:
        assert torch.load(file)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("packer", PACKERS)
def test_members_one_after_another_are_one_file(wrote, packer):
    pack = PACKERS[packer]
    with open_checkpoint(wrote(pack(ZIP[:300]) + pack(ZIP[300:]) + bytes(100_000))) as checkpoint:
        assert checkpoint["/epoch"].value == 3


@pytest.mark.parametrize("junk", [b"x", b"\0\0signature of a server", b"\0" * 70_000 + b"\x01" * 70_000])
@pytest.mark.parametrize("packer", PACKERS)
def test_what_follows_the_members_is_left_out_and_told(wrote, packer, junk):
    with open_checkpoint(wrote(PACKERS[packer](ZIP) + junk)) as checkpoint:
        assert checkpoint["/epoch"].value == 3
        (finding,) = [each for each in checkpoint.findings if each.code == "trailing-bytes"]
    assert finding.message.startswith(f"{len(junk.lstrip(bytes(1)))} bytes that are not compressed follow")


@pytest.mark.parametrize("packer", PACKERS)
def test_packed_twice_is_named_and_not_opened(wrote, packer):
    with pytest.raises(NotACheckpoint, match="around a gzip file; unpack both"):
        open_checkpoint(wrote(PACKERS[packer](gzip.compress(ZIP))))


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_inside_is_named(wrote, packer):
    with pytest.raises(NotACheckpoint, match="HDF5"):
        open_checkpoint(wrote(PACKERS[packer](b"\x89HDF\r\n\x1a\n" + bytes(50))))


@pytest.mark.parametrize("packer", PACKERS)
def test_a_packed_archive_of_files_is_named(wrote, packer):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("model/model.pth")
        member.size = len(ZIP)
        archive.addfile(member, io.BytesIO(ZIP))
    with pytest.raises(NotACheckpoint, match=r"tar archive in .* unpack it with tar xf"):
        open_checkpoint(wrote(PACKERS[packer](out.getvalue())))


@pytest.mark.parametrize("packer", PACKERS)
def test_every_beginning_of_a_packed_file_is_refused(wrote, packer):
    data = PACKERS[packer](ZIP)
    for length in range(6, len(data), 7):
        with pytest.raises((Truncated, Damaged)):
            open_checkpoint(wrote(data[:length]))


@pytest.mark.parametrize("packer", PACKERS)
def test_damage_is_said_or_harmless(wrote, packer):
    data = bytearray(PACKERS[packer](ZIP))
    for position in range(0, len(data), 5):
        data[position] ^= 0x55
        with suppress(CheckpointError):
            open_checkpoint(wrote(bytes(data))).close()
        data[position] ^= 0x55


@pytest.mark.parametrize("packer", PACKERS)
def test_more_than_fits_into_memory_is_left_to_the_packers_own_program(wrote, packer, monkeypatch):
    monkeypatch.setattr(wrapped, "LIMIT", 1 << 20)
    path = wrote(PACKERS[packer](bytes(40 << 20)))
    with (
        memory() as peak,
        pytest.raises(NotACheckpoint, match=f"more than 1.05 MB inside; unpack it with {COMMANDS[packer]}"),
    ):
        open_checkpoint(path)
    assert peak.nbytes < 12 << 20


def test_as_much_as_the_limit_is_unpacked(wrote, monkeypatch):
    monkeypatch.setattr(wrapped, "LIMIT", len(ZIP))
    open_checkpoint(wrote(gzip.compress(ZIP))).close()
    monkeypatch.setattr(wrapped, "LIMIT", len(ZIP) - 1)
    with pytest.raises(NotACheckpoint, match="inside; unpack"):
        open_checkpoint(wrote(gzip.compress(ZIP)))


def test_an_xz_file_with_an_immense_dictionary_is_left_to_its_program(wrote):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 30}]
    data = bytearray(lzma.compress(ZIP, filters=[{**filters[0], "dict_size": 1 << 20}]))
    assert data[16] == 16  # the dictionary's size in the block header: 1 MiB
    data[16] = 36  # 1 GiB
    import zlib

    data[20:24] = zlib.crc32(bytes(data[12:20])).to_bytes(4, "little")
    with pytest.raises(NotACheckpoint, match="takes much memory; unpack it with unxz"):
        open_checkpoint(wrote(bytes(data)))


def test_unpacking_can_be_cancelled(wrote):
    class Stop:
        def step(self, done, total):
            if done > 1 << 18:
                raise Cancelled

    path = wrote(gzip.compress(bytes(30 << 20), 0))
    with pytest.raises(Cancelled):
        open_checkpoint(path, context=Stop())


# --- zstd, for which Python has a reader since 3.14 and its backport before ------------------------------------------


def test_a_zstd_file_is_named_where_there_is_no_reader(wrote, monkeypatch):
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotACheckpoint, match="zstd file; unpack it with unzstd"):
        open_checkpoint(wrote(zstd_frame(ZIP)))


def test_a_broken_zstd_file_says_so(wrote):
    with pytest.raises(Damaged, match="zstd file that cannot be unpacked"):
        open_checkpoint(wrote(b"\x28\xb5\x2f\xfd" + bytes(range(200, 250)) * 9))


def test_a_zstd_file_that_takes_too_much_memory_is_left_to_its_own_program(wrote):
    frame = zstd_frame(ZIP)
    with pytest.raises(NotACheckpoint, match="takes much memory; unpack it with unzstd"):
        open_checkpoint(wrote(frame[:5] + b"\xa8" + frame[6:]))  # a window of 2 GiB


def test_a_zstd_bomb_is_not_unpacked(wrote):
    bomb = zstd_frame(b"\0", repeat=1 << 16)
    frames = bomb * 1200  # 79 MB of zeros in 12 kB
    with memory() as used, pytest.raises(NotACheckpoint, match="with more than 67"):
        open_checkpoint(wrote(frames))
    assert used.nbytes < 200 << 20
