"""The kernels of the statistics as torch operators, for tensors that map_location puts on a GPU.

The numbers are those of `stats.kernels.Plain`, bit for bit: everything is counted in integers. Values are sorted first:
the cells of sorted values are ranges, and sums over ranges are differences of running sums, which is several times
faster on a GPU than thousands of threads that add to the same few counters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch

from ckpt_viewer.core.strided import Array
from ckpt_viewer.errors import DeviceFailed
from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.census import Census
from ckpt_viewer.stats.moments import LIMB, ROWS, Moments, limb_pairs, moments_of_integer_limbs, moments_of_limbs
from ckpt_viewer.torch_bridge import load_error

P = ParamSpec("P")
R = TypeVar("R")
_HALF = kernels.FLOAT32_CELLS // 2
_LOW = 0xFFFF
_SIGNIFICAND, _FRACTION_32 = (1 << 52) - 1, (1 << 23) - 1


def _on_device(method: Callable[P, R]) -> Callable[P, R]:
    """Have a method raise DeviceFailed for what torch raises: out of memory, an operator that the device lacks."""

    @wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (RuntimeError, TypeError) as error:
            raise DeviceFailed(f"torch cannot count the values there: {' '.join(str(error).split())}") from error

    return wrapped


class TorchKernels:
    """Kernels on one of torch's devices; see `stats.kernels.Kernels`. For any number of threads.

    Every method raises DeviceFailed where the device does not count.

    Args:
        device: a tag, ``"cuda:0"``.
    """

    block, wide_block = kernels.DEVICE_BLOCK, kernels.DEVICE_WIDE_BLOCK

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def _there(self, block: Array) -> torch.Tensor:
        """Return a copy of a block on the device; unsigned integers as the signed ones of the same bits."""
        plain = block.view(f"i{block.itemsize}") if block.dtype.kind == "u" and block.itemsize > 1 else block
        if not plain.flags.writeable:
            plain = plain.copy()  # torch warns of memory that it could write to
        return torch.from_numpy(plain).to(self._device)

    @_on_device
    def patterns(self, block: Array, counts: Array) -> None:
        """See `Kernels`."""
        if block.size:
            found = torch.bincount(self._there(block).long() & (counts.size - 1), minlength=counts.size)
            counts += found.cpu().numpy()

    @_on_device
    def float32(self, block: Array, counters: Array) -> Census:
        """See `Kernels`."""
        if not block.size:
            return Census()
        values = self._there(block)
        bits = torch.sort(values.view(torch.int32)).values
        exponents = _Ranges.of(bits >> 23, -kernels.FLOAT32_ROWS, kernels.FLOAT32_ROWS)  # with the sign
        rows = (bits >> 23 & 0xFF).clamp(max=1).long()  # 0 for zeros and subnormal numbers
        squares = (bits & _FRACTION_32 | rows << 23).long() ** 2
        sums = torch.stack([exponents.sums(squares & 0xFFFFFFFF), exponents.sums(squares >> 32)], dim=1)
        sums = sums.view(2, -1, 2).sum(0)
        sums[1] += sums[0]
        sums[0] = 0
        cells = _Ranges.of(bits >> 16, -_HALF, _HALF).sums((bits.long() & 0xFFFFFFFF) + kernels.COUNT)
        found = torch.cat([torch.roll(cells, _HALF, 0), sums.view(-1)])  # cells are numbered without a sign
        counters += found.cpu().numpy().view(np.uint64)
        return _census(values)

    @_on_device
    def float64(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        if not block.size:
            return Census(), Moments()
        values = self._there(block)
        census = _census(values)
        if census.finite < block.size:
            values = values[torch.isfinite(values)]
        bits = self._cells(values, counts)
        rows = _Ranges.of(bits >> 52, -ROWS // 2, ROWS // 2)
        implicit = ((bits >> 52) & 0x7FF).clamp(max=1) << 52  # 0 for zeros and subnormal numbers
        significand = (bits & _SIGNIFICAND) | implicit
        limbs = [(significand >> (LIMB * k)) & ((1 << LIMB) - 1) for k in range(3)]
        columns = [rows.sums(each) for each in (*limbs, *(limbs[i] * limbs[j] for i, j in limb_pairs(3)))]
        sums = torch.roll(torch.stack(columns, dim=1), ROWS // 2, 0)
        return census, moments_of_limbs(census.finite, sums.cpu().numpy())

    def _cells(self, values: torch.Tensor, counts: Array) -> torch.Tensor:
        """Count finite float64 values in cells; return their bits, sorted."""
        bits = torch.sort(values.view(torch.int64)).values
        half, shift = kernels.FLOAT64_CELLS // 2, kernels.FLOAT64_SHIFT
        found = _Ranges.of(bits >> shift, -half, half).sizes.cpu().numpy()
        negative, positive = found[:half], found[half:]  # both by magnitude
        counts[0::2] += positive
        counts[1::2] += negative
        return bits

    @_on_device
    def integers(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        if block.dtype.kind == "u" or not block.size:  # torch has no arithmetic for them
            return kernels.plain().integers(block, counts)
        values = self._there(block)
        self._cells(values.double(), counts)
        limbs = [(values >> (16 * k)) & _LOW for k in range(block.itemsize // 2 - 1)]
        limbs = [each.long() for each in (*limbs, values >> (8 * block.itemsize - 16))]
        low, high = torch.aminmax(values)
        products = [(limbs[i] * limbs[j]).sum() for i, j in limb_pairs(len(limbs))]
        zeros = torch.count_nonzero(values == 0)
        found = torch.stack([low.long(), high.long(), zeros, *(each.sum() for each in limbs), *products]).tolist()
        census = Census(block.size, zeros=found[2], low=found[0], high=found[1])
        return census, moments_of_integer_limbs(block.size, found[3 : 3 + len(limbs)], found[3 + len(limbs) :])

    def census(self, block: Array) -> Census:
        """See `Kernels`; of a few values, so nothing is sent to the device."""
        return kernels.plain().census(block)

    def moments(self, block: Array) -> Moments:
        """See `Kernels`; of a few values, so nothing is sent to the device."""
        return kernels.plain().moments(block)

    @_on_device
    def bins(self, block: Array, bins: kernels.Bins, counts: Array) -> None:
        """See `Kernels`."""
        if block.dtype.kind == "u" or not block.size:
            kernels.plain().bins(block, bins, counts)
            return
        values, last = self._there(block), counts.size - 1
        if bins.trust == 0:
            index = torch.searchsorted(torch.from_numpy(bins.starts).to(self._device), values, right=True)
        else:
            index = ((values.double() - bins.low) * bins.scale).long()  # cuts towards 0; no value is below `low`
        if bins.trust == 1:
            index = index.clamp_(0, last)
            starts = torch.from_numpy(np.concatenate((bins.starts[:1], bins.starts, bins.starts[-1:])))
            starts = starts.to(self._device)
            index -= ((values < starts[index]) & (index > 0)).long()
            index += ((values >= starts[index + 1]) & (index < last)).long()
        counts += torch.bincount(index.clamp_(max=last), minlength=counts.size).cpu().numpy()


def kernels_on(device: str) -> TorchKernels | None:
    """Return kernels on a device; None where torch has no such device here."""
    return None if load_error(device) else TorchKernels(device)


class _Ranges(NamedTuple):
    """Where sorted values of the same cell lie.

    Attributes:
        ends: int64, one more than there are cells: where each begins, and where the last one ends.
    """

    ends: torch.Tensor

    @staticmethod
    def of(cells: torch.Tensor, first: int, stop: int) -> _Ranges:
        """Return the ranges of cells `first` ... `stop` - 1 in `cells`, which ascend."""
        wanted = torch.arange(first, stop + 1, dtype=cells.dtype, device=cells.device)
        return _Ranges(torch.searchsorted(cells, wanted))

    @property
    def sizes(self) -> torch.Tensor:
        """How many values there are in each cell."""
        return self.ends.diff()

    def sums(self, column: torch.Tensor) -> torch.Tensor:
        """Return the sum of int64 numbers over each cell, exact as long as it fits: what overflows cancels out."""
        running = torch.zeros(column.numel() + 1, dtype=torch.int64, device=column.device)
        torch.cumsum(column, 0, out=running[1:])
        return running[self.ends].diff()


def _census(values: torch.Tensor) -> Census:
    """Return the census of floats, of which there is at least one."""
    counts = [values == 0, values.isnan(), values.isposinf(), values.isneginf()]
    zeros, nan, posinf, neginf = torch.stack([torch.count_nonzero(each) for each in counts]).tolist()
    finite = values.numel() - nan - posinf - neginf
    if not finite:
        return Census(0, nan, posinf, neginf)
    low, high = torch.stack(torch.aminmax(values if finite == values.numel() else values[values.isfinite()])).tolist()
    return Census(finite, nan, posinf, neginf, zeros, low + 0.0, high + 0.0)  # + 0.0: no zero is negative
