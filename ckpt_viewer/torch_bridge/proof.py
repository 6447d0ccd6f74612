"""What torch (or safetensors) makes of a file, held against what the file should hold. Runs in the worker process.

Whoever wrote the file sends what it should hold, see `export.claim`: the rows of its tree, then for every tensor
``dtype`` and ``shape``, and
* ``stride``, ``conj``, ``neg``, ``stretch`` and ``at``: its memory is compared as part of a stretch, from byte `at`;
* or ``stream`` and ``of``: its elements are compared in row-major order, cast from dtype `of`;
* or ``parts``: the tensors that it is made of;
* or nothing more, for one without elements.
Then it sends the bytes of the source, block by block through shared memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ckpt_viewer.sources.shared import SharedMemory

OLDEST = (2, 10)
"""Before it, torch.load read beyond records that are too short."""
_PARTS = {"indices": "_indices", "values": "_values"}
"""How a sparse COO tensor gives out its parts though it may not be coalesced; others by the name of the part."""
_BITS = {2: torch.int16, 4: torch.int32}
"""By the bytes of what is cast to: a type in which bit patterns are compared."""


class Verdict(NamedTuple):
    """What came of loading a file.

    Attributes:
        by: ``"torch 2.13.0"``. differs: where it is not what it should be, and how, as half a sentence.
        refused: torch's own words. unable: why nothing can be said, as half a sentence. At most one of them.
    """

    by: str
    differs: str = ""
    refused: str = ""
    unable: str = ""


class Proof:
    """A loaded file.

    Args:
        path: of the file. mapped: not to be read into memory. loader, source: see `export.claim.Claim`.
        rows, tensors: what it should hold.
        block, nbytes: path and size of the shared memory.

    Attributes:
        verdict: on everything but bytes.
    """

    def __init__(
        self,
        path: str,
        loader: str,
        mapped: bool,
        source: str,
        rows: list[list[Any]],
        tensors: list[dict[str, Any]],
        block: str,
        nbytes: int,
    ) -> None:
        self._tensors = tensors
        self._stretches: dict[int, tuple[torch.UntypedStorage, int]] = {}
        self._streams: dict[int, tuple[torch.Tensor, int]] = {}
        self._places: dict[int, Any] = {}
        self._shared = SharedMemory(nbytes, block)
        self._block = torch.frombuffer(self._shared.view, dtype=torch.uint8)
        self.verdict = self._load(path, loader, mapped, source, rows)

    def _load(self, path: str, loader: str, mapped: bool, source: str, rows: list[list[Any]]) -> Verdict:
        by = f"torch {torch.__version__.partition('+')[0]}"
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST:
            return Verdict(by, unable=f"{by} is older than {OLDEST[0]}.{OLDEST[1]}")
        if loader == "safetensors":
            from safetensors import __version__ as version

            by = f"safetensors {version}"
        try:
            root = _read(path, loader, mapped)
        except Exception as error:
            words = " ".join(str(error).split())[:400]
            if isinstance(error, MemoryError) or "allocate memory" in words:
                return Verdict(by, unable="it needs more memory than it is allowed")
            if source and _refuses(source):
                return Verdict(by, unable=f"it refuses the source too ({words})")
            return Verdict(by, refused=words)
        return Verdict(by, differs=self._walk(root, rows))

    def _walk(self, root: Any, rows: list[list[Any]]) -> str:
        """Return where the tree differs, and how; ``""`` if nowhere."""
        waiting: list[tuple[Any, Any]] = [(root, None)]
        for row in rows:
            value, place = waiting.pop()
            kind = row[0]
            members: Iterable[tuple[Any, Any]] = ()
            problem = ""
            if kind == "d":
                problem = _other_keys(value, row[1])
                members = [(each, (place, key)) for key, each in value.items()] if not problem else ()
            elif kind == "l":
                problem = "is another list" if not isinstance(value, list | tuple) or len(value) != row[1] else ""
                members = [(each, (place, number)) for number, each in enumerate(value)] if not problem else ()
            elif kind == "v":
                problem = "has another value" if (type(value).__name__, repr(value)) != (row[1], row[2]) else ""
            elif kind == "s":
                problem = self._storage(value, row[1], place)
            elif kind == "t":
                problem = self._tensor(value, row[1], place)
            if problem:
                return f"{_pointer(place)} {problem}"
            waiting += reversed(list(members))
        return ""

    def _storage(self, value: Any, number: int, place: Any) -> str:
        memory = getattr(value, "_untyped_storage", value)
        if not isinstance(memory, torch.UntypedStorage):
            return "is no storage"
        return self._tensor(torch.empty(0, dtype=torch.uint8).set_(memory), number, place)

    def _tensor(self, tensor: Any, number: int, place: Any) -> str:
        """Return how a tensor differs in all but its bytes; ``""`` if it does not. Remember where its bytes are."""
        told = self._tensors[number]
        self._places.setdefault(number, place)
        if not isinstance(tensor, torch.Tensor):
            return "is no tensor"
        if str(tensor.dtype) != f"torch.{told['dtype']}" or list(tensor.shape) != told["shape"]:
            return f"is {tensor.dtype} {list(tensor.shape)} and not torch.{told['dtype']} {told['shape']}"
        for name, part in told.get("parts", {}).items():
            take = getattr(tensor, _PARTS.get(name, name) if tensor.layout == torch.sparse_coo else name)
            problem = self._tensor(take(), part, place)
            if problem:
                return f"has {name} where it {problem}"
        if "stretch" in told:
            return self._in_stretch(tensor.detach(), told)
        if "stream" in told:
            self._streams[told["stream"]] = (tensor.detach(), number)
        return ""

    def _in_stretch(self, tensor: torch.Tensor, told: dict[str, Any]) -> str:
        if list(tensor.stride()) != told["stride"]:
            return f"has strides {list(tensor.stride())} and not {told['stride']}"
        if (tensor.is_conj(), tensor.is_neg()) != (told["conj"], told["neg"]):
            return "is conjugated or negated otherwise"
        memory = tensor.untyped_storage()
        start = tensor.storage_offset() * tensor.element_size() - told["at"]
        known = self._stretches.setdefault(told["stretch"], (memory, start))
        if memory.data_ptr() + start != known[0].data_ptr() + known[1]:
            return "does not share its memory with the tensors that it shares it with in the source"
        return ""

    def compare(self, pieces: list[list[Any]]) -> str:
        """Compare pieces of the shared block; return where they differ, and how; ``""`` if nowhere.

        Args:
            pieces: each ``"stretch"`` or ``"stream"``, its number, then in bytes: where the piece lies in that, its
                length, and where it lies in the block.
        """
        for kind, number, start, nbytes, at in pieces:
            given = self._block[at : at + nbytes]
            if kind == "stretch":
                memory, first = self._stretches[number]
                if first + start < 0 or first + start + nbytes > memory.nbytes():
                    return "a storage is too short"
                same = torch.equal(_bytes(memory, first + start, nbytes), given)
            else:
                same = self._same_elements(number, start, given)
            if not same:
                return f"{self._whose(kind, number, start, nbytes)} has other values"
        return ""

    def _whose(self, kind: str, number: int, start: int, nbytes: int) -> str:
        """Return the pointer of the first tensor that a piece belongs to."""
        for tensor, told in enumerate(self._tensors):
            if told.get(kind) == number and told.get("at", 0) < start + nbytes:
                return _pointer(self._places.get(tensor))
        return "a tensor"

    def _same_elements(self, number: int, start: int, given: torch.Tensor) -> bool:
        tensor, told = self._streams[number][0], self._tensors[self._streams[number][1]]
        if not tensor.is_contiguous() or tensor.is_conj() or tensor.is_neg():
            tensor = tensor.resolve_conj().resolve_neg().contiguous()
            self._streams[number] = (tensor, self._streams[number][1])
        memory = _bytes(tensor.untyped_storage(), int(tensor.storage_offset()) * tensor.element_size(), tensor.nbytes)
        if told["of"] == told["dtype"]:
            return torch.equal(memory[start : start + given.numel()], given)
        wanted = given.view(getattr(torch, told["of"])).to(tensor.dtype)
        first = start // getattr(torch, told["of"]).itemsize
        found = memory.view(tensor.dtype)[first : first + wanted.numel()]
        bits = _BITS[tensor.element_size()]
        if torch.equal(found.view(bits), wanted.view(bits)):
            return True
        other = found.view(bits) != wanted.view(bits)
        return not bool((other & ~(found.isnan() & wanted.isnan())).any())  # NaN is NaN, whatever its bits


def _bytes(memory: torch.UntypedStorage, start: int, nbytes: int) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(memory, start, (nbytes,), (1,))


def _read(path: str, loader: str, mapped: bool) -> Any:
    if loader == "safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}
    with Path(path).open("rb") as file:
        mapped = mapped and file.read(2) == b"PK"
    return torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)


def _refuses(path: str) -> bool:
    try:
        _read(path, "torch", mapped=False)
    except Exception:
        return True
    return False


def _other_keys(value: Any, keys: list[Any]) -> str:
    if not isinstance(value, dict) or len(value) != len(keys):
        return "has another number of names"
    for found, key in zip(value, keys, strict=True):
        if key is not None and (type(found) is not type(key) or found != key):
            return f"has the name {str(found)[:100]!r} where {str(key)[:100]!r} belongs"
    return ""


def _pointer(place: Any) -> str:
    names: list[str] = []
    while place is not None:
        place, key = place
        names.append(str(key)[:100])
    return "/".join(reversed(names)) or "the root"
