"""The legacy stream: five pickles, then the storages."""

from __future__ import annotations

import os
import struct

import pytest
from builders import (
    LEGACY_MAGIC,
    call,
    floats,
    integer,
    legacy_stream,
    listed,
    many,
    mapped,
    name,
    pickled,
    save,
    storage,
    tensor,
    text,
)
from contract import VALUES, FormatContract
from opening import memory, open_bytes

from ckpt_viewer.errors import CheckpointError, Damaged, Truncated, Unsupported
from ckpt_viewer.formats import open_checkpoint

DATA = floats(*VALUES)


def stream(body: bytes | None = None, storages: dict[str, bytes] | None = None, **options) -> bytes:
    body = tensor(key="9", legacy=True) if body is None else body
    return legacy_stream(pickled(body), {"9": DATA} if storages is None else storages, **options)


class TestTorchLegacy(FormatContract):
    name = "torch-legacy"

    def file(self) -> bytes:
        return stream(mapped((text("weight"), tensor(key="9", legacy=True)), (text("epoch"), integer(3))))

    def long_file(self) -> bytes:
        return stream(mapped(*((text(str(n)), integer(n)) for n in range(500))), {})


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_torch_is_recognised(tmp_path, protocol):
    torch = pytest.importorskip("torch")
    path = save({"a": torch.arange(3.0)}, tmp_path / "m.pth", legacy=True, protocol=protocol)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == "torch-legacy"
        assert checkpoint["/a"].numpy(copy=True).tolist() == [0, 1, 2]
        assert checkpoint.contents.protocol == (protocol if protocol > 1 else 0)


def test_a_big_endian_host_wrote_little_endian_data():
    assert open_bytes(stream(little_endian=False)).root.numpy(copy=True).tolist()[:3] == VALUES[:3]


def test_storages_lie_in_the_order_of_the_key_list_as_text():
    body = many(*(tensor((1,), key=key, legacy=True) for key in ("2", "10", "1")))
    checkpoint = open_bytes(stream(body, {"1": floats(1), "10": floats(10), "2": floats(2)}))
    assert [node.numpy(copy=True).item() for node in checkpoint.root.children] == [2, 10, 1]


def test_an_empty_storage_has_a_header_and_no_bytes():
    body = many(tensor((0,), key="a", numel=0, legacy=True), tensor((1,), key="b", legacy=True))
    checkpoint = open_bytes(stream(body, {"a": b"", "b": floats(7)}))
    assert checkpoint["/0"].numpy(copy=True).shape == (0,)
    assert checkpoint["/1"].numpy(copy=True).tolist() == [7]


def test_a_view_of_an_old_writer_is_a_slice_of_its_root():
    view = storage("9", 4, legacy=True, view=("v", 1, 2))
    whole = storage("9", 4, legacy=True)
    body = many(tensor((2,), of=view), tensor((1,), offset=1, of=view), tensor((4,), of=whole))
    checkpoint = open_bytes(stream(body, {"9": floats(1, 2, 3, 4)}))
    assert [node.numpy(copy=True).tolist() for node in checkpoint.root.children] == [[2, 3], [3], [1, 2, 3, 4]]
    keys = {node.storage.unique_key for node in checkpoint.root.children}
    assert len(keys) == 2


@pytest.mark.parametrize("view", [("v", 3, 2), ("v", -1, 2), ("v", 0, -1)])
def test_a_view_beyond_its_root_is_refused(view):
    with pytest.raises(Damaged, match="beyond"):
        open_bytes(stream(tensor((1,), of=storage("9", 4, legacy=True, view=view)), {"9": DATA}))


def test_a_class_with_its_source_is_the_class():
    source = many(text("module"), name("somewhere", "Net"), text("net.py"), text("class Net: pass\n")) + b"Q"
    body = source + b")\x81" + mapped((text("training"), b"\x88")) + b"b"
    checkpoint = open_bytes(stream(body, {}))
    assert checkpoint.root.type == "somewhere.Net"
    assert [node.name for node in checkpoint.root.children] == ["training"]


