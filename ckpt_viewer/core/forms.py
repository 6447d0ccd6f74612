"""What tensors have in common, and what storages have: kept once, however many there are.

A checkpoint can have 100,000 tensors of a handful of shapes. Each is an object of its own, since it has a place in the
file; but whoever counts, sums or describes them does so form by form.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ckpt_viewer.core.dtype import DTYPES, ITEMSIZES


class StorageForm:
    """What storages of one size, dtype and device have in common. Compared by identity.

    Attributes:
        location, dtype, numel: as of a `StorageSpec`. nbytes: length in bytes.
    """

    __slots__ = ("dtype", "location", "nbytes", "numel")

    def __init__(self, location: str | None, dtype: str, numel: int) -> None:
        self.location, self.dtype, self.numel = location, dtype, numel
        self.nbytes = numel * ITEMSIZES[dtype]

    @property
    def parts(self) -> tuple[str | None, str, int]:
        """What it is made of: equal for equal forms."""
        return self.location, self.dtype, self.numel


class TensorForm:
    """What tensors that differ in name and storage only have in common. Compared by identity.

    Attributes:
        dtype, shape, stride, offset, requires_grad, type: as of a `TensorSpec`.
        numel: number of elements, 0 without a shape. nbytes: bytes that they take.
    """

    __slots__ = ("dtype", "nbytes", "numel", "offset", "requires_grad", "shape", "stride", "type")

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...] | None,
        stride: tuple[int, ...] | None,
        offset: int,
        requires_grad: bool,
        type: str,
    ) -> None:
        self.dtype, self.shape, self.stride, self.offset = dtype, shape, stride, offset
        self.requires_grad, self.type = requires_grad, type
        self.numel = 0 if shape is None else prod(shape)
        self.nbytes = self._count_bytes()

    def _count_bytes(self) -> int:
        row = DTYPES.get(self.dtype)
        if row is None or self.shape is None:
            return 0
        if row.per_byte > 1:  # packed along the last dimension, each row starts at a byte
            last = self.shape[-1] if self.shape else 1
            return prod(self.shape[:-1]) * (-(-last // row.per_byte))
        if row.bits:
            return -(-self.numel * row.bits // 8)
        return self.numel * row.itemsize

    def with_(self, **changes: Any) -> TensorForm:
        """Return the form that differs in some attributes."""
        fields = {name: getattr(self, name) for name in _FORM}
        return tensor_form(*{**fields, **changes}.values())


_FORM = ("dtype", "shape", "stride", "offset", "requires_grad", "type")
"""What a form is made of, in order."""
MOST_FORMS = 20_000
"""Forms that are kept to be shared; no real file has so many."""
_tensor_forms: dict[tuple[object, ...], TensorForm] = {}
_storage_forms: dict[tuple[object, ...], StorageForm] = {}


def tensor_form(*form: Any) -> TensorForm:
    """Return the form with these attributes, in the order of `TensorForm`; the same for the same ones as a rule."""
    known = _tensor_forms.get(form)
    if known is None:
        if len(_tensor_forms) >= MOST_FORMS:
            _tensor_forms.clear()
        known = _tensor_forms[form] = TensorForm(*form)
    return known


def storage_form(location: str | None, dtype: str, numel: int) -> StorageForm:
    """Return the form with these attributes, the same for the same ones as a rule."""
    form = (location, dtype, numel)
    known = _storage_forms.get(form)
    if known is None:
        if len(_storage_forms) >= MOST_FORMS:
            _storage_forms.clear()
        known = _storage_forms[form] = StorageForm(*form)
    return known
