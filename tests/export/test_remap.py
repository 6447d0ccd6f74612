"""The whole checkpoint with other device tags, judged by torch."""

import argparse

import builders
import pytest
import torch
from judge import NEW_DTYPES, OLD_DTYPES, assert_same, remap, tags, zoo
from writer_contract import WriterContract, checkpoint_value

import ckpt_viewer
from ckpt_viewer.core.location import leave_on_cpu
from ckpt_viewer.errors import BadMapLocation, CannotExport
from ckpt_viewer.export.names import remap_target
from ckpt_viewer.export.plan import plan_remap, write

pytestmark = pytest.mark.torch


class TestContract(WriterContract):
    arguments = ("remap", "--map-location", "cpu")
    most_a_tensor = 1900  # the copy is opened too, and its pickle was made in memory

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
        (lambda storage, tag: storage.cpu() if storage.location != "cuda:0" else None, ["cuda:0", "cpu", "cpu"]),
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
    with (
        ckpt_viewer.open_checkpoint(path) as checkpoint,
        pytest.raises(CannotExport, match="cannot be copied with other device tags"),
    ):
        plan_remap(checkpoint, "cpu")


@pytest.mark.parametrize(
    ("name", "map_location", "expected"),
    [
        ("last.ckpt", "cpu", "last.cpu.ckpt"),
        ("x.pth.tar", "cpu", "x.cpu.pth.tar"),
        ("X.PTH.TAR", "cpu", "X.cpu.PTH.TAR"),
        ("a.b.c.pt", "cpu", "a.b.c.cpu.pt"),
        ("noext", "cpu", "noext.cpu"),
        ("x.safetensors", "cpu", "x.cpu.pth"),  # by the other suffix torch.load would not find it
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
    assert "weights_only=True) refuses the copy, like the source: it names argparse.Namespace" in warning
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
    assert "1 storage lies in a checkpoint inside the pickle" in said
    assert "1 torch.device value is kept" in said
    assert tags(remap(path).path) == ["cuda:0", "cpu"]


def test_tensors_tagged_meta_lose_their_values(three):
    assert "load without their values" in " ".join(warnings_of(three, "meta"))
