"""The state_dict of quantised modules, whose weights are packed for a kernel, against the one that torch gives."""

import builders
import pytest
import torch
from torch import nn
from torch.ao.nn import quantized

import ckpt_viewer
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.export.plan import plan_export, write

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


def dynamic():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 4, bias=False))
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)


MODULES = {
    "dynamic": dynamic,
    "static": lambda: nn.Sequential(quantized.Linear(3, 2), quantized.Linear(2, 2, bias_=False)),
    "convolutions": lambda: nn.Sequential(
        quantized.Conv2d(2, 3, 3), quantized.Conv1d(1, 2, 2), quantized.Conv3d(1, 1, 1)
    ),
    "functional": lambda: nn.Sequential(quantized.Quantize(0.5, 2, torch.quint8), quantized.QFunctional()),
}  # fmt: skip


def same(got, wanted) -> bool:
    if isinstance(wanted, tuple):
        return type(got) is tuple and len(got) == len(wanted) and all(map(same, got, wanted))
    if isinstance(wanted, torch.Tensor):
        return got.dtype == wanted.dtype and torch.equal(got, wanted.detach())
    return got == wanted


@pytest.mark.parametrize("name", MODULES)
def test_equals_torchs_own_and_is_exported(name, tmp_path):
    torch.manual_seed(1)
    module = MODULES[name]()
    wanted = module.state_dict()
    source = builders.save(module, tmp_path / "net.pt")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        entries = state_dict_entries(checkpoint.root.value)
        assert entries.names == list(wanted)
        assert entries.notes == []
        if name != "functional":
            assert (overview(checkpoint).parameters or 0) >= 8
        written = write(plan_export(checkpoint), tmp_path / "out.pth")
    got = torch.load(written.path, weights_only=False)
    assert list(got) == list(wanted)
    assert all(same(got[key], wanted[key]) for key in wanted)
    again = MODULES[name]()
    again.load_state_dict(got, strict=True)
    if name in ("dynamic", "static"):
        given = (
            torch.rand(5, 3) if name == "dynamic" else torch.quantize_per_tensor(torch.rand(5, 3), 0.1, 0, torch.quint8)
        )
        assert torch.equal(again(given), module(given))


def test_what_cannot_be_unpacked_is_named(tmp_path):
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(2, 2)), {nn.LSTM}, dtype=torch.qint8)
    source = builders.save(nn.ModuleDict({"rnn": net, "table": quantized.Embedding(4, 16)}), tmp_path / "net.pt")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        entries = state_dict_entries(checkpoint.root.value)
    assert entries.names == []
    assert len(entries.notes) == 2
    assert all("cannot be derived" in note for note in entries.notes)


@pytest.mark.parametrize("scale", [1e300, -1e300, float("nan")])
def test_a_scale_of_any_size_is_a_tensor(tmp_path, scale):
    module = quantized.QFunctional()
    module.scale = scale
    source = builders.save(nn.Sequential(module), tmp_path / "net.pt")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        found = checkpoint.state_dict()["0.scale"].numpy(copy=True)
        assert str(found) == str(torch.tensor(scale).numpy())
