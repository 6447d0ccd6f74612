"""Exact statistics and a histogram of one large tensor, in machine code and in numpy, against torch and numpy.

    python tests/bench/bench_stats.py [--megabytes 400] [--dtype float32] [--rounds 5] [--sides native,torch]

Each round runs every side in a fresh process, in turn. torch: aminmax, histc, var_mean, NaN, Inf and zero counts of a
mapped file. numpy: min, max, histogram, mean, std and the same counts of a mapped file (ml_dtypes' bfloat16 widened).
Printed: the median seconds from an open file to the numbers and CPU seconds of that time, how far each process's own
peak of resident memory (VmHWM) rose above where it stood before the tensor was touched, and the ratio to torch. Machine
code is loaded from its file before the clock starts, and compiled before the first round where there is none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

START = """
import json, os, sys, time
sys.path.insert(0, sys.argv[2])
def peak():
    return next(int(line.split()[1]) / 1000 for line in open("/proc/self/status") if line.startswith("VmHWM"))
def report(before, start, cpu, mean):
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                      "memory": peak() - before, "mean": mean}))
"""
OURS = (
    START
    + """
import ckpt_viewer
from ckpt_viewer.stats.preparing import the_preparation
from ckpt_viewer.stats.summary import summarize_tensor
if sys.argv[3] == "native":
    the_preparation.start()
    if not the_preparation.wait():
        sys.exit("there is no machine code here")
with ckpt_viewer.open_checkpoint(sys.argv[1]) as checkpoint:
    tensor, before = checkpoint["/x"].tensor, peak()
    start, cpu = time.perf_counter(), time.process_time()
    summary = summarize_tensor(tensor)
    report(before, start, cpu, summary.mean)
"""
)
TORCH = (
    START
    + """
import torch
x, before = torch.load(sys.argv[1], mmap=True, weights_only=True)["x"], peak()
start, cpu = time.perf_counter(), time.process_time()
low, high = torch.aminmax(x)
torch.histc(x if x.dtype != torch.bfloat16 else x.float(), 256, low.item(), high.item())
mean = torch.var_mean(x)[1].item()
for found in (torch.isnan(x), torch.isinf(x), x == 0):
    found.sum().item()
report(before, start, cpu, mean)
"""
)
NUMPY = (
    START
    + """
import numpy as np
import ckpt_viewer
with ckpt_viewer.open_checkpoint(sys.argv[1]) as checkpoint:
    x, before = checkpoint["/x"].numpy(), peak()
    start, cpu = time.perf_counter(), time.process_time()
    if x.dtype.kind == "V":
        x = x.astype(np.float32)
    low, high = x.min(), x.max()
    np.histogram(x, 256, (low, high))
    mean = float(x.mean(dtype=np.float64))
    x.std(dtype=np.float64)
    for found in (np.isnan(x), np.isinf(x), x == 0):
        np.count_nonzero(found)
    report(before, start, cpu, mean)
"""
)
SIDES = {"native": OURS, "plain": OURS, "torch": TORCH, "numpy": NUMPY}


def make(path: Path, megabytes: int, dtype: str) -> None:
    """Write a checkpoint with one tensor of normally distributed weights."""
    import torch

    kind = getattr(torch, dtype)
    count = megabytes * 1_000_000 // torch.empty(0, dtype=kind).element_size()
    x = torch.empty(count, dtype=kind)
    for start in range(0, count, 10_000_000):
        part = x[start : start + 10_000_000]
        part.copy_(torch.randn(part.numel()) * 0.02)
    torch.save({"x": x}, path)


def run(side: str, path: Path) -> dict[str, float]:
    """Run one side in a process of its own."""
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", SIDES[side], str(path), root, side]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--dtype", default="float32", help="float32, float64, bfloat16 or float16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", default="native,plain,torch,numpy")
    options = parser.parse_args()
    sides = options.sides.split(",")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pth"
        make(path, options.megabytes, options.dtype)
        for side in sides:
            run(side, path)
        rounds = [{side: run(side, path) for side in sides} for _ in range(options.rounds)]
    print(f"{options.megabytes} MB of {options.dtype}, median of {options.rounds} rounds")
    ratios = dict.fromkeys(sides, 0.0)
    for side in sides:
        seconds, cpu = (statistics.median(each[side][name] for each in rounds) for name in ("seconds", "cpu"))
        memory = max(each[side]["memory"] for each in rounds)
        line = f"{side:8} {seconds:6.2f} s {cpu:6.2f} s CPU {memory:6.0f} MB above where it stood"
        if "torch" in sides:
            ratios[side] = statistics.median(each["torch"]["seconds"] / each[side]["seconds"] for each in rounds)
            line += f"   torch takes {ratios[side]:4.1f} times as long"
        print(line)
    return 0 if ratios.get("native", 1) >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
