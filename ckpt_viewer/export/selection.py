"""What of a checkpoint goes into an export, and under which names: a choice becomes a cargo and a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Mapping as Dict
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.becoming import becomes, check_dtype, nbytes_as, said_of_dtypes
from ckpt_viewer.export.cargo import Cargo
from ckpt_viewer.export.choice import AUTO, Choice
from ckpt_viewer.export.emit import PLAIN_TENSORS, is_plain, tensors_in
from ckpt_viewer.export.gather import Pick, gather
from ckpt_viewer.export.leaving import Dropped, leave_out, names_text
from ckpt_viewer.export.naming import Naming, plan_naming, unused_rules
from ckpt_viewer.export.new_metadata import new_metadata
from ckpt_viewer.export.sharing import met_again
from ckpt_viewer.export.words import count_text

MOST_ERRORS = 5
"""What is wrong with a file, of which an export warns."""


class Line(NamedTuple):
    """One entry that is exported.

    Attributes:
        name: in the file. new: as it is written. value: a tensor or a plain value.
        dtype: what its tensor becomes; ``""`` for a plain value.
    """

    name: str
    new: str
    value: Value
    dtype: str

    @property
    def old_dtype(self) -> str | None:
        """The tensor's dtype in the file; None for a plain value."""
        return self.value.dtype if isinstance(self.value, TensorSpec) else None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The tensor's sizes; None where it has none."""
        return self.value.shape if isinstance(self.value, TensorSpec) else None

    @property
    def held(self) -> int:
        """How many tensors it is, or holds as a plain value."""
        return _held(self.value)

    @property
    def nbytes(self) -> int:
        """Bytes of the values of its tensors in the file."""
        if isinstance(self.value, TensorSpec):
            return self.value.nbytes
        return sum(tensor.nbytes for tensor in tensors_in(self.value))

    @property
    def new_nbytes(self) -> int:
        """Bytes of the values of its tensors as they are written."""
        return nbytes_as(self.value, self.dtype) if isinstance(self.value, TensorSpec) else self.nbytes


def _held(value: Value) -> int:
    if isinstance(value, TensorSpec):
        return 1
    members = value.pairs[1::2] if isinstance(value, Dict) else value if isinstance(value, list | tuple) else ()
    return sum(map(_held, members))


class Selection(NamedTuple):
    """What a choice comes to.

    Attributes:
        lines: what is exported, in order. dropped: what is left out, and why.
        renamed: old name -> new, where they differ. collisions: new name -> the old ones that would all get it.
        cast: new name -> dtype, where it changes. tied: new names of tensors that are one and the same.
        metadata: under the new names.
        warnings: what whoever loads the result should know, a sentence each.
    """

    lines: list[Line]
    dropped: tuple[Dropped, ...]
    renamed: Mapping[str, str]
    collisions: Mapping[str, tuple[str, ...]]
    cast: Mapping[str, str]
    tied: tuple[tuple[str, ...], ...]
    metadata: Value
    warnings: tuple[str, ...]

    def cargo(self, context: Context = SILENT) -> Cargo:
        """Return what a writer takes; raises CannotExport where names collide, and Cancelled by `context`."""
        if self.collisions:
            raise CannotExport(f"{collision_text(self.collisions)}; change the rules")
        return Cargo({line.new: line.value for line in stepped(self.lines, context)}, self.metadata, self.cast)

    @property
    def tensors(self) -> int:
        """How many tensors are exported, also in plain values."""
        return sum(line.held for line in self.lines)


def select(checkpoint: Checkpoint, choice: Choice, context: Context = SILENT) -> Selection:
    """Work out what a choice comes to. Names that collide are reported here and refused by `Selection.cargo`.

    Raises:
        CannotExport: there is no model, there are several and none was chosen, nothing is left, or a rule says
            nothing.
        NoSuchNode: a pointer leads nowhere.
        Cancelled: by `context`.
    """
    check_dtype(choice.dtype)
    pointers = choice.sources or (_only_model(checkpoint),)
    gathered = gather(checkpoint, pointers, nested=_keeps_form(choice), context=context)
    left = leave_out(checkpoint, gathered, choice, context)
    names = [pick.name for pick in stepped(left.picks, context)]
    lightning = is_lightning(checkpoint)
    naming = plan_naming(names, choice.strip_prefix, choice.rename, lightning=lightning, context=context)
    lines = _lines(left.picks, naming, choice.dtype, context)
    before = names if len(names) == len(gathered.picks) else [pick.name for pick in stepped(gathered.picks, context)]
    metadata = new_metadata(gathered.metadata, before, names, naming, context)
    for used_up in (gathered.picks, left.picks):
        drain(used_up, context)
    errors = [note.message for note in checkpoint.contents.notes if note.severity == "error"]
    said = [*left.notes, *errors[:MOST_ERRORS], *gathered.notes, *_said(lines, naming, choice, context)]
    if metadata is not None and not is_plain(metadata):
        said.append("_metadata (versions of the modules) holds more than plain values and is left out")
        metadata = None
    return Selection(
        lines,
        left.dropped,
        {line.name: line.new for line in stepped(lines, context) if line.new != line.name},
        _collisions(lines, context),
        {line.new: line.dtype for line in stepped(lines, context) if line.dtype != (line.old_dtype or "")},
        _tied(lines, context),
        metadata,
        tuple(said),
    )


