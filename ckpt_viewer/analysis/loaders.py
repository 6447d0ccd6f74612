"""What each loader raises for a device that is not there: torch.load, torch.jit.load, safetensors.

Sources: torch/serialization.py (`_validate_device`, `_deserialize`, `default_restore_location`), c10/core/Device.cpp,
torch/csrc/jit/serialization/unpickler.cpp, all of 2.13, and safetensors' `Device` of 0.8; tried against them in the
tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import known_tag
from ckpt_viewer.core.tensor import TensorSpec

ADVICE = (
    "If you are running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
    "storages to the CPU."
)
UNKNOWN = "don't know how to restore data location of torch.storage.UntypedStorage (tagged with {})"
NOT_A_DEVICE = "Invalid device string: '{}'"
TYPES = (
    "cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, mps, meta, hpu, mtia, "
    "privateuseone"
)
"""The types of devices that torch knows, in its order."""
NOT_A_TYPE = f"Expected one of {TYPES} device type at start of device string: {{}}"
NOT_BUILT = "PyTorch is not linked with support for {} devices"
NO_BACKEND = "Could not run 'aten::{}' with arguments from the '{}' backend"
SCRIPT_TYPES = "supported devices include CPU, CUDA, HPU and privateuseone however got {}"
BACKENDS = {"privateuseone": "PrivateUse1"}
"""Types of devices -> their backends, where these are not their names in capitals."""
SAFETENSORS_TYPES = ("cpu", "cuda", "mps", "npu", "xpu", "xla", "mlu", "musa", "hpu")
"""The devices that safetensors knows; all but the CPU may have an index."""
_DEVICE = re.compile(r"([a-zA-Z_]+)(?::(0|[1-9]\d*))?")


def failure(
    checkpoint: Checkpoint,
    tag: str | None,
    device: str,
    devices: Sequence[str] | None,
    tensor: TensorSpec | None = None,
) -> str:
    """Return what the loader of a checkpoint raises for what has to go onto `device`; ``""`` if it does not.

    Args:
        tag: device as saved, None where the container knows none.
        devices: names of this machine's devices (``"cpu"``, ``"cuda:0"``...); None while they are not known: then only
            what no torch can restore is said.
        tensor: what has to go there, where it is one that names a device itself.
    """
    if checkpoint.format == "torchscript":
        return script_error(device, devices, mapped=checkpoint.locator.map_location is not None)
    if tag is None and checkpoint.format != "distributed":
        return safetensors_error(device, devices)
    if tensor is not None and tensor.extra is not None and tensor.extra.rebuilt and not known_tag(device):
        kind = _type_of(device)  # `Tensor.to` is asked, which knows other devices
        return "" if kind == "cpu" else device_error(device) or _no_backend("empty.memory_format", device)
    return load_error(device, devices)


def load_error(target: str, devices: Sequence[str] | None) -> str:
    """Return what torch.load raises for a storage that has to go onto `target`; ``""`` if it does not."""
    if not known_tag(target):
        return UNKNOWN.format(target)
    if devices is None or target in ("cpu", "meta"):
        return ""
    if target.startswith("mps"):
        return "" if "mps" in devices else "torch.UntypedStorage(): Storage device not recognized: mps"
    kind = _type_of(target)
    if kind != "npu" and not _DEVICE.fullmatch(target):
        return NOT_A_DEVICE.format(target)
    return _missing(target, devices) or ""


def _missing(target: str, devices: Sequence[str]) -> str:
    """Return what torch says of a device that is not there."""
    kind, count = _type_of(target), _count(target, devices)
    if count == 0:
        return _absent(kind, target)
    digits = re.sub(r"\D", "", target)
    index = int(digits[:9]) if digits else 0
    if index < count:
        return ""
    return (
        f"Attempting to deserialize object on {kind.upper()} device {index} "
        f"but torch.{kind}.device_count() is {count}. "
        "Please use torch.load with map_location to map your storages to an existing device."
    )


def _type_of(device: str) -> str:
    return re.split(r"[:\d]", device, maxsplit=1)[0]


def _count(device: str, devices: Sequence[str]) -> int:
    """Return how many devices of a kind are here."""
    kind = _type_of(device)
    return sum(each == kind or each.startswith(f"{kind}:") for each in devices)


def _absent(kind: str, target: str) -> str:
    """Return what torch 2.13 raises for a kind of device of which there is none."""
    if kind == "npu":  # a plug-in's name, which torch knows only once the plug-in is imported
        return UNKNOWN.format(target)
    if target == "mtia":  # the current one is asked for before whether there is any
        return "Cannot execute getCurrentDevice() without MTIA backend."
    if kind in ("hpu", "privateuseone"):
        return f"The {kind.upper()} device module is not registered. {ADVICE}"
    what = f"a {kind.upper()} device but torch.{kind}.is_available() is False"
    return f"Attempting to deserialize object on {what}. {ADVICE}"


def _no_backend(operator: str, device: str) -> str:
    kind = _type_of(device)
    return NO_BACKEND.format(operator, BACKENDS.get(kind, kind.upper()))


def device_error(text: str) -> str:
    """Return what ``torch.device(text)`` raises; ``""`` if it does not."""
    if not text:
        return "Device string must not be empty"
    if not _DEVICE.fullmatch(text):
        return NOT_A_DEVICE.format(text)
    kind = text.partition(":")[0]
    return "" if kind in TYPES.split(", ") else NOT_A_TYPE.format(kind)


def script_error(device: str, devices: Sequence[str] | None, *, mapped: bool) -> str:
    """Return what torch.jit.load raises for what has to go onto a device; ``""`` if it does not.

    Args:
        mapped: whether a map_location was given; what is as saved is checked elsewhere, in other words.
    """
    kind = _type_of(device)
    if device_error(device):
        return device_error(device)
    if kind not in ("cpu", "cuda", "xpu", "mps", "meta", "hpu", "mtia", "privateuseone"):
        return SCRIPT_TYPES.format(kind.upper())
    if devices is None or kind in ("cpu", "meta") or (not (kind == "cuda" and mapped) and _count(device, devices)):
        return ""
    if kind == "cuda" and mapped:
        return _missing(device, devices)
    return NOT_BUILT.format(kind) if device == kind else _no_backend("empty_strided", device)


def safetensors_error(device: str, devices: Sequence[str] | None) -> str:
    """Return what torch.load raises for a file of safetensors that has to go onto a device; ``""`` if it does not."""
    kind = device.partition(":")[0]
    if kind not in SAFETENSORS_TYPES or (kind == "cpu" and device != "cpu") or not _DEVICE.fullmatch(device):
        return f"device {device} is invalid"
    if kind == "cpu" or devices is None or _count(device, devices):
        return ""
    if kind == "cuda":
        return (
            "pin_memory=True requires a CUDA or other accelerator backend; no pinned memory allocator is available on "
            "this system."
        )
    if kind == "xpu":
        return "Torch not compiled with XPU enabled"
    if kind == "hpu":  # what torch makes of it that there is no module torch.hpu
        return "Attempting to load a safetensors file but safetensors is not installed."
    if kind in ("npu", "mlu", "musa"):  # names of plug-ins
        return NOT_A_TYPE.format(kind)
    return NOT_BUILT.format(kind) if kind == "mps" else _no_backend("empty.memory_format", device)
