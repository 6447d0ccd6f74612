"""What torch.load(weights_only=True) would say of a pickle, found while it is read and without running anything.

Source: torch/_weights_only_unpickler.py of torch 2.13. It stops at the first thing that it does not like, so the first
`Refusal` in the order of the opcodes is the answer. Other versions differ: the list of names grows.
"""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.dtype import DTYPES

VERSION = "2.13"
"""The version of torch whose rules these are."""


class Refusal(NamedTuple):
    """Why a file is refused.

    Attributes:
        reason: for people, to be put behind a colon. message: torch's own words, without its advice.
    """

    reason: str
    message: str


_TYPED = "Double Float Half Long Int Short Char Byte Bool BFloat16".split()
_STORAGES = [f"{name}Storage" for name in (*_TYPED, "ComplexDouble", "ComplexFloat")]
_QUANTISED = [f"{name}Storage" for name in ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")]
_SPARSE = [f"{name}Tensor" for name in _TYPED if name != "Bool"]

ALLOWED = frozenset(
    [f"torch.{name}" for name in (*_STORAGES, *_QUANTISED, *DTYPES) if not name.startswith("float6_")]
    + [f"torch.cuda.{name}" for name in _STORAGES]
    + [f"{module}.{name}Tensor" for module in ("torch", "torch.cuda") for name in _TYPED]
    + [f"{module}.{name}" for module in ("torch.sparse", "torch.cuda.sparse") for name in _SPARSE]
    + """torch.storage.TypedStorage torch.storage.UntypedStorage torch.Size torch.Tensor torch.device
    torch.nn.parameter.Parameter torch.per_channel_affine torch.per_channel_affine_float_qparams
    torch.per_channel_symmetric torch.per_tensor_affine torch.per_tensor_symmetric
    torch.serialization._get_layout torch._tensor._rebuild_from_type_v2
    torch._utils._rebuild_device_tensor_from_cpu_tensor torch._utils._rebuild_device_tensor_from_numpy
    torch._utils._rebuild_meta_tensor_no_storage torch._utils._rebuild_nested_tensor
    torch._utils._rebuild_parameter torch._utils._rebuild_parameter_with_state torch._utils._rebuild_qtensor
    torch._utils._rebuild_sparse_tensor torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2
    torch._utils._rebuild_tensor_v3 torch._utils._rebuild_wrapper_subclass _codecs.encode builtins.bytearray
    builtins.complex builtins.set collections.Counter collections.OrderedDict""".split()
)
"""Names that are allowed without the user's doing (`_get_allowed_globals`)."""

_BLOCKED = frozenset({"sys", "os", "posix", "nt"})
"""Modules from which nothing is taken, not even on request (`_blocklisted_modules`)."""

_NESTED = frozenset(
    """torch.nested._internal.nested_tensor.NestedTensor torch.nested._internal.nested_tensor._rebuild_njt
    torch._dynamo.decorators._DimRange""".split()
)
_DISTRIBUTED = frozenset(
    """torch.distributed.device_mesh.DeviceMesh torch.distributed.tensor._dtensor_spec.DTensorSpec
    torch.distributed.tensor._dtensor_spec.TensorMeta torch.distributed.tensor.DTensor
    torch.distributed.tensor.placement_types.Partial torch.distributed.tensor.placement_types.Replicate
    torch.distributed.tensor.placement_types.Shard""".split()
)

_MODULES = {
    "__builtin__": "builtins", "copy_reg": "copyreg", "Queue": "queue", "repr": "reprlib",
    "_abcoll": "collections.abc", "UserDict": "collections", "UserList": "collections", "UserString": "collections",
    "whichdb": "dbm", "StringIO": "io", "cStringIO": "io",
}  # fmt: skip
_NAMES = {
    ("__builtin__", "xrange"): ("builtins", "range"), ("__builtin__", "reduce"): ("functools", "reduce"),
    ("__builtin__", "intern"): ("sys", "intern"), ("__builtin__", "unichr"): ("builtins", "chr"),
    ("__builtin__", "unicode"): ("builtins", "str"), ("__builtin__", "basestring"): ("builtins", "str"),
    ("__builtin__", "long"): ("builtins", "int"), ("itertools", "izip"): ("builtins", "zip"),
    ("itertools", "imap"): ("builtins", "map"), ("itertools", "ifilter"): ("builtins", "filter"),
    ("itertools", "ifilterfalse"): ("itertools", "filterfalse"),
    ("itertools", "izip_longest"): ("itertools", "zip_longest"),
    ("UserDict", "IterableUserDict"): ("collections", "UserDict"),
    ("UserDict", "UserDict"): ("collections", "UserDict"),
    ("exceptions", "StandardError"): ("builtins", "Exception"),
}  # fmt: skip
"""How torch spells Python 2 names (`torch._utils.IMPORT_MAPPING` and `NAME_MAPPING`), fewer than Python knows."""


def spelled(module: str, name: str) -> tuple[str, str]:
    """Return a name as torch looks it up, whatever the protocol."""
    return _NAMES.get((module, name)) or (_MODULES.get(module, module), name)


def of_name(module: str, name: str) -> Refusal | None:
    """Return how a GLOBAL is refused; None if it is allowed.

    Args:
        module, name: as in the file.
    """
    module, name = spelled(module, name)
    full = f"{module}.{name}"
    reason = f"it names {full}"
    if module in _BLOCKED:
        return Refusal(reason, f"Trying to load unsupported GLOBAL {full} whose module {module} is blocked.")
    if full in ALLOWED:
        return None
    if full in _NESTED:
        must = "``torch.nested`` and ``torch._dynamo`` must be imported to load nested jagged tensors (NJTs)"
        return Refusal(reason, must)
    if full in _DISTRIBUTED:
        return Refusal(reason, "``torch.distributed.tensor`` must be imported to load DTensors")
    shown = full.removeprefix("builtins.") if full.startswith("builtins.") else full
    return Refusal(
        reason,
        f"Unsupported global: GLOBAL {shown} was not an allowed global by default. "
        f"Please use `torch.serialization.add_safe_globals([{shown}])` or the "
        f"`torch.serialization.safe_globals([{shown}])` context manager to allowlist this global "
        "if you trust this class/function.",
    )


def of_opcode(code: int, protocol: int) -> Refusal:
    """Return how an opcode is refused that it does not know."""
    return Refusal(f"pickle opcode {code} (protocol {protocol})", f"Unsupported operand {code}")


CALLED = Refusal("it calls what another call returned", "Trying to call reduce for unrecognized function")
MADE = Refusal(
    "it makes an object of a class that is computed",
    "Can only create new object for nn.Parameter or classes allowlisted",
)
BUILT = Refusal(
    "it sets attributes on a plain value", "Can only build Tensor, Parameter, OrderedDict or types allowlisted"
)
APPENDED = Refusal("it appends to what is no list", "Can only append to lists")
EXTENDED = Refusal("it extends what is no list", "Can only extend lists")
PERSISTENT = Refusal("it refers to something that is no storage", "Only persistent_load of storage is allowed")
NO_STORAGE = Refusal("it refers to something outside of the pickle", "persistent_load id must be tuple or int")
OTHER_FILE = Refusal("it is a plain pickle, for pickle.load", "Invalid magic number; corrupt file?")
OLD_FOLDER = Refusal(
    "its storages lie where only torch 1.4 looked for them", "PytorchStreamReader failed locating file data/"
)
TORCHSCRIPT = Refusal(
    "it is a TorchScript archive, which torch.jit.load reads",
    "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``",
)
TAR = Refusal(
    "it is a tar archive of torch 0.1", "Cannot use ``weights_only=True`` with files saved in the legacy .tar format"
)
_NO_PICKLE = "PytorchStreamReader failed locating file data.pkl"
PACKAGE = Refusal("torch.load reads no torch.package archive, but torch.package.PackageImporter does", _NO_PICKLE)
EXPORT = Refusal("torch.load reads no torch.export program, but torch.export.load does", _NO_PICKLE)
OLD_EXPORT = Refusal(EXPORT.reason, "file in archive is not in a subdirectory")
ORDINARY_ZIP = Refusal("torch.load reads no ordinary zip archive, but the checkpoints inside of it", "")
