"""How fast `remap` and `export` write, fsync included, against cp and sync of the bytes written, and against torch.

    python tests/bench/bench_write.py [--big FILE] [--legacy FILE] [--folder DIR] [--times N] [--only TITLE]

--big     a checkpoint with a model in the zip container; --legacy the same in the legacy stream. Without them torch
          makes one of 400 MB. Every run starts without the target, with the source in the page cache and the disk at
          rest; the runs of all commands alternate in an order that is drawn, so that noise meets all of them. The ratio
          is the median of those of each round to cp and sync in the same round. What is compared with the targets is
          writing alone (``--no-verify``); the other rows add the comparison by our reader, and by torch in its own
          process (whose memory is not ours).
          A cast reads more than it writes: the row "cp and sync, uncast" copies what it reads.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import PROGRAM, Run, figures, run_once

TARGET = "writing alone at most 1.2 times cp and sync, 2 times with a cast; under 120 MB"
DISKS, QUIET = Path("/proc/diskstats"), 0.4
TORCH = """
import os, sys, torch
loaded = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
with open(sys.argv[2], "wb") as file:
    torch.save(loaded[sys.argv[3]] if len(sys.argv) > 3 else loaded, file)
    file.flush()
    os.fsync(file.fileno())
"""


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


def wait_for_the_disk() -> None:
    """Wait until it has written, and freed, what there was before: for `QUIET` seconds it does nothing (Linux)."""
    os.sync()
    last, since = "", time.monotonic()
    while DISKS.exists() and time.monotonic() - since < QUIET:
        time.sleep(QUIET / 8)
        now = DISKS.read_text()
        if now != last:
            last, since = now, time.monotonic()


def measure(commands: dict[str, list[str]], target: Path, times: int) -> dict[str, list[Run]]:
    """Run all commands in turn, `times` times after one unmeasured round."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    order = list(commands)
    for turn in range(times + 1):
        random.shuffle(order)  # whoever follows a torch of 4 GB gets memory that has to be made ready anew
        for name in order:
            target.unlink(missing_ok=True)
            wait_for_the_disk()
            run = run_once(commands[name])
            if turn:
                runs[name].append(run)
    target.unlink(missing_ok=True)
    return runs


def show(title: str, nbytes: int, runs: dict[str, list[Run]]) -> None:
    """Print one row for each command and its ratio to the first, which is the one to beat."""
    base, *_ = runs.values()
    print(f"\n{title}, {nbytes / 1e9:.2f} GB   (target: {TARGET})")
    for name, each in runs.items():
        ratio = statistics.median(one.seconds / other.seconds for one, other in zip(each, base, strict=True))
        found = figures(each)
        print(f"  {name:24} {found}   {ratio:5.2f} times, {nbytes / 1e9 / found.seconds:5.2f} GB/s", flush=True)


def compare(title: str, source: Path, command: list[str], folder: Path, times: int, *, torch: list[str]) -> None:
    """Measure one writer with and without verifying.

    Args:
        torch: what `TORCH` is told beyond source and target.
    """
    like, target, uncast = (folder / f"bench_{name}.pth" for name in ("like", "target", "uncast"))
    run_once([*command, "-o", str(like), "--force", "--no-verify"])
    try:
        commands = {
            "cp and sync": copy(like, target),
            "torch.load, torch.save": [sys.executable, "-c", TORCH, str(source), str(target), *torch],
            "--no-verify": [*command, "-o", str(target), "--no-verify"],
            "--no-torch": [*command, "-o", str(target), "--no-torch"],
            "verified by torch": [*command, "-o", str(target)],
        }
        if "--dtype" in command:
            del commands["torch.load, torch.save"]
            run_once([*command[: command.index("--dtype")], "-o", str(uncast), "--no-verify"])
            commands["cp and sync, uncast"] = copy(uncast, target)
        show(title, like.stat().st_size, measure(commands, target, times))
    finally:
        like.unlink()
        uncast.unlink(missing_ok=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--big", type=Path, metavar="FILE")
    parser.add_argument("--legacy", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder without")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--only", default="", metavar="TITLE", help="only what has this in its title")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        big, legacy = options.big, options.legacy
        if big is None or legacy is None:
            made = make_checkpoint(folder)
            big, legacy = big or made[0], legacy or made[1]
        writers = {
            "remap, zip": (big, ["remap", str(big), "--map-location", "cuda:3"], []),
            "remap, legacy stream": (legacy, ["remap", str(legacy), "--map-location", "cuda:3"], []),
            "export": (big, ["export", str(big), "--from", "/model"], ["model"]),
            "export of a legacy stream": (legacy, ["export", str(legacy), "--from", "/model"], ["model"]),
            "export, cast": (big, ["export", str(big), "--from", "/model", "--dtype", "bfloat16"], []),
        }
        for title, (source, arguments, torch) in writers.items():
            if options.only in title:
                compare(title, source, [*PROGRAM, *arguments], folder, options.times, torch=torch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
