"""Which two dimensions of a tensor are looked at, and where the others stand. No numpy at import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    from ckpt_viewer.core.tensor import TensorSpec

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class Slicing(NamedTuple):
    """A 2-D slice of a tensor of any rank.

    Attributes:
        shape: sizes of the tensor in elements.
        rows, columns: the dimensions that run down and across; None where the tensor has too few.
        fixed: an index for each dimension; those of `rows` and `columns` are not used.
    """

    shape: tuple[int, ...]
    rows: int | None
    columns: int | None
    fixed: tuple[int, ...]

    @property
    def row_count(self) -> int:
        """Rows of the slice, 1 for a 0-dim tensor."""
        return 1 if self.rows is None else self.shape[self.rows]

    @property
    def column_count(self) -> int:
        """Columns of the slice, 1 for a tensor of fewer than two dimensions."""
        return 1 if self.columns is None else self.shape[self.columns]

    @property
    def others(self) -> list[int]:
        """The dimensions that are neither rows nor columns, in order."""
        return [dim for dim in range(len(self.shape)) if dim not in (self.rows, self.columns)]

    @property
    def transposed(self) -> bool:
        """Whether a block that was read with `block` has to be turned: rows run along the later dimension."""
        return self.rows is not None and self.columns is not None and self.rows > self.columns

    def block(self, rows: slice, columns: slice) -> tuple[int | slice, ...]:
        """Return what to index the tensor with for a block of rows and columns; dimensions keep the tensor's order."""
        blocks = {self.rows: rows, self.columns: columns}
        return tuple(blocks.get(dim, at) for dim, at in enumerate(self.fixed))

    def with_rows(self, dim: int) -> Slicing:
        """Run `dim` down; if it ran across, the two change places."""
        columns = self.rows if dim == self.columns else self.columns
        return self._replace(rows=dim, columns=columns)

    def with_columns(self, dim: int) -> Slicing:
        """Run `dim` across; if it ran down, the two change places."""
        rows = self.columns if dim == self.rows else self.rows
        return self._replace(rows=rows, columns=dim)

    def with_fixed(self, dim: int, at: int) -> Slicing:
        """Stand at index `at` of `dim`."""
        return self._replace(fixed=(*self.fixed[:dim], at, *self.fixed[dim + 1 :]))

    def cell(self, row: int, column: int) -> tuple[int, ...]:
        """Return where in the tensor a cell of the slice lies."""
        places = {self.rows: row, self.columns: column}
        return tuple(places.get(dim, at) for dim, at in enumerate(self.fixed))

    def reaching(self, index: tuple[int, ...]) -> Slicing:
        """Return the slice along the same dimensions that passes through an element."""
        return self._replace(fixed=index)

    @property
    def text(self) -> str:
        """The slice as Python writes it: ``[0, :, 3, :]``."""
        parts = [":" if dim in (self.rows, self.columns) else str(at) for dim, at in enumerate(self.fixed)]
        return f"[{', '.join(parts)}]"


def first_slicing(shape: tuple[int, ...]) -> Slicing:
    """Return the slice that a table opens with: the last two dimensions that are longer than 1, the rest at 0."""
    rank = len(shape)
    fixed = (0,) * rank
    if rank < 2:
        return Slicing(shape, 0 if rank else None, None, fixed)
    chosen = [dim for dim in range(rank) if shape[dim] != 1][-2:]
    for dim in reversed(range(rank)):  # a tensor of ones: any two will do
        if len(chosen) < 2 and dim not in chosen:
            chosen.append(dim)
    rows, columns = sorted(chosen)
    return Slicing(shape, rows, columns, fixed)


def read_block(tensor: TensorSpec, slicing: Slicing, rows: slice, columns: slice) -> Array:
    """Return a block of a slice as a 2-D array, rows down.

    Raises:
        CheckpointError: there are no values, or they cannot be read.
    """
    from ckpt_viewer.core.decode import read_slice

    values = read_slice(tensor, slicing.block(rows, columns))
    if slicing.transposed:
        values = values.T
    sizes = (len(range(*rows.indices(slicing.row_count))), len(range(*columns.indices(slicing.column_count))))
    return values.reshape(sizes)
