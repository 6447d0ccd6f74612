"""Roles in files laid out as trainers lay them out (FORMATS 5.5), by structure, and by what the user said."""

from __future__ import annotations

import random
from argparse import Namespace

import numpy as np
import pytest
import torch
from builders import save
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.formats import open_checkpoint


def net(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    made = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.step()
    return made


MODEL = net()
SD, OPT = MODEL.state_dict(), optimizer(MODEL).state_dict()
SCHED = lr_scheduler.StepLR(torch.optim.SGD(MODEL.parameters(), 0.1), 3).state_dict()
SCALER = torch.amp.GradScaler("cpu").state_dict()
EMPTY_SCALER = torch.amp.GradScaler("cpu", enabled=False).state_dict()
RNG = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.get_rng_state(), "cuda": None}


def roles(tmp_path, value, given: dict[str, str] | None = None) -> dict[str, list[str]]:
    with open_checkpoint(save(value, tmp_path / "m.pth")) as checkpoint:
        checkpoint.take_roles(given or {})
        view = overview(checkpoint)
        found: dict[str, list[str]] = {}
        for pointer, role in view.role_details.items():
            assert role.reason
            assert role.confidence in ("certain", "likely", "guess", "given")
            found.setdefault(role.name, []).append(pointer)
    return found


