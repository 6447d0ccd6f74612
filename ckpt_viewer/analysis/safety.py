"""What a file names, where it uses it, and what torch's safe mode would say of it. Nothing is imported or run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import GlobalUse
from ckpt_viewer.core.path import step_json
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Value
from ckpt_viewer.unpickle.weights_only import VERSION

STOPS = frozenset(
    {
        "bad-tensor",
        "bad-storage",
        "missing-storage",
        "storage-size",
        "record-encrypted",
        "record-packed",
        "record-outside",
    }
)
"""Findings of severity error on which torch.load fails, whatever weights_only is."""
NAMED = "it names "
"""How a refusal begins that is about a name, see `weights_only.of_name`."""
_EVERY = 2048


class Verdict(NamedTuple):
    """What ``torch.load(weights_only=True)`` would do.

    Attributes:
        loads: whether it would load the file. reason: why not, for people. message: torch's words, as far as known.
        version: of torch, whose rules these are.
    """

    loads: bool
    reason: str = ""
    message: str = ""
    version: str = VERSION


def verdict(checkpoint: Checkpoint) -> Verdict:
    """Return what torch would say, from the opcodes and names that were met while reading."""
    contents = checkpoint.contents
    if contents.weights_only:
        return Verdict(False, contents.weights_only, contents.weights_only_says)
    for note in contents.notes:
        if note.severity == "error" and note.code in STOPS:
            return Verdict(False, note.message)
    return Verdict(True)


def used_names(checkpoint: Checkpoint, context: Context = SILENT) -> list[tuple[GlobalUse, int | None]]:
    """Return every name with the row of the outline that shows it first, in order of first appearance.

    None where nothing in the tree shows it. A name that is known and does not show among the first rows is not looked
    for among all others.

    Raises:
        Cancelled: by `context`.
    """
    uses = checkpoint.contents.globals
    search = _Search(uses)
    values = checkpoint.outline.values
    doubtful = {number for number, use in enumerate(uses) if use.status != "known"}
    for start in range(0, len(values), _EVERY):
        if not (search.open & doubtful if start else search.open):
            break
        search.look(values[start : start + _EVERY], start)
        context.step(start, len(values))
    return [(use, search.rows.get(number)) for number, use in enumerate(uses)]


class _Search:
    """Finds the rows of values, of tensors by their storage, and of subclasses by their name.

    Attributes:
        rows: by number of the name. open: numbers that have no row yet.
    """

    def __init__(self, uses: tuple[GlobalUse, ...]) -> None:
        self.rows: dict[int, int] = {}
        self.open = set(range(len(uses)))
        self._values: dict[int, list[int]] = {}
        self._storages: dict[int, list[int]] = {}
        self._types = {use.name: number for number, use in enumerate(uses)}
        for number, use in enumerate(uses):
            storage = _storage_of(use.value)
            if storage is not None:
                self._storages.setdefault(id(storage), []).append(number)
            if not isinstance(use.value, StorageSpec):
                self._values.setdefault(id(use.value), []).append(number)

    def look(self, values: list[Value], start: int) -> None:
        """Go through some rows, of which `start` is the first."""
        wanted = self._values
        for row, value in enumerate(values, start):
            if id(value) in wanted:
                self._found(wanted.pop(id(value)), row)
            if type(value) is TensorSpec:
                if id(value.storage) in self._storages:
                    self._found(self._storages.pop(id(value.storage)), row)
                if value.type in self._types:
                    self._found([self._types.pop(value.type)], row)

    def _found(self, numbers: list[int], row: int) -> None:
        for number in numbers:
            if number in self.open:
                self.rows[number] = row
                self.open.discard(number)


def _storage_of(value: Value) -> StorageSpec | None:
    if isinstance(value, TensorSpec):
        return value.storage
    return value if isinstance(value, StorageSpec) else None


def globals_json(checkpoint: Checkpoint) -> Iterator[dict[str, Any]]:
    """Yield the members of ``globals`` of INTERFACE's documents, of which a hostile file has 200,000."""
    outline = checkpoint.outline
    for use, row in used_names(checkpoint):
        yield {
            "name": use.name,
            "status": use.status,
            "calls": use.calls,
            "path": None if row is None else [step_json(step) for step in outline.path(row)],
            "where": use.place,
            "weights_only": use.allowed,
        }


def verdict_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the member ``weights_only`` of ``ls --json`` and ``check --json``."""
    said, needed = verdict(checkpoint), allowance(checkpoint)
    return {
        "torch": said.version,
        "loads": said.loads,
        "reason": said.reason or None,
        "message": said.message or None,
        "not_allowed": list(needed.names),
        "add_safe_globals_helps": needed.helps,
    }


class Allowance(NamedTuple):
    """What would have to be allowed for ``weights_only=True`` to load a file.

    Attributes:
        names: that are not allowed by default, in order of appearance.
        helps: whether allowing them is all that is needed; False where it is refused for other reasons as well.
        dangerous: those among them that could run code when they are called: nobody should allow them.
    """

    names: tuple[str, ...]
    helps: bool
    dangerous: tuple[str, ...]


def allowance(checkpoint: Checkpoint) -> Allowance:
    """Return what `add_safe_globals` would need. Nothing is looked up under these names."""
    asked = [use for use in checkpoint.contents.globals if not use.allowed]
    dangerous = tuple(use.name for use in asked if use.status == "dangerous")
    by_name = checkpoint.contents.weights_only.startswith(NAMED)
    return Allowance(tuple(use.name for use in asked), bool(asked) and by_name and not dangerous, dangerous)
