"""One table of torch's dtypes: item size, numpy decoding, storage classes.

Sources: torch/storage.py (`_dtype_to_storage_type_map`), torch/_utils.py, c10/core/ScalarType.h.
"""

from __future__ import annotations

from typing import NamedTuple


class DType(NamedTuple):
    """One torch dtype.

    Attributes:
        name: as torch prints it without the ``torch.``, e.g. ``"bfloat16"``.
        itemsize: bytes of one element (of one packed byte where `per_byte` is above 1).
        kind: ``float``, ``complex``, ``int``, ``uint``, ``bool``, ``quantized`` or ``bits`` (opaque).
        numpy: name of the numpy or ml_dtypes type with the same bytes; ``""`` where there is none and we decode.
        component: bytes that are swapped together in a big-endian file.
        per_byte: values in one stored byte that torch's shape counts (quint4x2: 2).
        bits: of one element where they do not fill bytes; 0 where they do. torch has no such types, safetensors has.
    """

    name: str
    itemsize: int
    kind: str
    numpy: str
    component: int
    per_byte: int = 1
    bits: int = 0


def _table() -> dict[str, DType]:
    rows = [DType(f"float{8 * n}", n, "float", f"float{8 * n}", n) for n in (2, 4, 8)]
    rows += [DType(f"int{8 * n}", n, "int", f"int{8 * n}", n) for n in (1, 2, 4, 8)]
    rows += [DType(f"uint{8 * n}", n, "uint", f"uint{8 * n}", n) for n in (1, 2, 4, 8)]
    rows += [
        DType("bool", 1, "bool", "bool", 1),
        DType("bfloat16", 2, "float", "bfloat16", 2),
        DType("complex32", 4, "complex", "", 2),
        DType("complex64", 8, "complex", "complex64", 4),
        DType("complex128", 16, "complex", "complex128", 8),
        DType("float8_e4m3fn", 1, "float", "float8_e4m3fn", 1),
        DType("float8_e5m2", 1, "float", "float8_e5m2", 1),
        DType("float8_e4m3fnuz", 1, "float", "float8_e4m3fnuz", 1),
        DType("float8_e5m2fnuz", 1, "float", "float8_e5m2fnuz", 1),
        DType("float8_e8m0fnu", 1, "float", "float8_e8m0fnu", 1),
        DType("float4_e2m1fn_x2", 1, "bits", "", 1),
        DType("float6_e2m3fn", 1, "bits", "", 1, bits=6),
        DType("float6_e3m2fn", 1, "bits", "", 1, bits=6),
        DType("qint8", 1, "quantized", "int8", 1),
        DType("quint8", 1, "quantized", "uint8", 1),
        DType("qint32", 4, "quantized", "int32", 4),
        DType("quint4x2", 1, "quantized", "", 1, per_byte=2),
        DType("quint2x4", 1, "quantized", "", 1, per_byte=4),
        DType("bits8", 1, "bits", "uint8", 1),
        DType("bits1x8", 1, "bits", "uint8", 1),
        DType("bits2x4", 1, "bits", "uint8", 1),
        DType("bits4x2", 1, "bits", "uint8", 1),
        DType("bits16", 2, "bits", "uint16", 2),
    ]
    rows += [DType(f"uint{n}", 1, "bits", "uint8", 1) for n in range(1, 8)]
    rows += [DType(f"int{n}", 1, "bits", "uint8", 1) for n in range(1, 8)]
    return {row.name: row for row in rows}


DTYPES = _table()
"""Every dtype by its name without ``torch.``; the float6 types exist in safetensors only."""

ITEMSIZES = {"": 1, **{name: row.itemsize for name, row in DTYPES.items()}}
"""Dtype of a storage -> bytes of one element; an untyped one counts bytes."""

ALIASES = {
    "float": "float32", "double": "float64", "half": "float16", "short": "int16", "int": "int32", "long": "int64",
    "cfloat": "complex64", "cdouble": "complex128", "chalf": "complex32",
}  # fmt: skip
"""Second names under which a dtype can be pickled as a global of ``torch``."""

STORAGE_CLASSES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "LongStorage": "int64",
    "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "BFloat16Storage": "bfloat16", "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64", "QInt8Storage": "qint8", "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "", "_UntypedStorage": "",
}  # fmt: skip
"""Name of a storage class -> dtype; ``""`` where the storage is untyped and its numel counts bytes."""

STORAGE_MODULES = frozenset({"torch", "torch.storage", "torch.cuda", "torch._C"})
"""Modules in which those classes are looked for."""


def canonical(name: str) -> str:
    """Return torch's first name of a dtype (``"half"`` -> ``"float16"``)."""
    return ALIASES.get(name, name)
