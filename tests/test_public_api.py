"""The Python interface, as INTERFACE shows it."""

from __future__ import annotations

import os
import pathlib

import numpy
import pytest
import torch
from builders import save

import ckpt_viewer
from ckpt_viewer.errors import BadMapLocation, CannotExport, NoSuchNode, SourceChanged, Truncated, Unreadable


@pytest.fixture
def given():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "half": torch.rand(3).half(),
            "brain": torch.rand(3).bfloat16(), "z": torch.tensor([1 + 2j]).conj()}  # fmt: skip


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def path(request, tmp_path, given):
    return save(given, tmp_path / "model_3.pth", tag="cuda:1", legacy=request.param)


def test_the_example_of_the_readme(path, given):
    with ckpt_viewer.open_checkpoint(str(path), map_location="cpu") as checkpoint:
        weight = checkpoint["/model/0.weight"]
        assert (weight.shape, weight.dtype, weight.location, weight.device) == (
            (4, 3, 3, 3),
            "float32",
            "cuda:1",
            "cpu",
        )
        assert numpy.array_equal(weight.numpy(), given["model"]["0.weight"].numpy())
        assert torch.equal(weight.torch(), given["model"]["0.weight"])
        state_dict = checkpoint.state_dict()
        assert list(state_dict) == list(given["model"])
        assert all(torch.equal(node.torch(), given["model"][name]) for name, node in state_dict.items())


def test_attributes_of_nodes(path, given):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        root, weight, epoch = checkpoint.root, checkpoint["/model/0.weight"], checkpoint["/epoch"]
        assert (root.kind, root.type, root.length, root.path, root.pointer) == ("dict", "dict", 6, (), "")
        assert [node.name for node in root.children] == list(given)
        assert (epoch.kind, epoch.type, epoch.value, epoch.length) == ("int", "int", 3, None)
        assert (weight.kind, weight.type, weight.name) == ("tensor", "torch.Tensor", "0.weight")
        assert (weight.path, weight.pointer) == (("model", "0.weight"), "/model/0.weight")
        assert (weight.stride, weight.numel, weight.nbytes, weight.requires_grad) == ((27, 9, 3, 1), 108, 432, False)
        assert weight.parent.name == "model"
        assert weight.storage.nbytes == 432
        assert weight.device == "cuda:1"
        assert checkpoint["/model"]["/0.weight"].pointer == "/model/0.weight"
        assert "0.weight" in repr(weight)


def test_numpy_gives_every_dtype(path, given):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        assert checkpoint["/half"].numpy().dtype == numpy.float16
        assert checkpoint["/brain"].numpy().astype(numpy.float32).tolist() == given["brain"].float().tolist()
        assert checkpoint["/z"].numpy().tolist() == [1 - 2j]
        assert checkpoint["/model/1.num_batches_tracked"].numpy().shape == ()


def test_a_copy_is_the_callers_own_and_a_map_is_not(path):
    checkpoint = ckpt_viewer.open_checkpoint(path)
    copied, mapped = checkpoint["/model/0.weight"].numpy(copy=True), checkpoint["/model/0.weight"].numpy()
    copied[0] = 7
    assert not mapped.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 7
    checkpoint.close()
    path.unlink()
    assert copied[0, 0, 0, 0] == 7


def test_torch_goes_to_the_mapped_device(path):
    with ckpt_viewer.open_checkpoint(path, map_location="meta") as checkpoint:
        assert checkpoint["/half"].torch().device.type == "meta"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_torch_on_a_device_that_is_not_there(path):
    with ckpt_viewer.open_checkpoint(path) as checkpoint, pytest.raises(ckpt_viewer.CheckpointError, match="CUDA"):
        checkpoint["/half"].torch()


LOCATIONS = [None, "cpu", torch.device("cpu"), {"cuda:1": "cpu"}, lambda storage, tag: storage]


@pytest.mark.parametrize("location", LOCATIONS, ids=["None", "str", "device", "dict", "callable"])
def test_map_location_takes_what_torch_load_takes(path, location):
    with ckpt_viewer.open_checkpoint(path, location) as checkpoint:
        assert checkpoint["/half"].device == ("cuda:1" if location is None else "cpu")


