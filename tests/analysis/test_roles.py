"""Which entry is what, and the first answers about a file."""

from __future__ import annotations

import pytest
import torch
from builders import integer, listed, mapped, name, pickled, save, tensor, text
from opening import open_bytes
from torch import nn
from torch.optim import lr_scheduler

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.formats import open_checkpoint


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def trained(model: nn.Module, make=torch.optim.AdamW) -> torch.optim.Optimizer:
    optimizer = make(model.parameters(), lr=0.01)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def resume(**more) -> dict:
    model = net()
    optimizer = trained(model)
    scheduler = lr_scheduler.StepLR(optimizer, 30)
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(),
            "epoch": 3, **more}  # fmt: skip


def look(tmp_path, value, **options):
    with open_checkpoint(save(value, tmp_path / "m.pth", **options)) as checkpoint:
        return overview(checkpoint)


def test_a_resume_checkpoint(tmp_path):
    view = look(tmp_path, resume(args={"lr": 0.1}), tag="cuda:1")
    assert view.kind == "training checkpoint"
    assert view.roles == {"model": [("model",)], "optimizer": [("optimizer",)], "lr_scheduler": [("lr_scheduler",)],
                          "progress": [("epoch",)], "config": [("args",)]}  # fmt: skip
    assert [(item.name, item.value, item.pointer) for item in view.progress] == [("epoch", 3, "/epoch")]
    model = net().state_dict()
    assert view.parameters == sum(tensor.numel() for tensor in model.values())
    assert view.role_details["/optimizer"].detail == "AdamW, lr 0.01"
    assert view.role_details["/lr_scheduler"].detail == "StepLR, epoch 0"
    assert view.locations[0][0] == "cuda:1"
    assert len(view.locations) == 1
    assert view.tensors == len(model) + 3 * 6
    assert view.storage_bytes == view.tensor_bytes


def test_the_name_matters_less_than_the_structure(tmp_path):
    made = resume()
    renamed = {"stuff": made["model"], "things": made["optimizer"], "more": made["lr_scheduler"], "iteration": 9}
    view = look(tmp_path, renamed)
    assert {role: paths[0] for role, paths in view.roles.items()} == {
        "model": ("stuff",), "optimizer": ("things",), "lr_scheduler": ("more",), "progress": ("iteration",)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kind", "roles"),
    [
        (lambda: net().state_dict(), "state_dict", {"model": [()]}),
        (net, "whole model", {"model": [()]}),
        (
            lambda: {"model": net(), "epoch": 1},
            "training checkpoint",
            {"model": [("model",)], "progress": [("epoch",)]},
        ),
        (lambda: trained(net()).state_dict(), "optimizer state", {"optimizer": [()]}),
        (lambda: {"optimizer": trained(net()).state_dict()}, "optimizer state", {"optimizer": [("optimizer",)]}),
        (lambda: torch.zeros(3), "tensor", {}),
        (lambda: [torch.zeros(3), torch.ones(2)], "other", {}),
        (lambda: {"note": "text"}, "other", {}),
        (lambda: 5, "other", {}),
        (dict, "other", {}),
        (lambda: trained(net()), "optimizer state", {"optimizer": [()]}),
        (lambda: {"state_dict": net().state_dict()}, "training checkpoint", {"model": [("state_dict",)]}),
    ],
)
def test_kinds_of_files(tmp_path, value, kind, roles):
    view = look(tmp_path, value())
    assert view.kind == kind
    assert view.roles == roles


def test_several_models_and_optimizers(tmp_path):
    generator, critic = net(), nn.Linear(3, 3)
    view = look(tmp_path, {
        "netG": generator.state_dict(), "netD": critic.state_dict(), "optimizer_G": trained(generator).state_dict(),
        "optimizer_D": trained(critic, torch.optim.SGD).state_dict(), "iter": 70,
    })  # fmt: skip
    assert view.roles["model"] == [("netG",), ("netD",)]
    assert view.roles["optimizer"] == [("optimizer_G",), ("optimizer_D",)]
    assert view.parameters == sum(tensor.numel() for tensor in generator.state_dict().values())


def test_optimizers_and_schedulers_in_lists(tmp_path):
    """As Lightning writes them."""
    model = net()
    optimizer = trained(model)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    view = look(tmp_path, {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()] * 2,
                           "lr_schedulers": [scheduler.state_dict()], "global_step": 12})  # fmt: skip
    assert view.roles["optimizer"] == [("optimizer_states", 0)]
    assert view.roles["lr_scheduler"] == [("lr_schedulers", 0)]
    assert view.progress[0].value == 12


def test_averaged_copies_come_second_and_count_no_parameters(tmp_path):
    model, average = net(), torch.optim.swa_utils.AveragedModel(nn.Linear(50, 50))
    view = look(tmp_path, {"model_ema": average.state_dict(), "model": model.state_dict(), "epoch": 1})
    assert view.roles["ema"] == [("model_ema",)]
    assert view.roles["model"] == [("model",)]
    assert view.parameters == sum(tensor.numel() for tensor in model.state_dict().values())


def test_tied_weights_are_counted_once(tmp_path):
    embedding, head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
    head.weight = embedding.weight
    model = nn.ModuleDict({"emb": embedding, "head": head})
    view = look(tmp_path, {"model": model.state_dict(), "epoch": 0})
    assert view.parameters == 40
    assert view.tensors == 2
    assert view.tensor_bytes == 2 * view.storage_bytes == 320


