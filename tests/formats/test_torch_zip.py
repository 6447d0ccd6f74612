"""The zip container of torch.save, as torch writes it and as it should not be."""

from __future__ import annotations

import struct

import pytest
from builders import (
    call,
    floats,
    integer,
    many,
    mapped,
    name,
    pickled,
    save,
    tensor,
    text,
    zip_checkpoint,
    zip_file,
)
from contract import VALUES, FormatContract
from opening import memory, open_bytes

from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, OverBudget, Truncated, Unsupported
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.sources import MemorySource

DATA = floats(*VALUES)
WEIGHT = pickled(tensor())


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


class TestTorchZip(FormatContract):
    name = "torch-zip"

    def file(self) -> bytes:
        return zip_checkpoint(pickled(mapped((text("weight"), tensor()), (text("epoch"), integer(3)))), {"0": DATA})

    def long_file(self) -> bytes:
        return zip_checkpoint(pickled(mapped(*((text(str(n)), integer(n)) for n in range(500)))))


class TestDeflated(TestTorchZip):
    """Somebody packed the records again."""

    def file(self) -> bytes:
        pickle = pickled(mapped((text("weight"), tensor()), (text("epoch"), integer(3))))
        return zip_checkpoint(pickle, {"0": DATA}, deflate=("data.pkl", "data/0"))


class TestTensorsFolder(TestTorchZip):
    """The zip that torch 1.4 wrote on request, which no later torch loads."""

    def file(self) -> bytes:
        pickle = pickled(mapped((text("weight"), tensor()), (text("epoch"), integer(3))))
        return zip_checkpoint(pickle, {"0": DATA}, folder="tensors", version=b"1\n", byteorder=None, root="model")


class TestWithoutChecksums(TestTorchZip):
    """torch.serialization.config.save.compute_crc32 = False, which Python's zipfile refuses."""

    def file(self) -> bytes:
        pickle = pickled(mapped((text("weight"), tensor()), (text("epoch"), integer(3))))
        return zip_checkpoint(pickle, {"0": DATA}, crc=False)


def test_checksums_are_known_where_they_are_stated():
    assert open_bytes(zip_checkpoint(WEIGHT, {"0": DATA})).root.storage.extent().crc is not None
    assert open_bytes(zip_checkpoint(WEIGHT, {"0": DATA}, crc=False)).root.storage.extent().crc is None


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_any_alignment(alignment):
    assert open_bytes(zip_checkpoint(WEIGHT, {"0": DATA}, alignment=alignment)).root.numpy(copy=True)[0] == VALUES[0]


def test_a_zip_without_zip64_records_as_other_tools_write_it():
    data = zip_checkpoint(WEIGHT, {"0": DATA}, zip64_end=False, comment=b"packed again")
    checkpoint = open_bytes(data)
    assert checkpoint.root.numpy(copy=True)[0] == VALUES[0]
    assert codes(checkpoint) == set()


def test_big_endian_numbers_are_swapped():
    floats_back = zip_checkpoint(WEIGHT, {"0": floats(*VALUES, order=">")}, byteorder="big")
    assert open_bytes(floats_back).root.numpy(copy=True).tolist()[:3] == VALUES[:3]
    pair = pickled(tensor((2,), cls="ComplexFloatStorage"))
    swapped = zip_checkpoint(pair, {"0": floats(1, 2, 3, -4, order=">")}, byteorder="big")
    assert open_bytes(swapped).root.numpy(copy=True).tolist() == [1 + 2j, 3 - 4j]


@pytest.mark.parametrize("order", ["middle", "Little", "", "little "])
def test_another_byte_order_is_refused_as_torch_does(order):
    with pytest.raises(Damaged, match="byte order"):
        open_bytes(zip_checkpoint(WEIGHT, {"0": DATA}, byteorder=order))


def test_without_a_byte_order_it_is_little():
    assert open_bytes(zip_checkpoint(WEIGHT, {"0": DATA}, byteorder=None)).root.numpy(copy=True)[0] == VALUES[0]


def test_the_root_folder_has_any_name():
    for root in ("archive", "a.b.c", "päth", "x" * 300):
        assert open_bytes(zip_checkpoint(WEIGHT, {"0": DATA}, root=root)).root.numpy(copy=True)[0] == VALUES[0]


