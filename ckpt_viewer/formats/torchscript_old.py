"""TorchScript of torch 1.0 to 1.3: modules and tensors described in ``model.json``, the bytes in ``tensors/``.

Source: caffe2/proto/torch.proto and caffe2/proto/caffe2.proto of torch 1.0 (the JSON is protobuf's).
"""

from __future__ import annotations

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Instance, Mapping, Members, Value
from ckpt_viewer.errors import Damaged, OverBudget
from ckpt_viewer.formats.base import Inside, Opened, described
from ckpt_viewer.formats.json_values import json_value
from ckpt_viewer.formats.parts import Parts
from ckpt_viewer.formats.torch_zip import Records, check_storages
from ckpt_viewer.formats.torchscript import note_program, texts_of, with_extras
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.formats.zip_members import Members as Files
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.geometry import problem, sizes
from ckpt_viewer.unpickle.weights_only import TORCHSCRIPT

DTYPE_NAMES = {
    "FLOAT": "float32", "INT32": "int32", "BYTE": "uint8", "BOOL": "bool", "UINT8": "uint8", "INT8": "int8",
    "UINT16": "uint16", "INT16": "int16", "INT64": "int64", "FLOAT16": "float16", "DOUBLE": "float64",
}  # fmt: skip
"""caffe2's TensorProto.DataType."""
DEEPEST = 200
MODULE_COST, MEMORY = 1500, 60_000_000
"""Bytes that a module takes in memory, and that the modules of a small file may take."""


def read_old(archive: ZipDirectory, inside: Inside) -> Opened:
    """Read the tree of modules; raises CheckpointError."""
    record = archive.get("model.json")
    if record is None:
        raise Damaged("the archive has no model.json; copy or download the file again")
    model = json_value(archive.read(record), backing(archive.source))
    main = _field(model, "mainModule")
    if not isinstance(main, Mapping):
        raise Damaged("its model.json describes no module; copy or download the file again")
    reader = _Reader(archive, inside, _field(model, "tensors"))
    root = reader.module(main, 0)
    read = described(root, reader.storages)
    parts = Parts(backing(archive.source), archive.notes)
    parts.add(read, tuple(check_storages(reader.home, read, inside.context)))
    note_program(archive, parts)
    return parts.opened(with_extras(root, texts_of(archive, Files(archive), ("code/",))), TORCHSCRIPT)


def _field(value: Value, name: str, default: Value = None) -> Value:
    return value.get(name, default) if isinstance(value, Mapping) else default


def _number(value: Value) -> int:
    """Return a 64-bit integer, which protobuf writes as text into JSON; raises Damaged for anything else."""
    if type(value) is str and len(value) < 20 and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
        return int(value)
    if type(value) is int:
        return value
    raise Damaged("its model.json has a number that is none; it is damaged")


class _Reader:
    """Builds modules and tensors.

    Attributes:
        home: where the storages are. storages: by key.
    """

    def __init__(self, archive: ZipDirectory, inside: Inside, tensors: Value) -> None:
        if not isinstance(tensors, list):
            tensors = []
        self.home = Records(archive, inside.prefix, "")
        self.storages: dict[str, StorageSpec] = {}
        self.inside = inside
        self.left = MEMORY + 15 * backing(archive.source)
        self.tensors = [self._tensor(each) for each in tensors]

    def _tensor(self, fields: Value) -> TensorSpec:
        self.inside.context.step(len(self.storages), 0)
        dtype = DTYPE_NAMES.get(str(_field(fields, "dataType")))
        key, device = _field(_field(fields, "data"), "key"), _field(fields, "device", "cpu")
        shape, stride = (self._numbers(_field(fields, name)) for name in ("dims", "strides"))
        offset = _number(_field(fields, "offset", 0))
        if dtype is None or type(key) is not str or type(device) is not str or shape is None or stride is None:
            raise Damaged("its model.json has a tensor without dtype, bytes or sizes; it is damaged")
        wrong = problem(self._storage(key, device, dtype), dtype, offset, shape, stride) if offset >= 0 else "offset"
        if wrong:
            raise Damaged(f"the tensor of {key!r} cannot be read: {wrong}")
        grad = _field(fields, "requiresGrad") is True
        return TensorSpec(self.storages[key], dtype, shape, stride, offset, grad)

    def _storage(self, key: str, device: str, dtype: str) -> StorageSpec:
        if key not in self.storages:
            record = self.home.record(key)
            numel = record.size // DTYPES[dtype].itemsize if record is not None else 0
            self.storages[key] = StorageSpec(key, device, dtype, numel, self.home)
        return self.storages[key]

    @staticmethod
    def _numbers(value: Value) -> tuple[int, ...] | None:
        return sizes([_number(each) for each in value]) if isinstance(value, list) else ()

    def module(self, fields: Value, depth: int) -> Instance:
        """Return a module with its tensors and submodules as attributes; raises Damaged."""
        if depth > DEEPEST:
            raise Damaged(f"its model.json has modules nested more than {DEEPEST} deep; it is damaged or hostile")
        self.left -= MODULE_COST
        if self.left < 0:
            raise OverBudget("its model.json has more modules than its file can justify; it is damaged or hostile")
        state = Mapping()
        buffers: set[str] = set()
        parameters: set[str] = set()
        for each in _listed(_field(fields, "parameters")):
            name, number = _name(each), _number(_field(each, "tensorId", 0))
            if not 0 <= number < len(self.tensors):
                raise Damaged(f"its model.json has no tensor {number}; it is damaged")
            tensor = self.tensors[number]
            (buffers if _field(each, "isBuffer") is True else parameters).add(name)
            state.pairs += (name, tensor)
        for each in _listed(_field(fields, "submodules")):
            state.pairs += (_name(each), self.module(each, depth + 1))
        made = Instance(Global("torch.jit", "ScriptModule"), (), new=True)
        assert isinstance(made.callable, Global)
        made.callable.members = Members(frozenset(parameters), frozenset(buffers))
        made.state = state
        return made


def _listed(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []


def _name(fields: Value) -> str:
    name = _field(fields, "name")
    if type(name) is not str or len(name) > 4096:
        raise Damaged("its model.json has a module or a tensor without a name; it is damaged")
    return name
