"""A checkpoint that is open: its tree, its bytes, its map_location."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Given
from functools import cached_property
from types import TracebackType
from typing import NamedTuple

from ckpt_viewer.core.finding import Finding, GlobalUse, Note
from ckpt_viewer.core.location import Locator, MapLocation
from ckpt_viewer.core.model import ROLES, Model, find_models, has_parts
from ckpt_viewer.core.node import Node, places_below
from ckpt_viewer.core.outline import Outline, build_outline
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import Bytes, TensorSpec
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CannotExport, NoSuchNode


class Contents(NamedTuple):
    """What a format reader returns.

    Attributes:
        format: ``"torch-zip"``, ``"torch-legacy"``.
        root: the neutral value that the file describes.
        globals: every name in the pickle, in order of first appearance.
        notes: what the reader noticed.
        protocol: highest pickle protocol used, -1 without a pickle.
        weights_only: why ``torch.load(weights_only=True)`` would refuse it; ``""`` if it would not.
        weights_only_says: the same in torch's own words.
        close: gives the file back.
        source: the whole file, for writers that copy parts of it; None for a checkpoint that was made by hand.
        state_dict: whether the container can hold nothing but one state_dict, whatever its names look like.
        files: names of the files that it is made of, where they are several.
        salvaged: whether the file is broken and this is what is left of it.
    """

    format: str
    root: Value
    globals: tuple[GlobalUse, ...]
    notes: tuple[Note, ...]
    protocol: int
    weights_only: str
    close: Callable[[], None]
    source: Bytes | None = None
    state_dict: bool = False
    weights_only_says: str = ""
    files: tuple[str, ...] = ()
    salvaged: bool = False


class Checkpoint:
    """An open checkpoint file. A context manager; reading tensor bytes works until `close`.

    Attributes:
        path: as given. size: bytes of the file. contents: what the reader found.
        locator: answers where map_location puts each tensor; replace it with `remap`.
        given: rows of the outline -> what a user says that they are; empty unless somebody does, see `take_roles`.
    """

    def __init__(self, path: str, size: int, contents: Contents, map_location: MapLocation = None) -> None:
        self.path, self.size, self.contents = path, size, contents
        self.locator = Locator(map_location)
        self.given: dict[int, str] = {}

    @property
    def format(self) -> str:
        """``torch-zip``, ``torch-legacy``, ..."""
        return self.contents.format

    @property
    def root(self) -> Node:
        """The node of path ``[]``."""
        return Node(self, self.contents.root)

    @cached_property
    def outline(self) -> Outline:
        """Every entry in pre-order; built at the first use, see `load_outline` for a cancellable way."""
        return build_outline(self.contents.root, SILENT, self.size)

    def load_outline(self, context: Context = SILENT) -> Outline:
        """Build `outline`, `models` and `lost` under a context that reports and may cancel; raises Cancelled."""
        if "outline" not in self.__dict__:
            self.__dict__["outline"] = build_outline(self.contents.root, context, self.size)
        if "models" not in self.__dict__:
            self.__dict__["models"] = self._find_models(context)
        if self.contents.salvaged and "lost" not in self.__dict__:
            self.__dict__["lost"] = self._find_lost(context)
        return self.outline

    def map_onto(self, map_location: MapLocation) -> None:
        """Choose another map_location; nothing is read again.

        Raises:
            BadMapLocation: torch.load would refuse it.
        """
        self.locator = Locator(map_location)

    def take_roles(self, given: Given[str, str], context: Context = SILENT) -> None:
        """Have what a user says of entries (JSON Pointer -> role) decide over what is found; not while others read it.

        Pointers that lead nowhere, and roles that there are none of, are left out.

        Raises:
            Cancelled: by `context`; nothing has changed then.
        """
        outline, rows = self.load_outline(context), {}
        for pointer, role in given.items():
            try:
                row = outline.find(self[pointer].path)
            except NoSuchNode:
                continue
            if row is not None and role in ROLES:
                rows[row] = role
        models = self._find_models(context, rows)
        self.given, self.__dict__["models"] = rows, models

    def __getitem__(self, pointer: str) -> Node:
        """Return the node at a JSON Pointer; raises NoSuchNode."""
        return self.root.find(pointer)

    def __contains__(self, pointer: str) -> bool:
        """Whether a JSON Pointer leads to a node."""
        try:
            self[pointer]
        except NoSuchNode:
            return False
        return True

    def node(self, path: Path) -> Node:
        """Return the node at a path of typed steps; raises NoSuchNode."""
        node = self.root
        for step in path:
            for child in node.children:
                if child.step == step and type(child.step) is type(step):
                    node = child
                    break
            else:
                raise NoSuchNode(f"there is no {step!r} below {node.pointer or 'the root'}; `ls` lists what there is")
        return node

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the reader noticed, each at the path of the value that it is about."""
        wanted = {id(note.value) for note in self.contents.notes if note.value is not None}
        rows: dict[int, int] = {}
        if wanted:
            for row, value in enumerate(self.outline.values):
                if id(value) in wanted:
                    rows.setdefault(id(value), row)
                if type(value) is TensorSpec and id(value.storage) in wanted:
                    rows.setdefault(id(value.storage), row)
        found = [
            Finding(note.severity, note.code, self.outline.path(rows.get(id(note.value), 0)), note.message)
            for note in self.contents.notes
        ]
        if self.outline.too_deep:
            message = f"{len(self.outline.too_deep)} containers are nested too deep and are not listed"
            found.append(Finding("warning", "too-deep", self.outline.path(self.outline.too_deep[0]), message))
        if self.outline.unlisted:
            message = (
                f"{self.outline.unlisted} entries are not listed: plain numbers and texts, or what stands elsewhere"
            )
            found.append(Finding("warning", "too-many", (), message))
        told: set[int] = set()
        for row, problem in self.lost.items():  # a tensor that is there under several names is told once
            if id(self.outline.values[row]) not in told:
                told.add(id(self.outline.values[row]))
                found.append(Finding("error", "tensor-lost", self.outline.path(row), problem))
        return tuple(found)

    @cached_property
    def lost(self) -> dict[int, str]:
        """Row of the outline -> why the values of its tensor are lost; empty but for a salvaged file."""
        return self._find_lost(SILENT) if self.contents.salvaged else {}

    def _find_lost(self, context: Context) -> dict[int, str]:
        from ckpt_viewer.core.lost import find_lost  # what whole files do not need is not imported for them

        return find_lost(self.outline, context)

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """The models in the file, by structure: state_dicts and whole modules; raw ones first, EMA copies after."""
        return self._find_models(SILENT)

    def _find_models(self, context: Context, given: Given[int, str] | None = None) -> tuple[Model, ...]:
        if self.contents.state_dict and len(self.outline) > 1 and not given:
            return (Model((), "state_dict", 0, False),)
        return find_models(self.outline, context, given)

    def state_dict(self, model: Model | None = None) -> dict[str, Node]:
        """Return the params-only state_dict, buffers included, in torch's order: {name: tensor node}.

        Args:
            model: one of `models`; the first without.

        Raises:
            CannotExport: there is no model in the file.
        """
        from ckpt_viewer.core.module import state_dict_entries

        if model is None:
            if not self.models:
                raise CannotExport("there is no model in this file: no state_dict and no whole module was recognised")
            model = self.models[0]
        base = self.node(model.path)
        entries = state_dict_entries(base.value).entries
        if isinstance(base.value, Mapping) and not has_parts(base.value):
            below = {child.step: child for child in base.children if type(child.step) is str}
            return {entry.name: below[entry.name] for entry in entries}
        places = places_below(base, {id(entry.tensor) for entry in entries})
        return {  # a tensor without a place was made of another entry, as the parts of packed weights are
            entry.name: places.get(id(entry.tensor)) or Node(self, entry.tensor, base, entry.name, index)
            for index, entry in enumerate(entries)
        }

    def close(self) -> None:
        """Give the file back. Safe to call twice."""
        self.contents.close()

    def free(self, context: Context) -> None:
        """Close, and let go of the tree piece by piece: all of it at once would hold the GIL for 50 ms and more.

        Raises:
            Cancelled: by `context`.
        """
        self.close()
        outline = self.__dict__.get("outline")
        if outline is not None:
            containers = [value for value in stepped(outline.values, context) if isinstance(value, Mapping)]
            for each in (outline.values, outline.steps, *(container.pairs for container in containers)):
                drain(each, context)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
