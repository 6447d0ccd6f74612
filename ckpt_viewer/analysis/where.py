"""Where would it load? Every device tag in a file, what torch.load makes of it here, and what a device cannot hold.

Sources: torch/serialization.py (`load`, `_get_restore_location`), torch/_utils.py (`_get_restore_location`, the rebuild
functions), torch/jit/_serialization.py (`validate_map_location`), all of 2.13; tried against them in the tests. For MPS
aten/src/ATen/mps/EmptyTensor.cpp (`empty_mps`, which `_rebuild_tensor` calls) and
aten/src/ATen/native/mps/OperationUtils.mm (`getMPSDataType`, which every operation asks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ckpt_viewer.analysis.loaders import failure
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.errors import BadMapLocation

CALLABLE = "Callable map_location not supported with _rebuild_wrapper_subclass or _rebuild_device_tensor_from_numpy"
SAFETENSORS = (
    "Loading safetensors file with {} map_location is not supported. Use a device string or torch.device instead."
)
SCRIPT = "map_location should be either None, string or torch.device, but got type: "
MPS = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please use float32 "
    "instead."
)
MPS_LATER = "Trying to convert {} to the MPS backend but it does not have support for that dtype."
MPS_UNKNOWN = ("complex128", "float8_", "float4_", "bits")
"""How dtypes begin of which MPS keeps the bytes, and with which no operation of it works."""
QUANTISED = "Could not run 'aten::_empty_affine_quantized' with arguments from the '{}' backend"
CHANNELS = "Could not run 'aten::_empty_per_channel_affine_quantized' with arguments from the '{}' backend"
NESTED = "aten::_nested_view_from_buffer: attempted to run this operator with Meta tensors"
BACKENDS = {"meta": "QuantizedMeta", "mps": "MPS"}


class Place(NamedTuple):
    """What becomes of all storages with one tag.

    Attributes:
        tag: as saved; None where the file states none.
        device: what map_location makes of it; ``""`` where it fails before that.
        nbytes, storages: how much it is; 0 storages for tensors that name a device themselves.
        dtypes: of the tensors on it, in order of appearance.
        message: what torch.load raises here; ``""`` if it does not.
        stays: whether no map_location moves it (meta tensors without a storage).
    """

    tag: str | None
    device: str
    nbytes: int
    storages: int
    dtypes: tuple[str, ...]
    message: str
    stays: bool = False


class Unheld(NamedTuple):
    """A kind of tensor that a device cannot hold.

    Attributes:
        what: a dtype, or ``nested``. device: where it would go. tensors: how many there are.
        message: what torch raises.
        later: whether torch.load passes all the same, and the first operation on it raises.
    """

    what: str
    device: str
    tensors: int
    message: str
    later: bool = False

    @property
    def words(self) -> str:
        """What happens: ``3 tensors: ...``."""
        many, loads = ("1 tensor", "loads") if self.tensors == 1 else (f"{self.tensors} tensors", "load")
        return f"{many}{f' {loads}, and the first operation raises' if self.later else ''}: {self.message}"


class Where(NamedTuple):
    """The answer for a whole file.

    Attributes:
        places: in order of first appearance. unheld: what their devices cannot hold.
        refusal: what is raised because this loader takes no map_location of this form; ``""`` if it does.
    """

    places: tuple[Place, ...]
    unheld: tuple[Unheld, ...]
    refusal: str = ""

    @property
    def error(self) -> str:
        """What torch.load raises, as far as devices go; ``""`` if it does not."""
        first = next((place.message for place in self.places if place.message), "")
        return self.refusal or first or next((each.message for each in self.unheld if not each.later), "")


def where(checkpoint: Checkpoint, devices: Sequence[str] | None, context: Context = SILENT) -> Where:
    """Return where everything goes under the checkpoint's map_location.

    Args:
        devices: names of this machine's devices, ``"cpu"`` first; None where they are not known.
    """
    table = _Table(checkpoint, devices)
    for value in stepped(checkpoint.outline.values, context):
        if type(value) is TensorSpec:
            table.add(value)
        elif type(value) is StorageSpec:
            table.add_storage(value)
    return Where(table.places(), tuple(table.unheld.values()), _form_refusal(checkpoint))


class _Sum:
    """What was found with one tag so far, and what torch.load raises for it."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.nbytes = self.storages = 0
        self.dtypes: dict[str, None] = {}


