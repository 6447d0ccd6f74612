"""Resume checkpoints and whole modules, as trainings write them, against torch.load."""

from __future__ import annotations

import argparse
import sys
import types
from collections import Counter

import pytest
import torch
from builders import save
from torch import nn
from torch.optim import lr_scheduler
from torch_oracle import compare, load, tensors_of

from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.formats import open_checkpoint

BOTH = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
pytestmark = pytest.mark.filterwarnings("ignore:.*(lr_scheduler.step|weight_norm|nested|retrieve source code).*")

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), "plain SGD": lambda p: torch.optim.SGD(p, 0.1),
    "Adam": lambda p: torch.optim.Adam(p, amsgrad=True), "AdamW": torch.optim.AdamW, "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam, "Adamax": torch.optim.Adamax, "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta, "RMSprop": lambda p: torch.optim.RMSprop(p, momentum=0.5, centered=True),
    "ASGD": torch.optim.ASGD, "Rprop": torch.optim.Rprop, "Adafactor": torch.optim.Adafactor,
}  # fmt: skip
SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3), "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 4]),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=False),
    "ReduceLROnPlateau": lr_scheduler.ReduceLROnPlateau,
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [2]),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1.0),
}  # fmt: skip


def net() -> nn.Module:
    tied = nn.Linear(4, 4, bias=False)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ModuleDict({"a": tied, "b": tied}), nn.Linear(4, 2))


def trained(make, model: nn.Module) -> torch.optim.Optimizer:
    optimizer = make(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("title", OPTIMIZERS)
def test_resume_checkpoints_of_every_optimizer(tmp_path, title):
    torch.manual_seed(0)
    model = net()
    optimizer = trained(OPTIMIZERS[title], model)
    given = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "args": {"lr": 0.1}}
    path = save(given, tmp_path / "m.pth", tag="cuda:0", legacy=len(title) % 2 == 0)
    loaded, _ = load(path)
    assert compare(path, loaded) == len(dict(tensors_of(given)))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint["/optimizer/param_groups/0/params"].value == list(range(len(list(model.parameters()))))
        assert [node.step for node in checkpoint["/optimizer/state"].children] == list(loaded["optimizer"]["state"])
        assert checkpoint["/model/_metadata"].kind == "dict"


@pytest.mark.parametrize("title", SCHEDULERS)
def test_states_of_every_scheduler(tmp_path, title):
    optimizer = trained(OPTIMIZERS["AdamW"], net())
    scheduler = SCHEDULERS[title](optimizer)
    state = scheduler.state_dict()
    path = save({"lr_scheduler": state}, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        node = checkpoint["/lr_scheduler"]
        assert [child.name for child in node.children] == list(state)
        for name, value in state.items():
            if isinstance(value, int | float | str | bool | None):
                assert node.child(name).value == value
            elif isinstance(value, Counter):
                assert dict(zip(*[iter(node.child(name).value.pairs)] * 2, strict=True)) == dict(value)


@BOTH
def test_several_models_optimizers_and_objects(tmp_path, legacy):
    torch.manual_seed(1)
    generator, critic = net(), nn.Linear(3, 3)
    optimizers = [trained(OPTIMIZERS[name], model) for name, model in (("Adam", generator), ("SGD", critic))]
    given = {
        "netG": generator.state_dict(), "netD": critic.state_dict(), "optimizers": [o.state_dict() for o in optimizers],
        "whole": optimizers[0], "scheduler": lr_scheduler.StepLR(optimizers[1], 2), "iteration": 70,
        "args": argparse.Namespace(lr=0.1, layers=[1, 2]), "rng": torch.get_rng_state(),
    }  # fmt: skip
    path = save(given, tmp_path / "m.pth", legacy=legacy, protocol=2 + 2 * legacy)
    with open_checkpoint(path) as checkpoint:
        outline = checkpoint.outline
        found = {outline.path(row): tensor.shape for row, tensor in outline.tensors()}
        assert checkpoint["/whole"].type == "torch.optim.adam.Adam"
        assert checkpoint["/args"].type == "argparse.Namespace"
        assert checkpoint["/args/layers"].value == [1, 2]
        # torch's Optimizer keeps parameters in param_groups, which the loaded object has as well
        assert checkpoint["/whole/param_groups/0/params/0"].tensor.requires_grad
    for path_, tensor in tensors_of({key: given[key] for key in ("netG", "netD", "optimizers", "rng")}):
        assert found[path_] == tuple(tensor.shape)


# --- whole modules whose class is gone ----------------------------------------------------------------------------


def module_types() -> types.ModuleType:
    """A module `vanished_project` with classes of its own, as a training script would have them."""
    made = types.ModuleType("vanished_project")

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 1)
            self.scale = nn.Parameter(torch.rand(2))
            self.register_buffer("seen", torch.zeros(()))
            self.register_buffer("scratch", torch.zeros(3), persistent=False)
            self.nothing = None
            self.register_parameter("absent", None)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.name, self.sizes = "net", [1, 2, 3]
            self.blocks = nn.ModuleList([Block(), Block()])
            self.norm = nn.BatchNorm1d(2)
            self.head = nn.Linear(2, 2)
            self.tied = self.blocks[0]
            self.rnn = nn.LSTM(2, 3, num_layers=2)
            self.attention = nn.MultiheadAttention(4, 2)
            self.embedding = nn.Embedding(3, 2, _weight=self.head.weight.detach().new_ones(3, 2))
            self.head.bias = self.norm.bias

    for each in (Block, Net):
        each.__module__, each.__qualname__ = made.__name__, each.__name__
        setattr(made, each.__name__, each)
    return made


