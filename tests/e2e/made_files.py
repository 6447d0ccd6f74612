"""Checkpoints for the window, written by torch: a model that trained for a step on a GPU that is not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builders import call, integer, mapped, name, pickled, save, text, zip_checkpoint


def make_model() -> Any:
    """A small conv net with BatchNorm, the same weights each time."""
    import torch

    torch.manual_seed(5)
    layers = {
        "conv": torch.nn.Conv2d(3, 6, 3), "bn": torch.nn.BatchNorm2d(6), "act": torch.nn.ReLU(),
        "flat": torch.nn.Flatten(), "fc": torch.nn.Linear(6 * 36, 5),
    }  # fmt: skip
    model = torch.nn.Sequential()
    for key, layer in layers.items():
        model.add_module(key, layer)
    return model


def make_checkpoint(epoch: int = 7) -> dict[str, Any]:
    """A resume checkpoint after one step of SGD; other epochs have other weights."""
    import torch

    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    loss = model(torch.randn(4, 3, 8, 8)).square().mean() * epoch
    loss.backward()
    optimizer.step()
    scheduler.step()
    states = {"model": model, "optimizer": optimizer, "lr_scheduler": scheduler}
    return {**{key: each.state_dict() for key, each in states.items()}, "epoch": epoch}


def write_checkpoint(path: Path, epoch: int = 7, tag: str = "cuda:1") -> Path:
    """Write `make_checkpoint` as if its tensors had been on a device."""
    return save(make_checkpoint(epoch), path, tag=tag)


def write_hostile(path: Path, canary: Path) -> Path:
    """Write a file whose reading, if it ran anything, would make the canary."""
    attack = call(name("os", "system"), text(f"touch '{canary}'"))
    other = call(name("builtins", "exec"), text(f"open({str(canary)!r}, 'w')"))
    pickle = pickled(mapped((text("model"), attack), (text("extra"), other), (text("epoch"), integer(3))))
    path.write_bytes(zip_checkpoint(pickle))
    return path


def same(one: Any, other: Any) -> bool:
    """Whether two loaded checkpoints are equal: types, keys and their order, every bit of every tensor."""
    import torch

    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        form = [(each.dtype, each.shape, each.stride(), each.requires_grad, each.device) for each in (one, other)]
        return form[0] == form[1] and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
