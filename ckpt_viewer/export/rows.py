"""The elements of a tensor one after another, the last dimension fastest, as a range of bytes that can be copied.

What containers without strides hold. A contiguous tensor is a range of its storage; any other is gathered while it is
read, a window at a time; conjugation and negation are applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import Bytes, Extent, TensorExtra, TensorSpec
from ckpt_viewer.errors import Damaged, Truncated
from ckpt_viewer.export.pieces import root_of
from ckpt_viewer.export.reading import Span
from ckpt_viewer.sources import MemorySource

if TYPE_CHECKING:
    from ckpt_viewer.core.numbers import Decoder
    from ckpt_viewer.core.strided import View

WINDOW = 16 << 20
"""Bytes that are gathered at once: the rows of a transposed matrix lie far apart, and each window reads all of it."""

GATHERED = 4 << 20
"""Bytes that one read brings of what lies close together."""

_NOTHING = TensorExtra()


def rows_of(tensor: TensorSpec, target: str = "") -> Span:
    """Return the elements of a dense tensor, as dtype `target` if one is given.

    Raises:
        Damaged: the file has fewer bytes than the tensor needs. SourceError.
    """
    rows = _as_stored(tensor)
    if not target or target == tensor.dtype:
        return rows
    from ckpt_viewer.export.cast_source import Cast

    wide = DTYPES[tensor.dtype].itemsize
    cast = Cast(rows.source, rows.offset, rows.nbytes // wide, rows.swap, tensor.dtype, target)
    return Span(cast, 0, cast.size)


def _as_stored(tensor: TensorSpec) -> Span:
    extra, row = tensor.extra or _NOTHING, DTYPES[tensor.dtype]
    shape, stride = tensor.shape or (), tensor.stride or ()
    nbytes = tensor.numel * row.itemsize
    if not nbytes:
        return Span(MemorySource(b""), 0, 0)
    if extra.conj or extra.neg or not is_contiguous(shape, stride):
        return Span(Gathered(tensor), 0, nbytes)
    extent, offset = _place(tensor)
    if offset + nbytes > extent.nbytes:
        raise Damaged(
            f"a tensor needs {offset + nbytes} bytes of a storage of {extent.nbytes}; copy or download the file again"
        )
    return Span(extent.source, extent.offset + offset, nbytes, row.component if extent.big_endian else 1)


def _place(tensor: TensorSpec) -> tuple[Extent, int]:
    """Return the storage's bytes and where in them the first element lies."""
    assert tensor.storage is not None
    root, shift = root_of(tensor.storage)
    return root.extent(), shift + tensor.offset * DTYPES[tensor.dtype].itemsize


def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether elements lie in memory in row-major order without gaps; torch's ``is_contiguous()``."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return 0 in shape
        expected *= size
    return True


def _elements(shape: tuple[int, ...], most: int) -> int:
    """Return how many elements of a tensor make a window of about `most`: whole rows, where there are some in it."""
    inner = 1
    for size in reversed(shape):
        if inner * size > most:
            break
        inner *= max(size, 1)
    return max(1, most // inner * inner)


class Gathered:
    """Reads like a file of the elements of a strided tensor in row-major order.

    Attributes:
        name: for messages. size: bytes. costly: each reading of all of it reads the source several times.
    """

    costly = True

    def __init__(self, tensor: TensorSpec) -> None:
        self.name, self.size = "the tensor", tensor.numel * DTYPES[tensor.dtype].itemsize
        self._tensor = tensor
        self._opened: tuple[View, Decoder] | None = None
        self._window: tuple[int, memoryview] = (0, memoryview(b""))

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises CheckpointError."""
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`; raises CheckpointError."""
        if offset < 0 or offset + len(buffer) > self.size:
            raise Truncated(self.name, wanted=len(buffer), found=max(0, self.size - offset), offset=offset)
        done = 0
        while done < len(buffer):
            start, window = self._window  # one object: another thread may put its own there meanwhile
            at = offset + done - start
            if not 0 <= at < len(window):
                self._window = start, window = self._gather(offset + done)
                at = offset + done - start
            size = min(len(buffer) - done, len(window) - at)
            buffer[done : done + size] = window[at : at + size]
            done += size
        if offset + done == self.size:  # whoever keeps this for later need not keep the window
            self._window = (0, memoryview(b""))

    def _gather(self, offset: int) -> tuple[int, memoryview]:
        """Read the window that holds byte `offset`; return where it starts, and its bytes."""
        import numpy as np

        from ckpt_viewer.core.numbers import stored_dtype
        from ckpt_viewer.core.regions import boxes_of_range
        from ckpt_viewer.core.strided import Pick, gather

        view, decoder = self._open()
        self._window = (0, memoryview(b""))  # the old one goes before the new one comes
        per_window = _elements(view.shape, WINDOW // view.item)
        first = offset // view.item // per_window * per_window
        boxes = boxes_of_range(view.shape, first, min(per_window, view.numel - first))
        picked = [tuple(Pick(start, size) for start, size in zip(box.start, box.size, strict=True)) for box in boxes]
        dtype = stored_dtype(decoder.row)
        arrays = [decoder.resolved(gather(view.take(picks), dtype, GATHERED)).reshape(-1) for picks in picked]
        out = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return first * view.item, out.view(np.uint8).data

    def _open(self) -> tuple[View, Decoder]:
        if self._opened is None:
            from ckpt_viewer.core.numbers import decoder_of
            from ckpt_viewer.core.strided import View

            tensor = self._tensor
            decoder, (extent, offset) = decoder_of(tensor), _place(tensor)
            row, shape, stride = decoder.row, tensor.shape or (), tensor.stride or ()
            view = View(extent.source, extent.offset + offset, shape, stride, row.itemsize, 0)
            if extent.big_endian and row.component > 1:
                view = view._replace(swap=row.component)
            if offset + view.span * view.item > extent.nbytes:
                raise Damaged(
                    f"a tensor needs {offset + view.span * view.item} bytes of a storage of {extent.nbytes}; "
                    "copy or download the file again"
                )
            self._opened = view, decoder
        return self._opened


if TYPE_CHECKING:
    _: type[Bytes] = Gathered
