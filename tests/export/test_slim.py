"""A checkpoint without its optimizer, judged by torch: everything else is equal, and what was shared still is."""

import argparse
import json

import builders
import pytest
import torch
from writer_contract import WriterContract, checkpoint_value

import ckpt_viewer
from ckpt_viewer.cli import main
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.plan import plan_slim, write

pytestmark = pytest.mark.torch


def training(**more):
    """A checkpoint in the middle of a training, its optimizer first, so that what it defines is read after it."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(40, 40), torch.nn.BatchNorm1d(40), torch.nn.Linear(40, 40))
    net[2].weight = net[0].weight
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(4, 40)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    return {
        "optimizer": optimizer.state_dict(), "model": net.state_dict(), "lr_scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(), "epoch": 3, **more,
    }  # fmt: skip


class TestContract(WriterContract):
    arguments = ("remap", "--drop-optimizer")

    def value(self):
        return {"optimizer": training()["optimizer"], **checkpoint_value(), "after": torch.arange(20_000.0)}

    def large(self):
        return {"optimizer": training()["optimizer"], "weight": torch.zeros(40_000_000), "bias": torch.zeros(3)}

    def many(self, count):
        tensors = [torch.zeros(4) for _ in range(count)]
        state = {number: {"exp_avg": tensor} for number, tensor in enumerate(tensors[1:])}
        return {"optimizer": {"state": state, "param_groups": [{"params": list(state)}]}, "weight": tensors[0]}

    def plan(self, checkpoint):
        return plan_slim(checkpoint)

    def check(self, source, target):
        wanted = self.value()
        del wanted["optimizer"]
        assert same(wanted, torch.load(target, map_location="cpu", weights_only=True))


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def slim(tmp_path, request):
    """Save an object, write it without its optimizer; return what torch loads and the plan."""

    def slim(value, map_location=None):
        source = builders.save(value, tmp_path / "model_3.pth", tag="cuda:1", legacy=request.param)
        before = source.read_bytes()
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            plan = plan_slim(checkpoint, map_location)
            written = write(plan)
        assert written.bytes == written.path.stat().st_size == plan.nbytes
        assert source.read_bytes() == before
        return torch.load(written.path, map_location="cpu", weights_only=False), written, plan

    return slim


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, dict):
        return type(one) is type(other) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("legacy", [False, True])
def test_everything_else_is_kept(tmp_path, protocol, legacy):
    value = training()
    source = builders.save(value, tmp_path / "model_3.pth", protocol=protocol, legacy=legacy)
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        plan = plan_slim(checkpoint)
        written = write(plan)
    got = torch.load(written.path, weights_only=protocol == 2)
    wanted = {key: each for key, each in value.items() if key != "optimizer"}
    assert same(wanted, got)
    assert got["model"]._metadata == value["model"]._metadata
    assert got["model"]["0.weight"].data_ptr() == got["model"]["2.weight"].data_ptr()
    assert (written.path.name, written.dropped) == ("model_3.slim.pth", ("optimizer",))
    assert written.verified == "ckpt-viewer"
    assert source.stat().st_size - written.bytes > 2 * 40 * 40 * 4
    assert plan.saving.startswith("without optimizer: ")


def test_what_the_optimizer_shares_with_the_rest_stays_one(slim):
    shared = torch.arange(5000.0)
    value = {"optimizer": {"state": {0: {"x": shared}}, "param_groups": [{"params": [0], "note": (1, 2)}]}}
    value |= {"model": {"a.weight": shared[:10], "b.weight": shared}, "again": shared}
    got, written, _ = slim(value)
    assert torch.equal(got["again"], shared)
    assert got["model"]["a.weight"].data_ptr() == got["model"]["b.weight"].data_ptr() == got["again"].data_ptr()
    assert written.bytes > shared.nbytes


def test_tags_are_rewritten_with_it(slim):
    _, written, _ = slim(training(), "cpu")
    assert written.path.name == "model_3.slim.cpu.pth"
    with ckpt_viewer.open_checkpoint(written.path) as copy:
        assert {tensor.location for _, tensor in copy.outline.tensors()} == {"cpu"}


def test_tags_stay_without_a_map_location(slim):
    _, written, _ = slim(training())
    with ckpt_viewer.open_checkpoint(written.path) as copy:
        assert {tensor.location for _, tensor in copy.outline.tensors()} == {"cuda:1"}


def test_views_of_storages_that_others_use_too(slim):
    """Of the legacy stream, whose storages follow one another in the order of a list: first, middle and last go."""
    tensors = {f"p{number}": torch.full((number + 1,), float(number)) for number in range(12)}
    state = {number: {"exp_avg": tensors[f"p{number}"]} for number in (0, 1, 5, 10, 11)}
    kept = {name: tensor for name, tensor in tensors.items() if name not in ("p0", "p1", "p10", "p11")}
    got, written, _ = slim({"optimizer": {"state": state, "param_groups": [{"params": [0]}]}, "model": kept})
    assert same(got, {"model": kept})
    with ckpt_viewer.open_checkpoint(written.path) as copy:
        assert len({tensor.storage.key for _, tensor in copy.outline.tensors()}) == len(kept)


def test_nothing_but_an_optimizer_has_tensors(slim):
    got, written, _ = slim({"optimizer": training()["optimizer"], "epoch": 3})
    assert (got, written.tensors) == ({"epoch": 3}, 0)


def test_there_are_no_tensors_at_all(slim):
    optimizer = {"state": {}, "param_groups": [{"params": [], "lr": 0.1}]}
    assert slim({"optimizer": optimizer, "epoch": 3})[0] == {"epoch": 3}


def test_several_optimizers(slim):
    one = training()["optimizer"]
    got, written, _ = slim(
        {"optimizer_G": one, "optimizer_states": [one, one], "model": training()["model"], "epoch": 1}
    )
    assert list(got) == ["model", "epoch"]
    assert written.dropped == ("optimizer_G", "optimizer_states")


def test_objects_of_classes_that_are_not_there(slim):
    got, written, _ = slim(training(args=argparse.Namespace(lr=0.1, path=["a", "b"])))
    assert got["args"] == argparse.Namespace(lr=0.1, path=["a", "b"])
    assert written.verified == "ckpt-viewer"


def test_what_is_refused(tmp_path):
    def refusal(value, **more):
        source = builders.save(value, tmp_path / "x.pth", **more)
        with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(CannotExport) as error:
            plan_slim(checkpoint)
        return str(error.value)

    assert "no optimizer was recognised" in refusal({"model": training()["model"]})
    assert "no optimizer was recognised" in refusal(training()["optimizer"])
    assert "nothing but an optimizer" in refusal({"optimizer": training()["optimizer"]})


def test_the_command(tmp_path, capsys):
    source = builders.save(training(), tmp_path / "m.pth")
    assert main(["remap", str(source), "--drop-optimizer", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"would write {tmp_path / 'm.slim.pth'}: ")
    assert lines[1].startswith("  without optimizer: ")
    assert main(["remap", str(source), "--drop-optimizer", "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["written"], planned["dropped"]) == (None, ["optimizer"])
    assert planned["source_bytes"] == source.stat().st_size
    assert main(["remap", str(source), "--drop-optimizer", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == str(tmp_path / "m.slim.pth")
    assert document["verified"].startswith("torch ")
    assert document["bytes"] == planned["bytes"] == (tmp_path / "m.slim.pth").stat().st_size
