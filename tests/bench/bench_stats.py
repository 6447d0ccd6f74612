"""Exact statistics and a histogram of one large tensor, against torch in the same run.

    python tests/bench/bench_stats.py [--megabytes 400] [--dtype float32] [--rounds 5]

Each round runs both in a fresh process, in turn. Printed: the median seconds from an open file to the numbers, how far
each process's own peak of resident memory (VmHWM) rose above where it stood before the tensor was touched, the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
import ckpt_viewer
from ckpt_viewer.stats.summary import summarize_tensor
def peak():
    return next(int(line.split()[1]) / 1000 for line in open("/proc/self/status") if line.startswith("VmHWM"))
with ckpt_viewer.open_checkpoint(sys.argv[1]) as checkpoint:
    tensor, before, start = checkpoint["/x"].tensor, peak(), time.perf_counter()
    summary = summarize_tensor(tensor)
    seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "memory": peak() - before, "mean": summary.mean}))
"""

TORCH = """
import json, sys, time
import torch
def peak():
    return next(int(line.split()[1]) / 1000 for line in open("/proc/self/status") if line.startswith("VmHWM"))
x, before, start = torch.load(sys.argv[1], mmap=True, weights_only=True)["x"], peak(), time.perf_counter()
low, high = torch.aminmax(x)
torch.histc(x, 256, low.item(), high.item())
mean = torch.var_mean(x)[1].item()
for found in (torch.isnan(x), torch.isinf(x), x == 0):
    found.sum().item()
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "memory": peak() - before, "mean": mean}))
"""


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


def run(code: str, path: Path) -> dict[str, float]:
    """Run one side in a process of its own."""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", code, str(path), root], capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--dtype", default="float32", help="float32, float64, bfloat16 or float16")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pth"
        make(path, options.megabytes, options.dtype)
        rounds = [(run(OURS, path), run(TORCH, path)) for _ in range(options.rounds)]
    print(f"{options.megabytes} MB of {options.dtype}, median of {options.rounds} rounds")
    for name, results in zip(("ckpt_viewer", "torch"), zip(*rounds, strict=True), strict=True):
        seconds = statistics.median(each["seconds"] for each in results)
        cpu = statistics.median(each["cpu"] for each in results)
        memory = max(each["memory"] for each in results)
        print(f"{name:12} {seconds:6.2f} s   whole process {cpu:6.2f} s CPU   {memory:6.0f} MB above where it stood")
    ratio = statistics.median(theirs["seconds"] / ours["seconds"] for ours, theirs in rounds)
    print(f"torch takes {ratio:.1f} times as long")
    return 0 if ratio >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
