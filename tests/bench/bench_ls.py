"""How fast `ckpt-viewer ls` lists, against torch.load of the same file.

    python tests/bench/bench_ls.py [--big FILE] [--legacy FILE] [--many FILE] [--times N] [--no-plain]

--big     a resume checkpoint in the zip container; --legacy the same in the legacy stream; --many 100,000 tensors.
Files that are not given are made by torch in a temporary folder: a 24-layer transformer with AdamW at a tenth of the
width (40 MB), and 100,000 tensors of 16 x 16. That small checkpoint is always measured, to show that the time does
not depend on the size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import PROGRAM, Figures, compare, python

MAPPED = "import sys, torch; torch.load(sys.argv[1], mmap=True, weights_only=True)"
PLAIN = "import sys, torch; torch.load(sys.argv[1], weights_only=True)"


def make_resume(folder: Path, width: int = 96) -> tuple[Path, Path]:
    """Write a resume checkpoint of a 24-layer transformer in both containers; return zip and legacy."""
    import torch

    blocks = [torch.nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True) for _ in range(24)]
    model = torch.nn.ModuleDict({"emb": torch.nn.Embedding(2000, width), "blocks": torch.nn.ModuleList(blocks),
                                 "head": torch.nn.Linear(width, 2000, bias=False)})  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    states = {"model": model, "optimizer": optimizer, "lr_scheduler": scheduler}
    checkpoint = {**{name: each.state_dict() for name, each in states.items()}, "epoch": 3}
    zipped, legacy = folder / "small.pth", folder / "small_legacy.pth"
    torch.save(checkpoint, zipped)
    torch.save(checkpoint, legacy, _use_new_zipfile_serialization=False)
    return zipped, legacy


def make_many(folder: Path, count: int = 100_000) -> Path:
    """Write a state_dict of many small tensors."""
    import torch

    names = (f"layer.{number // 10}.sub.{number % 10}.weight" for number in range(count))
    target = folder / "many.pth"
    torch.save({"model": {name: torch.zeros(16, 16) for name in names}, "epoch": 1}, target)
    return target


def show(title: str, figures: dict[str, Figures], target: str) -> None:
    """Print one table row for each command, and the ratio of the others to the first."""
    ours, *others = figures
    print(f"\n{title}   (target: {target})")
    for name, each in figures.items():
        print(f"  {name:34} {each}")
    for name in others:
        print(f"  {name} takes {figures[name].seconds / figures[ours].seconds:.1f} times as long as {ours}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for word in ("big", "legacy", "many"):
        parser.add_argument(f"--{word}", type=Path, metavar="FILE")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--no-plain", action="store_true", help="leave out torch.load of the legacy stream (4 GB)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, small_legacy = make_resume(Path(folder))
        big, legacy = options.big or small, options.legacy or small_legacy
        many = options.many or make_many(Path(folder))
        commands = {
            "ls --json": [*PROGRAM, "ls", "--json", str(big)],
            "torch.load(mmap=True)": python(MAPPED, str(big)),
        }
        commands["ls --json of the small one"] = [*PROGRAM, "ls", "--json", str(small)]
        show(f"{big.name}, {big.stat().st_size / 1e6:.0f} MB, zip", compare(commands, options.times),
             "10 times faster, under 40 MB, same time at 40 MB and 4 GB")  # fmt: skip
        commands = {"ls --json": [*PROGRAM, "ls", "--json", str(legacy)]}
        if not options.no_plain:
            commands["torch.load"] = python(PLAIN, str(legacy))
        show(f"{legacy.name}, {legacy.stat().st_size / 1e6:.0f} MB, legacy", compare(commands, min(3, options.times)),
             "10 times faster, under 40 MB")  # fmt: skip
        commands = {"ls": [*PROGRAM, "ls", str(many)], "ls --json": [*PROGRAM, "ls", "--json", str(many)],
                    "torch.load(mmap=True)": python(MAPPED, str(many))}  # fmt: skip
        show(f"{many.name}, 100,000 tensors", compare(commands, min(3, options.times)), "6 times faster, under 250 MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
