"""The numbers of every tensor of a checkpoint, against reading the file and throwing it away.

    python tests/bench/bench_scan.py [--megabytes 1000] [--file FILE] [--rounds 5]

Compared in one run: `ckpt-viewer stats FILE` where nothing is known of the file (the whole process with its table), the
same again (results from the cache folder), and `cat FILE`, all with the file in the page cache. Without FILE, a resume
checkpoint of some layers with Adam's moments is made. Wanted: at least a quarter of cat's rate, less than 250 MB.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from common import PROGRAM, compare

QUARTER, MEMORY = 0.25, 250.0


def make(path: Path, megabytes: int) -> None:
    """Write a state_dict of square layers, and two moments for each."""
    import torch

    layers = max(1, megabytes // (3 * 17))
    weights = {f"layers.{n}.weight": torch.randn(2048, 2048) * 0.02 for n in range(layers)}
    weights |= {f"layers.{n}.bias": torch.zeros(2048) for n in range(layers)}
    state = {n: {"exp_avg": w * 1e-3, "exp_avg_sq": w * w} for n, w in enumerate(weights.values())}
    torch.save({"model": weights, "optimizer": {"state": state}, "epoch": 3}, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "x.pth"
        if options.file is None:
            make(path, options.megabytes)
        stats = [*PROGRAM, "stats", str(path)]
        forget = ["sh", "-c", 'rm -rf "$XDG_CACHE_HOME/ckpt-viewer/scans"; exec "$@"', "sh"]
        commands = {"scan": [*forget, *stats], "again": stats, "cat": ["cat", str(path)]}
        found = compare(commands, options.rounds, {**os.environ, "XDG_CACHE_HOME": folder})
        size = path.stat().st_size
    for name, figures in found.items():
        print(f"{name:6} {figures}, {size / figures.seconds / 1e9:6.2f} GB/s")
    share = found["cat"].seconds / found["scan"].seconds
    print(f"{size / 1e6:.0f} MB: the scan has {share:.2f} of cat's rate and takes {found['scan'].peak:.0f} MB")
    return 0 if share >= QUARTER and found["scan"].peak < MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
