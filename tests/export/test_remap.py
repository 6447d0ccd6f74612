"""The whole checkpoint with other device tags, judged by torch."""

import argparse
import zipfile

import builders
import pytest
import torch
from writer_contract import WriterContract, checkpoint_value

import ckpt_viewer
from ckpt_viewer.core.location import leave_on_cpu
from ckpt_viewer.errors import BadMapLocation, CannotExport
from ckpt_viewer.export import remap_zip, zip_writer
from ckpt_viewer.export.names import remap_target
from ckpt_viewer.export.plan import plan_remap, write

pytestmark = pytest.mark.torch

OLD_DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
NEW_DTYPES = [
    torch.uint16, torch.uint32, torch.uint64, torch.complex32, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
]  # fmt: skip


def bits(count, dtype):
    """A tensor of any dtype whose bytes are not all the same."""
    size = torch.empty(0, dtype=dtype).element_size()
    raw = torch.arange(count * size, dtype=torch.int64).mul(37).remainder(2 if dtype == torch.bool else 251)
    return raw.to(torch.uint8).view(dtype)


def zoo(dtypes):
    base = torch.randn(100)
    named = {str(dtype): bits(12, dtype).reshape(3, 4) for dtype in dtypes}
    return named | {
        "view": base[7:19], "other view": base[10:40:3], "transposed": torch.randn(5, 6).t(),
        "expanded": torch.ones(3, 1).expand(3, 7), "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3),
        "permuted": torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2), "leaf": torch.nn.Parameter(torch.randn(3)),
        "tied": named[str(dtypes[0])], "storage": None if dtypes is OLD_DTYPES else torch.randn(4).untyped_storage(),
        "conj": torch.randn(3, dtype=torch.complex64).conj(), "neg": torch.randn(3, dtype=torch.complex64).conj().imag,
    }  # fmt: skip


def assert_same(one, other):
    """Bit for bit, with strides, offsets and what shares memory."""
    assert list(one) == list(other)
    owners = [{}, {}]
    for name, a in one.items():
        b = other[name]
        assert type(a) is type(b)
        if isinstance(a, torch.storage.TypedStorage):  # what torch makes of a storage that was saved by itself
            assert a._untyped_storage.tolist() == b._untyped_storage.tolist()
        elif isinstance(a, torch.Tensor):
            form = [(t.dtype, t.shape, t.stride(), t.storage_offset(), t.requires_grad) for t in (a, b)]
            assert form[0] == form[1], name
            assert (a.is_conj(), a.is_neg()) == (b.is_conj(), b.is_neg())
            assert a.untyped_storage().tolist() == b.untyped_storage().tolist(), name
            first = [seen.setdefault(t.untyped_storage()._cdata, name) for seen, t in zip(owners, (a, b), strict=True)]
            assert a.numel() == 0 or first[0] == first[1]
        else:
            assert a == b


def remap(source, map_location="cpu", target=None):
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        plan = plan_remap(checkpoint, map_location)
        written = write(plan, target)
    assert written.verified
    return written


def tags(path):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        return [tensor.location for _, tensor in checkpoint.outline.tensors()]