TRAINERS = {
    "torchvision": (
        {"model": SD, "optimizer": OPT, "lr_scheduler": SCHED, "epoch": 3, "args": Namespace(lr=1), "scaler": SCALER,
         "model_ema": AveragedModel(MODEL).state_dict()},
        {"model": ["/model"], "optimizer": ["/optimizer"], "lr_scheduler": ["/lr_scheduler"], "progress": ["/epoch"],
         "config": ["/args"], "scaler": ["/scaler"], "ema": ["/model_ema"]},
    ),
    "imagenet": (
        {"epoch": 1, "arch": "resnet18", "state_dict": {f"module.{k}": v for k, v in SD.items()},
         "best_acc1": torch.tensor(71.5), "optimizer": OPT, "scheduler": SCHED},
        {"progress": ["/epoch"], "model": ["/state_dict"], "metrics": ["/best_acc1"], "optimizer": ["/optimizer"],
         "lr_scheduler": ["/scheduler"]},
    ),
    "timm": (
        {"epoch": 1, "arch": "x", "state_dict": SD, "optimizer": OPT, "version": 2, "args": Namespace(a=1),
         "amp_scaler": SCALER, "state_dict_ema": net().state_dict(), "metric": 0.5},
        {"progress": ["/epoch"], "model": ["/state_dict"], "optimizer": ["/optimizer"], "config": ["/args"],
         "scaler": ["/amp_scaler"], "ema": ["/state_dict_ema"], "metrics": ["/metric"]},
    ),
    "ultralytics": (
        {"epoch": 2, "best_fitness": 0.3, "model": MODEL, "ema": net(), "updates": 9, "optimizer": OPT,
         "train_args": {"lr0": 0.1}, "train_metrics": {"mAP50": 0.4}, "train_results": {"epoch": [0, 1]}},
        {"progress": ["/epoch", "/updates"], "metrics": ["/best_fitness", "/train_metrics", "/train_results"],
         "model": ["/model"], "ema": ["/ema"], "optimizer": ["/optimizer"], "config": ["/train_args"]},
    ),
    "mmengine": (
        {"meta": {"epoch": 3, "iter": 90, "cfg": "a = 1"}, "state_dict": SD, "optimizer": OPT, "message_hub": {},
         "param_schedulers": [{"_global_step": 4, "last_step": 3, "_last_value": [0.1], "base_values": [0.1]}],
         "ema_state_dict": net().state_dict()},
        {"config": ["/meta"], "progress": ["/meta/epoch", "/meta/iter"], "model": ["/state_dict"],
         "optimizer": ["/optimizer"], "lr_scheduler": ["/param_schedulers/0"], "ema": ["/ema_state_dict"]},
    ),
    "nnU-Net v2": (
        {"network_weights": SD, "optimizer_state": OPT, "grad_scaler_state": SCALER, "logging": {"ema_fg_dice": [0.1]},
         "_best_ema": 0.7, "current_epoch": 5, "init_args": {"fold": 0}, "trainer_name": "t"},
        {"model": ["/network_weights"], "optimizer": ["/optimizer_state"], "scaler": ["/grad_scaler_state"],
         "metrics": ["/logging", "/_best_ema"], "progress": ["/current_epoch"], "config": ["/init_args"]},
    ),
    "fairseq": (
        {"args": None, "cfg": {"task": "x"}, "model": SD, "criterion": None, "optimizer_history": [{"num_updates": 7}],
         "task_state": {}, "extra_state": {"epoch": 2, "val_loss": 1.5}, "last_optimizer_state": OPT},
        {"config": ["/cfg"], "model": ["/model"], "progress": ["/optimizer_history/0/num_updates",
         "/extra_state/epoch"], "metrics": ["/extra_state/val_loss"], "optimizer": ["/last_optimizer_state"]},
    ),
    "Lightning": (
        {"epoch": 0, "global_step": 7, "pytorch-lightning_version": "2.6", "state_dict": SD, "loops": {},
         "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_k_models": {"/a/b.ckpt": torch.tensor(1.0)}}},
         "optimizer_states": [OPT], "lr_schedulers": [SCHED], "MixedPrecision": SCALER, "hyper_parameters": {"lr": 1}},
        {"progress": ["/epoch", "/global_step"], "model": ["/state_dict"], "optimizer": ["/optimizer_states/0"],
         "lr_scheduler": ["/lr_schedulers/0"], "scaler": ["/MixedPrecision"], "config": ["/hyper_parameters"]},
    ),
    "Megatron": (
        {"args": Namespace(a=1), "checkpoint_version": 3.0, "iteration": 40, "model": {"language_model": SD},
         "optimizer": {"optimizer": OPT, "grad_scaler": {"scale": 1.0}},
         "opt_param_scheduler": {"max_lr": 1.0, "lr_decay_style": "cosine", "num_steps": 40},
         "rng_state": [{"random_rng_state": random.getstate(), "np_rng_state": np.random.get_state(),
                        "torch_rng_state": torch.get_rng_state(), "cuda_rng_state": torch.zeros(16).byte()}]},
        {"config": ["/args"], "progress": ["/iteration"], "model": ["/model"],
         "optimizer": ["/optimizer/optimizer"], "lr_scheduler": ["/opt_param_scheduler"], "rng": ["/rng_state/0"]},
    ),
    "DeepSpeed": (
        {"module": SD, "optimizer": None, "lr_scheduler": {"last_batch_iteration": 9}, "global_steps": 9,
         "ds_config": {"a": 1}, "param_shapes": []},
        {"model": ["/module"], "lr_scheduler": ["/lr_scheduler"], "progress": ["/global_steps"],
         "config": ["/ds_config"]},
    ),
    "apex": (
        {"model": SD, "optimizer": OPT, "amp": {"loss_scaler0": {"loss_scale": 65536.0, "unskipped": 3}}},
        {"model": ["/model"], "optimizer": ["/optimizer"], "scaler": ["/amp"]},
    ),
    "detectron2 zoo": (
        {"model": {"conv.weight": np.ones((2, 2))}, "__author__": "them"}, {"model": ["/model"]},
    ),
    "GAN": (
        {"G": SD, "D": net(5).state_dict(), "optim_g": OPT, "optim_d": optimizer(net(5)).state_dict(), "step": 5},
        {"model": ["/G", "/D"], "optimizer": ["/optim_g", "/optim_d"], "progress": ["/step"]},
    ),
    "two generators of one shape": (
        {"netG_A": SD, "netG_B": net().state_dict(), "opt": OPT},
        {"model": ["/netG_A", "/netG_B"], "optimizer": ["/opt"]},
    ),
    "teacher and student": (
        {"student": SD, "teacher": net().state_dict(), "optimizer": OPT, "rng": RNG},
        {"model": ["/student", "/teacher"], "optimizer": ["/optimizer"], "rng": ["/rng"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_roles_in_a_trainers_file(tmp_path, trainer):
    value, expected = TRAINERS[trainer]
    assert roles(tmp_path, value) == expected


def test_names_matter_not_where_the_structure_is_kept(tmp_path):
    averaged = AveragedModel(MODEL).state_dict()
    value = {"a": SD, "b": OPT, "c": SCHED, "d": SCALER, "e": averaged, "f": RNG, "g": torch.get_rng_state()}
    assert roles(tmp_path, value) == {
        "model": ["/a"], "optimizer": ["/b"], "lr_scheduler": ["/c"], "scaler": ["/d"], "ema": ["/e"],
        "rng": ["/f", "/g"],
    }  # fmt: skip


def test_a_second_model_that_no_optimizer_trains_is_a_copy_by_guess(tmp_path):
    with open_checkpoint(save({"a": SD, "b": net().state_dict(), "o": OPT}, tmp_path / "m.pth")) as checkpoint:
        found = overview(checkpoint).role_details
    assert (found["/a"].name, found["/a"].confidence) == ("model", "certain")
    assert (found["/b"].name, found["/b"].confidence) == ("ema", "guess")


def test_a_second_model_of_other_shapes_is_no_copy(tmp_path):
    wider = {key: torch.ones(9) for key in SD}
    assert roles(tmp_path, {"a": SD, "b": wider, "o": OPT})["model"] == ["/a", "/b"]


def test_what_belongs_to_a_scheduler_of_its_own_file_is_no_progress(tmp_path):
    assert roles(tmp_path, SCHED) == {"lr_scheduler": [""]}


def test_a_disabled_scaler(tmp_path):
    assert roles(tmp_path, {"model": SD, "scaler": EMPTY_SCALER})["scaler"] == ["/scaler"]


@pytest.mark.parametrize("key", ["schema", "remarks", "mapping"])
def test_words_count_whole(tmp_path, key):
    assert roles(tmp_path, {key: SD}) == {"model": [f"/{key}"]}


def test_settings_about_metrics_are_no_metrics(tmp_path):
    assert roles(tmp_path, {"model": SD, "logging_steps": 5, "val_loss": 0.5})["metrics"] == ["/val_loss"]


def test_the_user_has_the_last_word(tmp_path):
    value = {"model": SD, "target": net().state_dict(), "lesson": 4, "loss": 0.5}
    given = {"/target": "ema", "/lesson": "progress", "/loss": "none", "/gone": "model", "/model": "nonsense"}
    assert roles(tmp_path, value, given=given) == {"model": ["/model"], "ema": ["/target"], "progress": ["/lesson"]}
    with open_checkpoint(tmp_path / "m.pth") as checkpoint:
        checkpoint.take_roles(given)
        assert overview(checkpoint).role_details["/target"].confidence == "given"
        assert [(model.path, model.ema) for model in checkpoint.models] == [(("model",), False), (("target",), True)]
        checkpoint.take_roles({})
        assert [(model.path, model.ema) for model in checkpoint.models] == [(("model",), False), (("target",), False)]


def test_what_the_user_says_decides_which_models_there_are(tmp_path):
    value = {"nested": {"odd": {"kernel": torch.ones(2, 2), "note": "x", "more": 1}}, "state_dict": SD, "whole": MODEL}
    given = {"/nested/odd": "model", "/state_dict": "metrics", "/whole": "none"}
    assert roles(tmp_path, value, given=given) == {"model": ["/nested/odd"], "metrics": ["/state_dict"]}
    with open_checkpoint(tmp_path / "m.pth") as checkpoint:
        checkpoint.take_roles(given)
        assert list(checkpoint.state_dict()) == ["kernel"]
        checkpoint.take_roles({"": "none"})
        assert [model.path for model in checkpoint.models] == [("state_dict",), ("whole",)]


def test_whole_optimizers_and_those_of_fastai_are_optimizers(tmp_path):
    pickled = torch.optim.SGD(MODEL.parameters(), 0.1, momentum=0.9)
    fastai = {"state": [{"avg": torch.zeros(2)}], "hypers": [{"lr": 0.1}]}
    for name in ("opt", "x"):
        found = roles(tmp_path, {"model": SD, name: fastai, "o": pickled})
        assert found["optimizer"] == [f"/{name}", "/o"]


def test_numbers_of_numpy_and_tensors_of_one_element_are_numbers(tmp_path):
    value = {"model": SD, "epoch": np.int64(3), "step": torch.tensor(70), "val_loss": np.float32(0.5)}
    assert roles(tmp_path, value)["progress"] == ["/epoch", "/step"]
    assert roles(tmp_path, value)["metrics"] == ["/val_loss"]
    with open_checkpoint(tmp_path / "m.pth") as checkpoint:
        assert [(each.name, each.value) for each in overview(checkpoint).progress] == [("epoch", 3), ("step", 70)]


@pytest.mark.parametrize("names", [("netG", "netD"), ("G", "D", "model_ema")])
def test_several_models_and_nothing_else_are_no_training(tmp_path, names):
    value = {name: net(width).state_dict() for width, name in enumerate(names, 3)}
    with open_checkpoint(save(value, tmp_path / "m.pth")) as checkpoint:
        assert overview(checkpoint).kind == "state_dict"
    with open_checkpoint(save({**value, "epoch": 3}, tmp_path / "m.pth")) as checkpoint:
        assert overview(checkpoint).kind == "training checkpoint"


def test_a_flattened_optimizer_state_is_an_optimizer(tmp_path):
    states = {f"state.{name}.{key}": value for name, value in SD.items() for key in ("step", "exp_avg")}
    flat = {**states, **{f"param_groups.{name}.lr": 0.1 for name in SD}}
    found = roles(tmp_path, {"model": SD, "optimizer": flat, "opt": states, "groups": {"param_groups.w.lr": 0.1}})
    assert found == {"model": ["/model"], "optimizer": ["/optimizer", "/opt"]}
