"""The tar of torch 0.1, made byte by byte: what torch's own reader finds, and what is refused."""

from __future__ import annotations

import re
import warnings

import pytest
from archives import BLOCK, tar_file, tar_header, tar_storage, tar_tensor, torch_tar
from builders import call, floats, integer, many, mapped, name, pickled, text
from contract import VALUES, FormatContract
from opening import open_bytes, within

from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, Truncated, Unsupported
from ckpt_viewer.formats import tar_stream

DATA = floats(*VALUES)


def persistent(key: int) -> bytes:
    """A reference by number, which torch 0.1 wrote as text."""
    return text(str(key)) + b"Q"


BODY = pickled(mapped((text("weight"), persistent(100)), (text("epoch"), integer(3))))
SMALL = torch_tar(BODY, [tar_tensor(100, 0, (4,), (1,))], [tar_storage(0, DATA)])


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


class TestTorchTar(FormatContract):
    name = "torch-tar"

    def file(self) -> bytes:
        return SMALL

    def long_file(self) -> bytes:
        return torch_tar(pickled(mapped(*((text(str(n)), integer(n)) for n in range(500)))), [], [])

    @pytest.mark.parametrize("mask", [0xFF])
    def test_any_single_damaged_byte_is_refused_or_shown(self, mask):
        super().test_any_single_damaged_byte_is_refused_or_shown(mask)


def test_torch_finds_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    objects = mapped(
        (text("a"), persistent(100)), (text("again"), persistent(100)), (text("part"), persistent(101)),
        (text("storage"), persistent(0)), (text("n"), integer(7)),
    )  # fmt: skip
    tensors = [tar_tensor(100, 0, (2, 3), (3, 1)), tar_tensor(101, 1, (2,), (1,), 1)]
    data = torch_tar(
        pickled(objects),
        tensors,
        [tar_storage(0, floats(*range(6)))],
        views=b"](" + many(integer(1), integer(0), integer(2), integer(4)) + b"e",
    )
    path = tmp_path / "old.pt"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of storages with types
        loaded = torch.load(path, weights_only=False)
    checkpoint = open_bytes(data)
    for key in ("a", "again", "part"):
        node = checkpoint[f"/{key}"]
        assert node.numpy(copy=True).tolist() == loaded[key].tolist()
        assert (node.shape, node.stride) == (tuple(loaded[key].shape), loaded[key].stride())
    assert checkpoint["/a"].value is checkpoint["/again"].value
    assert checkpoint["/part"].numpy(copy=True).tolist() == [3, 4]
    assert checkpoint["/storage"].value.numel == loaded["storage"]._untyped_storage.nbytes() // 4 == 6
    assert checkpoint["/n"].value == loaded["n"] == 7
    with pytest.raises(RuntimeError) as refused:
        torch.load(path, weights_only=True)
    assert checkpoint.contents.weights_only_says in str(refused.value)


@pytest.mark.parametrize("cls", ["CudaFloatStorage", "FloatStorage"])
def test_storages_keep_their_device(cls):
    module = "torch.cuda" if cls.startswith("Cuda") else "torch"
    head = pickled(many(integer(0), text("cuda:1"), name(module, "FloatStorage")))
    storage = head + (4).to_bytes(8, "little") + DATA
    checkpoint = open_bytes(torch_tar(BODY, [tar_tensor(100, 0, (4,), (1,))], [storage]))
    assert checkpoint["/weight"].location == "cuda:1"
    assert checkpoint["/weight"].numpy(copy=True).tolist()[0] == 0.5


def test_a_class_with_its_source_is_the_class():
    pid = many(name("models", "Net"), text("net.py"), text("class Net: ...")) + b"Q"
    checkpoint = open_bytes(torch_tar(pickled(pid + b")R"), [], []))
    assert checkpoint.root.type == "models.Net"


def test_storage_ids_in_the_calls_themselves():
    """A writer that kept torch.save's later pickles, without persistent ids, and without the member ``tensors``."""
    storage = many(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), integer(4))
    weight = call(name("torch._utils", "_rebuild_tensor_v2"), storage, integer(0), many(integer(4)),
                  many(integer(1)), b"\x89", b"N")  # fmt: skip
    members = {"pickle": pickled(mapped((text("w"), weight))), "storages": pickled(integer(1)) + tar_storage(0, DATA)}
    assert open_bytes(tar_file(members))["/w"].numpy(copy=True).tolist()[2] == 2.0


def test_without_the_magic_of_ustar():
    data = torch_tar(BODY, [tar_tensor(100, 0, (4,), (1,))], [tar_storage(0, DATA)], magic=bytes(8))
    assert open_bytes(data).format == "torch-tar"


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"L", b"K"])
def test_members_that_are_no_regular_files_are_refused(kind):
    with pytest.raises(Unsupported, match="no regular file"):
        open_bytes(tar_file({"pickle": BODY, "storages": pickled(integer(0))}, kind=kind))


