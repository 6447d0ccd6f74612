"""Train a small conv net for a few steps and write the sample checkpoint, resources/sample/model_3.pth.

    python packaging/make_sample.py [OUT]

The file has the form that torchvision's reference training writes (model, optimizer, lr_scheduler, epoch, args) and
looks as if it came from the second GPU of another computer: its storages carry the tag ``cuda:1``. Data and weights are
seeded, so that the same torch writes the same file again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest import mock

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "resources" / "sample" / "model_3.pth"
DEVICE = "cuda:1"
CLASSES = 10
IMAGE = 16
STEPS_PER_EPOCH = 12


class Block(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Shape (N, width_in, H, W) to (N, width, H / stride, W / stride)."""
        inner = torch.relu(self.bn1(self.conv1(images)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(images))


class SmallResNet(nn.Module):
    """A ResNet of about 33,600 parameters for images of 16 x 16 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.layer1 = Block(12, 24, 2)
        self.layer2 = Block(24, 40, 2)
        self.fc = nn.Linear(40, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Shape (N, 3, 16, 16) to (N, classes)."""
        features = torch.relu(self.bn1(self.conv1(images)))
        features = self.layer2(self.layer1(features))
        return self.fc(features.mean(dim=(2, 3)))


def arguments() -> argparse.Namespace:
    """What the training was asked for, by torchvision's names."""
    return argparse.Namespace(
        data_path="synthetic",
        model="small_resnet",
        device="cuda",
        gpu=1,
        batch_size=64,
        epochs=8,
        workers=0,
        opt="sgd",
        lr=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        norm_weight_decay=None,
        label_smoothing=0.0,
        lr_scheduler="steplr",
        lr_step_size=2,
        lr_gamma=0.1,
        print_freq=10,
        output_dir="runs/sample",
        resume="",
        start_epoch=0,
        amp=False,
        world_size=1,
        distributed=False,
        clip_grad_norm=None,
        seed=3,
    )


def batch(size: int, prototypes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy copies of the class prototypes, shape (size, 3, 16, 16), and their classes."""
    labels = torch.randint(CLASSES, (size,))
    return prototypes[labels] + 3.0 * torch.randn(size, 3, IMAGE, IMAGE), labels


def train(args: argparse.Namespace) -> dict[str, object]:
    """Train until epoch 3 is done and return the checkpoint."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = SmallResNet()
    prototypes = torch.randn(CLASSES, 3, IMAGE, IMAGE)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=args.lr_step_size, gamma=args.lr_gamma)
    epoch, loss = 0, torch.tensor(0.0)
    for epoch in range(4):
        for _ in range(STEPS_PER_EPOCH):
            images, labels = batch(args.batch_size, prototypes)
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}")
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "epoch": epoch,
        "args": vars(args),
    }


def main() -> None:
    """Train, save with the tag of a GPU, and read the file back the way a user without one would."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    checkpoint = train(arguments())
    out.parent.mkdir(parents=True, exist_ok=True)
    with mock.patch("torch.serialization.location_tag", return_value=DEVICE):
        torch.save(checkpoint, out)
    again = torch.load(out, weights_only=True, map_location="cpu")
    print(f"{out}: {out.stat().st_size} bytes, epoch {again['epoch']}, {len(again['model'])} tensors in the model")


if __name__ == "__main__":
    main()
