"""Singular values of a tensor as a matrix, in bounded memory: all of them, or the largest by random projection.

Tall matrices are reduced block by block by QR (Demmel et al., Communication-optimal parallel and sequential QR, 2012),
whose triangle has the same singular values. Where both dimensions are large, a random subspace is iterated (Halko,
Martinsson, Tropp, Finding structure with randomness, 2011, algorithm 4.4) and the part of the matrix outside of it is
known from the norms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.decode import read_slice
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.stats.spectrum_plan import BASIS, EXTRA, ITERATIONS, SpectrumPlan, plan_spectrum

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

ELEMENTS = 1 << 21
"""Elements of a block."""
WHOLE = 1 << 22
"""Elements of a matrix that is decomposed as it is."""
LINES = 256
"""Rows of a block that is multiplied by a basis, where so many fit into memory."""
NOISE = 1e-13
"""Share of the greatest weight below which a direction is left out."""
SHARES = (0.5, 0.9, 0.99)
"""Shares of the energy for which the number of directions is told."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Singular values of a matrix.

    Attributes:
        plan: what was computed. values: float64, descending. energy: sum of the squares of all of them.
        error: norm of what the computed ones leave out over that of the matrix; 0 where they are all.
        precision: of the stored numbers, relative: what is smaller than this times the largest is noise.
    """

    plan: SpectrumPlan
    values: Array
    energy: float
    error: float
    precision: float

    @property
    def shares(self) -> Array:
        """The share of the energy in the first 1, 2, ... directions."""
        total: Array = np.cumsum(self.values**2) / self.energy if self.energy else np.zeros(self.values.size)
        return np.minimum(total, 1.0)

    @property
    def stable_rank(self) -> float | None:
        """Energy over that of the first direction; None for a matrix of zeros."""
        return self.energy / float(self.values[0]) ** 2 if self.values[0] else None

    @property
    def effective_rank(self) -> tuple[float, float] | None:
        """The least and the greatest that the exponential of the values' entropy can be (Roy, Vetterli 2007).

        Both are the same where all values are known. Of the others it is known how many they are, their energy, and
        that none exceeds the last one known: least is the rank if they are few and as large as that, greatest if all
        are equal. None for a matrix of zeros.
        """
        known = self.values[self.values > 0]
        if not known.size:
            return None
        total, logs = float(known.sum()), float((known * np.log(known)).sum())
        rest = 0.0 if self.plan.exact else max(0.0, self.energy - float((known**2).sum()))
        others, last = min(self.plan.rows, self.plan.columns) - self.values.size, float(known[-1])

        def rank(more: float, level: float) -> float:
            """Where the others are `level` each, and `more` together."""
            whole = total + more
            return exp(log(whole) - (logs + (more * log(level) if more else 0.0)) / whole)

        if not rest or not others:
            return rank(0.0, last), rank(0.0, last)
        level = min(sqrt(rest / others), total / rank(0.0, last))  # beyond, more of them would be less even
        few = min(rest / last, others * last)  # what rounding left of the energy may be more than fits
        return rank(few, last), rank(others * level, level)

    @property
    def rank(self) -> int | None:
        """Singular values above the noise, as numpy's matrix_rank counts them; None where not all are known."""
        if not self.plan.exact:
            return None
        return int((self.values > self.values[0] * max(self.plan.rows, self.plan.columns) * self.precision).sum())

    def directions(self, share: float) -> int | None:
        """Return in how many directions a share of the energy lies; None where more are needed than are known."""
        enough = np.flatnonzero(self.shares >= share * (1 - 1e-12))
        return int(enough[0]) + 1 if enough.size else None


def singular_values(tensor: TensorSpec, context: Context = SILENT, seed: int = 0) -> Spectrum:
    """Return the singular values of a tensor as a matrix of dimension 0 by all others.

    Args:
        context: is told about elements, of all passes over them. seed: of the random directions, for the same answer.

    Raises:
        CheckpointError: it is no matrix, has NaN or infinities, or cannot be read. Cancelled: by `context`.
    """
    plan = plan_spectrum(tensor)
    if plan is None:
        raise CheckpointError("only matrices of two rows and columns have a spectrum; look at the values")
    matrix = _Matrix(tensor, plan, context, 1 if plan.exact else ITERATIONS + 1)
    values, energy = _all_values(matrix) if plan.exact else _largest_values(matrix, plan.rank, seed)
    if not np.isfinite(energy):
        raise CheckpointError("the values of this tensor are too large for their squares; look at its histogram")
    left = 0.0 if plan.exact or not energy else sqrt(max(0.0, 1 - float((values**2).sum()) / energy))
    return Spectrum(plan, values, energy, left, matrix.precision)