@pytest.fixture
def vanished(monkeypatch):
    made = module_types()
    monkeypatch.setitem(sys.modules, made.__name__, made)
    model = made.Net()

    def forget():
        monkeypatch.delitem(sys.modules, made.__name__, raising=False)

    return model, forget


@BOTH
@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m, "epoch": 1}], ids=["alone", "in a dict"])
def test_a_whole_module_whose_class_is_gone(tmp_path, vanished, wrap, legacy):
    model, forget = vanished
    path = save(wrap(model), tmp_path / "m.pth", legacy=legacy)
    expected = model.state_dict()
    forget()
    with pytest.raises((ModuleNotFoundError, AttributeError)):
        torch.load(path, weights_only=False)
    with open_checkpoint(path) as checkpoint:
        state_dict = checkpoint.state_dict()
        assert list(state_dict) == list(expected)
        for name, tensor in expected.items():
            assert state_dict[name].shape == tuple(tensor.shape)
            assert state_dict[name].numpy(copy=True).tolist() == tensor.tolist()
        shared = state_dict["tied.conv.weight"].storage is state_dict["blocks.0.conv.weight"].storage
        assert shared
        assert state_dict["head.bias"].storage is state_dict["norm.bias"].storage
        assert checkpoint.models[0].kind == "module"
        base = checkpoint.node(checkpoint.models[0].path)
        assert base.type == "vanished_project.Net"
        assert base.child("name").value == "net"
        assert "vanished_project" not in sys.modules


@pytest.mark.parametrize(
    "make",
    [net, lambda: nn.TransformerEncoderLayer(8, 2), lambda: nn.DataParallel(net()),
     lambda: nn.GRU(2, 3, bidirectional=True),
     lambda: nn.utils.weight_norm(nn.Linear(2, 3)), lambda: nn.ParameterDict({"a": nn.Parameter(torch.rand(1))}),
     lambda: nn.ParameterList([nn.Parameter(torch.rand(1)) for _ in range(12)]), lambda: nn.Transformer(8, 2, 1, 1, 8)],
)  # fmt: skip
def test_names_and_order_are_those_of_state_dict(tmp_path, make):
    model = make()
    path = save(model, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        entries = state_dict_entries(checkpoint.root.value)
        assert [entry.name for entry in entries.entries] == list(model.state_dict())
        kinds = {entry.name: entry.buffer for entry in entries.entries}
        assert {name for name, buffer in kinds.items() if not buffer} == {
            name for name in model.state_dict() if name in dict(model.named_parameters(remove_duplicate=False))
        }
        assert entries.notes == []


def test_a_module_that_contains_itself(tmp_path):
    model = nn.Linear(2, 2)
    model.__dict__["_modules"]["again"] = model
    path = save(model, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        entries = state_dict_entries(checkpoint.root.value)
        assert [entry.name for entry in entries.entries] == ["weight", "bias"]
        assert any("contains itself" in note for note in entries.notes)
        aliases = checkpoint.outline.aliases
        assert [checkpoint.outline.path(row) for row in aliases] == [("_modules", "again")]
