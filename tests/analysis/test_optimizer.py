"""Optimizers, understood: classes from fields, and states joined to the parameters that real optimizers had."""

from __future__ import annotations

import math

import pytest
import torch
from builders import save
from torch import nn, optim

from ckpt_viewer.analysis.optimizer import OptimizerView
from ckpt_viewer.analysis.optimizer_class import guess_optimizer
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.formats import open_checkpoint


class Net(nn.Module):
    """Tied, frozen, normalised, with buffers; many shapes are there more than once."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(3))
        self.bn = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.emb.weight


def stepped(optimizer: optim.Optimizer, model: nn.Module, times: int = 3) -> optim.Optimizer:
    for _ in range(times):
        for parameter in model.parameters():
            parameter.grad = torch.rand_like(parameter) if parameter.requires_grad else None
        optimizer.step(lambda: torch.tensor(1.0, requires_grad=True)) if isinstance(
            optimizer, optim.LBFGS
        ) else optimizer.step()
    return optimizer


def views(tmp_path, value) -> list[OptimizerView]:
    checkpoint = open_checkpoint(save(value, tmp_path / "m.pth"))
    rows = [row for row, role in overview(checkpoint).role_rows.items() if role.name == "optimizer"]
    return [OptimizerView(checkpoint, row) for row in rows]


def view(tmp_path, model, optimizer, **more) -> OptimizerView:
    return views(tmp_path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **more})[0]


def names(seen: OptimizerView) -> list[str | None]:
    return [each.weight.name if each.weight else None for each in seen.joined]


def order_of(model: nn.Module, optimizer: optim.Optimizer) -> list[str]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [known[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


CLASSES = [optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax, optim.Adagrad, optim.Adadelta,
           optim.RMSprop, optim.ASGD, optim.Rprop, optim.Adafactor]  # fmt: skip


@pytest.mark.parametrize("make", CLASSES)
def test_states_of_every_optimizer_find_their_parameters(tmp_path, make):
    model = Net()
    optimizer = stepped(make(model.parameters(), lr=0.01), model)
    seen = view(tmp_path, model, optimizer)
    assert seen.guess.names == (make.__name__,)
    assert names(seen) == order_of(model, optimizer)
    assert seen.join.confidence == ("guess" if make is optim.SGD else "likely")  # SGD keeps nothing that shows a shape
    assert not seen.orphans
    assert not seen.missing
    assert not seen.left_out


def test_muon_and_lbfgs(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False))
    seen = view(tmp_path, model, stepped(optim.Muon(model.parameters()), model))
    assert (seen.guess.text, names(seen)) == ("Muon", ["0.weight", "1.weight"])
    seen = view(tmp_path, model, stepped(optim.LBFGS(model.parameters()), model))
    assert (seen.guess.text, names(seen)) == ("LBFGS", ["0.weight", "1.weight"])


def test_sparse_adam_counts_with_integers(tmp_path):
    model = nn.Embedding(5, 3, sparse=True)
    optimizer = optim.SparseAdam(model.parameters())
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.tensor([1, 2])).sum().backward()
        optimizer.step()
    seen = view(tmp_path, model, optimizer)
    assert seen.guess.text == "SparseAdam"
    assert seen.step(seen.slots[0]) == 4


def decay_groups(model: nn.Module) -> list[dict]:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "weight_decay": 0.1}]


def test_groups_by_weight_decay_are_seen_through(tmp_path):
    model = Net()
    optimizer = stepped(optim.AdamW(decay_groups(model)), model)
    seen = view(tmp_path, model, optimizer)
    assert names(seen) == order_of(model, optimizer)
    assert all(each.sure for each in seen.joined)
    assert seen.differing == {"weight_decay"}
    assert [group.size for group in seen.groups] == [11, 4]
    assert seen.learning_rate(seen.slots[0]) == 0.001


def test_a_head_before_its_body(tmp_path):
    model = nn.ModuleDict({"body": nn.Linear(3, 3), "head": nn.Linear(3, 2)})
    groups = [{"params": model["head"].parameters(), "lr": 0.1}, {"params": model["body"].parameters()}]
    optimizer = stepped(optim.Adam(groups), model)
    seen = view(tmp_path, model, optimizer)
    assert names(seen) == ["head.weight", "head.bias", "body.weight", "body.bias"]
    assert seen.differing == {"lr"}


def test_what_could_be_otherwise_is_not_called_sure(tmp_path):
    """Two groups of the same shapes: nothing in the file tells which came first."""
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    groups = [{"params": model["b"].parameters()}, {"params": model["a"].parameters(), "lr": 0.1}]
    seen = view(tmp_path, model, stepped(optim.Adam(groups), model))
    assert seen.join.confidence == "guess"
    assert not any(each.sure for each in seen.joined)


def test_kept_names_are_certain(tmp_path):
    model = Net()
    groups = [{"params": [(n, p) for n, p in model.named_parameters() if p.dim() == d]} for d in (2, 1)]
    optimizer = stepped(optim.Adam(groups), model)
    seen = view(tmp_path, model, optimizer)
    assert (seen.join.method, seen.join.confidence) == ("names", "certain")
    assert names(seen) == order_of(model, optimizer)


def test_names_with_and_without_prefix_are_one(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = stepped(optim.Adam(model.named_parameters()), model)
    wrapped = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    seen = views(tmp_path, {"model": wrapped, "optimizer": optimizer.state_dict()})[0]
    assert names(seen) == ["module.weight", "module.bias"]


def test_frozen_parameters_that_were_not_given(tmp_path):
    model = Net()
    for parameter in model.blocks[0].parameters():
        parameter.requires_grad_(False)
    model.emb.weight.requires_grad_(False)
    optimizer = stepped(optim.Adam(p for p in model.parameters() if p.requires_grad), model)
    seen = view(tmp_path, model, optimizer)
    sure = {each.weight.name for each in seen.joined if each.weight and each.sure}
    assert sure <= set(order_of(model, optimizer))
    assert seen.join.confidence == "guess"  # the frozen block has the shapes of the others


def test_frozen_parameters_of_their_own_shape_are_skipped_surely(tmp_path):
    model = nn.Sequential(nn.Linear(9, 5), nn.Linear(5, 3), nn.Linear(3, 2))
    model[1].requires_grad_(False)
    optimizer = stepped(optim.Adam(p for p in model.parameters() if p.requires_grad), model)
    seen = view(tmp_path, model, optimizer)
    assert names(seen) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert seen.join.confidence == "likely"
    assert [weight.name for weight in seen.left_out] == ["1.weight", "1.bias"]


def test_a_whole_module_says_what_is_frozen(tmp_path):
    model = Net()
    model.blocks[0].requires_grad_(False)
    optimizer = stepped(optim.Adam(p for p in model.parameters() if p.requires_grad), model)
    seen = views(tmp_path, {"model": model, "optimizer": optimizer.state_dict()})[0]
    assert names(seen) == order_of(model, optimizer)
    assert seen.join.confidence == "likely"


def test_an_optimizer_that_was_pickled_with_its_model(tmp_path):
    model = Net()
    optimizer = stepped(optim.Adam(model.parameters()), model)
    seen = views(tmp_path, {"model": model, "optimizer": optimizer})[0]
    assert (seen.join.method, names(seen)) == ("identity", order_of(model, optimizer))
    assert seen.guess.text == "Adam"


def test_frozen_parameters_that_were_given_have_no_state(tmp_path):
    model = Net()
    model.emb.weight.requires_grad_(False)
    optimizer = stepped(optim.Adam(model.parameters()), model)
    seen = view(tmp_path, model, optimizer)
    assert [each.weight.name for each in seen.missing if each.weight] == ["emb.weight"]
    assert not seen.orphans


def test_states_that_belong_to_nobody(tmp_path):
    model = nn.Linear(2, 2)
    state = stepped(optim.Adam(model.parameters()), model).state_dict()
    state["state"][17] = state["state"].pop(1)
    seen = views(tmp_path, {"model": model.state_dict(), "optimizer": state})[0]
    assert [key for key, _ in seen.orphans] == [17]
    assert [each.weight.name for each in seen.missing if each.weight] == ["bias"]


def test_an_optimizer_of_another_model(tmp_path):
    other = nn.Linear(8, 9)
    seen = view(tmp_path, Net(), stepped(optim.Adam(other.parameters()), other))
    assert seen.join.method == "none"
    assert "another one" in seen.join.reason


def test_each_optimizer_of_a_gan_finds_its_model(tmp_path):
    made = {"netG": nn.Linear(3, 3), "netD": nn.Linear(3, 3), "netE": nn.Linear(2, 3)}
    value = {name: model.state_dict() for name, model in made.items()}
    value |= {
        f"opt_{name[-1]}": stepped(optim.Adam(model.parameters()), model).state_dict() for name, model in made.items()
    }
    seen = views(tmp_path, value)
    assert [each.checkpoint.outline.steps[each.join.rows[0]] for each in seen] == ["netG", "netD", "netE"]


def test_one_optimizer_of_two_models(tmp_path):
    encoder, decoder = nn.Linear(3, 5), nn.Linear(5, 2)
    both = nn.ModuleList([encoder, decoder])
    optimizer = stepped(optim.Adam(both.parameters()), both)
    value = {"encoder": encoder.state_dict(), "decoder": decoder.state_dict(), "optimizer": optimizer.state_dict()}
    seen = views(tmp_path, value)[0]
    assert names(seen) == ["weight", "bias", "weight", "bias"]
    assert len(seen.join.rows) == 2
    assert seen.model_bytes == 4 * (20 + 12)


def test_keys_that_went_through_json(tmp_path):
    model = nn.Linear(2, 3)
    state = stepped(optim.Adam(model.parameters()), model).state_dict()
    state["state"] = {str(key): value for key, value in state["state"].items()}
    seen = views(tmp_path, {"model": model.state_dict(), "optimizer": state})[0]
    assert names(seen) == ["weight", "bias"]
    assert not seen.orphans


def test_a_weight_finds_its_state_also_under_its_second_name(tmp_path):
    model = Net()
    seen = view(tmp_path, model, stepped(optim.Adam(model.parameters()), model))
    state_dict = seen.checkpoint.node(("model",)).value
    first, second = state_dict.get("emb.weight"), state_dict.get("head.weight")
    assert seen.by_tensor[id(first)] is seen.by_tensor[id(second)]
    joined = seen.by_tensor[id(second)]
    assert seen.checkpoint.outline.path(joined.slot.row) == ("optimizer", "state", 0)


@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01, dtype=torch.float64)], ids=["float", "tensor"])
def test_step_and_effective_rate(tmp_path, lr):
    model = nn.Linear(2, 2)
    seen = view(tmp_path, model, stepped(optim.Adam(model.parameters(), lr=lr), model, 5))
    slot = seen.slots[0]
    assert seen.step(slot) == 5
    assert seen.learning_rate(slot) == 0.01
    expected = 0.01 * math.sqrt(1 - 0.999**5) / (1 - 0.9**5)
    assert seen.effective_rate(slot) == pytest.approx(expected, rel=1e-12)


def test_memory_of_state_and_model(tmp_path):
    model = nn.Linear(10, 10)
    seen = view(tmp_path, model, stepped(optim.Adam(model.parameters()), model))
    assert seen.model_bytes == 440
    assert seen.state_bytes == 2 * 440 + 2 * 4


@pytest.mark.parametrize(
    ("fields", "moments", "expected"),
    [
        ("lr betas eps weight_decay amsgrad", "", "Adam or AdamW"), ("lr betas weight_decay", "exp_avg", "Lion"),
        ("lr bias_correction betas eps weight_decay", "exp_avg exp_avg_sq", "FusedAdam (apex)"),
        ("lr betas eps weight_decay", "state1 state2 qmap1 absmax1", "bitsandbytes Adam or AdamW"),
        ("lr betas weight_decay", "state1 qmap1 absmax1", "bitsandbytes Lion, SGD or RMSprop"),
        ("lr eps clip_threshold relative_step scale_parameter", "exp_avg_sq_row", "Adafactor (transformers)"),
        ("lr bias_correction betas eps grad_averaging max_grad_norm", "", "LAMB (apex FusedLAMB)"),
        ("lr betas eps weight_decay rho", "exp_avg hessian", "Sophia"), ("lr d_coef betas", "", "Prodigy"),
        ("lr mom sqr_mom eps", "grad_avg sqr_avg", "Adam (fastai)"), ("lr secret", "", ""),
    ],
)  # fmt: skip
def test_classes_outside_of_torch(fields, moments, expected):
    guess = guess_optimizer(dict.fromkeys(fields.split()), set(moments.split()))
    assert guess.text == expected
    assert guess.reason


def test_adam_of_an_old_torch_cannot_be_told_from_adamw():
    guess = guess_optimizer(dict.fromkeys(("betas", "amsgrad")), set())
    assert not guess.certain
    assert "cannot tell Adam from AdamW" in guess.reason
