"""Which bytes of which storages an export writes: what shared memory still does, and nothing needless is copied.

All arithmetic is in bytes. A tensor reaches from its first to its last element. Reaches that overlap or touch stay
together as one piece; a storage that is used from end to end is one piece, so it stays whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import cache

from ckpt_viewer.core.dtype import DTYPES, STORAGE_CLASSES
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.errors import CannotExport, Damaged
from ckpt_viewer.export.reading import Span

CLASS_OF = {dtype: name for name, dtype in STORAGE_CLASSES.items() if dtype}
"""dtype -> its storage class in module torch; the dtypes that torch got later have none."""


class Piece:
    """One storage of the new file.

    Attributes:
        storage: where its bytes come from.
        start, nbytes: the part of `storage` that is used.
        dtypes: of the tensors that view it. number: its place among the pieces of the file; -1 before it has one.
    """

    __slots__ = ("_nbytes", "dtypes", "number", "start", "storage")

    def __init__(self, storage: StorageSpec, start: int, nbytes: int, dtypes: frozenset[str]) -> None:
        self.storage, self.start, self.nbytes, self.dtypes = storage, start, nbytes, dtypes
        self.number = -1

    @property
    def nbytes(self) -> int:
        """Bytes of `storage` that are used."""
        return self.storage.nbytes if self._nbytes is None else self._nbytes

    @nbytes.setter
    def nbytes(self, nbytes: int) -> None:
        # all of it, as nearly always: one number less for each of 100,000
        self._nbytes = None if nbytes == self.storage.nbytes else nbytes

    @property
    def key(self) -> str:
        """Name of its record."""
        return str(self.number)

    @property
    def dtype(self) -> str:
        """The dtype of its storage class; ``""`` if it has to be untyped."""
        dtype = next(iter(self.dtypes)) if len(self.dtypes) == 1 else ""
        return dtype if dtype in CLASS_OF else ""

    @property
    def numel(self) -> int:
        """Elements as its persistent id counts them: bytes if untyped."""
        return self.nbytes // (DTYPES[self.dtype].itemsize if self.dtype else 1)

    def span(self) -> Span:
        """Find the bytes.

        Raises:
            Damaged, Truncated: the container has fewer bytes than the pickle claims.
            CannotExport: numbers of several widths share big-endian bytes.
        """
        extent = self.storage.extent()
        if self.start + self.nbytes > extent.nbytes:
            raise Damaged(
                f"storage {self.storage.key!r} has {extent.nbytes} bytes where {self.start + self.nbytes} are needed; "
                "copy or download the file again"
            )
        widths = {DTYPES[dtype].component for dtype in self.dtypes} if extent.big_endian else {1}
        if len(widths) > 1:
            raise CannotExport(
                f"storage {self.storage.key!r} holds big-endian numbers of several widths; load it with torch"
            )
        swap = widths.pop() if widths else 1
        whole = (self.start, self.nbytes) == (0, extent.nbytes)
        crc = extent.crc if whole and swap == 1 else None
        name = f"storage {self.storage.key!a}" if crc else ""
        return Span(extent.source, extent.offset + self.start, self.nbytes, swap, crc, name)


class Pieces:
    """The pieces of all tensors of an export.

    Attributes:
        used: pieces that have a number, in the order of their numbers.
        unused: bytes of their storages that no tensor of the export reaches.
    """

    def __init__(self, tensors: Iterable[TensorSpec], context: Context = SILENT) -> None:
        """Lay the pieces out; raises Cancelled by `context`."""
        self.used: list[Piece] = []
        # of 100,000 storages nearly all have one tensor
        self._of_root: dict[StorageSpec, Piece | tuple[Piece, ...]] = {}
        several: dict[StorageSpec, list[tuple[int, int, str]]] = {}
        for tensor in stepped(tensors, context):
            if tensor.storage is not None:
                self._add(tensor, several)
        for root, reaches in stepped(several.items(), context):
            self._of_root[root] = tuple(_divide(root, reaches))
        self.unused = sum(map(_unused, stepped(self._of_root.values(), context)))

    def _add(self, tensor: TensorSpec, several: dict[StorageSpec, list[tuple[int, int, str]]]) -> None:
        """Note what a tensor reaches, in `several` where it is not the first on its storage."""
        assert tensor.storage is not None
        root, (start, end) = root_of(tensor.storage)[0], reach(tensor)
        first = self._of_root.get(root)
        if first is None:
            self._of_root[root] = Piece(root, start, end - start, _only(tensor.dtype))
            return
        if root not in several:
            assert isinstance(first, Piece)
            several[root] = [(first.start, first.start + first.nbytes, next(iter(first.dtypes)))]
        several[root].append((start, end, tensor.dtype))

    def of(self, tensor: TensorSpec) -> tuple[Piece, int]:
        """Return the piece that holds a tensor and the tensor's offset in it, in elements; numbers the piece."""
        assert tensor.storage is not None
        root, shift = root_of(tensor.storage)
        piece = self._of_root[root]
        if isinstance(piece, tuple):
            piece = piece[bisect_right(piece, reach(tensor)[0], key=lambda one: one.start) - 1]
        row = DTYPES[tensor.dtype]
        offset = (shift + tensor.offset * row.itemsize - piece.start) // row.itemsize if tensor.numel else 0
        if piece.number < 0:
            piece.number = len(self.used)
            self.used.append(piece)
        return piece, offset

    def discard(self, context: Context) -> None:
        """Free them with steps between; raises Cancelled."""
        drain(self._of_root, context)
        drain(self.used, context)


def root_of(storage: StorageSpec) -> tuple[StorageSpec, int]:
    """Return the storage that has a record of its own, and where `storage` starts in it, in bytes.

    They differ only for the storage views of writers before torch 0.4.
    """
    root = getattr(storage.home, "root", None)
    return (root, storage.home.offset) if isinstance(root, StorageSpec) else (storage, 0)  # type: ignore[union-attr]


def reach(tensor: TensorSpec) -> tuple[int, int]:
    """First byte and end of what a tensor views, from the start of its root storage."""
    assert tensor.storage is not None
    root, shift = root_of(tensor.storage)
    row = DTYPES[tensor.dtype]
    if not tensor.numel or tensor.shape is None or tensor.stride is None:
        return 0, 0
    if row.per_byte > 1:  # packed: offsets and strides count values, rows start at bytes
        return 0, root.nbytes
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
    return shift + tensor.offset * row.itemsize, shift + (last + 1) * row.itemsize


def _unused(pieces: Piece | tuple[Piece, ...]) -> int:
    """Return how many bytes of their storage no piece has."""
    if isinstance(pieces, Piece):
        return pieces.storage.nbytes - pieces.nbytes
    return pieces[0].storage.nbytes - sum(piece.nbytes for piece in pieces)


def _divide(root: StorageSpec, reaches: list[tuple[int, int, str]]) -> list[Piece]:
    pieces: list[Piece] = []
    for start, end, dtype in sorted(reaches):
        last = pieces[-1] if pieces else None
        if last is not None and start <= last.start + last.nbytes:
            last.nbytes = max(last.nbytes, end - last.start)
            last.dtypes |= _only(dtype)
        else:
            pieces.append(Piece(root, start, end - start, _only(dtype)))
    if any(len(piece.dtypes) > 1 for piece in pieces):  # a part might start where the wider dtype cannot
        return [Piece(root, 0, root.nbytes, frozenset(dtype for _, _, dtype in reaches))]
    return pieces


@cache
def _only(dtype: str) -> frozenset[str]:
    """One set for all pieces of a dtype: there may be 100,000."""
    return frozenset({dtype})
