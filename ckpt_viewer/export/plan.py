"""First say what would be written, then write it, check it, and put it in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.core.model import Model
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.blocks import Meter
from ckpt_viewer.export.cargo import CastCounts, Options
from ckpt_viewer.export.choice import DEFAULT, Choice
from ckpt_viewer.export.folder import check_folder, written_folder
from ckpt_viewer.export.making import Making
from ckpt_viewer.export.names import check_name, export_target, remap_folder, remap_target, slim_target
from ckpt_viewer.export.recipe import FileRecipe, Recipe
from ckpt_viewer.export.selection import Selection, select
from ckpt_viewer.export.target import files_read
from ckpt_viewer.export.together import check_files, written_together
from ckpt_viewer.export.writers import writer_named

if TYPE_CHECKING:
    from ckpt_viewer.export.proof import Prover
    from ckpt_viewer.export.remap import Remap
    from ckpt_viewer.export.remap_set import RemapSet
    from ckpt_viewer.export.slim import Slim

OUR_READER = "ckpt-viewer"
"""What `Written.verified` says when this program's reader compared the copy with the source."""


class Plan(NamedTuple):
    """What a writer would do.

    Attributes:
        what: ``"state_dict"``, ``"remap"`` or ``"slim"``. source: paths of the files that are read.
        target: where it is written if nobody says otherwise.
        recipe: writes and checks it. tensors: how many it will hold.
        renamed: old name -> new. dropped: names that are left out. cast: new name -> new dtype.
        warnings: what whoever loads the result should know, a sentence each.
        idle: why there is nothing to write, as a sentence; ``""`` if there is something. See `anyway`.
        selection: entry by entry; None for a remap. folder: whether the target is a folder, which appears as a whole.
        before: bytes of the source where less of it is kept; 0 otherwise. format: name of the writer.
    """

    what: str
    source: tuple[str, ...]
    target: Path
    recipe: Recipe
    tensors: int
    renamed: Mapping[str, str] = MappingProxyType({})
    dropped: tuple[str, ...] = ()
    cast: Mapping[str, str] = MappingProxyType({})
    warnings: tuple[str, ...] = ()
    idle: str = ""
    selection: Selection | None = None
    folder: bool = False
    before: int = 0
    format: str = "pth"

    @property
    def nbytes(self) -> int:
        """Length of the file that would be written, in bytes; of a set about, since its index names its files."""
        return self.recipe.nbytes

    def size_at(self, target: Path) -> int:
        """Return the bytes of all files that are written if somebody asks for `target`."""
        return sum(part.nbytes for _, part in self.recipe.files(target))

    @property
    def saving(self) -> str:
        """What leaving something out saves, as a sentence; ``""`` where nothing was to be left out."""
        if not self.before:
            return ""
        less = bytes_text(max(0, self.before - self.nbytes))
        named = ", ".join(self.dropped)
        return f"without {named}: {less} less, {bytes_text(self.nbytes)} of {bytes_text(self.before)} are left"

    def anyway(self) -> Plan:
        """Return a plan that writes where there is nothing to change, too: for who named a file and goes on with it."""
        if not self.idle:
            return self
        return self._replace(idle="", warnings=(f"{self.idle}; the copy is the source as it is", *self.warnings))

    def check(self, target: Path, *, force: bool = False) -> None:
        """Refuse a target that must not be written, or a disk without room; raises ExportError."""
        files = self.recipe.files(target)
        if self.folder:
            check_folder(target, files)
        else:
            check_name(target, self.format)
            check_files(files, force=force, source=self.source)


class Written(NamedTuple):
    """What was written: INTERFACE's `export` and `remap --json`.

    Attributes:
        path: the file; None if there was nothing to do. bytes: its length. tensors: how many it holds.
        renamed: old name -> new. dropped: names left out. cast: name -> new dtype.
        counts: name -> what the cast did to its values, only where it did something.
        carried: checksums of the source that were taken over without being compared.
        files: how many files were written; `path` is the one to open.
        verified: who compared it with the source: ``"torch 2.13.0"`` beside this program's reader, or only that; None
            if nobody did. unproven: why torch did not, where it was asked to, as half a sentence.
    """

    path: Path | None
    bytes: int
    tensors: int
    renamed: Mapping[str, str] = MappingProxyType({})
    dropped: tuple[str, ...] = ()
    cast: Mapping[str, str] = MappingProxyType({})
    counts: Mapping[str, CastCounts] = MappingProxyType({})
    warnings: tuple[str, ...] = ()
    carried: int = 0
    files: int = 1
    verified: str | None = None
    unproven: str = ""


