"""What lies at the places that were chosen: models, other containers, single tensors, several of them together.

A model gives what its ``state_dict()`` would hold. Anything else gives the tensors below it, named by their way there.
Several places together keep their names apart by the way from what they have in common; inside one state_dict or module
these are the names that it gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.expand import children
from ckpt_viewer.core.model import has_parts, is_module, is_script_module, is_state_dict, wrapped_module
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.path import key_step, step_text
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, Value
from ckpt_viewer.core.value import Sequence as Items
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.emit import is_plain, tensors_in
from ckpt_viewer.export.naming import above
from ckpt_viewer.export.places import Part, common_node, dotted, find_parts

MOST_ENTRIES = 1_000_000
DEEPEST = 200
"""Entries that one export gathers, and containers in containers that it goes into."""


class Pick(NamedTuple):
    """An entry that was chosen.

    Attributes:
        name: as it is called without any renaming. value: a tensor, or what else a state_dict holds.
        buffer: whether it is a buffer; None where the file does not say.
    """

    name: str
    value: Value
    buffer: bool | None = None


class Gathered(NamedTuple):
    """What was chosen.

    Attributes:
        picks: in the file's order. notes: what could not be derived, a sentence each.
        metadata: ``_metadata`` under the same names; None where there is none.
        others: names below a container that is no model which are no tensors, and are left out.
        unnamed: entries of models whose keys are no strings, as texts; they are left out, as `notes` say.
    """

    picks: list[Pick]
    notes: list[str]
    metadata: Value
    others: list[str]
    unnamed: list[str]


def gather(checkpoint: Checkpoint, pointers: Sequence[str], *, nested: bool, context: Context = SILENT) -> Gathered:
    """Collect what lies at `pointers`, in the file's order.

    Args:
        pointers: JSON Pointers; one that ends with a dot (``/model/layer1.``), as the window's tree has them for the
            modules of a state_dict, stands for the entries that begin so.
        nested: a dict of plain values keeps its form, dicts in dicts, instead of one entry for each tensor in it.

    Raises:
        NoSuchNode: a pointer leads nowhere. Cancelled: by `context`.
    """
    parts = find_parts(checkpoint, pointers, context)
    gathering = _Gathering(context)
    if len(parts) == 1:
        gathering.add_only(parts[0], nested)
    else:
        base = common_node([part.node for part in parts])
        for part in stepped(parts, context):
            gathering.add(part, dotted(part.node, base))
    found = gathering.found
    return found._replace(metadata=gathering.metadata if gathering.metadata.pairs else gathering.odd_metadata)


class _Gathering:
    def __init__(self, context: Context) -> None:
        self.found = Gathered([], [], None, [], [])
        self.metadata = Mapping("collections.OrderedDict")
        self.odd_metadata: Value = None
        self._inside: set[int] = set()
        self.context = context

    def add_only(self, part: Part, nested: bool) -> None:
        """Add the one place that was chosen; what is below it is named from there."""
        value = part.node.value
        if nested and not part.is_some and _holds_tensors_deeper(value):
            self.found.picks.extend(Pick(name, child) for name, child in _string_items(value))
            return
        self.add(part, (part.node.name or "tensor") if isinstance(value, TensorSpec) else "")

    def add(self, part: Part, name: str) -> None:
        """Add what lies at a place, called `name` (``""``: the names below it stand alone)."""
        value = part.node.value
        if isinstance(value, TensorSpec):
            self.found.picks.append(Pick(name, value, _buffer(part.node)))
        elif _is_model(value):
            self._add_model(value, name, part)
        else:
            self._add_container(value, name)

    def _note_metadata(self, metadata: Value, name: str) -> None:
        if not isinstance(metadata, Mapping) or not is_plain(metadata):
            self.odd_metadata = metadata if metadata is not None else self.odd_metadata
            return
        if not name and not self.metadata.pairs:
            self.metadata = metadata
            return
        if self.metadata.pairs:
            merged = Mapping(self.metadata.type)
            merged.pairs += self.metadata.pairs
            self.metadata = merged
        for module, versions in metadata.string_items().items():
            self.metadata.pairs += (_join(name, module), versions)

    def _add_model(self, value: Value, name: str, part: Part | None = None) -> None:
        entries = state_dict_entries(value, self.context)
        tensors = {entry.name: entry for entry in entries.entries}
        some = part is not None and part.is_some
        chosen = entries.names if part is None else [each for each in entries.names if part.takes(each)]
        for each in stepped(chosen, self.context):
            known = tensors.get(each)
            if known is not None:
                self.found.picks.append(Pick(*known)._replace(name=_join(name, each)) if name else Pick(*known))
            else:
                self._add_other(entries.others[each], each, name)
        if not (some and isinstance(value, Mapping)):  # what is said of a dict is said of entries that were not chosen
            self.found.notes.extend(entries.notes)
        if isinstance(value, Mapping) and not some:
            odd = (key for key in value.pairs[::2] if type(key) is not str)
            self.found.unnamed.extend(_join(name, step_text(key_step(key))) for key in odd)
        metadata = entries.metadata
        if some and isinstance(metadata, Mapping):
            metadata = _some_versions(metadata, above(chosen))
        self._note_metadata(metadata, name)
        drain(tensors, self.context)
        drain(entries.entries, self.context)

    def _add_other(self, value: Value, step: str, name: str) -> None:
        """Add what is no tensor beside tensors: as one entry, or as the models that it is or has where it cannot be
        kept (they have `_metadata`, or something that is no plain value beside them)."""
        name = _join(name, step)
        if id(value) in self._inside or not _has_model(value, step) or is_plain(value):
            self.found.picks.append(Pick(name, value))
            return
        self._inside.add(id(value))
        if _is_model(value, step):
            self._add_model(value, name)
        else:
            self._add_container(value, name)
        self._inside.discard(id(value))

    def _add_container(self, value: Value, name: str) -> None:
        """Add every tensor below a value, and every model as a model."""
        stack: list[tuple[int, str, Iterator[tuple[str, Value]]]] = [(id(value), name, _below(value))]
        inside = {id(value)}
        while stack:
            key, prefix, below = stack[-1]
            self.context.step(len(self.found.picks), 0)
            deeper = self._go_on(prefix, below, inside, len(stack))
            if deeper is None:
                stack.pop()
                inside.discard(key)
            else:
                stack.append(deeper)
                inside.add(deeper[0])

    def _go_on(
        self, prefix: str, below: Iterator[tuple[str, Value]], inside: set[int], depth: int
    ) -> tuple[int, str, Iterator[tuple[str, Value]]] | None:
        for step, child in below:
            name = _join(prefix, step)
            if len(self.found.picks) + len(self.found.others) >= MOST_ENTRIES:
                raise CannotExport(f"there are more than {MOST_ENTRIES} entries in what was chosen; choose less of it")
            if isinstance(child, TensorSpec):
                self.found.picks.append(Pick(name, child))
            elif _is_model(child, step):
                self._add_model(child, name)
            elif _is_container(child) and id(child) not in inside and depth < DEEPEST:
                return id(child), name, _below(child)
            else:
                self.found.others.append(name)
        return None


def _is_model(value: Value, key: str = "") -> bool:
    """Whether a value's entries are those of a state_dict: it is a module, or a dict with tensors directly in it."""
    if is_module(value) or is_script_module(value) or wrapped_module(value) is not None:
        return True
    if not isinstance(value, Mapping):
        return False
    if has_parts(value):
        return True
    return is_state_dict(value, key) or any(type(child) is TensorSpec for _, child in _string_items(value))


