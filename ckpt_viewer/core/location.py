"""map_location: which device a saved tag becomes, with `torch.load`'s own rules.

Source: torch/serialization.py (`_get_restore_location`, `default_restore_location`), checked in FORMATS section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, Union

from ckpt_viewer.core.tensor import Placed, StorageSpec, TensorSpec
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.errors import BadMapLocation

if TYPE_CHECKING:
    from typing import Any

    DeviceLike: TypeAlias = Any  # a torch.device, recognised by its attributes so that torch is not imported

MapLocation: TypeAlias = Union[None, str, Mapping[str, str], Callable[[StorageSpec, str], object], "DeviceLike"]

STORAGE_WORD = "storage"
"""Spells the idiom ``lambda storage, loc: storage`` on the command line and in the window."""

_INDEXED = ("cuda", "hpu", "xpu", "mtia", "npu", "privateuseone")
DEVICES = ("cpu", "meta", "mps", *_INDEXED)
"""Kinds of devices whose tags some torch can read."""


def leave_on_cpu(storage: StorageSpec, location: str) -> StorageSpec:
    """The idiom ``lambda storage, loc: storage``: leave each storage where it was read, on the CPU."""
    del location
    return storage


def known_tag(tag: str) -> bool:
    """Whether some torch has a deserialiser for this tag (``cpu:0``, ``CPU`` and ``""`` have none)."""
    if tag in ("cpu", "meta") or tag.startswith("mps"):
        return True
    return any(re.match(rf"{name}(:\d*|\d+)?$", tag) for name in _INDEXED)


class Locator:
    """A map_location that was checked once and is then asked for every storage.

    Raises:
        BadMapLocation: torch.load would refuse it (an int, bytes, a dict whose values are no strings).
    """

    def __init__(self, map_location: MapLocation = None) -> None:
        self.map_location = map_location
        self._answers: dict[int, str] = {}
        if map_location is None or isinstance(map_location, str):
            self._fixed = map_location
        elif isinstance(map_location, Mapping):
            _check_table(map_location)
            self._fixed = None
        elif type(map_location).__name__ == "device" and hasattr(map_location, "index"):
            self._fixed = str(map_location)
        elif callable(map_location):
            self._fixed = None
        else:
            raise BadMapLocation(
                f"map_location cannot be of type {type(map_location).__name__}; "
                "give None, a string, a torch.device, a dict or a callable"
            )

    def storage(self, storage: StorageSpec) -> str:
        """Return the device tag that `storage` gets; ``"cpu"`` where the file states none."""
        tag = storage.location if storage.location is not None else "cpu"
        if self._fixed is not None:
            return self._fixed
        if self.map_location is None:
            return tag
        if isinstance(self.map_location, Mapping):
            return self.map_location.get(tag, tag)
        answer = self._answers.get(id(storage))
        if answer is None:
            answer = self._answers[id(storage)] = self._call(storage, tag)
        return answer

    def _call(self, storage: StorageSpec, tag: str) -> str:
        answer = self.map_location(storage, tag)  # type: ignore[misc,operator]
        if answer is None:
            return tag
        if isinstance(answer, StorageSpec):
            return "cpu"
        if isinstance(answer, Placed):
            return answer.device
        raise BadMapLocation(
            f"the map_location function returned a {type(answer).__name__}; return the storage, storage.cuda(i) or None"
        )

    def tensor(self, tensor: TensorSpec) -> str:
        """Return the device tag that `tensor` gets.

        Raises:
            BadMapLocation: a callable was given and the tensor does not follow its storage (FORMATS section 4).
        """
        if tensor.extra is not None and tensor.extra.device is not None:
            return self._argument(tensor.extra.device, rebuilt=tensor.extra.rebuilt)
        if tensor.storage is not None:
            return self.storage(tensor.storage)
        parts = tensor.extra.parts.values() if tensor.extra else ()
        return next((self.tensor(part) for part in parts), "cpu")

    def _argument(self, device: str, *, rebuilt: bool) -> str:
        if not rebuilt:  # a meta tensor without a storage stays meta whatever is asked
            return device
        if self._fixed is not None:
            return self._fixed
        if isinstance(self.map_location, Mapping):
            return self.map_location.get(device, device)
        return "cpu" if self.map_location is leave_on_cpu else device

    @property
    def text(self) -> str:
        """The map_location as the command line spells it."""
        if self.map_location is None:
            return "as-saved"
        if self._fixed is not None:
            return self._fixed
        if isinstance(self.map_location, Mapping):
            return ",".join(f"{tag}={target}" for tag, target in self.map_location.items())
        return STORAGE_WORD if self.map_location is leave_on_cpu else "callable"

    @property
    def code(self) -> str:
        """The map_location as an argument of torch.load, in Python; ``""`` for as saved."""
        if self.map_location is None:
            return ""
        if self._fixed is not None:
            return f"map_location={python_literal(self._fixed)}"
        if isinstance(self.map_location, Mapping):
            pairs = ", ".join(
                f"{python_literal(tag)}: {python_literal(target)}" for tag, target in self.map_location.items()
            )
            return f"map_location={{{pairs}}}"
        return "map_location=lambda storage, location: storage"


def _check_table(table: Mapping[str, str]) -> None:
    for tag, target in table.items():
        if not isinstance(tag, str) or not isinstance(target, str):
            raise BadMapLocation(
                f"map_location[{tag!r}] is of type {type(target).__name__}; torch.load takes strings in this table"
            )


def parse_map_location(spec: str) -> MapLocation:
    """Return the map_location that a command-line SPEC means.

    ``as-saved``, ``storage``, a device, or ``cuda:1=cuda:0,cuda:2=cpu``.

    Raises:
        BadMapLocation: a target that no torch can restore, or a malformed table.
    """
    if spec in ("", "as-saved"):
        return None
    if spec == STORAGE_WORD:
        return leave_on_cpu
    if "=" not in spec:
        _require_known(spec)
        return spec
    table: dict[str, str] = {}
    for rule in spec.split(","):
        tag, equals, target = rule.rpartition("=")
        if not equals or not tag or not target:
            raise BadMapLocation(f"{rule!r} is no rule; write TAG=DEVICE, as in cuda:1=cuda:0")
        _require_known(target.strip())
        if table.setdefault(tag.strip(), target.strip()) != target.strip():
            raise BadMapLocation(f"there are two rules for {tag.strip()}; leave out one of them")
    return table


def require_known(map_location: MapLocation) -> None:
    """Raise BadMapLocation if a string, or a string in a table, names a device that no torch can restore."""
    named = list(map_location.values()) if isinstance(map_location, Mapping) else [map_location]
    for target in named:
        if isinstance(target, str):
            _require_known(target)


def _require_known(target: str) -> None:
    if not known_tag(target):
        raise BadMapLocation(
            f"torch has no device {target!r}; use cpu, cuda:0, mps, xpu:0, hpu:0, mtia:0, npu:0 or meta"
        )