def plan_export(checkpoint: Checkpoint, choice: Choice | Model | str | None = None, context: Context = SILENT) -> Plan:
    """Plan an export: what was chosen, under its names, in the format that was chosen.

    Args:
        choice: what to export and how; one of ``checkpoint.models``, or a JSON Pointer, stands for just that; the only
            model without.

    Raises:
        CannotExport: there is no model, there are several and none was chosen, or a tensor cannot be written
            faithfully. Of a salvaged file the lost ones are left out and named, in `dropped` and in a warning.
        NoSuchNode: a pointer leads nowhere.
        Cancelled: by `context`.
    """
    choice = _as_choice(checkpoint, choice)
    return plan_selection(checkpoint, choice, select(checkpoint, choice, context), context)


def plan_selection(checkpoint: Checkpoint, choice: Choice, selection: Selection, context: Context = SILENT) -> Plan:
    """Plan how to write what `choice` came to.

    Raises:
        CannotExport: names collide, or the format cannot hold something (named in the message).
        Cancelled: by `context`.
    """
    cargo = selection.cargo(context)
    writer = writer_named(choice.format)
    recipe = writer.plan(cargo, Options(choice.max_shard_size), context)
    omitted = frozenset(recipe.dropped)
    left_out = sum(isinstance(cargo.items.get(name), TensorSpec) for name in omitted)
    return Plan(
        "state_dict",
        files_read(checkpoint),
        export_target(checkpoint.path, writer.suffixes[0]),
        recipe,
        selection.tensors - left_out,
        renamed={old: new for old, new in stepped(selection.renamed.items(), context) if new not in omitted},
        dropped=(*(each.name for each in selection.dropped), *recipe.dropped),
        cast={new: dtype for new, dtype in stepped(selection.cast.items(), context) if new not in omitted},
        warnings=(*selection.warnings, *recipe.warnings),
        selection=selection,
        format=writer.name,
    )


def _as_choice(checkpoint: Checkpoint, choice: Choice | Model | str | None) -> Choice:
    if isinstance(choice, Choice):
        return choice
    if isinstance(choice, Model):
        choice = checkpoint.node(choice.path).pointer
    return DEFAULT if choice is None else Choice((choice,))


def plan_remap(checkpoint: Checkpoint, map_location: MapLocation, context: Context = SILENT) -> Plan:
    """Plan the whole checkpoint with the device tags that `map_location` makes of the present ones.

    Raises:
        BadMapLocation: torch.load would refuse it. CannotExport: this format has no tags, or they cannot be rewritten.
        SourceError, Damaged: the file cannot be read any more. Cancelled: by `context`.
    """
    if checkpoint.contents.salvaged:
        raise CannotExport("this file is broken, so a copy would be too; export the state_dict of what is left of it")
    recipe: Remap | RemapSet
    folder, beyond = checkpoint.format == "sharded", list[str]()
    if folder:
        from ckpt_viewer.export.remap_set import plan_set

        recipe, target = plan_set(checkpoint, map_location, context), remap_folder(checkpoint.path, map_location)
    else:
        recipe, beyond = _tags(checkpoint, map_location, context)
        target = remap_target(checkpoint.path, map_location)
    tensors = sum(1 for _ in checkpoint.outline.tensors())
    idle = "" if recipe.references else _idle(recipe.tags)
    warnings = (*recipe.warnings, *beyond, *_warnings(checkpoint, recipe.tags))
    return Plan("remap", files_read(checkpoint), target, recipe, tensors, warnings=warnings, idle=idle, folder=folder)