def _has_model(value: Value, key: str) -> bool:
    """Whether a value is a model or a dict of some."""
    return _is_model(value, key) or any(_is_model(child, step) for step, child in _string_items(value))


def _is_container(value: Value) -> bool:
    return isinstance(value, Mapping | Items | Instance | list | tuple)


def _below(value: Value) -> Iterator[tuple[str, Value]]:
    return ((step_text(step), child) for step, child in children(value))


def _string_items(value: Value) -> list[tuple[str, Value]]:
    return list(value.string_items().items()) if isinstance(value, Mapping) else []


def _holds_tensors_deeper(value: Value) -> bool:
    """Whether a value is a plain dict with tensors, none of them directly in it: an optimizer's state, for one."""
    if not isinstance(value, Mapping) or _is_model(value) or not is_plain(value):
        return False
    return all(type(key) is str for key in value.pairs[::2]) and next(tensors_in(value), None) is not None


def _some_versions(metadata: Mapping, modules: set[str]) -> Mapping:
    some = Mapping(metadata.type)
    for module, versions in metadata.string_items().items():
        if module in modules:
            some.pairs += (module, versions)
    return some


def _join(name: str, step: str) -> str:
    return f"{name}.{step}" if name and step else name or step


def _buffer(node: Node) -> bool | None:
    """Whether a single tensor is a buffer, where it lies in a module."""
    parent = node.parent
    if parent is None or parent.parent is None or not is_module(parent.parent.value):
        return None
    return {"_buffers": True, "_parameters": False}.get(parent.name)
