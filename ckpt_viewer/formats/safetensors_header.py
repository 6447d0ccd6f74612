"""The JSON header of a safetensors file, read as strictly as by the reference reader (safetensors/src/tensor.rs)."""

from __future__ import annotations

import codecs
import re
from array import array
from contextlib import suppress
from typing import Any, NamedTuple, TypeGuard

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import EVERY, Context, stepped
from ckpt_viewer.core.regions import row_major
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.errors import Damaged, OverBudget
from ckpt_viewer.formats.json_text import JsonText

METADATA = "__metadata__"
_WORD = (1 << 64) - 1

DTYPE_OF = {
    "BOOL": "bool", "F4": "float4_e2m1fn_x2", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn", "U8": "uint8",
    "I8": "int8", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "I16": "int16", "U16": "uint16",
    "F16": "float16", "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32", "C64": "complex64",
    "F64": "float64", "I64": "int64", "U64": "uint64",
}  # fmt: skip
"""The format's name of a dtype -> torch's."""
_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}

# what every writer known to us writes; anything else that the format allows takes the longer way of `_entry`
_INTEGER = "(?:0|[1-9][0-9]{0,18})"
_USUAL = re.compile(
    r"""[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ ]*:[ ]*\{[ ]*"dtype"[ ]*:[ ]*"([A-Z0-9_]+)"[ ]*,"""
    rf"""[ ]*"shape"[ ]*:[ ]*\[((?:{_INTEGER}(?:,[ ]*{_INTEGER})*)?)\][ ]*,"""
    rf"""[ ]*"data_offsets"[ ]*:[ ]*\[({_INTEGER}),[ ]*({_INTEGER})\][ ]*\}}[ ]*([,}}])"""
)


class Kind(NamedTuple):
    """What a dtype and a shape come to.

    Attributes:
        dtype, shape, stride: torch's. nbytes: of the data. storage: dtype of the storage, ``""`` for bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    nbytes: int
    storage: str


class Table:
    """The tensors in the order of the header.

    Attributes:
        rows: name -> row. kinds: of each row. begins, ends: where its bytes lie, from the start of the data.
        end: where the data of the last ends, as long as `ordered`: each began where the one before it ended.
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.kinds: list[Kind] = []
        self.begins, self.ends = array("Q"), array("Q")
        self.end, self.ordered = 0, True

    def add(self, name: str, kind: Kind, begin: int, end: int) -> None:
        """Append a tensor; raises Damaged."""
        row = len(self.kinds)
        if end - begin != kind.nbytes:
            raise _wrong(name, f"has bytes {begin} to {end}, and its dtype and shape need {kind.nbytes}")
        if self.rows.setdefault(name, row) != row:
            raise _wrong(name, "comes twice in the header")
        self.kinds.append(kind)
        self.begins.append(begin)
        self.ends.append(end)
        if begin != self.end:
            self.ordered = False
        self.end = end

    def check(self, context: Context) -> int:
        """Return where the data ends; raises Damaged where it has a hole, or bytes of two tensors."""
        if self.ordered:
            return self.end
        begins, ends, end = self.begins, self.ends, 0
        for row in stepped(sorted(range(len(begins)), key=lambda row: (begins[row], ends[row])), context):
            if begins[row] != end:
                what = "a hole before it" if begins[row] > end else "bytes that belong to another tensor too"
                raise _wrong(list(self.rows)[row], f"has {what} in the data")
            end = ends[row]
        return end


def read_header(data: bytes, context: Context) -> tuple[Table, Mapping | None]:
    """Return the tensors and the file's metadata, None without.

    Raises:
        Damaged, OverBudget: the reference reader would refuse it, or readers disagree on it. Cancelled: by `context`.
    """
    header = _Header(JsonText.decoded(data, "the safetensors header"), context)
    return header.read(), header.metadata


def read_beginning(data: bytes, context: Context) -> tuple[Table, Mapping | None]:
    """Return the same of a header that is cut off: the tensors that stand before its end, or before what is damaged.

    Raises:
        Damaged: it is no text. Cancelled: by `context`.
    """
    try:
        whole = codecs.utf_8_decode(data, "strict", False)[1]  # it may end within a character
    except UnicodeDecodeError:
        whole = len(data)
    header = _Header(JsonText.decoded(data[:whole], "the safetensors header"), context)
    with suppress(Damaged, OverBudget):
        header.read()
    return header.table, header.metadata


