"""The kernels of the statistics on a GPU, by way of the worker process, which has torch.

Blocks and counters pass through a file that both processes map; the rest of an answer is JSON.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from ckpt_viewer.core.strided import Array
from ckpt_viewer.errors import CheckpointError, DeviceFailed
from ckpt_viewer.sources.shared import SharedMemory
from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.census import Census
from ckpt_viewer.stats.moments import Moments
from ckpt_viewer.worker import Worker

BLOCK_BYTES = 4 * kernels.DEVICE_BLOCK
COUNTER_BYTES = 8 << 20
"""Enough for a million bins."""


class SharedBlock:
    """Memory of this process and the worker: a block of values, then counters.

    Args:
        path: of the file, if the other process made it.

    Raises:
        CheckpointError: there is no room for it.
    """

    def __init__(self, path: str = "") -> None:
        self._shared = SharedMemory(BLOCK_BYTES + COUNTER_BYTES, path)
        self._memory = np.frombuffer(self._shared.view, np.uint8)
        self.path = self._shared.path

    def block(self, dtype: str, size: int) -> Array:
        """Return the place for `size` values."""
        return self._memory[: size * np.dtype(dtype).itemsize].view(dtype)

    def counters(self, dtype: str, size: int) -> Array:
        """Return the place for `size` counters."""
        start = BLOCK_BYTES
        return self._memory[start : start + size * np.dtype(dtype).itemsize].view(dtype)


class _Own(threading.local):
    """What each thread has of its own."""

    shared: SharedBlock | None = None


class WorkerKernels:
    """Kernels on a device of torch's; see `stats.kernels.Kernels`. For any number of threads.

    Every method raises DeviceFailed where the worker or the device does not count.

    Args:
        worker: the process. device: a tag, ``"cuda:0"``.
    """

    block, wide_block = kernels.DEVICE_BLOCK, kernels.DEVICE_WIDE_BLOCK

    def __init__(self, worker: Worker, device: str) -> None:
        self._worker, self._device = worker, device
        self._own = _Own()

    def _count(self, name: str, block: Array, counters: Array, bins: kernels.Bins | None = None) -> Any:
        """Let the worker count, and add to the counters; return what else it answers."""
        try:
            shared = self._own.shared = self._own.shared or SharedBlock()
            shared.block(block.dtype.str, block.size)[:] = block
            there = shared.counters(counters.dtype.str, counters.size)
            there.fill(0)
            answer = self._worker.request(
                "count",
                {
                    "file": shared.path, "device": self._device, "name": name, "dtype": block.dtype.str,
                    "size": block.size, "counters": counters.dtype.str, "shape": counters.shape,
                    "bins": bins and bins._replace(starts=bins.starts.tolist())._asdict(),
                },
            )  # fmt: skip
        except CheckpointError as error:
            raise DeviceFailed(f"{self._device} cannot count the values ({error})") from error
        counters += there.reshape(counters.shape)
        return answer

    def patterns(self, block: Array, counts: Array) -> None:
        """See `Kernels`."""
        self._count("patterns", block, counts)

    def float32(self, block: Array, pairs: Array) -> Census:
        """See `Kernels`."""
        return Census(*self._count("float32", block, pairs)["census"])

    def float64(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        answer = self._count("float64", block, counts)
        return Census(*answer["census"]), Moments(*answer["moments"])

    def integers(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        answer = self._count("integers", block, counts)
        return Census(*answer["census"]), Moments(*answer["moments"])

    def bins(self, block: Array, bins: kernels.Bins, counts: Array) -> None:
        """See `Kernels`."""
        self._count("bins", block, counts, bins)

    def census(self, block: Array) -> Census:
        """See `Kernels`; of a few values, so nothing is sent."""
        return kernels.current().census(block)

    def moments(self, block: Array) -> Moments:
        """See `Kernels`; of a few values, so nothing is sent."""
        return kernels.current().moments(block)


def serve(
    using: kernels.Kernels, file: str, name: str, dtype: str, size: int, counters: str, shape: list[int], bins: Any
) -> dict[str, Any]:
    """Count a block in the worker process: what `WorkerKernels` asks for; raises CheckpointError."""
    shared = SharedBlock(file)
    block, counts = shared.block(dtype, size), shared.counters(counters, math.prod(shape)).reshape(shape)
    if name in ("patterns", "float32"):
        census = getattr(using, name)(block, counts)
        return {"census": census}
    if name in ("float64", "integers"):
        census, moments = getattr(using, name)(block, counts)
        return {"census": census, "moments": moments}
    using.bins(block, kernels.Bins(**{**bins, "starts": np.array(bins["starts"], dtype)}), counts)
    return {}
