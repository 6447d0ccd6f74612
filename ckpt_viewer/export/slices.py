"""A slice of a tensor as a CSV or .npy file, in blocks, in full precision."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.digits import every_digit
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.slicing import Slicing, read_block
from ckpt_viewer.core.text import csv_cell
from ckpt_viewer.export.atomic import AtomicFile

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.export.target import Read

CELLS = 1 << 18
"""Cells that are read at a time."""
LINE = 64
"""Cells of CSV that are written between two steps."""
CSV_BYTES = 8
"""Bytes that a cell of CSV takes at least, about: for a first look at the free space."""


def save_npy(
    tensor: TensorSpec,
    slicing: Slicing,
    target: str,
    context: Context = SILENT,
    *,
    source: Read = "",
    force: bool = False,
) -> np.dtype[Any]:
    """Write a slice as a NumPy file (format 1.0, C order, little-endian) and return the dtype written.

    The array has one dimension where the tensor has one, none where it has none, else two. Floats that numpy itself
    does not know (bfloat16, float8) are written as float32, which holds each of them.

    Args:
        source: the file that is read, or all of them, none of which is ever replaced.
        force: whether an existing file may be replaced.

    Raises:
        CheckpointError: the values cannot be read. WriteFailed, TargetExists, CannotExport: see `AtomicFile`.
        Cancelled: by `context`; nothing is left behind.
    """
    rows, columns = slicing.row_count, slicing.column_count
    dtype = _npy_dtype(read_block(tensor, slicing, slice(0, min(1, rows)), slice(0, min(1, columns))).dtype)
    shape = slicing.shape if len(slicing.shape) < 2 else (rows, columns)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    nbytes = len(header.getvalue()) + rows * columns * dtype.itemsize
    with AtomicFile(target, force=force, source=source, nbytes=nbytes) as file:
        file.write(header.getvalue())
        for block in _blocks(tensor, slicing, context):
            file.write(np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data)
    return dtype


def save_csv(
    tensor: TensorSpec,
    slicing: Slicing,
    target: str,
    context: Context = SILENT,
    *,
    source: Read = "",
    force: bool = False,
) -> int:
    """Write a slice as lines of comma-separated numbers, every digit of them, and return how many lines.

    Cells that a spreadsheet would compute (complex numbers with a sign in front) get a leading ``'``. Arguments and
    exceptions as in `save_npy`.
    """
    nbytes = slicing.row_count * slicing.column_count * CSV_BYTES
    ends_at = slicing.column_count
    with AtomicFile(target, force=force, source=source, nbytes=nbytes) as file:
        written = 0
        for block in _blocks(tensor, slicing, context):
            write = _writer(block)
            for row in block:
                for start in range(0, row.size, LINE):
                    cells = [write(value) for value in row[start : start + LINE].tolist()]
                    written += len(cells)
                    file.write((",".join(cells) + ("\n" if written % ends_at == 0 else ",")).encode("ascii"))
                    context.step(written, slicing.row_count * ends_at)
    return slicing.row_count


def _writer(block: Array) -> Callable[[Any], str]:
    if block.dtype.kind in "iub":
        return str
    return every_digit if block.dtype.kind != "c" else lambda value: csv_cell(every_digit(value))


def _npy_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind in "biufc" and dtype.isbuiltin == 1:
        little: np.dtype[Any] = dtype.newbyteorder("<")
        return little
    return np.dtype("<f4")


def _blocks(tensor: TensorSpec, slicing: Slicing, context: Context) -> Iterator[Array]:
    """Yield the cells of a slice in row-major order as 2-D arrays; a part of a row where rows are long."""
    rows, columns = slicing.row_count, slicing.column_count
    across = min(max(columns, 1), CELLS)
    down = max(1, CELLS // across)
    total = rows * columns
    for top in range(0, rows, down):
        bottom = min(top + down, rows)
        for left in range(0, columns, across):
            context.step(top * columns + left * (bottom - top), total)
            yield read_block(tensor, slicing, slice(top, bottom), slice(left, min(left + across, columns)))
    context.step(total, total)
