"""Stored numbers -> values: packed, quantised, half-precision complex, conjugated and negated ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckpt_viewer.core.dtype import DTYPES, DType
from ckpt_viewer.core.tensor import Quantization, TensorSpec
from ckpt_viewer.core.value import Sequence, Value
from ckpt_viewer.errors import Damaged, Unsupported

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array, Index, Pick

FLOAT4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
"""Values of the sixteen patterns of float4_e2m1fn."""


def stored_dtype(row: DType) -> np.dtype[Any]:
    """Return the numpy type with the bytes of one stored element; unsigned integers where there is none.

    Raises:
        Unsupported: this ml_dtypes is too old to know the type.
    """
    if row.kind == "bool":
        return np.dtype(np.uint8)
    if not row.numpy:
        return np.dtype(f"u{row.itemsize}")
    if hasattr(np, row.numpy):
        return np.dtype(row.numpy)
    import ml_dtypes

    known: type[Any] | None = getattr(ml_dtypes, row.numpy, None)
    if known is None:
        raise Unsupported(f"this ml_dtypes knows no {row.name}; install a newer one (pip install -U ml_dtypes)")
    return np.dtype(known)


class Affine(NamedTuple):
    """Dequantisation: ``(q - zero_point) * scale``, in the precision that torch computes it in.

    Attributes:
        scale, zero_point: 0-dimensional for one pair, else one-dimensional along `axis`.
        axis: dimension of the channels, None for one pair.
    """

    scale: Array
    zero_point: Array
    axis: int | None

    def values(self, numbers: Array, index: Index) -> Array:
        """Return float32 values of integers that lie at `index` of the tensor."""
        scale, zero = self.scale, self.zero_point
        if self.axis is None:
            shifted: Array = np.subtract(numbers, zero, dtype=np.int64).astype(np.float32)
            product: Array = np.multiply(shifted, np.float32(scale))
            return product
        shape = [-1 if d == self.axis else 1 for d in range(numbers.ndim)]
        scale, zero = (part[index[self.axis]].reshape(shape) for part in (scale, zero))
        shifted = numbers.astype(np.float32) - zero.astype(np.float32)
        return (shifted * scale).astype(np.float32)


class Decoder(NamedTuple):
    """What makes values of a tensor's stored elements.

    Attributes:
        row: the tensor's dtype. conj, neg: whether to conjugate, negate. affine: None if not quantised.
    """

    row: DType
    conj: bool = False
    neg: bool = False
    affine: Affine | None = None

    @property
    def per_stored(self) -> int:
        """Values in one stored byte, along the last dimension."""
        return 2 if self.row.name == "float4_e2m1fn_x2" else self.row.per_byte

    @property
    def axis(self) -> int | None:
        """The dimension along which values depend on their index, None if on none."""
        return self.affine.axis if self.affine else None

    @property
    def plain(self) -> bool:
        """Whether the stored elements are the values."""
        return not (self.conj or self.neg or self.affine or self.per_stored > 1 or self.row.kind == "bool") and bool(
            self.row.numpy
        )

    @property
    def result(self) -> np.dtype[Any]:
        """Type of the values."""
        if self.affine or self.row.name == "float4_e2m1fn_x2":
            return np.dtype(np.float32)
        if self.row.kind == "bool":
            return np.dtype(np.bool_)
        return np.dtype(np.complex64) if self.row.name == "complex32" else stored_dtype(self.row)

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the values of stored elements whose last dimension is whole."""
        return stored if self.per_stored == 1 else (*stored[:-1], stored[-1] * self.per_stored)

    def place(self, index: Index) -> Index:
        """Return where the values of the stored elements at `index` belong."""
        per = self.per_stored
        return index if per == 1 else (*index[:-1], slice(index[-1].start * per, index[-1].stop * per))

    def take(self, picks: tuple[Pick, ...]) -> Decoder:
        """Return the decoder of some indices of the stored elements; rows of packed numbers must be whole."""
        affine = self.affine
        if affine is None or affine.axis is None or (self.per_stored > 1 and affine.axis == len(picks) - 1):
            return self
        start, count, step = picks[affine.axis]
        chosen = slice(start, start + count * step, step) if count else slice(0, 0)
        return self._replace(affine=Affine(affine.scale[chosen], affine.zero_point[chosen], affine.axis))

    def values(self, stored: Array, index: Index) -> Array:
        """Return the values of stored elements that lie at `index` of the stored shape."""
        if self.row.kind == "bool":
            return stored.astype(np.bool_)
        if self.row.name == "complex32":
            stored = stored[..., None].view(np.float16).astype(np.float32).view(np.complex64)[..., 0]
        if self.per_stored > 1:
            stored, index = self.unpack(stored), self.place(index)
        if self.row.name == "float4_e2m1fn_x2":
            stored = FLOAT4[stored]
        if self.affine:
            stored = self.affine.values(stored, index)
        if self.conj:
            stored = np.conjugate(stored)
        return np.negative(stored) if self.neg else stored

    def unpack(self, stored: Array) -> Array:
        """Return the numbers in each byte along the last dimension, low bits first."""
        bits = 8 // self.per_stored
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        numbers: Array = (stored[..., None] >> shifts) & np.uint8((1 << bits) - 1)
        return numbers.reshape(*stored.shape[:-1], -1)

    def unpacked(self) -> Decoder:
        """Return the decoder of the same numbers with one in each byte."""
        return self._replace(row=self.row._replace(per_byte=1, numpy="uint8"))

    def resolved(self, stored: Array) -> Array:
        """Return stored elements with conjugation and negation applied, in the same type."""
        if self.row.name == "complex32":  # the imaginary half lies in the high bits
            flip = (0x80000000 if self.conj else 0) ^ (0x80008000 if self.neg else 0)
            flipped: Array = np.bitwise_xor(stored, np.uint32(flip))
            return flipped
        if self.conj:
            stored = np.conjugate(stored)
        return np.negative(stored) if self.neg else stored


