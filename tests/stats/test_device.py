"""Counting where map_location puts a tensor: in this process, through the worker, and here where the device fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import ckpt_viewer
from ckpt_viewer.errors import CheckpointError, DeviceFailed
from ckpt_viewer.sources import shared
from ckpt_viewer.stats import kernels, summary
from ckpt_viewer.stats.remote import SharedBlock, WorkerKernels
from ckpt_viewer.stats.summary import summarize_tensor
from ckpt_viewer.worker import Worker

torch = pytest.importorskip("torch")
DEVICES = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
SIZE = (1 << 16) + 77


@pytest.fixture(scope="module")
def worker():
    with Worker() as found:
        yield found


def values_of(kind):
    made = torch.randn(SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 40
    if kind.startswith("float64"):
        made[7], made[8], made[9], made[10] = torch.nan, torch.inf, -torch.inf, 0
    return made.to(getattr(torch, kind)) if kind != "bool" else made > 0


@pytest.fixture
def tensor_of(tmp_path):
    opened = []

    def make(kind):
        path = tmp_path / "x.pt"
        torch.save(values_of(kind), path)
        opened.append(ckpt_viewer.open_checkpoint(path))
        return opened[-1].root.tensor

    yield make
    for each in opened:
        each.close()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "kind", ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "uint8", "bool", "complex64"]
)
def test_a_device_counts_the_same(tensor_of, worker, kind, device):
    from ckpt_viewer.torch_bridge.counting import kernels_on

    tensor = tensor_of(kind)
    here = summarize_tensor(tensor, 100)
    assert summarize_tensor(tensor, 100, using=kernels_on(device)) == here
    assert summarize_tensor(tensor, 100, using=WorkerKernels(worker, device)) == here


@pytest.mark.parametrize("trust", [0, 1, 2])
def test_bins_by_way_of_the_worker(worker, trust):
    block = np.linspace(0, 1, 4097)
    bins = kernels.Bins(0.0, 8.0, np.linspace(0, 1, 9)[1:-1], trust)
    one, other = np.zeros(8, np.int64), np.zeros(8, np.int64)
    kernels.plain().bins(block, bins, one)
    WorkerKernels(worker, "cpu").bins(block, bins, other)
    assert_array_equal(one, other)
    assert one.sum() == block.size


def test_a_device_that_is_not_here_is_not_used(tensor_of):
    from ckpt_viewer.torch_bridge.counting import kernels_on

    assert kernels_on("cuda:77") is None


def test_where_the_device_fails_counting_goes_on_here(tensor_of, worker):
    tensor, using = tensor_of("float32"), WorkerKernels(worker, "cuda:77")
    with pytest.raises(DeviceFailed, match="cuda:77 cannot count the values"):
        using.patterns(np.zeros(9, np.uint8), np.zeros(256, np.int64))
    assert summarize_tensor(tensor, 9, using=using) == summarize_tensor(tensor, 9)


def test_torch_refusals_become_an_error():
    from ckpt_viewer.torch_bridge.counting import TorchKernels

    with pytest.raises(DeviceFailed, match="torch cannot count"):
        TorchKernels("meta").patterns(np.zeros(9, np.uint8), np.zeros(256, np.int64))


def test_what_is_shared_is_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(shared, "MEMORY_FOLDER", tmp_path)
    block = SharedBlock()
    assert [each.name for each in tmp_path.iterdir()] == [Path(block.path).name]
    assert Path(block.path).stat().st_mode & 0o777 == 0o600
    SharedBlock(block.path).block("<u2", 3)[:] = [1, 2, 3]
    assert block.block("<u2", 3).tolist() == [1, 2, 3]
    del block
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointError, match="no memory can be shared"):
        SharedBlock(str(tmp_path / "gone"))


def test_summarize_counts_where_the_tensor_is(monkeypatch, tmp_path):
    """A tag of a device that torch has: ``cpu:0`` is not written ``cpu``."""
    path = tmp_path / "x.pt"
    torch.save(values_of("float32"), path)
    used = []
    monkeypatch.setattr(summary, "WORTH_A_DEVICE", 1)
    monkeypatch.setattr("ckpt_viewer.torch_bridge.counting.kernels_on", lambda device: used.append(device))
    with ckpt_viewer.open_checkpoint(path, map_location="cuda:0") as checkpoint:
        ckpt_viewer.summarize(checkpoint.root)
    with ckpt_viewer.open_checkpoint(path, map_location="cpu") as checkpoint:
        ckpt_viewer.summarize(checkpoint.root)
    assert used == ["cuda:0"]
