"""Whether a training can go on: real optimizers and schedulers saved rightly, and with one thing wrong."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch
from builders import save
from torch import nn, optim
from torch.optim import lr_scheduler

from ckpt_viewer.analysis.check import check
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.analysis.resume import resume
from ckpt_viewer.formats import open_checkpoint


def trained(steps: int = 3, model: nn.Module | None = None) -> dict:
    """Save everything that torchvision's references save, after some epochs of one step each."""
    model = model if model is not None else nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = optim.AdamW(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.rand_like(parameter)
        optimizer.step()
        scheduler.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict()}
    scaler = torch.amp.GradScaler("cpu").state_dict()
    return {**state, "epoch": steps - 1, "scaler": scaler, "rng": torch.get_rng_state()}


def looked(tmp_path, value):
    with open_checkpoint(save(value, tmp_path / "m.pth")) as checkpoint:
        return resume(checkpoint, overview(checkpoint))


def codes(found, *severities: str) -> list[str]:
    return [each.code for each in found.findings if not severities or each.severity in severities]


def test_a_sound_checkpoint_has_nothing_to_tell(tmp_path):
    found = looked(tmp_path, trained())
    assert found.possible
    assert not found.reason
    assert not found.findings


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.MultiStepLR(o, [2, 3]), lambda o: lr_scheduler.CosineAnnealingLR(o, 9),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2), lambda o: lr_scheduler.ExponentialLR(o, 0.9),
        lr_scheduler.LinearLR, lr_scheduler.ConstantLR, lr_scheduler.PolynomialLR,
        lambda o: lr_scheduler.LambdaLR(o, lambda e: 0.5**e), lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=9),
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, cycle_momentum=False), lambda o: lr_scheduler.ReduceLROnPlateau(o),
        lambda o: lr_scheduler.MultiplicativeLR(o, lambda e: 0.9),
        lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [2]),
        lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)]),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
def test_every_real_scheduler_agrees_with_its_optimizer(tmp_path, make):
    model = nn.Linear(2, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    scheduler = make(optimizer)
    for _ in range(4):
        for parameter in model.parameters():
            parameter.grad = torch.rand_like(parameter)
        optimizer.step()
        scheduler.step(*([1.0] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
    found = looked(tmp_path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3,
                              "lr_scheduler": scheduler.state_dict(), "rng": torch.get_rng_state()})  # fmt: skip
    assert not codes(found, "error", "warning")


def changed(change) -> dict:
    value = trained()
    change(value)
    return value


def set_(*path):
    *way, last, new = path

    def change(value):
        for step in way:
            value = value[step]
        value[last] = new

    return change


@pytest.mark.parametrize(
    ("change", "code", "severity"),
    [
        (set_("lr_scheduler", "_step_count", 9), "scheduler-step-count", "warning"),
        (set_("epoch", 7), "scheduler-epoch", "warning"),
        (set_("lr_scheduler", "_last_lr", [0.2]), "lr-differs", "warning"),
        (set_("optimizer", "param_groups", 0, "lr", math.nan), "lr-not-finite", "error"),
        (set_("optimizer", "param_groups", 0, "lr", torch.tensor(math.inf)), "lr-not-finite", "error"),
        (set_("scaler", "scale", 0.0), "scaler-broken", "error"),
        (set_("scaler", "scale", 0.25), "scaler-collapsed", "warning"),
        (set_("scaler", {}), "scaler-disabled", "info"),
        (set_("optimizer", "state", 99, {"step": torch.tensor(1.0)}), "optimizer-orphans", "warning"),
        (set_("optimizer", "state", 0, "step", torch.tensor(1.0)), "optimizer-steps", "info"),
        (set_("global_step", 500), "optimizer-step-differs", "info"),
        (lambda value: value["optimizer"]["state"].pop(2), "optimizer-missing-state", "info"),
        (lambda value: value.pop("rng"), "no-rng", "info"),
        (lambda value: value.pop("lr_scheduler"), "no-scheduler", "info"),
        (lambda value: value.pop("epoch"), "no-progress", "info"),
        (lambda value: value.update(model_ema=dict(value["model"])), "ema-beside", "info"),
        (lambda value: value.update(optimizer=trained(model=nn.Linear(9, 9))["optimizer"]), "optimizer-other-model",
         "error"),
    ],
)  # fmt: skip
def test_one_thing_that_is_wrong(tmp_path, change, code, severity):
    found = looked(tmp_path, changed(change))
    assert [each.severity for each in found.findings if each.code == code] == [severity]
    message = next(each.message for each in found.findings if each.code == code)
    assert len(message) > 40
    assert found.possible is (severity != "error")
    assert bool(found.reason) is (severity == "error")


def test_a_model_without_optimizer(tmp_path):
    found = looked(tmp_path, {"model": trained()["model"], "epoch": 3})
    assert not found.possible
    assert found.reason == "it holds no optimizer"
    assert codes(found) == ["no-optimizer"]


def test_a_bare_state_dict_is_nothing_wrong(tmp_path):
    found = looked(tmp_path, trained()["model"])
    assert not found.possible
    assert not found.findings


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."])
def test_prefixes_and_the_code_that_strips_them(tmp_path, prefix):
    state = {prefix + name: tensor for name, tensor in trained()["model"].items()}
    found = looked(tmp_path, {"state_dict": state, "epoch": 1})
    finding = next(each for each in found.findings if each.code == "prefix")
    assert f'removeprefix("{prefix}")' in finding.message
    assert 'checkpoint["state_dict"]' in finding.message


def test_prefixes_that_only_some_names_have(tmp_path):
    state = {("module." if n % 2 else "") + name: t for n, (name, t) in enumerate(trained()["model"].items())}
    assert "prefix-mixed" in codes(looked(tmp_path, {"state_dict": state, "epoch": 1}))


def test_a_whole_module(tmp_path):
    found = looked(tmp_path, {**trained(), "model": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))})
    assert codes(found) == ["whole-module"]
    assert found.possible