def _only_model(checkpoint: Checkpoint) -> str:
    models = checkpoint.models
    if not models and isinstance(checkpoint.contents.root, TensorSpec):
        return ""  # the file is that tensor and nothing else
    if not models:
        raise CannotExport(
            "no model was recognised in this file; choose a state_dict or a module with --from, or all of it with "
            "--from ''"
        )
    pointers = [checkpoint.node(model.path).pointer for model in models]
    if len(models) > 1:
        names = ", ".join(pointer or "the root" for pointer in pointers)
        raise CannotExport(f"there are {len(models)} models in this file ({names}); choose one with --from")
    return pointers[0]


def _keeps_form(choice: Choice) -> bool:
    """Whether dicts in dicts (an optimizer's state) are written as they are; what speaks of names makes them flat."""
    asks_for_names = choice.include or choice.exclude or choice.strip_prefix or choice.rename or choice.dtype
    return choice.format == "pth" and not asks_for_names


def is_lightning(checkpoint: Checkpoint) -> bool:
    """Whether PyTorch Lightning wrote a checkpoint."""
    root = checkpoint.contents.root
    return isinstance(root, Dict) and root.get("pytorch-lightning_version") is not None


def _lines(picks: list[Pick], naming: Naming, dtype: str, context: Context) -> list[Line]:
    return [
        Line(name, naming.name(name), value, becomes(value, dtype) if isinstance(value, TensorSpec) else "")
        for name, value, _ in stepped(picks, context)
    ]


def _collisions(lines: list[Line], context: Context) -> dict[str, tuple[str, ...]]:
    first: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for name, new, _, _ in stepped(lines, context):
        if new in first:
            found.setdefault(new, [first[new]]).append(name)
        else:
            first[new] = name
    return {new: tuple(names) for new, names in found.items()}


def collision_text(collisions: Mapping[str, tuple[str, ...]]) -> str:
    """Return a sentence that names the first of the new names which several entries would get, and their old ones."""
    new, names = next(iter(collisions.items()))
    others = len(collisions) - 1
    more = f" ({others} more name{' is' if others == 1 else 's are'} wanted twice)" if others else ""
    return f"{names_text(list(names))} would all be called {new!r}{more}"


def _tied(lines: list[Line], context: Context) -> tuple[tuple[str, ...], ...]:
    """Group the new names of tensors that are the same view of the same storage."""
    several = met_again(
        id(value.storage)
        for _, _, value, _ in stepped(lines, context)
        if isinstance(value, TensorSpec) and value.storage is not None
    )
    groups: dict[object, list[str]] = {}
    for _, new, value, _ in stepped(lines if several else [], context):
        if isinstance(value, TensorSpec) and id(value.storage) in several and value.numel:
            view = (id(value.storage), value.offset, value.shape, value.stride, value.dtype)
            groups.setdefault(view, []).append(new)
    found = tuple(tuple(names) for names in stepped(groups.values(), context) if len(names) > 1)
    drain(groups, context)
    return found


def _said(lines: list[Line], naming: Naming, choice: Choice, context: Context) -> Iterator[str]:
    """Yield what there is to say about the entries that are exported."""
    retyped: dict[str, int] = {}
    plain: list[str] = []
    holding: list[str] = []
    for _, new, value, _ in stepped(lines, context):
        if not isinstance(value, TensorSpec):
            (holding if _held(value) else plain).append(new)
        elif value.type not in PLAIN_TENSORS:
            retyped[value.type] = retyped.get(value.type, 0) + 1
    for name, count in retyped.items():
        become = "becomes a plain tensor" if count == 1 else "become plain tensors"
        yield f"{count_text(count)} of class {name} {become}"
    if plain:
        yield f"kept although no tensors: {names_text(plain)}"
    if holding:
        yield f"kept in their form, with the tensors in them: {names_text(holding)}"
    yield from said_of_dtypes(
        (line.value for line in stepped(lines, context) if isinstance(line.value, TensorSpec)), choice.dtype
    )
    names = [line.name for line in stepped(lines, context)]
    without = sum(not name.startswith(naming.prefix) for name in stepped(names, context)) if naming.prefix else 0
    if without and choice.strip_prefix != AUTO:
        few = "no name begins" if without == len(names) else f"{without} of {len(names)} names do not begin"
        yield f"{few} with {naming.prefix!r}"
    for rule in unused_rules(naming, stepped(names, context)):
        yield f"the rename rule {rule.old}={rule.new} matches no name"