class TestContract(WriterContract):
    arguments = ("remap", "--map-location", "cpu")

    def plan(self, checkpoint):
        return plan_remap(checkpoint, "cpu")

    def check(self, source, target):
        wanted, got = checkpoint_value(), torch.load(target, weights_only=True)
        assert list(got) == list(wanted)
        assert got["epoch"] == 3
        assert list(got["model"]) == list(wanted["model"])
        assert all(torch.equal(got["model"][name], wanted["model"][name]) for name in wanted["model"])
        storages = {name: tensor.untyped_storage().data_ptr() for name, tensor in got["model"].items()}
        assert storages["base.weight"] == storages["view.weight"] != storages["n.weight"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("tag", ["cuda:0", "cuda:1", "mps"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol 3")
@pytest.mark.filterwarnings("ignore:ComplexHalf support")
class TestLikeTorch:
    def test_every_dtype_and_layout(self, tmp_path, protocol, legacy, tag):
        dtypes = OLD_DTYPES if legacy else OLD_DTYPES + NEW_DTYPES  # torch cannot read back new ones from a stream
        source = builders.save(zoo(dtypes), tmp_path / "x.pth", legacy=legacy, protocol=protocol, tag=tag)
        with pytest.raises(RuntimeError):
            torch.load(source, weights_only=False)
        written = remap(source)
        wanted = torch.load(source, map_location="cpu", weights_only=False)
        assert_same(wanted, torch.load(written.path, weights_only=False))
        if protocol < 4:  # a stream of protocol 4 is refused by weights_only, before and after
            assert_same(wanted, torch.load(written.path, weights_only=True))
        if not legacy:
            assert_same(wanted, torch.load(written.path, weights_only=False, mmap=True))

    def test_a_key_that_is_the_very_tag(self, tmp_path, protocol, legacy, tag):
        shared = {tag: "user's own", "cpu": torch.zeros(2), "w": torch.ones(2), "device": tag, tag + "x": [tag]}
        source = builders.save(shared, tmp_path / "x.pth", legacy=legacy, protocol=protocol, tag=tag)
        got = torch.load(remap(source).path, weights_only=False)
        assert list(got) == [tag, "cpu", "w", "device", tag + "x"]
        assert (got[tag], got["device"], got[tag + "x"]) == ("user's own", tag, [tag])


# --- map_location ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def three(tmp_path, request):
    """Three tensors, tagged cuda:0, cuda:1 and cuda:2."""
    value = {name: torch.randn(3) for name in "abc"}
    return builders.save(value, tmp_path / "x.pth", legacy=request.param, tag=lambda number: f"cuda:{number}")


@pytest.mark.parametrize(
    ("map_location", "expected"),
    [
        ("cpu", ["cpu"] * 3),
        ("mps", ["mps"] * 3),
        (torch.device("cuda", 3), ["cuda:3"] * 3),
        ({"cuda:1": "cuda:0", "cuda:2": "cpu"}, ["cuda:0", "cuda:0", "cpu"]),
        ({"cuda": "cpu", "cuda:0": "cpu"}, ["cpu", "cuda:1", "cuda:2"]),
        (leave_on_cpu, ["cpu"] * 3),
        (lambda storage, tag: storage.cuda(5) if tag == "cuda:1" else None, ["cuda:0", "cuda:5", "cuda:2"]),
        (lambda storage, tag: storage.cpu() if storage.order else None, ["cuda:0", "cpu", "cpu"]),
    ],
)
def test_every_form_of_map_location(three, map_location, expected, tmp_path):
    assert tags(remap(three, map_location, tmp_path / "new.pth").path) == expected


def test_there_and_back_gives_the_same_bytes(three, tmp_path):
    numbers = iter("012")
    away = remap(three, "xpu:10", tmp_path / "away.pth").path
    back = remap(away, lambda storage, tag: storage.cuda(int(next(numbers))), tmp_path / "back.pth").path
    assert_same(*(torch.load(path, map_location="cpu") for path in (three, back)))
    assert tags(back) == tags(three)


@pytest.mark.parametrize("map_location", [None, {"cuda:7": "cpu"}, {"cuda:0": "cuda:0"}])
def test_nothing_to_do_writes_nothing(three, map_location, tmp_path):
    with ckpt_viewer.open_checkpoint(three) as checkpoint:
        plan = plan_remap(checkpoint, map_location)
        assert plan.idle == "every tensor is on cuda:0, cuda:1, cuda:2 already, so there is nothing to remap"
        written = write(plan, tmp_path / "new.pth")
    assert (written.path, written.bytes, written.warnings) == (None, 0, (plan.idle,))
    assert not (tmp_path / "new.pth").exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("value", [{"epoch": 3}, None, "text", [1] * 5000])
def test_a_file_without_tensors(tmp_path, value, legacy):
    source = builders.save(value, tmp_path / "x.pth", legacy=legacy)
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        assert "no storage in this file" in plan_remap(checkpoint, "cpu").idle


@pytest.mark.parametrize("map_location", ["banana", "cpu:0", "", {"cuda:0": "gpu"}])
def test_devices_that_torch_does_not_have(three, map_location):
    with ckpt_viewer.open_checkpoint(three) as checkpoint, pytest.raises(BadMapLocation, match="torch has no device"):
        plan_remap(checkpoint, map_location)


def test_a_plain_pickle_has_no_tags(tmp_path):
    import pickle

    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"epoch": 3}))
    with ckpt_viewer.open_checkpoint(path) as checkpoint, pytest.raises(CannotExport, match="has no device tags"):
        plan_remap(checkpoint, "cpu")