def test_what_the_command_says(tmp_path):
    path = save(changed(set_("scaler", "scale", 0.0)), tmp_path / "m.pth", tag="cuda:1")
    done = subprocess.run([sys.executable, "-m", "ckpt_viewer", "check", str(path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be resumed: the GradScaler's scale is 0" in done.stdout
    assert "optimizer /optimizer: AdamW" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "ckpt_viewer", "check", "--json", str(save(trained(), path))],
        capture_output=True,
        text=True,
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["resumable"], document["not_resumable_because"]) == (0, True, None)
    optimizer = document["optimizers"][0]
    assert optimizer["class"] == ["AdamW"]
    assert [each["name"] for each in optimizer["parameters"]][:2] == ["0.weight", "0.bias"]
    assert optimizer["parameters"][0]["state"] == ["optimizer", "state", 0]
    assert optimizer["parameters"][0]["step"] == 3


def test_findings_of_the_check_lead_to_their_place(tmp_path):
    with open_checkpoint(save(changed(set_("lr_scheduler", "_step_count", 9)), tmp_path / "m.pth")) as checkpoint:
        report = check(checkpoint)
    assert [each.path for each in report.findings if each.code == "scheduler-step-count"] == [("lr_scheduler",)]
    assert report.healthy


BROKEN = [
    set_("lr_scheduler", "_step_count", 9), set_("epoch", 7), set_("lr_scheduler", "_last_lr", [0.2]),
    set_("optimizer", "param_groups", 0, "lr", math.nan), set_("scaler", "scale", 0.0), set_("scaler", {}),
    set_("optimizer", "state", 99, {"step": torch.tensor(1.0)}), lambda value: value.pop("rng"),
    lambda value: value.pop("lr_scheduler"), lambda value: value.pop("epoch"), lambda value: value.pop("optimizer"),
    lambda value: value.update(model_ema=dict(value["model"])),
    lambda value: value.update(model={"module." + name: each for name, each in value["model"].items()}),
    lambda value: value.update(optimizer=trained(model=nn.Linear(9, 9))["optimizer"]),
    set_("epoch", 10**400), set_("lr_scheduler", "last_epoch", math.inf), set_("scaler", "scale", 10**400),
]  # fmt: skip


@pytest.mark.parametrize("change", BROKEN)
def test_a_line_that_mends_it_is_one_line_of_python(tmp_path, change):
    for each in looked(tmp_path, changed(change)).advice:
        assert "\n" not in each.line
        compile(each.line, "line", "exec")
        assert each.message == each.finding.message
        assert each.line in each.message


def test_what_nan_means_for_a_training(tmp_path):
    with open_checkpoint(save(trained(), tmp_path / "m.pth")) as checkpoint:
        view = overview(checkpoint)
        rows = {checkpoint.outline.path(row): row for row in range(len(checkpoint.outline))}
        sound = resume(checkpoint, view)
        weight, moment = rows[("model", "0.weight")], rows[("optimizer", "state", 0, "exp_avg")]
        nan = sound.with_values(checkpoint, view, [weight, moment], [])
        large = sound.with_values(checkpoint, view, [], [weight])
    assert sound.possible
    assert codes(nan, "error") == ["model-nan", "optimizer-nan"]
    assert nan.reason == "1 tensor of the weights (0.weight) holds NaN"
    assert large.possible
    assert codes(large, "warning") == ["model-infinite"]
    state, scope = trained()["model"], {"model": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))}
    state["0.weight"][0] = math.nan
    exec(nan.advice[0].line, {**scope, "checkpoint": {"model": state}})
    assert all(bool(torch.isfinite(each).all()) for each in scope["model"].state_dict().values())
    exec(large.advice[0].line, {"checkpoint": {"model": state}})
