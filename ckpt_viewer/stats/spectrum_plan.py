"""How the singular values of a tensor are computed, and how much that takes. No numpy at import."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import TensorSpec

EXACT = 2048
"""Smaller dimension up to which all singular values are computed: some seconds on two cores."""
RANK = 256
"""Singular values of a larger matrix that are computed at most."""
BASIS = 1 << 23
"""Numbers in the basis of a randomised computation: bounds its memory to a few times 64 MB."""

EXTRA = 16
"""Directions beyond the rank that are carried along."""
ITERATIONS = 2
OPERATIONS = 7e9
"""What a core does in a second, with what reading takes: a 2 GB matrix of 23,000 x 23,000 took 139 s on a busy one."""


class SpectrumPlan(NamedTuple):
    """A tensor as a matrix of dimension 0 by all others.

    Attributes:
        rows, columns: of the matrix. rank: how many singular values are computed.
        exact: whether those are all, computed directly; else the largest, by random projection.
        reshaped: whether the tensor has more than two dimensions.
    """

    rows: int
    columns: int
    rank: int
    exact: bool
    reshaped: bool

    @property
    def operations(self) -> float:
        """Additions and multiplications in float64, about; those in float32 count half."""
        least, elements = min(self.rows, self.columns), self.rows * self.columns
        if self.exact:
            return 4.0 * elements * least
        return 2.0 * elements * (self.rank + EXTRA) * (ITERATIONS + 1)

    def seconds(self, cores: int) -> float:
        """Return how long that takes, about, with a core left to others."""
        return self.operations / (OPERATIONS * max(1, cores - 1))


def plan_spectrum(tensor: TensorSpec) -> SpectrumPlan | None:
    """Return what to compute; None for what is no matrix of at least two rows and columns."""
    shape = tensor.shape or ()
    rows, columns = (shape[0], prod(shape[1:])) if len(shape) > 1 else (0, 0)
    least = min(rows, columns)
    if least < 2:
        return None
    exact = least <= EXACT
    return SpectrumPlan(rows, columns, least if exact else max(8, min(RANK, BASIS // least)), exact, len(shape) > 2)
