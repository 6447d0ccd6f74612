"""A whole pickled module as the tree that its classes would show: told from the file alone, none of them is needed.

What is where is that of torch/nn/modules/module.py (`Module.__init__`, `__setstate__`) and, for TorchScript,
torch/jit/_script.py; `core.module` says what its ``state_dict()`` would hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckpt_viewer.core.expand import SCALARS, is_scalar_tuple, type_of
from ckpt_viewer.core.model import is_script_module, is_whole_module, wrapped_module
from ckpt_viewer.core.module import DEEPEST, state_dict_entries
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Step, python_repr, step_text
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.quantised import conv_entries, is_quantised_conv, own_entries, packed_tensors
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, Sequence, SourceText, Value

MODULE, PARAMETER, BUFFER, ATTRIBUTE = "module", "parameter", "buffer", "attribute"
"""Kinds of lines."""
HOOKS = {
    "_forward_hooks": "forward hook", "_forward_pre_hooks": "forward pre-hook", "_backward_hooks": "backward hook",
    "_backward_pre_hooks": "backward pre-hook", "_state_dict_hooks": "state_dict hook",
    "_state_dict_pre_hooks": "state_dict pre-hook", "_load_state_dict_pre_hooks": "load_state_dict pre-hook",
    "_load_state_dict_post_hooks": "load_state_dict post-hook",
}  # fmt: skip
"""Attribute -> what is in it."""
OWN_CLASSES = ("torch.", "__torch__.")
"""How the names of classes begin that come with torch, or with the file itself."""
MOST_LINES = 200_000
MOST_HOOKS = 8
"""Hooks of one module that are named."""
SETTINGS_LIMIT = 300
"""Characters that say what a module was made with."""


class Line(NamedTuple):
    """One row of the tree.

    Attributes:
        row: of the entry in the outline. parent: number of the line above, -1 for the module itself.
        depth: how many lines are above.
        name: within its parent; ``""`` for the module itself. kind: MODULE, PARAMETER, BUFFER or ATTRIBUTE.
        type: class as in the file; ``""`` for tensors. tensor: None for modules.
        saved: whether ``state_dict()`` would have it; always True for modules.
        training: of a module; None where it does not say. hooks: what is hooked to it, in words.
        settings: what it was made with: ``in_features=3, bias=True``.
        same_as: for a second name, the row that describes it.
    """

    row: int
    parent: int
    depth: int
    name: str
    kind: str
    type: str = ""
    tensor: TensorSpec | None = None
    saved: bool = True
    training: bool | None = None
    hooks: tuple[str, ...] = ()
    settings: str = ""
    same_as: int | None = None


class ModuleTree(NamedTuple):
    """Everything about one whole module.

    Attributes:
        lines: in pre-order. parameters, buffers: elements of the distinct tensors at and below each line.
        foreign: classes that neither torch nor the file brings, which Python would have to have to load it.
        sources: class -> its program text in the file.
        notes: what of its ``state_dict()`` cannot be derived, and what was left out here; a sentence each.
    """

    lines: list[Line]
    parameters: list[int]
    buffers: list[int]
    foreign: tuple[str, ...]
    sources: dict[str, SourceText]
    notes: tuple[str, ...]

    @property
    def modules(self) -> int:
        """How many modules there are, the outermost included, those with several names once."""
        return sum(line.kind == MODULE and line.same_as is None for line in self.lines)

    @property
    def hooks(self) -> int:
        """How many hooks there are."""
        return sum(len(line.hooks) for line in self.lines)


def module_tree(outline: Outline, row: int, context: Context = SILENT) -> ModuleTree:
    """Return the tree of the module at a row of the outline.

    Raises:
        Cancelled: by `context`.
    """
    walk = _Walk(outline, context)
    walk.module(outline.aliases.get(row, row), "", -1, 0)
    types = dict.fromkeys(line.type for line in walk.lines if line.kind == MODULE)
    parameters, buffers = (_sums(walk.lines, kind, context) for kind in (PARAMETER, BUFFER))
    foreign = tuple(each for each in types if not each.startswith(OWN_CLASSES))
    notes = (*walk.notes, *state_dict_entries(outline.values[row], context).notes)
    return ModuleTree(walk.lines, parameters, buffers, foreign, _sources(outline, row, walk.classes), notes)


class _Walk:
    """The lines found so far.

    Attributes:
        classes: of the modules, by the text of their type.
    """

    def __init__(self, outline: Outline, context: Context) -> None:
        self.outline, self.context = outline, context
        self.lines: list[Line] = []
        self.classes: dict[str, Global] = {}
        self.notes: list[str] = []

    def module(self, row: int, name: str, parent: int, depth: int) -> None:
        """Add a module and what is in it."""
        self.context.step(len(self.lines), 0)
        outline, value, same_as = self.outline, self.outline.values[row], self.outline.aliases.get(row)
        assert isinstance(value, Instance)
        if len(self.lines) >= MOST_LINES or depth > DEEPEST:
            if not self.notes:
                self.notes.append("there are more modules than are shown here; the tree has all entries")
            return
        attributes = value.attributes()
        number, training = len(self.lines), attributes.get("training")
        if isinstance(value.callable, Global):
            self.classes[value.type] = value.callable
        self.lines.append(Line(
            row, parent, depth, name, MODULE, value.type, None, True, training if type(training) is bool else None,
            tuple(_hooks(attributes)), _settings(attributes), same_as))  # fmt: skip
        if same_as is not None:
            return
        below = {outline.steps[child]: child for child in outline.children(row)}
        for line in self._tensors(value, attributes, below, row):
            self.lines.append(line._replace(parent=number, depth=depth + 1))
        for step, child in self._children(value, below):
            self.module(child, step, number, depth + 1)

    def _children(self, value: Instance, below: dict[Step, int]) -> Iterator[tuple[str, int]]:
        """Yield (name, row) of the modules directly in one."""
        outline = self.outline
        if wrapped_module(value) is not None:
            yield "_orig_mod", next(iter(below.values()))
            return
        holder = below.get("_modules")
        rows = below.values() if is_script_module(value) else self._members(holder)
        for row in rows:
            child = outline.values[row]
            if is_whole_module(child) or is_quantised_conv(child):
                yield step_text(outline.steps[row]), row

    def _members(self, holder: int | None) -> Iterator[int]:
        return iter(()) if holder is None else self.outline.children(self.outline.aliases.get(holder, holder))

    def _tensors(
        self, value: Instance, attributes: dict[str, Value], below: dict[Step, int], row: int
    ) -> Iterator[Line]:
        """Yield the tensors directly in a module: parameters, buffers, and those that are plain attributes."""
        if is_script_module(value):
            yield from self._script_tensors(value, below)
            return
        left_out = attributes.get("_non_persistent_buffers_set")
        fleeting = set(map(str, left_out.items)) if isinstance(left_out, Sequence) else set[str]()
        for group, kind in (("_parameters", PARAMETER), ("_buffers", BUFFER)):
            for child in self._members(below.get(group)):
                tensor, name = self.outline.values[child], step_text(self.outline.steps[child])
                if isinstance(tensor, TensorSpec):
                    saved = kind == PARAMETER or name not in fleeting
                    yield Line(child, -1, 0, name, kind, tensor=tensor, saved=saved)
        packed = conv_entries(value) if is_quantised_conv(value) else own_entries(value, attributes)
        for name, each in packed:
            for tensor in packed_tensors(each):
                yield Line(row, -1, 0, name, BUFFER, tensor=tensor)
        for child in below.values():
            each = self.outline.values[child]
            if isinstance(each, TensorSpec):
                yield Line(child, -1, 0, step_text(self.outline.steps[child]), ATTRIBUTE, tensor=each, saved=False)

    def _script_tensors(self, value: Instance, below: dict[Step, int]) -> Iterator[Line]:
        members = value.callable.members if isinstance(value.callable, Global) else None
        for row in below.values():
            tensor, name = self.outline.values[row], step_text(self.outline.steps[row])
            if not isinstance(tensor, TensorSpec):
                continue
            if members is None:  # without the program, what is trained is a parameter
                yield Line(row, -1, 0, name, PARAMETER if tensor.requires_grad else BUFFER, tensor=tensor)
            elif name in members.parameters:
                yield Line(row, -1, 0, name, PARAMETER, tensor=tensor)
            elif members.buffers is None or name in members.buffers:
                yield Line(row, -1, 0, name, BUFFER, tensor=tensor)
            else:
                yield Line(row, -1, 0, name, ATTRIBUTE, tensor=tensor, saved=False)


def _hooks(attributes: dict[str, Value]) -> Iterator[str]:
    for name, words in HOOKS.items():
        hooks = attributes.get(name)
        if isinstance(hooks, Mapping):
            for hook in hooks.pairs[1 : 2 * MOST_HOOKS : 2]:
                yield f"{words} {_called(hook)}"


def _called(hook: Value) -> str:
    """Return the name of a function, a method, or an object that is called."""
    if isinstance(hook, Global):
        return hook.qualified
    if isinstance(hook, Literal):  # a bound method, or another small object
        return hook.text
    if isinstance(hook, Instance) and hook.type == "functools.partial" and hook.arguments:
        return f"partial of {_called(hook.arguments[0])}"
    return type_of(hook)


def _settings(attributes: dict[str, Value]) -> str:
    """Return the plain attributes of a module, without torch's own bookkeeping."""
    told = ""
    for name, value in attributes.items():
        if name.startswith("_") or name == "training" or len(told) > SETTINGS_LIMIT:
            continue
        if type(value) in SCALARS or is_scalar_tuple(value):
            told += f"{', ' if told else ''}{name}={shorten(python_repr(value), 60)}"
    return shorten(told, SETTINGS_LIMIT)