def test_an_extended_header_that_changes_a_size_is_refused():
    def extended(record: bytes) -> bytes:
        padded = record + bytes(-len(record) % BLOCK)
        return SMALL[: 2 * BLOCK] + tar_header(b"PaxHeaders/x", len(record), b"x") + padded + SMALL[2 * BLOCK :]

    assert open_bytes(extended(b"20 mtime=1234567.89\n"))["/epoch"].value == 3
    for record in (b"11 size=99\n", b"16 path=storage\n", b"99 mtime=1\n", b"x"):
        with pytest.raises(Unsupported, match="extended header"):
            open_bytes(extended(record))


def test_two_members_of_one_name_are_refused():
    with pytest.raises(Damaged, match="two members"):
        open_bytes(SMALL[: 2 * BLOCK] + SMALL)


def test_a_tar_that_is_a_pickle_too_is_refused():
    """torch asks for a tar first, other programs for a pickle."""
    data = tar_header(b"\x80\x02}q\x00.", 0) + SMALL
    with pytest.raises(Damaged, match="at once"):
        open_bytes(data)


@pytest.mark.parametrize("missing", ["pickle", "storages"])
def test_a_missing_member_is_named(missing):
    members = {"sys_info": b"", "pickle": BODY, "storages": pickled(integer(0))}
    del members[missing]
    with pytest.raises(Damaged, match=missing):
        open_bytes(tar_file(members))


def test_other_tars_are_named():
    with pytest.raises((NotACheckpoint, Unsupported), match="tar archive"):
        open_bytes(tar_file({"readme.txt": b"x"}))


@pytest.mark.parametrize(
    ("tensors", "storages"),
    [
        ([tar_tensor(100, 0, (5,), (1,))], [tar_storage(0, DATA)]),
        ([tar_tensor(100, 0, (4,), (-1,))], [tar_storage(0, DATA)]),
        ([tar_tensor(100, 0, (1 << 61, 8), (1, 1))], [tar_storage(0, DATA)]),
        ([tar_tensor(100, 9, (4,), (1,))], [tar_storage(0, DATA)]),
        ([tar_tensor(100, 0, (4,), (1,))], [tar_storage(0, DATA), tar_storage(0, DATA)]),
        ([tar_tensor(0, 0, (4,), (1,))], [tar_storage(0, DATA)]),
        ([tar_tensor(7, 0, (4,), (1,))], [tar_storage(0, DATA)]),
        ([], [tar_storage(0, DATA)[:-4]]),
    ],
)
def test_tensors_and_storages_that_cannot_be_are_refused(tensors, storages):
    with pytest.raises(CheckpointError):
        open_bytes(torch_tar(BODY, tensors, storages))


@pytest.mark.parametrize("count", [-1, 1 << 40])
def test_a_count_that_cannot_be_is_refused(count):
    members = {"pickle": BODY, "storages": pickled(integer(count)) + bytes(64)}
    with pytest.raises(Damaged, match="states"):
        open_bytes(tar_file(members))


def test_a_call_in_a_small_pickle_is_listed_and_not_made(tmp_path):
    canary = tmp_path / "canary"
    evil = pickled(call(name("os", "system"), text(f"touch {canary}")))
    with pytest.raises(Damaged):
        open_bytes(tar_file({"pickle": BODY, "storages": evil}))
    in_object = torch_tar(pickled(mapped((text("x"), call(name("os", "system"), text(f"touch {canary}"))))), [], [])
    assert {use.name: use.status for use in open_bytes(in_object).contents.globals}["os.system"] == "dangerous"
    assert not canary.exists()


def test_a_tar_without_its_end_is_cut_off():
    with pytest.raises(Truncated):
        open_bytes(SMALL[: -2 * BLOCK])
    with pytest.raises(Damaged, match="end mark"):
        open_bytes(SMALL[:-BLOCK] + b"x" * BLOCK)


@pytest.mark.parametrize("key", [0, 255, 256, 65536, 94057203401, (1 << 55) + 3, (1 << 63) - 1])
def test_the_short_way_through_small_pickles_is_the_long_one(monkeypatch, key):
    body = pickled(mapped((text("w"), integer(key) + b"Q"), (text("s"), integer(key + 1) + b"Q")))
    head = pickled(many(integer(key + 1), b"U\x06cuda:1", name("torch.cuda", "FloatStorage")))
    data = torch_tar(body, [tar_tensor(key, key + 1, (4,), (1,))], [head + (4).to_bytes(8, "little") + DATA])

    def seen():
        checkpoint = open_bytes(data)
        tensor = checkpoint["/w"]
        globals_ = {(use.name, use.status) for use in checkpoint.contents.globals}
        return tensor.storage.key, tensor.location, tensor.numpy(copy=True).tolist(), globals_

    short = seen()
    assert short[:2] == (str(key + 1), "cuda:1")
    monkeypatch.setattr(tar_stream, "_STORAGE", re.compile(b"never"))
    monkeypatch.setattr(tar_stream, "_TENSOR", re.compile(b"never"))
    assert seen() == short


def test_ten_thousand_tensors_are_quick():
    count = 10_000
    body = pickled(many(*(text(str(count + n)) + b"Q" for n in range(count))))
    tensors = [tar_tensor(count + n, n, (4,), (1,)) for n in range(count)]
    with within(10):
        checkpoint = open_bytes(torch_tar(body, tensors, [tar_storage(n, DATA) for n in range(count)]))
        assert len(checkpoint.outline) == count + 1