def test_paths_of_every_sort(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    for each in (path, str(path), path.name, pathlib.PurePath(path)):
        with ckpt_viewer.open_checkpoint(each) as checkpoint:
            assert checkpoint.path == os.fspath(each)


def test_summarize(path, given):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        summary = ckpt_viewer.summarize(checkpoint["/model/0.weight"], bins=16)
        weight = given["model"]["0.weight"]
        assert summary.min == weight.min().item()
        assert summary.max == weight.max().item()
        assert (summary.numel, summary.finite, summary.nan, summary.zeros) == (108, 108, 0, 0)
        assert len(summary.histogram.counts) == 16
        assert sum(summary.histogram.counts) == 108
        with pytest.raises(ckpt_viewer.CheckpointError, match="no tensor"):
            ckpt_viewer.summarize(checkpoint["/epoch"])


def test_errors_are_checkpoint_errors(tmp_path, path):
    assert issubclass(Truncated, ckpt_viewer.CheckpointError)
    with pytest.raises(ckpt_viewer.CheckpointError):
        ckpt_viewer.open_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(ckpt_viewer.CheckpointError):
        ckpt_viewer.open_checkpoint(path, map_location=5)
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        with pytest.raises(NoSuchNode):
            checkpoint["/nowhere"]
        with pytest.raises(ckpt_viewer.CheckpointError, match="no tensor"):
            checkpoint["/epoch"].numpy()
        with pytest.raises(ckpt_viewer.CheckpointError, match="no tensor"):
            _ = checkpoint["/model"].shape


def test_nodes_of_a_state_dict_are_found_again(tmp_path):
    inner = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    model = torch.nn.Sequential(inner, torch.nn.Linear(3, 1))
    for name, given in (("module.pth", {"net": model}), ("state_dict.pth", {"net": model.state_dict()})):
        with ckpt_viewer.open_checkpoint(save(given, tmp_path / name)) as checkpoint:
            state_dict = checkpoint.state_dict()
            assert list(state_dict) == list(model.state_dict())
            for entry, node in state_dict.items():
                assert checkpoint[node.pointer].value is node.value
                assert node.parent.children[node.index].value is node.value
                assert torch.equal(node.torch(), model.state_dict()[entry])


def test_whether_a_pointer_leads_somewhere(path):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        assert "/model" in checkpoint
        assert "" in checkpoint
        assert "/nowhere" not in checkpoint
        for wrong in (0, ("model",)):
            with pytest.raises(TypeError, match="a pointer is a string"):
                checkpoint[wrong]


def test_a_refused_map_location_gives_the_file_back(path):
    with pytest.raises(ckpt_viewer.CheckpointError):
        ckpt_viewer.open_checkpoint(path, map_location=5)
    links = []
    for each in pathlib.Path("/proc/self/fd").iterdir():
        try:
            links.append(each.readlink())
        except FileNotFoundError:  # the listing's own
            continue
    assert path not in links


def test_a_file_without_a_model_has_no_state_dict(tmp_path):
    with ckpt_viewer.open_checkpoint(save([1, 2], tmp_path / "x.pth")) as checkpoint, pytest.raises(CannotExport):
        checkpoint.state_dict()


def test_after_closing_the_tree_stays_and_the_bytes_are_gone(path):
    checkpoint = ckpt_viewer.open_checkpoint(path)
    weight = checkpoint["/model/0.weight"]
    checkpoint.close()
    assert weight.shape == (4, 3, 3, 3)
    with pytest.raises(Unreadable):
        weight.numpy(copy=True)


@pytest.mark.parametrize("change", ["shrink", "grow", "rewrite"])
def test_a_file_that_changes_while_it_is_open(path, change):
    os.utime(path, ns=(1, 1))
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        if change == "rewrite":
            path.write_bytes(path.read_bytes()[::-1])
        else:
            os.truncate(path, 100 if change == "shrink" else path.stat().st_size + 1)
        for node in (checkpoint["/model/0.weight"], checkpoint["/half"]):
            with pytest.raises(SourceChanged, match="changed by another program"):
                node.numpy(copy=True)
            with pytest.raises(SourceChanged):
                node.numpy()
        assert checkpoint["/epoch"].value == 3


def test_names_that_are_promised():
    assert set(ckpt_viewer.__all__) == {"CheckpointError", "__version__", "open_checkpoint", "summarize"}
    assert all(hasattr(ckpt_viewer, name) for name in ckpt_viewer.__all__)


@pytest.mark.parametrize("map_location", ["bogus", "cpu:0", {"cuda:1": "bogus"}])
def test_a_device_that_no_torch_has_is_refused_as_on_the_command_line(path, map_location):
    with pytest.raises(BadMapLocation, match="torch has no device"):
        ckpt_viewer.open_checkpoint(path, map_location)
    ckpt_viewer.open_checkpoint(path, {"bogus": "cpu"}).close()