class _Matrix:
    """Blocks of a tensor as a matrix, turned where it is wider than high; a large one where it is much wider.

    Attributes:
        width, height: columns and rows, after turning. precision: see Spectrum.
    """

    def __init__(self, tensor: TensorSpec, plan: SpectrumPlan, context: Context, passes: int) -> None:
        assert tensor.shape is not None
        self._tensor, self._shape, self._context = tensor, tensor.shape, context
        # columns of a large matrix lie far apart in the file: many small reads, so only where there are many more
        self._turned = plan.columns > plan.rows * (1 if plan.exact else 2)
        self.width, self.height = (plan.rows, plan.columns) if self._turned else (plan.columns, plan.rows)
        others = range(1, len(tensor.shape))
        self._dim = max(others, key=lambda dim: self._shape[dim]) if self._turned else 0
        self._total, self._done = passes * plan.rows * plan.columns, 0
        kind = self._read(slice(0, 1)).dtype
        single = kind.itemsize <= 4 or kind == np.complex64
        self.precision = float(np.finfo(np.float32 if single else np.float64).eps)
        wide = kind.kind == "c"
        self.double = np.dtype(np.complex128 if wide else np.float64)
        self.quick = np.dtype(np.complex64 if wide else np.float32) if single else self.double

    def _read(self, part: slice) -> Array:
        return read_slice(self._tensor, (*(slice(None),) * self._dim, part))

    def blocks(self, dtype: np.dtype[Any], least: int = 1) -> Iterator[Array]:
        """Yield rows of the matrix, in an order that is the same each time.

        Args:
            least: rows of a block at least, where there are as many.

        Raises:
            CheckpointError: there are NaN or infinities in it.
        """
        size = self._shape[self._dim]
        each = max(1, prod(self._shape) // size)
        lines = max(1, each // self.width)
        step = max(1, ELEMENTS // each, -(-least // lines))
        for start in range(0, size, step):
            values = self._read(slice(start, min(start + step, size)))
            if self._turned:
                block = values.reshape(self._shape[0], -1).astype(dtype).T
            else:
                block = values.reshape(values.shape[0], -1).astype(dtype)
            if not np.isfinite(block.sum()) and not np.isfinite(block).all():
                raise CheckpointError(
                    "a matrix with NaN or infinities has no singular values; the panel of values leads to the first one"
                )
            yield block
            self._done += block.size
            self._context.step(self._done, self._total)


def _all_values(matrix: _Matrix) -> tuple[Array, float]:
    energy, rest = 0.0, np.empty((0, matrix.width), matrix.double)
    small = matrix.width * matrix.height <= WHOLE
    waiting: list[Array] = []
    for block in matrix.blocks(matrix.double, matrix.width):
        energy += float(np.vdot(block, block).real)
        if small:
            waiting.append(block)
        else:
            rest = _triangle(np.concatenate([rest, block]))
    values: Array = np.linalg.svd(np.concatenate(waiting) if small else rest, compute_uv=False)
    return values, energy


def _largest_values(matrix: _Matrix, rank: int, seed: int) -> tuple[Array, float]:
    random = np.random.default_rng(seed).standard_normal((matrix.width, min(rank + EXTRA, matrix.width)))
    basis, lines = _orthonormal(random), max(1, min(LINES, BASIS // matrix.width))
    for _ in range(ITERATIONS):
        image, quick = np.zeros(basis.shape, matrix.double), basis.astype(matrix.quick)
        for block in matrix.blocks(matrix.quick, lines):
            image += block.conj().T @ (block @ quick)
        basis = _orthonormal(image)
    energy, rest, quick = 0.0, np.empty((0, basis.shape[1]), matrix.double), basis.astype(matrix.quick)
    for block in matrix.blocks(matrix.quick, lines):
        wide = block.astype(matrix.double)
        energy += float(np.vdot(wide, wide).real)
        rest = _triangle(np.concatenate([rest, block @ quick]))
    values = np.zeros(rank)
    found = np.linalg.svd(rest, compute_uv=False)[:rank]
    values[: found.size] = found
    return values, energy


def _orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis of the span of columns, without directions that are noise.

    By Gram matrices, twice since one loses half of the digits: a QR of many rows is several times slower.
    """
    for _ in range(2):
        weights, directions = np.linalg.eigh(columns.conj().T @ columns)
        kept = weights > weights[-1] * NOISE
        if not kept.any():  # a matrix of zeros
            return np.eye(columns.shape[0], 1, dtype=columns.dtype)
        columns = columns @ (directions[:, kept] / np.sqrt(weights[kept]))
    return columns


def _triangle(rows: Array) -> Array:
    """Return what has the singular values of `rows` and is no higher than wide."""
    triangle: Any = np.linalg.qr(rows, mode="r")
    return np.asarray(triangle)
