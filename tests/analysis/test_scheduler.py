"""Schedulers, understood: the curve that torch computes from a saved state is the one that was recorded in training."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch
from builders import save
from torch import nn, optim
from torch.optim import lr_scheduler as s
from torch.optim.swa_utils import SWALR

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.analysis.resume import resume, scheduler_views
from ckpt_viewer.analysis.scheduler import SchedulerView, curve_request, known_curve
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.torch_bridge.schedules import lr_curve

EPOCHS, SAVED = 30, 11
MAKERS = {
    "StepLR": lambda o: s.StepLR(o, 7, 0.3), "MultiStepLR": lambda o: s.MultiStepLR(o, [3, 3, 15, 22], 0.5),
    "ConstantLR": lambda o: s.ConstantLR(o, 0.25, 9), "LinearLR": lambda o: s.LinearLR(o, 0.1, 0.9, 17),
    "ExponentialLR": lambda o: s.ExponentialLR(o, 0.93), "PolynomialLR": lambda o: s.PolynomialLR(o, 21, 1.7),
    "CosineAnnealingLR": lambda o: s.CosineAnnealingLR(o, 12, 0.001),
    "CosineAnnealingWarmRestarts": lambda o: s.CosineAnnealingWarmRestarts(o, 4, 2, 0.001),
    "CyclicLR": lambda o: s.CyclicLR(o, 0.01, 0.3, 3, 5, cycle_momentum=False),
    "CyclicLR triangular2": lambda o: s.CyclicLR(o, [0.01, 0.02], [0.3, 0.4], 4, mode="triangular2"),
    "CyclicLR exp_range": lambda o: s.CyclicLR(o, 0.01, 0.3, 4, mode="exp_range", gamma=0.97),
    "OneCycleLR": lambda o: s.OneCycleLR(o, [0.5, 0.7], total_steps=EPOCHS + 1),
    "OneCycleLR linear": lambda o: s.OneCycleLR(o, 0.5, total_steps=EPOCHS + 1, pct_start=0.4, anneal_strategy="linear",
                                                three_phase=True, div_factor=10, final_div_factor=300),
    "SequentialLR": lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 20),
                                                 s.ExponentialLR(o, 0.9)], [5, 19]),
    "ChainedScheduler": lambda o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9),
                                                      s.MultiStepLR(o, [8])]),
    "SWALR": lambda o: SWALR(o, [0.05, 0.02], anneal_epochs=8),
    "SWALR linear": lambda o: SWALR(o, 0.05, anneal_epochs=8, anneal_strategy="linear"),
}  # fmt: skip


REFUSED = frozenset({"LambdaLR", "MultiplicativeLR", "ReduceLROnPlateau", "LRScheduler"})
"""Those whose future no file tells, and the base of all; the tests further down are about them."""


def test_no_scheduler_of_torch_is_forgotten():
    assert set(s.__all__) <= {name.split()[0] for name in MAKERS} | REFUSED


def made() -> tuple[nn.Module, optim.Optimizer]:
    model = nn.Linear(2, 2)
    groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.03}]
    return model, optim.SGD(groups, momentum=0.9)


def record(make, saved: int = SAVED) -> tuple[dict, list[list[float]]]:
    """Train, save in the middle, and go on; return what was saved and the learning rates of every epoch."""
    model, optimizer = made()
    scheduler = make(optimizer)
    rates, value = [], {}
    for epoch in range(EPOCHS + 1):
        rates.append([group["lr"] for group in optimizer.param_groups])
        if epoch == saved:
            value = copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch,
                                   "lr_scheduler": scheduler.state_dict()})  # fmt: skip
        if epoch < EPOCHS:
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            scheduler.step()
    return value, rates


def seen_in(tmp_path, value) -> SchedulerView:
    checkpoint = open_checkpoint(save(value, tmp_path / "m.pth"))
    (seen,) = scheduler_views(resume(checkpoint, overview(checkpoint)), checkpoint, overview(checkpoint))
    return seen


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("saved", [0, SAVED, EPOCHS])
@pytest.mark.filterwarnings("ignore:.*lr_scheduler:UserWarning", "ignore:The epoch parameter:UserWarning")
def test_the_curve_is_the_one_that_was_recorded(tmp_path, name, saved):
    value, rates = record(MAKERS[name], saved)
    seen = seen_in(tmp_path, value)
    assert seen.guess.names == (name.split()[0],)
    curve = lr_curve(**json.loads(json.dumps(curve_request(seen, EPOCHS))))
    assert curve["now"] == saved
    assert curve["note"] == ""
    assert len(curve["rates"]) == 2
    for group, theirs in zip(curve["rates"], zip(*rates, strict=True), strict=True):
        assert len(group) == EPOCHS + 1
        assert group == pytest.approx(list(theirs), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda o: s.LambdaLR(o, lambda epoch: 0.9**epoch), "function of the epoch that is in no file"),
        (lambda o: s.MultiplicativeLR(o, lambda epoch: 0.9), "function of the epoch that is in no file"),
        (lambda o: s.CyclicLR(o, 0.1, 0.2, 3, scale_fn=lambda x: 1.0, cycle_momentum=False), ""),
        (lambda o: s.SequentialLR(o, [s.ConstantLR(o), s.LambdaLR(o, lambda epoch: 1.0)], [3]), "in no file"),
    ],
)  # fmt: skip
def test_what_torch_cannot_compute_is_said(tmp_path, make, words):
    value, _ = record(make)
    seen = seen_in(tmp_path, value)
    if words:
        assert words in seen.refusal
        assert curve_request(seen) is None
    assert seen.rates


@pytest.mark.parametrize("cooldown", [0, 3])
@pytest.mark.parametrize("epochs", range(1, 14))
def test_of_a_plateau_the_past_since_its_last_change_is_known(tmp_path, epochs, cooldown):
    _, optimizer = made()
    scheduler = s.ReduceLROnPlateau(optimizer, patience=2, cooldown=cooldown)
    rates = [[group["lr"] for group in optimizer.param_groups]]
    for _ in range(epochs):
        scheduler.step(1.0)
        rates.append([group["lr"] for group in optimizer.param_groups])
    seen = seen_in(tmp_path, {"optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict()})
    assert "follows a metric" in seen.refusal
    assert curve_request(seen) is None
    assert (seen.epoch, seen.rates) == (epochs, rates[-1])
    curve = known_curve(seen)
    assert curve["now"] == curve["epochs"][-1] == epochs
    assert [list(each) for each in zip(*curve["rates"], strict=True)] == [rates[epoch] for epoch in curve["epochs"]]
    if cooldown == 0:
        assert len(curve["epochs"]) == (epochs - 1) % 3 + 1


def test_only_a_plateau_tells_its_past_by_itself(tmp_path):
    assert known_curve(seen_in(tmp_path, record(MAKERS["StepLR"])[0])) is None


def test_one_cycle_needs_the_groups(tmp_path):
    value, _ = record(MAKERS["OneCycleLR"])
    seen = seen_in(tmp_path, {"lr_scheduler": value["lr_scheduler"]})
    assert "no optimizer" in seen.refusal


def test_a_scheduler_alone_has_a_curve(tmp_path):
    value, rates = record(MAKERS["StepLR"])
    seen = seen_in(tmp_path, {"lr_scheduler": value["lr_scheduler"]})
    assert lr_curve(**curve_request(seen, EPOCHS))["rates"][0] == pytest.approx([each[0] for each in rates], rel=1e-12)


def test_a_rate_that_was_changed_by_hand_is_gone_on_from(tmp_path):
    value, _ = record(MAKERS["StepLR"])
    value["lr_scheduler"]["_last_lr"] = [0.5, 0.25]
    for group, rate in zip(value["optimizer"]["param_groups"], [0.5, 0.25], strict=True):
        group["lr"] = rate
    curve = lr_curve(**curve_request(seen_in(tmp_path, value), 25))
    assert "changed by hand" in curve["note"]
    assert curve["rates"][0][SAVED] == 0.5
    assert curve["rates"][0][14] == pytest.approx(0.15)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler:UserWarning", "ignore:The epoch parameter:UserWarning")
def test_every_field_is_explained(tmp_path, name):
    value, _ = record(MAKERS[name])
    told = seen_in(tmp_path, value).told
    assert {each.name for each in told} == value["lr_scheduler"].keys()
    unexplained = {each.name for each in told if not each.words} - {"use_beta1", "scale_mode", "_scale_fn_custom",
                   "base_momentums", "max_momentums", "swa_lrs", "default"}  # fmt: skip
    assert not unexplained


def test_broken_states_are_errors_of_ours():
    for state in ({"step_size": "x", "base_lrs": [0.1]}, {"step_size": 3}, {"T_0": -1, "base_lrs": [0.1]}, {}):
        with pytest.raises(CheckpointError):
            lr_curve(state, [], 10)


def test_a_long_schedule_is_cut():
    curve = lr_curve({"gamma": 0.999999, "base_lrs": [0.1], "last_epoch": 10, "_last_lr": []}, [], 10**9)
    assert len(curve["epochs"]) == 200_001


def test_the_worker_and_the_command(tmp_path):
    from ckpt_viewer.worker import Worker

    value, rates = record(MAKERS["CosineAnnealingLR"])
    path = save(value, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint, Worker() as worker:
        view = overview(checkpoint)
        (seen,) = scheduler_views(resume(checkpoint, view), checkpoint, view)
        curve = worker.request("lr_curve", curve_request(seen, EPOCHS))
    assert curve["rates"][1] == pytest.approx([each[1] for each in rates], rel=1e-12)
    done = subprocess.run(
        [sys.executable, "-m", "ckpt_viewer", "check", "--json", "--curve", str(path)], capture_output=True, text=True
    )
    (told,) = json.loads(done.stdout)["schedulers"]
    assert told["class"] == ["CosineAnnealingLR"]
    assert told["curve"]["rates"][0][:5] == pytest.approx([each[0] for each in rates[:5]], rel=1e-12)