def _sums(lines: list[Line], kind: str, context: Context) -> list[int]:
    """Return the elements of the distinct tensors of one kind at and below each line."""
    sums, seen = [0] * len(lines), [set[int]() for _ in lines]
    for number, line in enumerate(lines):
        context.step(number, len(lines))
        tensor, at = line.tensor, number
        if tensor is None or line.kind != kind:
            continue
        while at >= 0 and id(tensor) not in seen[at]:
            seen[at].add(id(tensor))
            sums[at] += tensor.numel
            at = lines[at].parent
    return sums


def _sources(outline: Outline, row: int, classes: dict[str, Global]) -> dict[str, SourceText]:
    """Return the program texts of classes: beside their names (torch before 1.6), or in files of the archive."""
    files = dict(_files(outline, row))
    found: dict[str, SourceText] = {}
    for name, each in classes.items():
        path = each.module.replace(".", "/")
        for file in (f"code/{path}.py", f"{path}.py", f"{path}/__init__.py"):
            if each.source is None and file in files:
                found.setdefault(name, SourceText(file, files[file]))
        if each.source is not None:
            found[name] = each.source
    return found


def _files(outline: Outline, row: int) -> Iterator[tuple[str, str]]:
    """Yield the texts of program that stand beside a module in its archive."""
    while row >= 0:
        value = outline.values[row]
        pairs = value.pairs if isinstance(value, Mapping | Instance) else []
        for key, text in zip(pairs[::2], pairs[1::2], strict=False):
            if type(key) is str and key.endswith(".py") and type(text) is str:
                yield key, text
        row = outline.parents[row]