def decoder_of(tensor: TensorSpec) -> Decoder:
    """Return what decodes a tensor.

    Raises:
        Unsupported: a dtype that this version does not know. Damaged: unfit quantisation parameters.
    """
    row = DTYPES.get(tensor.dtype)
    if row is None:
        raise Unsupported(f"values of dtype {tensor.dtype!a} are not known; load it with torch")
    extra = tensor.extra
    shape = tensor.shape or ()
    if extra is None:
        return Decoder(row)
    affine = _affine(extra.quantization, shape) if extra.quantization else None
    number = row.kind in ("float", "complex", "int") or affine is not None
    return Decoder(row, extra.conj and row.kind == "complex", extra.neg and number, affine)


def _affine(quantization: Quantization, shape: tuple[int, ...]) -> Affine:
    axis = quantization.axis
    if axis is None:
        return Affine(_numbers(quantization.scale, 1)[0], _numbers(quantization.zero_point, 1)[0], None)
    if not 0 <= axis < len(shape):
        raise Damaged(f"the channels of a quantised tensor run along dimension {axis} of {len(shape)}")
    return Affine(_numbers(quantization.scale, shape[axis]), _numbers(quantization.zero_point, shape[axis]), axis)


def _numbers(value: Value, count: int) -> Array:
    if isinstance(value, TensorSpec):
        kind = DTYPES[value.dtype].kind if value.dtype in DTYPES else ""
        if kind in ("float", "int", "uint") and value.numel == count:
            from ckpt_viewer.core.decode import to_numpy

            return to_numpy(value, copy=True).reshape(-1)
    items = value.items if isinstance(value, Sequence) else value
    items = items if isinstance(items, list | tuple) else [items]
    if len(items) == count and all(
        type(item) is float or (type(item) is int and abs(item) < 1 << 62) for item in items
    ):
        return np.array(items, np.int64 if items and all(type(item) is int for item in items) else np.float64)
    raise Damaged("a quantised tensor has no fitting scale and zero point; load it with torch")
