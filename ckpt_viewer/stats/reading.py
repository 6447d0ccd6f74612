"""How a tensor's values are read for statistics: which blocks, and which counters take them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckpt_viewer.core.decode import Blocks, blocks
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.numbers import Decoder, stored_dtype
from ckpt_viewer.core.stored import open_values
from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.sketch import SMALL
from ckpt_viewer.stats.stores import Float32Store, Float64Store, IntegerStore, PatternStore, Store

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec

STORED_VALUES = "stored values"


class Reading:
    """The values of one tensor, in blocks that fit `store`; iterate as often as needed.

    Attributes:
        tensor_dtype: of the tensor as a whole. over: ``""``, or which of its values these are.
        store: an empty store for them. dtype: of the blocks.
        numel: elements of all blocks. repeats: how often each stands for itself. passes: over the values in all.
    """

    def __init__(self, tensor: TensorSpec, elements: int | None, using: kernels.Kernels) -> None:
        self.tensor_dtype = tensor.dtype
        tensor, self.over = counted_part(tensor)
        decoder = open_values(tensor).decoder
        kind = _kind(decoder)
        self.store, self.dtype, self._complex = kind.store, kind.dtype, kind.complex
        size = elements or (using.block if self.dtype.itemsize < 8 else using.wide_block)
        self.blocks: Blocks = blocks(tensor, size * decoder.row.itemsize, stored=kind.stored)
        self.repeats = self.blocks.repeats
        self.numel = self.blocks.numel
        whole = isinstance(self.store, PatternStore) or self.numel <= SMALL
        self.passes = 1 if whole else 2

    def __iter__(self) -> Iterator[Array]:
        """Yield the values; each block is valid until the next is asked for. Raises SourceError."""
        return map(self._fit, self.blocks)

    def parts(self, blocks: int) -> list[range]:
        """Return what `read` takes: parts of about `blocks` blocks, together all values."""
        return self.blocks.parts(blocks)

    def read(self, part: range) -> Iterator[Array]:
        """Yield the values of a part, on any thread; each block is valid until the next is asked for."""
        return map(self._fit, self.blocks.read(part))

    def sample(self, reads: int) -> Array:
        """Return the values of a few reads spread over the tensor, at most `SMALL` of them; raises SourceError."""
        return self._fit(self.blocks.sample(reads))[:SMALL]

    def _fit(self, block: Array) -> Array:
        if self._complex:
            with np.errstate(all="ignore"):
                return np.abs(block.astype(np.complex128))
        return block.view(self.dtype)


def open_reading(tensor: TensorSpec, elements: int | None = None, using: kernels.Kernels | None = None) -> Reading:
    """Return how to read a tensor, `elements` at a time if given, else as many as suit the kernels `using`.

    Raises:
        CheckpointError: it has no values.
    """
    return Reading(tensor, elements, using or kernels.plain())


def counted_part(tensor: TensorSpec) -> tuple[TensorSpec, str]:
    """Return the tensor whose values are counted, and what they are of the whole: ``""`` if that is the tensor."""
    parts = tensor.extra.parts if tensor.extra else {}
    for name in ("values", "buffer"):
        if name in parts:
            return parts[name], STORED_VALUES
    return tensor, ""


class Kind(NamedTuple):
    """How values of one kind are counted.

    Attributes:
        store: an empty store. dtype: of the blocks. stored: whether stored elements are counted as they are.
        complex: whether magnitudes are counted.
    """

    store: Store
    dtype: np.dtype[Any]
    stored: bool = False
    complex: bool = False


@lru_cache(maxsize=64)
def plain_kind(dtype: str) -> Kind | None:
    """Return how elements of a dtype are counted that lie in the file as they are, None where they have to be decoded.

    Its store is shared: take a fresh one.
    """
    row = DTYPES.get(dtype)
    if row is None:
        return None
    kind = _kind(Decoder(row))
    return kind if not kind.complex and (kind.stored or Decoder(row).plain) else None


def _kind(decoder: Decoder) -> Kind:
    """Choose what counts the values of a decoder, and whether it counts them as they are stored."""
    row, result = decoder.row, decoder.result
    if row.kind == "complex":
        return Kind(Float64Store(), np.dtype(np.float64), complex=True)
    if row.itemsize <= 2 and decoder.axis is None and row.per_byte == 1:
        values = _meanings(decoder) if decoder.affine else _plain_meanings(decoder)
        return Kind(PatternStore(values, 1 << (8 * row.itemsize)), np.dtype(f"u{row.itemsize}"), stored=True)
    if result == np.float32:
        return Kind(Float32Store(), result)
    if result == np.float64:
        return Kind(Float64Store(), result)
    if result.itemsize == 1:  # packed integers, unpacked
        return Kind(PatternStore(np.arange(256), 256), result)
    return Kind(IntegerStore(), result)


@np.errstate(all="ignore")
def _meanings(decoder: Decoder) -> Array:
    """Return what each pattern of a type of at most 16 bits stands for."""
    size = decoder.row.itemsize
    patterns = np.arange(1 << (8 * size)).astype(f"u{size}")
    values = decoder.values(patterns.view(stored_dtype(decoder.row)), (slice(0, patterns.size),))
    return values.astype(np.int64 if values.dtype.kind in "iub" else np.float64)


_plain_meanings = lru_cache(maxsize=32)(_meanings)
"""The same for decoders that hold no arrays."""