def test_a_missing_storage_is_a_finding_and_an_error_once_it_is_read():
    checkpoint = open_bytes(zip_checkpoint(WEIGHT))
    (finding,) = checkpoint.findings
    assert (finding.severity, finding.code, finding.path) == ("error", "missing-storage", ())
    with pytest.raises(Damaged, match="no record"):
        checkpoint.root.numpy()


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b""])
def test_a_storage_of_another_size_is_a_finding(data):
    assert "storage-size" in codes(open_bytes(zip_checkpoint(WEIGHT, {"0": data})))


def test_a_storage_that_is_too_short_cannot_be_read():
    with pytest.raises(CheckpointError, match="need"):
        open_bytes(zip_checkpoint(WEIGHT, {"0": DATA[:-1]})).root.numpy()


def test_findings_stand_at_the_tensor_they_are_about():
    body = mapped((text("a"), tensor(key="0")), (text("b"), tensor(key="1")))
    checkpoint = open_bytes(zip_checkpoint(pickled(body), {"0": DATA}))
    assert [(finding.code, finding.path) for finding in checkpoint.findings] == [("missing-storage", ("b",))]


def test_two_records_of_one_name_are_refused():
    once = zip_checkpoint(WEIGHT, {"0": DATA}, extra={"data/1": DATA})
    with pytest.raises(Damaged, match="two records"):
        open_bytes(once.replace(b"archive/data/1", b"archive/data/0"))


def test_a_record_that_is_called_a_folder_is_refused():
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA}))
    at = data.index(b"PK\1\2")
    data[at + 38] |= 0x10
    with pytest.raises(Damaged, match="folder"):
        open_bytes(bytes(data))


@pytest.mark.parametrize("flag", [0x01, 0x20, 0x40])
def test_encrypted_and_patched_records_are_refused(flag):
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA}))
    data[data.index(b"PK\1\2") + 8] |= flag
    with pytest.raises(Unsupported, match="encrypted"):
        open_bytes(bytes(data))


def test_an_unknown_packing_is_named():
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA}))
    struct.pack_into("<H", data, data.index(b"PK\1\2") + 10, 12)
    with pytest.raises(Unsupported, match="method 12"):
        open_bytes(bytes(data))


def test_a_record_without_its_own_header_is_refused():
    data = zip_checkpoint(WEIGHT, {"0": DATA})
    made = bytearray(data)
    struct.pack_into("<I", made, data.index(b"PK\1\2") + 42, 64)
    with pytest.raises(Damaged, match="not where the directory says"):
        open_bytes(bytes(made))


def test_a_directory_of_four_billion_entries_is_refused_before_it_is_read():
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA}))
    at = data.index(b"PK\6\6")
    struct.pack_into("<2Q", data, at + 24, 1 << 32, 1 << 32)
    with memory() as peak, pytest.raises(Damaged, match="claims more"):
        open_bytes(bytes(data))
    assert peak.nbytes < 1_000_000


def test_a_record_beyond_the_file_is_refused():
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA}))
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 42, 1 << 30)
    with pytest.raises(Damaged, match="outside"):
        open_bytes(bytes(data))


def test_a_record_longer_than_the_file_is_cut_off():
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA}))
    struct.pack_into("<2I", data, data.index(b"PK\1\2") + 20, 1 << 20, 1 << 20)
    with pytest.raises(Truncated):
        open_bytes(bytes(data))


def test_sizes_above_four_gigabytes_come_from_the_zip64_field():
    """What torch writes of a large record in the directory, here with small true sizes."""
    data = zip_checkpoint(WEIGHT, {"0": DATA})
    at = data.rindex(b"PK\1\2", 0, data.index(b"archive/data/0", data.index(b"PK\1\2")))
    entry = bytearray(data[at : at + 46 + len(b"archive/data/0")])
    header = struct.unpack_from("<I", entry, 42)[0]
    struct.pack_into("<2I", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, 28)
    entry += struct.pack("<2H3Q", 1, 24, len(DATA), len(DATA), header)
    longer = bytearray(data[:at] + entry + data[at + 46 + len(b"archive/data/0") :])
    end = longer.index(b"PK\6\6")
    size = struct.unpack_from("<Q", longer, end + 40)[0]
    struct.pack_into("<Q", longer, end + 40, size + 28)
    struct.pack_into("<Q", longer, longer.index(b"PK\6\7") + 8, end)
    assert open_bytes(bytes(longer)).root.numpy(copy=True)[0] == VALUES[0]
    broken = bytes(longer).replace(struct.pack("<2H", 1, 24), struct.pack("<2H", 1, 16))
    with pytest.raises(Damaged, match="above 4 GB"):
        open_bytes(broken)