@pytest.mark.parametrize(
    ("name", "map_location", "expected"),
    [
        ("last.ckpt", "cpu", "last.cpu.ckpt"),
        ("x.pth.tar", "cpu", "x.cpu.pth.tar"),
        ("X.PTH.TAR", "cpu", "X.cpu.PTH.TAR"),
        ("a.b.c.pt", "cpu", "a.b.c.cpu.pt"),
        ("noext", "cpu", "noext.cpu"),
        (".hidden", "cpu", ".hidden.cpu"),
        ("x.pth", "cuda:1", "x.cuda1.pth"),
        ("x.pth", leave_on_cpu, "x.cpu.pth"),
        ("x.pth", {"cuda:0": "cpu"}, "x.remapped.pth"),
    ],
)
def test_default_names(name, map_location, expected, tmp_path):
    assert remap_target(str(tmp_path / name), map_location) == tmp_path / expected


# --- what is said beforehand ----------------------------------------------------------------------------------------


def warnings_of(source, map_location="cpu"):
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        return plan_remap(checkpoint, map_location).warnings


def test_says_why_weights_only_will_refuse(tmp_path):
    value = {"w": torch.zeros(2), "args": argparse.Namespace(lr=0.1)}
    source = builders.save(value, tmp_path / "x.pth", tag="cuda:0")
    (warning,) = warnings_of(source)
    assert "only with weights_only=False: it names argparse.Namespace" in warning
    got = torch.load(remap(source).path, weights_only=False)
    assert got["args"] == value["args"]


def test_says_nothing_where_all_is_well(three):
    assert warnings_of(three) == ()


def test_says_what_a_map_location_does_not_reach(tmp_path):
    nested = builders.legacy_stream(
        builders.pickled(builders.storage("7", 4, location="cuda:0", legacy=True)), {"7": builders.floats(1, 2, 3, 4)}
    )
    raw = b"B" + len(nested).to_bytes(4, "little") + nested
    inside = builders.tensor(of=builders.call(builders.name("torch.storage", "_load_from_bytes"), raw))
    outside = builders.tensor(location="cuda:0")
    device = builders.call(builders.name("torch", "device"), builders.text("cuda"), builders.integer(0))
    body = builders.listed(inside, outside, device)
    path = tmp_path / "x.pth"
    path.write_bytes(builders.zip_checkpoint(builders.pickled(body, 3), {"0": builders.floats(5, 6, 7, 8)}))
    said = " ".join(warnings_of(path))
    assert "1 storages lie in a checkpoint inside the pickle" in said
    assert "1 torch.device values are kept" in said
    assert tags(remap(path).path) == ["cuda:0", "cpu"]


def test_tensors_tagged_meta_lose_their_values(three):
    assert "load without their values" in " ".join(warnings_of(three, "meta"))


# --- the zip --------------------------------------------------------------------------------------------------------


def records(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {info.filename: info for info in archive.infolist()}


def offsets(path):
    """Where the data of each record starts."""
    with path.open("rb") as file:
        found = {}
        for name, info in records(path).items():
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
