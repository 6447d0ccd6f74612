"""Every optimizer of torch, run for real in every usual way of giving it parameters: class, names, rates."""

from __future__ import annotations

import inspect

import pytest
import torch
from builders import save
from torch import nn, optim

from ckpt_viewer.analysis.optimizer import OptimizerView
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.analysis.resume import OF_TORCH, resume
from ckpt_viewer.formats import open_checkpoint

CLASSES = {
    name: each
    for name, each in vars(optim).items()
    if inspect.isclass(each) and issubclass(each, optim.Optimizer) and each is not optim.Optimizer
}
MORE = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9, "centered": True}, "Adam": {"amsgrad": True}}
SHAPELESS = {"LBFGS"}
"""Those whose states do not show a parameter's shape."""
ONE_GROUP = {"LBFGS"}


class Net(nn.Module):
    """Tied and normalised, with buffers; each shape is there three times. For Muon without what is no matrix."""

    def __init__(self, matrices_only: bool) -> None:
        super().__init__()
        self.emb = nn.Embedding(7, 4)
        bias = not matrices_only
        layers = [[nn.Linear(4, 6, bias=bias), nn.Linear(6, 4, bias=bias)] for _ in range(3)]
        if bias:
            layers = [[*each, nn.BatchNorm1d(4)] for each in layers]
        self.blocks = nn.ModuleList(nn.Sequential(*each) for each in layers)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.emb.weight


def run(name: str, how: str) -> tuple[nn.Module, optim.Optimizer]:
    """Train a few steps with an optimizer that got its parameters in some way."""
    model = Net(name == "Muon")
    if how.startswith("frozen"):
        model.blocks[0].requires_grad_(False)
        model.emb.requires_grad_(False)
    parameters = list(model.parameters())
    given = {
        "all": parameters, "frozen and given": parameters, "by name": list(model.named_parameters()),
        "frozen and left out": [each for each in parameters if each.requires_grad],
        "by decay": [{"params": [each for each in parameters if each.dim() > 1], "lr": 0.02},
                     {"params": [each for each in parameters if each.dim() < 2] or [nn.Parameter(torch.ones(1, 1))]}],
        "head first": [{"params": parameters[4:], "lr": 0.02}, {"params": parameters[:4]}],
    }[how]  # fmt: skip
    optimizer = CLASSES[name](given, **MORE.get(name, {}))
    for _ in range(3):
        for each in parameters:
            each.grad = torch.rand_like(each) if each.requires_grad else None
            if name == "SparseAdam" and each.grad is not None:
                each.grad = each.grad.to_sparse()
        optimizer.step((lambda: torch.ones((), requires_grad=True)) if name == "LBFGS" else None)
    return model, optimizer


def view(tmp_path, model, optimizer) -> OptimizerView:
    path = save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "m.pth")
    checkpoint = open_checkpoint(path)
    (seen,) = resume(checkpoint, overview(checkpoint)).optimizers
    return seen


def test_they_are_all_known():
    assert CLASSES.keys() == OF_TORCH


HOWS = ["all", "by decay", "head first", "by name", "frozen and given", "frozen and left out"]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("how", HOWS)
def test_class_and_names(tmp_path, name, how):
    if name in ONE_GROUP and how in ("by decay", "head first"):
        pytest.skip("it takes one group")
    if name == "Muon" and how == "by decay":
        pytest.skip("it takes matrices only")
    model, optimizer = run(name, how)
    seen = view(tmp_path, model, optimizer)
    assert seen.guess.names == (name,)
    known = {id(parameter): key for key, parameter in model.named_parameters()}
    wanted = [known[id(each)] for group in optimizer.param_groups for each in group["params"]]
    names = [each.weight.name if each.weight else "" for each in seen.joined]
    if how == "head first" and (name in SHAPELESS or seen.join.confidence == "guess"):
        assert not any(each.sure for each in seen.joined)
    else:
        assert names == wanted
    assert all(names[n] == wanted[n] for n, each in enumerate(seen.joined) if each.sure)
    assert not seen.orphans
    frozen = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {each.weight.name for each in seen.missing} == (
        frozen if how == "frozen and given" and name not in ("LBFGS", "Adagrad") else set()
    )
    assert {each.name for each in seen.left_out} == (frozen if how == "frozen and left out" else set())
    if how == "by name":
        assert seen.join.confidence == "certain"


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
@pytest.mark.parametrize(
    "name", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "SGD", "SparseAdam", "Adafactor"]
)
def test_the_effective_rate_is_what_the_last_step_multiplied_by(tmp_path, name, steps):
    """The last gradient is nothing, so that the step is the moment alone, normalised where the optimizer does so."""
    model = nn.ParameterList([torch.full((3,), 2.0, dtype=torch.float64)])
    (weight,) = model
    more = {"Adagrad": {"lr_decay": 0.1}, "SGD": {"momentum": 0.5}}.get(name, {})
    none = {"weight_decay": 0.0} if name != "SparseAdam" else {}
    tiny = {} if name in ("SGD", "Adafactor") else {"eps": 1e-300}
    optimizer = CLASSES[name](model.parameters(), lr=0.3, **none, **more, **tiny)
    for number in range(steps):
        before = weight.detach().clone()
        last = number == steps - 1 and steps > 1 and name != "Adagrad"
        weight.grad = torch.zeros_like(weight) if last else torch.full_like(weight, 0.5)
        if name == "SparseAdam":
            weight.grad = torch.full_like(weight, 1e-300 if last else 0.5).to_sparse()  # it skips what is nothing
        optimizer.step()
    seen = view(tmp_path, model, optimizer)
    state = optimizer.state[weight]
    moved = (before - weight.detach())[0].item()
    rate = seen.effective_rate(seen.slots[0])
    if name == "Adafactor":
        assert rate == min(0.3, steps**-0.5)
        return
    if name == "NAdam" and steps == 1:
        return  # the first step is not of the moment alone
    direction = {"SGD": "momentum_buffer", "Adagrad": "sum"}.get(name, "exp_avg")
    moment = state[direction][0].item()
    if name == "Adagrad":
        moment = 0.5 / moment**0.5
    elif name == "Adamax":
        moment /= state["exp_inf"][0].item()
    elif name != "SGD" and not (name == "RAdam" and steps < 6):
        moment /= state["exp_avg_sq"][0].item() ** 0.5
    assert rate * moment == pytest.approx(moved, rel=1e-6)
