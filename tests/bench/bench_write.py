"""How fast `remap` and `export` write, fsync included, against cp and sync of the bytes written.

    python tests/bench/bench_write.py [--big FILE] [--legacy FILE] [--folder DIR] [--times N]

--big     a checkpoint with a model in the zip container; --legacy the same in the legacy stream. Without them torch
          makes one of 400 MB. Every run starts without the target and with the source in the page cache; the runs of
          all commands alternate, so that noise of the disk meets all of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import PROGRAM, Figures, Run, figures, run_once

TARGET = "at most 2 times cp and sync, under 150 MB"


def make_checkpoint(folder: Path) -> tuple[Path, Path]:
    """Write a checkpoint with a model of 100 MB and an optimizer of 200 MB; return zip and legacy stream."""
    import torch

    model = torch.nn.Sequential(*[torch.nn.Linear(1000, 1000) for _ in range(33)])
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    zipped, legacy = folder / "made.pth", folder / "made_legacy.pth"
    torch.save(checkpoint, zipped)
    torch.save(checkpoint, legacy, _use_new_zipfile_serialization=False)
    return zipped, legacy


def copy(source: Path, target: Path) -> list[str]:
    """The command to beat."""
    return ["sh", "-c", 'cp --reflink=never "$1" "$2" && sync "$2"', "copy", str(source), str(target)]


def measure(commands: dict[str, list[str]], target: Path, times: int) -> dict[str, Figures]:
    """Run all commands in turn, `times` times after one unmeasured round."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(times + 1):
        for name, command in commands.items():
            target.unlink(missing_ok=True)
            run = run_once(command)
            if turn:
                runs[name].append(run)
    target.unlink(missing_ok=True)
    return {name: figures(each) for name, each in runs.items()}


def show(title: str, nbytes: int, found: dict[str, Figures]) -> None:
    """Print one row for each command and its ratio to the first, which is the one to beat."""
    (_, base), *_ = found.items()
    print(f"\n{title}, {nbytes / 1e9:.2f} GB   (target: {TARGET})")
    for name, each in found.items():
        print(f"  {name:24} {each}   {each.seconds / base.seconds:5.2f} times, {nbytes / 1e9 / each.seconds:5.2f} GB/s")


def compare(title: str, command: list[str], folder: Path, times: int) -> None:
    """Measure one writer with and without verifying."""
    like, target = folder / "bench_like.pth", folder / "bench_target.pth"
    run_once([*command, "-o", str(like), "--force"])
    try:
        commands = {
            "cp and sync": copy(like, target),
            "verified": [*command, "-o", str(target)],
            "--no-verify": [*command, "-o", str(target), "--no-verify"],
        }
        show(title, like.stat().st_size, measure(commands, target, times))
    finally:
        like.unlink()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--big", type=Path, metavar="FILE")
    parser.add_argument("--legacy", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder without")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        big, legacy = options.big, options.legacy
        if big is None or legacy is None:
            made = make_checkpoint(folder)
            big, legacy = big or made[0], legacy or made[1]
        remap = ["--map-location", "cuda:3"]
        compare("remap, zip", [*PROGRAM, "remap", str(big), *remap], folder, options.times)
        compare("remap, legacy stream", [*PROGRAM, "remap", str(legacy), *remap], folder, options.times)
        compare("export", [*PROGRAM, "export", str(big)], folder, options.times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