def _tags(
    checkpoint: Checkpoint, map_location: MapLocation, context: Context, slim: Slim | None = None
) -> tuple[Remap, list[str]]:
    """Return the recipe of a copy with other tags, and what they do not reach; raises as `plan_remap`."""
    from ckpt_viewer.export.remap import plan_tags  # what an export does not need is not imported for it
    from ckpt_viewer.export.retag import out_of_reach

    recipe = plan_tags(checkpoint, map_location, context, slim=slim)
    return recipe, out_of_reach(checkpoint, recipe.retagger.locator)


def plan_slim(checkpoint: Checkpoint, map_location: MapLocation = None, context: Context = SILENT) -> Plan:
    """Plan the whole checkpoint without its optimizer, and with other device tags where `map_location` says so.

    Raises:
        CannotExport: there is no optimizer, or it cannot be taken out of this file. Otherwise as `plan_remap` does.
    """
    from ckpt_viewer.export.slim import without_optimizer

    if checkpoint.contents.salvaged:
        raise CannotExport("this file is broken, so a copy would be too; export the state_dict of what is left of it")
    slim = without_optimizer(checkpoint, context)
    left = slim.checkpoint
    recipe, beyond = _tags(left, map_location, context, slim)
    tensors = sum(1 for _ in left.outline.tensors())
    warnings = (*recipe.warnings, *beyond, *_warnings(left, recipe.tags))
    target = slim_target(checkpoint.path, map_location)
    return Plan(
        "slim",
        files_read(checkpoint),
        target,
        recipe,
        tensors,
        dropped=slim.keys,
        warnings=warnings,
        before=checkpoint.size,
    )


def _idle(tags: Set[str]) -> str:
    if not tags:
        return "there is no storage in this file, so there is nothing to remap"
    return f"every tensor is on {', '.join(sorted(tags))} already, so there is nothing to remap"


def _warnings(checkpoint: Checkpoint, tags: Set[str]) -> Iterator[str]:
    if checkpoint.contents.weights_only:
        yield f"torch.load(weights_only=True) refuses the copy, like the source: {checkpoint.contents.weights_only}"
    if "meta" in tags:
        yield "tensors tagged meta load without their values"


def write(
    plan: Plan,
    target: Path | str | None = None,
    *,
    force: bool = False,
    verify: bool = True,
    prover: Prover | None = None,
    context: Context = SILENT,
) -> Written:
    """Carry out a plan. The target appears whole or not at all.

    Args:
        target: the plan's own without. force: replace an existing file; never the source.
        verify: compare what was written with the source before it gets its name.
        prover: lets torch compare it too, if `verify`.
        context: told about bytes, once when they are written and again when they are compared; may cancel.

    Raises:
        ExportError: refused or failed; nothing was harmed.
        SourceError, Damaged: the source cannot be read any more.
        Cancelled: by `context`.
    """
    path = Path(target) if target is not None else plan.target
    if plan.idle:
        return Written(None, 0, plan.tensors, warnings=(plan.idle,))
    if not plan.folder:
        check_name(path, plan.format)
    parts = plan.recipe.files(path)
    proving = prover if verify else None
    meter = Meter(context, plan.recipe.copied_bytes * (1 + verify + (proving is not None)))
    if plan.cast:
        from ckpt_viewer.export.machine import prepare

        prepare(plan.recipe.copied_bytes)
    making = Making(meter, proving, verify=verify)
    opening = written_folder(path, parts) if plan.folder else written_together(parts, force=force, source=plan.source)
    with opening as files:
        for file, (_, part) in zip(files, parts, strict=True):
            making.make(file, part)
    return Written(
        path if plan.folder else parts[-1][0],
        sum(file.position for file in files),
        plan.tensors,
        renamed=plan.renamed,
        dropped=plan.dropped,
        cast=plan.cast,
        counts=plan.recipe.counts(),
        warnings=(*plan.warnings, *making.notes, *_strangers(plan, parts)),
        carried=making.carried,
        files=len(files),
        verified=(making.proven_by or OUR_READER) if verify else None,
        unproven=making.unproven,
    )


def _strangers(plan: Plan, parts: Sequence[tuple[Path, FileRecipe]]) -> list[str]:
    if len(parts) == 1 or plan.folder:  # a new folder has nothing else in it
        return []
    from ckpt_viewer.export.shards import strangers  # for the few exports that are sets

    return strangers([path for path, _ in parts])
