"""What containers without storages share: dense tensors one after another, each a range of bytes of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import Bytes, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.cargo import Cargo, CastCounts
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.emit import obstacle, tensors_in
from ckpt_viewer.export.reading import Span
from ckpt_viewer.export.rows import rows_of

_NOTHING = TensorExtra()


class Flat(NamedTuple):
    """One tensor as it is written.

    Attributes:
        name: of the entry. tensor: in the source. dtype: that it has in the file.
    """

    name: str
    tensor: TensorSpec
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, as torch counts them."""
        return self.tensor.shape or ()

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.tensor.numel * DTYPES[self.dtype].itemsize


class Counted:
    """Copies flat tensors, and keeps what their casts counted.

    Attributes:
        counts: name -> what the cast did; only where it did something.
    """

    def __init__(self) -> None:
        self.counts: dict[str, CastCounts] = {}

    def copy_each(self, flats: Iterable[Flat], copier: Copier, *, checksum: bool = False) -> Iterator[int]:
        """Append the elements of one after another, and yield their CRC-32; otherwise as `Copier.copy_each`."""
        told: deque[tuple[str, Bytes]] = deque()

        def spans() -> Iterator[Span]:
            for flat in flats:
                span = rows_of(flat.tensor, flat.dtype)
                told.append((flat.name, span.source))
                yield span

        for crc in copier.copy_each(spans(), checksum=checksum):
            name, source = told.popleft()
            counts = getattr(source, "counts", None)
            if counts is not None and any(counts):
                self.counts[name] = counts
            yield crc


def flat_tensors(
    cargo: Cargo, where: str, refusal: Callable[[str, str], str], context: Context = SILENT
) -> tuple[list[Flat], dict[str, Value]]:
    """Return the tensors of a cargo in order, and the other entries.

    Args:
        where: what they are written into, for messages: ``"a safetensors file"``. refusal: asked with a name and a
            dtype why such a tensor cannot be there, as the end of a sentence; ``""`` if it can.

    Raises:
        CannotExport: a tensor cannot be written faithfully, or an entry that is no tensor holds some.
        Cancelled: by `context`.
    """
    tensors: list[Flat] = []
    others: dict[str, Value] = {}
    for name, value in stepped(cargo.items.items(), context):
        if isinstance(value, TensorSpec):
            dtype = cargo.cast.get(name, value.dtype)
            reason = _unfit(value) or refusal(name, dtype)
            if reason:
                raise CannotExport(
                    f"{name!r} {reason}, so it cannot be written into {where}; write a .pth or leave it out"
                )
            tensors.append(Flat(name, value, dtype))
        elif next(tensors_in(value), None) is not None:
            raise CannotExport(
                f"{name!r} is a value that holds tensors, and {where} holds tensors by name only; write a .pth"
            )
        else:
            others[name] = value
    return tensors, others


def _unfit(tensor: TensorSpec) -> str:
    extra = tensor.extra or _NOTHING
    if extra.layout != "strided":
        return obstacle(tensor) or f"is sparse ({extra.layout})"
    if extra.quantization is not None or DTYPES[tensor.dtype].kind == "quantized":
        return f"is quantised ({tensor.dtype})"
    return obstacle(tensor)
