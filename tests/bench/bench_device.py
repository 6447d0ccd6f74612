"""Exact statistics of a 400 MB tensor on each of torch's devices, beside this computer's cores and torch's operators.

    python tests/bench/bench_device.py [--numel N] [--times N]

The file is in the page cache; every way reads it anew. Medians of the runs, first runs left out; the numbers of all
ways are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def seconds_of(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Return the median time of a call after a first one, and its last result."""
    found, result = [], work()
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        found.append(time.perf_counter() - start)
    return statistics.median(found), result


def by_torch(path: Path, device: str) -> None:
    """The same question asked of torch's operators, none of which is exact."""
    import torch

    values = torch.load(path, mmap=True, weights_only=True).to(device)
    low, high = torch.aminmax(values)
    torch.histc(values, 256, low.item(), high.item()).sum().item()
    torch.var_mean(values)[0].item()
    for each in (values.isnan(), values.isinf(), values == 0):
        torch.count_nonzero(each).item()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numel", type=int, default=100_000_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    import torch

    from ckpt_viewer import open_checkpoint
    from ckpt_viewer.stats.preparing import the_preparation
    from ckpt_viewer.stats.remote import WorkerKernels
    from ckpt_viewer.stats.summary import summarize_tensor
    from ckpt_viewer.torch_bridge import devices
    from ckpt_viewer.torch_bridge.counting import TorchKernels
    from ckpt_viewer.worker import Worker

    the_preparation.start()
    the_preparation.wait()
    tags = [device.tag for device in devices()]
    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        path = Path(folder) / "tensor.pth"
        torch.save(torch.randn(options.numel), path)
        print(f"{options.numel:,} float32, {path.stat().st_size / 1e6:.0f} MB")
        with open_checkpoint(path) as checkpoint:
            tensor = checkpoint.root.tensor
            here, expected = seconds_of(lambda: summarize_tensor(tensor), options.times)
            print(f"  {'this computer, all cores':<44}{1000 * here:8.0f} ms")
            for tag in tags:
                for words, using in (("in this process", TorchKernels(tag)), ("worker", WorkerKernels(worker, tag))):
                    took, found = seconds_of(lambda using=using: summarize_tensor(tensor, using=using), options.times)
                    same = "the same numbers" if found == expected else "OTHER NUMBERS"
                    print(f"  {f'{tag}, {words}':<44}{1000 * took:8.0f} ms   {same}")
                took, _ = seconds_of(lambda tag=tag: by_torch(path, tag), options.times)
                print(f"  {f'{tag}, torch operators':<44}{1000 * took:8.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