class _Header:
    """Reads the header.

    Attributes:
        table: the tensors that have been read. metadata: of the file, once it is read; None without.
    """

    def __init__(self, json: JsonText, context: Context) -> None:
        self.json, self.context, self.table = json, context, Table()
        self.metadata: Mapping | None = None
        self._seen_metadata = False
        self._kinds: dict[tuple[str, str], Kind] = {}

    def read(self) -> Table:
        """Return all tensors; raises Damaged, OverBudget, Cancelled."""
        table, json = self.table, self.json
        for name in json.members():
            self._member(name, table)
            self._usual_members(table)
            self.context.step(json.at, len(json.text))
        json.finish()
        self.context.step(len(json.text), len(json.text))
        return table

    def _usual_members(self, table: Table) -> None:
        """Take as many members as follow in the usual form, up to the comma before the last of them."""
        json, kinds, match = self.json, self._kinds, _USUAL.match
        text, total = json.text, len(json.text)
        if json.peek() != ",":
            return
        at, count = json.at + 1, 0
        while (found := match(text, at)) is not None:
            name, dtype, shape, begin, end, after = found.groups()
            kind = kinds.get((dtype, shape))
            if kind is None:
                if dtype not in DTYPE_OF:
                    break
                sizes = tuple(map(int, shape.split(","))) if shape else ()
                kind = kinds[dtype, shape] = _kind(name, dtype, sizes)
            if name == METADATA:
                break
            table.add(name, kind, int(begin), int(end))
            at = found.end()
            json.at = at - 1
            if after == "}":
                break
            count += 1
            if count % EVERY == 0:
                self.context.step(at, total)

    def _member(self, name: str, table: Table) -> None:
        json = self.json
        if name != METADATA:
            table.add(name, *_entry(name, json.value()))
            return
        if self._seen_metadata:
            raise json.problem(f"has {METADATA} twice")
        self._seen_metadata = True
        if json.peek() == "n" and json.value() is None:
            return
        self.metadata = Mapping()
        seen: set[str] = set()
        for key in json.members():
            if key in seen:
                raise json.problem(f"has {shorten(key, 60)!a} twice in its {METADATA}")
            seen.add(key)
            self.metadata.pairs += (key, json.string())
            self.context.step(json.at, len(json.text))


def _wrong(name: str, problem: str) -> Damaged:
    return Damaged(f"tensor {shorten(name, 100)!a} {problem}; copy or download the file again")


def _entry(name: str, value: Any) -> tuple[Kind, int, int]:
    """Return what the header says of a tensor; raises Damaged."""
    if not isinstance(value, dict):
        raise _wrong(name, "is not described by a JSON object")
    dtype, shape, offsets = (value.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPE_OF:
        raise _wrong(name, f"has the dtype {shorten(str(dtype), 60)!a}, which the format does not know")
    if not _are_words(shape):
        raise _wrong(name, "has no list of sizes as its shape")
    if not _are_words(offsets) or len(offsets) != 2:
        raise _wrong(name, "has no pair of data_offsets")
    return _kind(name, dtype, tuple(shape)), offsets[0], offsets[1]


def _are_words(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each <= _WORD for each in value)


def _kind(name: str, dtype: str, shape: tuple[int, ...]) -> Kind:
    """Count bytes as the reference reader does, which works with 64 bits; raises Damaged."""
    numel = 1
    for size in shape:
        numel *= size
        if numel > _WORD:
            raise _wrong(name, "has a shape of more elements than 64 bits can count")
    torch_dtype = DTYPE_OF[dtype]
    bits = numel * (_BITS.get(dtype) or 8 * DTYPES[torch_dtype].itemsize)
    if bits > _WORD:
        raise _wrong(name, "has a shape of more bits than 64 bits can count")
    if bits % 8:
        raise _wrong(name, "does not end at a whole byte")
    storage = "" if dtype in _BITS else torch_dtype
    if dtype == "F4":  # torch counts bytes
        if shape[-1] % 2 == 0:
            shape = (*shape[:-1], shape[-1] // 2)
        else:
            shape = (numel // 2,)
    return Kind(torch_dtype, shape, row_major(shape), bits // 8, storage)