def test_a_small_file_that_inflates_to_a_gigabyte_is_refused():
    packed = zip_checkpoint(pickled(b"N0" * (50 << 20)), deflate=("data.pkl",))
    assert len(packed) < 500_000
    with memory() as peak, pytest.raises(OverBudget):
        open_bytes(packed)
    assert peak.nbytes < 1_000_000 + 5 * len(packed)


@pytest.mark.parametrize("opcode", [b"N", b"]", b"(", b"K\0"])
def test_a_small_file_that_inflates_to_many_objects_is_refused(opcode):
    packed = zip_checkpoint(pickled(opcode * (30_000_000 // len(opcode))), deflate=("data.pkl",))
    assert len(packed) < 250_000
    with pytest.raises(OverBudget):
        open_bytes(packed)


def test_a_record_that_inflates_to_another_size_is_refused():
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA * 100}, deflate=("data/0",)))
    at = data.index(b"archive/data/0", data.index(b"PK\1\2")) - 46
    struct.pack_into("<I", data, at + 24, 399)
    with pytest.raises(Damaged):
        open_bytes(bytes(data)).root.numpy()


def test_a_damaged_deflated_record_is_refused():
    data = bytearray(zip_checkpoint(WEIGHT, {"0": DATA * 100}, deflate=("data/0",)))
    at = data.index(b"archive/data/0")
    at += 14 + struct.unpack_from("<H", data, at - 2)[0]
    data[at : at + 8] = b"\xff" * 8
    with pytest.raises(Damaged, match="inflate"):
        open_bytes(bytes(data)).root.numpy()


def test_bytes_behind_the_pickle_are_a_finding():
    assert "trailing-bytes" in codes(open_bytes(zip_checkpoint(WEIGHT + b"more", {"0": DATA})))


def test_a_second_pickle_in_the_archive_is_looked_into():
    evil = pickled(call(name("os", "system"), text("true")))
    checkpoint = open_bytes(zip_checkpoint(WEIGHT, {"0": DATA}, extra={"other.pkl": evil, "broken.pkl": b"\x80\x02("}))
    assert "extra-pickle" in codes(checkpoint)
    assert {use.name: use.status for use in checkpoint.contents.globals}["os.system"] == "dangerous"


@pytest.mark.parametrize(
    ("records", "error", "words"),
    [
        ({"a/version": b"3", "a/data/0": b"x"}, Damaged, "no data.pkl"),
        ({"w.npy": b"x", "b.npy": b"y"}, NotACheckpoint, "npz"),
        ({"readme.txt": b"x"}, NotACheckpoint, "ordinary zip"),
        ({"a/data.pkl/": b""}, NotACheckpoint, "ordinary zip"),
    ],
)
def test_other_zips_are_named(records, error, words):
    with pytest.raises(error, match=words):
        open_bytes(zip_file(records))


def test_an_empty_zip_is_named():
    with pytest.raises(NotACheckpoint, match="empty zip"):
        open_bytes(zip_file({}, zip64_end=False))


def test_what_torch_writes_without_checksums_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    from torch.utils.serialization import config as settings

    config = settings.save
    before, config.compute_crc32 = config.compute_crc32, False
    try:
        path = save({"a": torch.arange(3.0)}, tmp_path / "m.pth")
    finally:
        config.compute_crc32 = before
    with open_checkpoint(path) as checkpoint:
        assert checkpoint["/a"].numpy().tolist() == [0, 1, 2]


def test_only_what_is_asked_for_is_read():
    """A storage of 100 MB costs nothing until its values are wanted."""

    class Counting(MemorySource):
        read = 0

        def read_at(self, offset, size):
            type(self).read += size
            return super().read_at(offset, size)

    from ckpt_viewer.core.progress import SILENT
    from ckpt_viewer.formats import detect

    source = Counting(zip_checkpoint(pickled(many(tensor((25_000_000,)))), {"0": bytes(100_000_000)}))
    detect(source).open(source, SILENT)
    assert Counting.read < 200_000