class _Table:
    def __init__(self, checkpoint: Checkpoint, devices: Sequence[str] | None) -> None:
        self.checkpoint, self.locator, self.devices = checkpoint, checkpoint.locator, devices
        self.sums: dict[tuple[str | None, str, bool], _Sum] = {}
        self.unheld: dict[tuple[str, str], Unheld] = {}
        self._seen: set[int] = set()

    def places(self) -> tuple[Place, ...]:
        return tuple(
            Place(tag, device, each.nbytes, each.storages, tuple(each.dtypes), each.message, stays)
            for (tag, device, stays), each in self.sums.items()
        )

    def add(self, tensor: TensorSpec) -> None:
        """Count a tensor and what it is made of, by the tag that it was saved with."""
        if id(tensor) in self._seen:
            return
        self._seen.add(id(tensor))
        extra = tensor.extra
        for part in extra.parts.values() if extra is not None else ():
            self.add(part)
        try:
            device, message = self.locator.tensor(tensor), ""
        except BadMapLocation as error:
            device, message = "", str(error)
        if device in BACKENDS:
            self._note_unheld(tensor, device)
        if tensor.storage is None and (extra is None or extra.device is None):
            return  # nothing of its own: what it is made of was added
        rebuilt = extra is not None and extra.rebuilt
        stays = extra is not None and extra.device is not None and not rebuilt
        tag = extra.device if rebuilt and extra is not None else tensor.location
        if rebuilt and tensor.storage is not None and tensor.storage.location != tag:
            self.add_storage(tensor.storage)  # restored before the tensor is made of it
        if rebuilt and callable(self.locator.map_location):
            message = CALLABLE
        found = self._sum(tag, device, message, tensor, stays=stays)
        found.dtypes[tensor.dtype] = None
        if tensor.storage is not None and not stays:
            self._count(tensor.storage, found)

    def add_storage(self, storage: StorageSpec) -> None:
        """Count a storage that no tensor views."""
        self._count(storage, self._sum(storage.location, self.locator.storage(storage), "", None, stays=False))

    def _sum(self, tag: str | None, device: str, message: str, tensor: TensorSpec | None, *, stays: bool) -> _Sum:
        key = (tag, device, stays)
        if key not in self.sums:
            fails = "" if stays else failure(self.checkpoint, tag, device, self.devices, tensor)
            self.sums[key] = _Sum(message or fails)
        return self.sums[key]

    def _count(self, storage: StorageSpec, found: _Sum) -> None:
        if id(storage) not in self._seen:
            self._seen.add(id(storage))
            found.nbytes += storage.nbytes
            found.storages += 1

    def _note_unheld(self, tensor: TensorSpec, device: str) -> None:
        row = DTYPES.get(tensor.dtype)
        found = _unheld(tensor, device, row.kind if row is not None else "")
        if found is not None:
            first = self.unheld.get((found.what, device))
            self.unheld[found.what, device] = found if first is None else first._replace(tensors=first.tensors + 1)


def _unheld(tensor: TensorSpec, device: str, kind: str) -> Unheld | None:
    """Return that a device cannot hold a tensor; None where it can."""
    extra, dtype = tensor.extra, tensor.dtype
    if extra is not None and "buffer" in extra.parts and device == "meta":
        return Unheld("nested", device, 1, NESTED)
    if kind == "quantized":
        words = CHANNELS if extra and extra.quantization and extra.quantization.axis is not None else QUANTISED
        return Unheld(dtype, device, 1, words.format(BACKENDS[device]))
    if device == "mps" and dtype == "float64":
        return Unheld(dtype, device, 1, MPS)
    if device == "mps" and dtype.startswith(MPS_UNKNOWN):
        return Unheld(dtype, device, 1, MPS_LATER.format(scalar_type(dtype)), later=True)
    return None


def scalar_type(dtype: str) -> str:
    """Return what torch's C++ calls a dtype that MPS does not know, as its errors do (c10/core/ScalarType.h)."""
    return "ComplexDouble" if dtype == "complex128" else dtype.capitalize()


def _form_refusal(checkpoint: Checkpoint) -> str:
    """Return what is raised because the loader of this container takes no map_location of this form."""
    given = checkpoint.locator.map_location
    if given is None or isinstance(given, str) or type(given).__name__ == "device":
        return ""
    if checkpoint.format == "safetensors":
        return SAFETENSORS.format("dict" if isinstance(given, Mapping) else "callable")
    return f"{SCRIPT}{type(given)}" if checkpoint.format == "torchscript" else ""


def where_json(checkpoint: Checkpoint, answer: Where) -> dict[str, Any]:
    """Return the member ``load`` of ``check --json``."""
    return {
        "map_location": checkpoint.locator.text,
        "loads": not answer.error,
        "error": answer.error or None,
        "targets": [
            {"location": place.tag, "device": place.device, "bytes": place.nbytes, "storages": place.storages,
             "dtypes": list(place.dtypes), "message": place.message or None, "stays": place.stays}
            for place in answer.places
        ],
        "problems": [
            {"location": place.tag, "device": place.device, "message": place.message}
            for place in answer.places if place.message
        ],
        "unsupported": [each._asdict() for each in answer.unheld],
    }  # fmt: skip
