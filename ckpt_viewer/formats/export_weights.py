"""Tensors that a ``.pt2`` describes in JSON, one record of raw bytes for each storage.

Source: `PayloadMeta` and `TensorMeta` in torch/_export/serde/schema.py; their dtype numbers are not those of c10.
"""

from __future__ import annotations

from contextlib import suppress

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import Damaged, OverBudget
from ckpt_viewer.formats.base import Inside
from ckpt_viewer.formats.json_text import JsonText
from ckpt_viewer.formats.json_values import check_cost, json_value
from ckpt_viewer.formats.torch_zip import Records
from ckpt_viewer.formats.zip_directory import Record, ZipDirectory
from ckpt_viewer.unpickle.geometry import problem, sizes
from ckpt_viewer.unpickle.recipes_torch import PARAMETER

DTYPE_NUMBERS = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
    34: "uint32", 35: "uint64",
}  # fmt: skip
"""schema.ScalarType."""
STRIDED = 7
"""schema.Layout."""
UNFINISHED = "unfinished-names"
"""Code of the note that a configuration breaks off, so that not all tensors have their names."""


def config_left(data: bytes, justified: int) -> Mapping:
    """Return the entries of a configuration that stand before its end, or before what is damaged.

    Raises:
        OverBudget: as `json_value`.
    """
    check_cost(data, justified)
    config, json = Mapping(), JsonText(data.decode("utf-8", "replace"), "the configuration")
    with suppress(Damaged, OverBudget):
        for part in json.members():
            if part != "config":
                json.value()
                continue
            for name in json.members():
                begin = json.at
                json.value()
                config.pairs += (name, json_value(json.text[begin : json.at].encode()))
    return config


class Weights:
    """Makes tensors out of one configuration.

    Attributes:
        storages: by name of their record. notes: what was noticed.
    """

    def __init__(self, archive: ZipDirectory, inside: Inside, folder: str) -> None:
        self.home = Records(archive, f"{inside.prefix}{folder}", folder)
        self.storages: dict[str, StorageSpec] = {}
        self.notes: list[Note] = []

    def record(self, fields: Mapping) -> Record | None:
        """Return the record with the payload that an entry names; None if there is none."""
        path = fields.get("path_name")
        return self.home.record(path) if type(path) is str else None

    def tensor(self, name: str, fields: Value) -> Value:
        """Return the tensor that an entry describes; the entry itself, and a note, where it describes none."""
        meta = fields.get("tensor_meta") if isinstance(fields, Mapping) else None
        if not isinstance(fields, Mapping) or not isinstance(meta, Mapping):
            return fields  # a constant that is no tensor
        made = self._make(fields, meta)
        if isinstance(made, TensorSpec):
            return made.with_(type=PARAMETER) if fields.get("is_param") is True else made
        self.notes.append(Note("error", "bad-tensor", fields, f"{name!r} cannot be read: {made}"))
        return fields

    def _make(self, fields: Mapping, meta: Mapping) -> TensorSpec | str:
        """Return a tensor, or what is wrong with its description."""
        path, number = fields.get("path_name"), meta.get("dtype")
        dtype = DTYPE_NUMBERS.get(number) if type(number) is int else None
        shape, stride, offset = (
            _sizes(meta.get("sizes")),
            _sizes(meta.get("strides")),
            _integer(meta.get("storage_offset")),
        )
        if type(path) is not str or dtype is None:
            return "its record or its dtype is unknown"
        if shape is None or stride is None or offset is None or meta.get("layout", STRIDED) != STRIDED:
            return "its sizes are no plain numbers, or it is not dense"
        storage = self._storage(path, meta.get("device"))
        if storage is None:
            return f"the archive has no record {path!r}"
        wrong = problem(storage, dtype, offset, shape, stride)
        return wrong or TensorSpec(storage, dtype, shape, stride, offset, meta.get("requires_grad") is True)

    def _storage(self, path: str, device: Value) -> StorageSpec | None:
        if path not in self.storages:
            record = self.home.record(path)
            if record is None:
                return None
            spec = StorageSpec(path, _device(device), "", record.size, self.home)
            self.storages[path] = spec
        return self.storages[path]


def _integer(value: Value) -> int | None:
    """Return the number of a SymInt that is one: ``{"as_int": 3}``."""
    number = value.get("as_int") if isinstance(value, Mapping) else value
    return number if type(number) is int and 0 <= number < 1 << 62 else None


def _sizes(value: Value) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    return sizes([_integer(each) for each in value])


def _device(value: Value) -> str:
    kind = value.get("type") if isinstance(value, Mapping) else None
    index = value.get("index") if isinstance(value, Mapping) else None
    if type(kind) is not str or len(kind) > 100:
        return "cpu"
    return f"{kind}:{index}" if type(index) is int else kind
