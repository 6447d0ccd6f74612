"""Which device tag every storage of a checkpoint gets, and what a map_location does not reach."""

from __future__ import annotations

from collections.abc import Iterator

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import Locator, MapLocation, known_tag
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Literal
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.export.pieces import root_of


class Retagger:
    """Answers for every storage, once each and in file order, as torch.load asks a map_location.

    Attributes:
        locator: the map_location. tags: by key of a storage, what it was answered; ``""`` while nobody has asked.

    Raises:
        BadMapLocation: torch.load would refuse the map_location, or it answers with a device that torch does not have.
    """

    def __init__(self, checkpoint: Checkpoint, map_location: MapLocation) -> None:
        self.locator = Locator(map_location)
        there = (storage for storage in storages(checkpoint) if in_container(storage))
        # whoever is no function looks at tags alone; of 100,000 storages a second dict would be 5 MB
        self._specs = {storage.key: storage for storage in there} if callable(map_location) else {}
        self.tags: dict[str, str] = dict.fromkeys(self._specs or (storage.key for storage in there), "")

    def __call__(self, key: str, tag: str) -> str:
        """Return the tag that the storage `key`, saved with `tag`, gets."""
        new = self.tags.get(key)
        if not new:
            # a storage that only something unknown refers to is in no tensor
            storage = self._specs.get(key) or StorageSpec(key, tag, "", 0, None)
            new = self.tags[key] = self.locator.storage(storage)
            if new != tag and not known_tag(new):
                raise BadMapLocation(f"torch has no device {new!r}; use cpu, cuda:0, mps or another device of torch")
        return new

    def missed(self) -> int:
        """Return how many storages of the checkpoint were not asked for."""
        return sum(not tag for tag in self.tags.values())


def storages(checkpoint: Checkpoint) -> Iterator[StorageSpec]:
    """Yield the storages that tensors and storage values refer to, each as often as it is referred to."""
    for value in checkpoint.outline.values:
        if isinstance(value, StorageSpec):
            yield root_of(value)[0]
        elif isinstance(value, TensorSpec):
            for tensor in parts_of(value):
                if tensor.storage is not None:
                    yield root_of(tensor.storage)[0]


def parts_of(tensor: TensorSpec) -> Iterator[TensorSpec]:
    """Yield a tensor and the tensors that it is made of."""
    yield tensor
    extra = tensor.extra
    if extra is None:
        return
    inner = [*extra.parts.values()]
    if extra.quantization is not None:
        inner += [part for part in extra.quantization[1:3] if isinstance(part, TensorSpec)]
    for part in inner:
        yield from parts_of(part)


def in_container(storage: StorageSpec) -> bool:
    """Whether a storage has a persistent id in the file's own pickle, so that a map_location reaches it."""
    return storage.home is not None and not storage.home.prefix and not storage.key.startswith("pickle!")


def is_nested(storage: StorageSpec) -> bool:
    """Whether a storage lies in a checkpoint inside the pickle."""
    return storage.home is not None and bool(storage.home.prefix)


def out_of_reach(checkpoint: Checkpoint, locator: Locator) -> list[str]:
    """Say what keeps its device although `locator` would have it elsewhere, a sentence each."""
    nested = {id(one) for one in storages(checkpoint) if is_nested(one) and locator.storage(one) != one.location}
    shells = devices = 0
    for value in checkpoint.outline.values:
        if isinstance(value, TensorSpec) and value.extra is not None and value.extra.device is not None:
            shells += locator.tensor(value) != value.extra.device
        elif isinstance(value, Literal) and value.kind == "device":
            devices += locator.storage(StorageSpec("", value.text, "", 0, None)) != value.text
    notes = []
    if nested:
        lie = "storage lies" if len(nested) == 1 else "storages lie"
        keeps = "it keeps its device" if len(nested) == 1 else "they keep their device"
        notes.append(
            f"{len(nested)} {lie} in a checkpoint inside the pickle, where map_location does not reach; {keeps}"
        )
    if shells == 1:
        notes.append("1 tensor names a device outside of its storage; it keeps it")
    elif shells:
        notes.append(f"{shells} tensors name a device outside of their storage; they keep it")
    if devices:
        kept = "value is kept as it is" if devices == 1 else "values are kept as they are"
        notes.append(f"{devices} torch.device {kept}")
    return notes
