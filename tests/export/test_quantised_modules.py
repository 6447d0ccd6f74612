"""The state_dict of quantised modules, whose weights are packed for a kernel, against the one that torch gives."""

import builders
import pytest
import torch
from builders import call, integer, many, mapped, name, pickled, text, zip_checkpoint
from torch import nn
from torch.ao.nn import quantized

import ckpt_viewer
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.node import Node
from ckpt_viewer.export.plan import plan_export, write

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


def dynamic():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 4, bias=False))
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)


def recurrent(kind: type[nn.Module], *, dtype: torch.dtype = torch.qint8, **arguments: object):
    torch.manual_seed(2)
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(kind(3, 4, **arguments)), {kind}, dtype=dtype)


MODULES = {
    "dynamic": dynamic,
    "static": lambda: nn.Sequential(quantized.Linear(3, 2), quantized.Linear(2, 2, bias_=False)),
    "convolutions": lambda: nn.Sequential(
        quantized.Conv2d(2, 3, 3), quantized.Conv1d(1, 2, 2), quantized.Conv3d(1, 1, 1)
    ),
    "embeddings": lambda: nn.Sequential(quantized.Embedding(10, 4), quantized.EmbeddingBag(6, 8)),
    "embedding of 4 bits": lambda: quantized.EmbeddingBag(6, 8, dtype=torch.quint4x2),
    "dynamic in halves": lambda: torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(3, 2)), {nn.Linear}, dtype=torch.float16
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


RECURRENT = {
    "LSTM": lambda: recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "LSTM in halves": lambda: recurrent(nn.LSTM, dtype=torch.float16),
    "GRU": lambda: recurrent(nn.GRU),
    "LSTMCell": lambda: recurrent(nn.LSTMCell),
    "GRUCell": lambda: recurrent(nn.GRUCell),
    "RNNCell": lambda: recurrent(nn.RNNCell),
}


def tensors_in(value) -> list[torch.Tensor]:
    """Every tensor in what a ScriptObject gives of itself, in order."""
    if isinstance(value, torch.ScriptObject):
        return tensors_in(value.__getstate__()[0])
    if isinstance(value, tuple | list):
        return [tensor for each in value for tensor in tensors_in(each)]
    return [value.detach()] if isinstance(value, torch.Tensor) else []


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_have_torchs_names_and_the_packed_values_as_stored(name, tmp_path):
    module = RECURRENT[name]()
    wanted = module.state_dict()
    with ckpt_viewer.open_checkpoint(builders.save(module, tmp_path / "net.pt")) as checkpoint:
        entries = state_dict_entries(checkpoint.root.value)
        assert entries.names == list(wanted)
        assert entries.notes == []
        assert all(value.type == "torch.ScriptObject" for value in entries.others.values())
        held = {name: [] for name in entries.names}
        for entry in entries.with_packed():
            held[entry.name].append(entry.tensor)
        for key, value in wanted.items():
            found = [Node(checkpoint, tensor).torch().detach() for tensor in held[key]]
            stored = tensors_in(value)
            assert sorted(map(repr, found)) == sorted(map(repr, stored))
        assert overview(checkpoint).parameters == sum(each.numel() for each in distinct(wanted))
        if name in ("LSTM", "GRU"):
            assert entries.metadata.get("0").get("version") == wanted._metadata["0"]["version"]


def distinct(state: dict) -> list[torch.Tensor]:
    """The tensors of some ScriptObjects, each once: biases lie in them twice."""
    found: dict[str, torch.Tensor] = {repr(each): each for value in state.values() for each in tensors_in(value)}
    return list(found.values())


def test_an_unknown_packed_object_is_named(tmp_path):
    state = many(many(integer(1)), text("__torch__.torch.classes.other.Params"))
    body = call(name("torch", "ScriptObject")).replace(b"R", b"\x81") + state + b"b"
    module = name("my.net", "Net") + b")\x81" + mapped(
        (text("_parameters"), b"}"), (text("_buffers"), b"}"), (text("_modules"), b"}"), (text("packed"), body)
    ) + b"b"  # fmt: skip
    path = tmp_path / "net.pt"
    path.write_bytes(zip_checkpoint(pickled(module), {}))
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        entries = state_dict_entries(checkpoint.root.value)
    assert entries.names == []
    assert "cannot be derived" in entries.notes[0]


@pytest.mark.parametrize("scale", [1e300, -1e300, float("nan")])
def test_a_scale_of_any_size_is_a_tensor(tmp_path, scale):
    module = quantized.QFunctional()
    module.scale = scale
    source = builders.save(nn.Sequential(module), tmp_path / "net.pt")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        found = checkpoint.state_dict()["0.scale"].numpy(copy=True)
        assert str(found) == str(torch.tensor(scale).numpy())