def test_a_grad_scaler(tmp_path):
    scaler = torch.amp.GradScaler("cpu").state_dict()
    view = look(tmp_path, {**resume(), "scaler": scaler})
    assert view.roles["scaler"] == [("scaler",)]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), "SGD, momentum 0.9, lr 0.1"),
        (lambda p: torch.optim.SGD(p, 0.1), "SGD, lr 0.1"), (lambda p: torch.optim.Adam(p), "Adam, lr 0.001"),
        (lambda p: torch.optim.AdamW(p), "AdamW, lr 0.001"), (torch.optim.NAdam, "NAdam, lr 0.002"),
        (torch.optim.Adamax, "Adamax, lr 0.002"), (torch.optim.Adagrad, "Adagrad, lr 0.01"),
        (torch.optim.Adadelta, "Adadelta, lr 1"), (torch.optim.RMSprop, "RMSprop, lr 0.01"),
        (torch.optim.ASGD, "ASGD, lr 0.01"), (torch.optim.Rprop, "Rprop, lr 0.01"),
        (torch.optim.LBFGS, "LBFGS, lr 1"), (torch.optim.Adafactor, "Adafactor, lr 0.01"),
        (lambda p: torch.optim.Adam(p, lr=torch.tensor(0.5)), "Adam"),
    ],
)  # fmt: skip
def test_the_class_of_an_optimizer_is_told_from_its_groups(tmp_path, make, expected):
    model = nn.Linear(2, 2)
    optimizer = make(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    if not isinstance(optimizer, torch.optim.LBFGS):
        optimizer.step()
    view = look(tmp_path, {"optimizer": optimizer.state_dict()})
    assert view.role_details["/optimizer"].detail == expected


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o: lr_scheduler.StepLR(o, 3), "StepLR, epoch 0"),
        (lambda o: lr_scheduler.MultiStepLR(o, [3]), "MultiStepLR, epoch 0"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 3), "CosineAnnealingLR, epoch 0"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3), "CosineAnnealingWarmRestarts, epoch 0"),
        (lambda o: lr_scheduler.ExponentialLR(o, 0.9), "ExponentialLR, epoch 0"),
        (lambda o: lr_scheduler.LinearLR(o), "LinearLR, epoch 0"),
        (lambda o: lr_scheduler.ConstantLR(o), "ConstantLR, epoch 0"),
        (lambda o: lr_scheduler.PolynomialLR(o), "PolynomialLR, epoch 0"),
        (lambda o: lr_scheduler.LambdaLR(o, lambda e: 1), "LambdaLR or MultiplicativeLR, epoch 0"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o), "ReduceLROnPlateau, epoch 0"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, cycle_momentum=False), "OneCycleLR, epoch 0"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, cycle_momentum=False), "CyclicLR, epoch 0"),
        (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(o)]), "ChainedScheduler"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ConstantLR(o), lr_scheduler.LinearLR(o)], [2]),
         "SequentialLR, epoch 0"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
def test_the_class_of_a_scheduler_is_told_from_its_fields(tmp_path, make, expected):
    state = make(trained(nn.Linear(2, 2))).state_dict()
    view = look(tmp_path, {"lr_scheduler": state})
    assert view.role_details["/lr_scheduler"].detail == expected


def view_of(body: bytes):
    return overview(open_bytes(pickled(body)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (mapped((text("epoch"), integer(5))), [("epoch", 5)]),
        (mapped((text("epoch"), b"G?\xf8\0\0\0\0\0\0")), [("epoch", 1.5)]),
        (mapped((text("epoch"), text("5"))), []),
        (mapped((text("epoch"), b"\x88")), []),
        (mapped((text("epoch"), integer(1 << 100_000))), []),
        (mapped((text("epochs"), integer(5))), []),
        (mapped((text("meta"), mapped((text("epoch"), integer(7))))), []),
        (integer(3), []),
    ],
)
def test_progress_is_a_number_under_a_usual_name(body, expected):
    found = [(item.name, item.value) for item in view_of(body).progress]
    assert found == expected or (b"meta" in body and found == [("epoch", 7)])


def test_pointers_of_progress_lead_to_it():
    checkpoint = open_bytes(pickled(listed(*(mapped((text("epoch"), integer(n))) for n in range(5)))))
    view = overview(checkpoint)
    assert [checkpoint[item.pointer].value for item in view.progress] == [0, 1, 2, 3, 4]


def test_numbers_that_no_one_can_print_are_left_out():
    group = mapped((text("lr"), integer(1 << 90_000)), (text("momentum"), integer(1 << 90_000)),
                   (text("nesterov"), b"N"), (text("dampening"), b"N"), (text("params"), b"]"))  # fmt: skip
    view = view_of(mapped((text("state"), b"}"), (text("param_groups"), listed(group))))
    assert view.role_details[""].detail == "SGD"
    view = view_of(mapped((text("last_epoch"), integer(1 << 90_000)), (text("step_size"), b"K\1")))
    assert view.role_details[""].detail == "StepLR"


def test_whole_objects_of_unknown_classes():
    state = mapped((text("param_groups"), b"]"), (text("state"), b"}"))
    config = name("argparse", "Namespace") + b")\x81" + mapped((text("lr"), b"K\1")) + b"b"
    body = mapped((text("opt"), name("my", "Lion") + b")\x81" + state + b"b"), (text("cfg"), config))
    view = view_of(body)
    assert (view.role_details["/opt"].name, view.role_details["/opt"].detail) == ("optimizer", "Lion")
    assert view.role_details["/cfg"].name == "config"


def test_bytes_and_devices_are_counted_by_storage():
    shared = tensor((4,), key="0", location="cuda:0")
    body = mapped((text("a"), shared), (text("b"), shared), (text("c"), tensor((8,), key="1", location="cpu")))
    view = view_of(body)
    assert (view.tensors, view.tensor_bytes, view.storages, view.storage_bytes) == (3, 64, 2, 48)
    assert view.locations == (("cpu", 32), ("cuda:0", 16))
    assert view.parameters is None