def test_the_magic_number_must_be_written_and_not_computed():
    computed = call(name("builtins", "int"), integer(0x1950A86A20F9469CFC6C))
    data = stream(magic=computed)
    assert open_bytes(data).format == "pickle"


def test_a_header_with_names_in_it_is_refused():
    head = stream()
    lie = mapped((text("little_endian"), name("os", "system")))
    at = head.index(pickled(integer(1001))) + len(pickled(integer(1001)))
    with pytest.raises(Damaged, match="header names classes"):
        open_bytes(head[:at] + pickled(lie) + head[at:])


def test_keys_with_names_in_them_are_refused():
    with pytest.raises(Damaged, match="list of storages"):
        open_bytes(stream(keys=listed(name("os", "system"))))


@pytest.mark.parametrize("version", [0, 1000, 1002, 1 << 70])
def test_another_version_is_named(version):
    with pytest.raises(Unsupported, match="version"):
        open_bytes(stream(version=version))


def test_another_magic_number_is_no_legacy_stream():
    with pytest.raises(CheckpointError):
        open_bytes(stream(magic=LEGACY_MAGIC[:-1] + b"\x18")).root.numpy()


def test_a_storage_that_no_tensor_uses_cannot_be_skipped():
    with pytest.raises(Damaged, match="size is unknown"):
        open_bytes(stream(storages={"9": DATA, "x": DATA}))


def test_a_storage_that_is_not_in_the_list_is_missed():
    with pytest.raises(Damaged, match="not in the file"):
        open_bytes(stream(storages={}))


def test_keys_that_are_absurd_numbers_are_refused():
    with pytest.raises(Damaged):
        open_bytes(stream(keys=listed(integer(1 << 80_000))))


def test_a_storage_whose_count_lies_is_found_when_it_is_read():
    data = bytearray(stream())
    data[-len(DATA) - 8 : -len(DATA)] = struct.pack("<q", 5)
    checkpoint = open_bytes(bytes(data))
    with pytest.raises(Damaged, match="5 elements"):
        checkpoint.root.numpy(copy=True)


def test_a_cut_tail_is_named_without_reading_it(tmp_path):
    """A download of 3 of 4 GB: found by arithmetic, not by reading it all (sparse, so it takes no disk)."""
    numel = 1 << 30
    whole = stream(tensor((numel,), key="9", legacy=True))
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: -len(DATA)])
    os.truncate(path, 3 << 30)
    with memory() as peak, pytest.raises(Truncated, match="cut off"):
        open_checkpoint(path)
    assert peak.nbytes < 20_000_000


def test_a_pickle_longer_than_the_first_window_is_read_on():
    note = "x" * (3 << 20)
    checkpoint = open_bytes(stream(mapped((text("note"), text(note)), (text("w"), tensor(key="9", legacy=True)))))
    assert checkpoint["/note"].value == note
    assert checkpoint["/w"].numpy(copy=True).tolist()[:3] == VALUES[:3]


def test_two_streams_in_one_file_are_the_first():
    checkpoint = open_bytes(stream() + stream())
    assert checkpoint.root.shape == (4,)
    assert "trailing-bytes" in {finding.code for finding in checkpoint.findings}


def test_float8_which_torch_writes_and_cannot_read_back(tmp_path):
    torch = pytest.importorskip("torch")
    given = torch.tensor([1.0, -2.0, 448.0]).to(torch.float8_e4m3fn)
    path = save({"f": given}, tmp_path / "f8.pth", legacy=True)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint["/f"].dtype == "float8_e4m3fn"
        assert checkpoint["/f"].numpy(copy=True).astype(float).tolist() == [1.0, -2.0, 448.0]


def test_an_untyped_storage_that_counts_in_bytes(tmp_path):
    torch = pytest.importorskip("torch")
    given = torch.arange(4, dtype=torch.uint8)
    path = save([given.untyped_storage(), given], tmp_path / "u.pth", legacy=True)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.root.children[0].kind == "storage"
        assert checkpoint["/1"].numpy(copy=True).tolist() == [0, 1, 2, 3]
