"""What of a checkpoint goes into an export, and under which names: a choice becomes a cargo and a report."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.lost import Losses
from ckpt_viewer.core.module import Entries, state_dict_entries
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.cargo import Cargo
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.emit import PLAIN_TENSORS, is_plain

MOST_ERRORS = 5
"""What is wrong with a file, of which an export warns."""


class Selection(NamedTuple):
    """What a choice comes to.

    Attributes:
        cargo: for a writer.
        dropped: names in the file that are left out.
        warnings: what whoever loads the result should know, a sentence each.
    """

    cargo: Cargo
    dropped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def tensors(self) -> int:
        """How many entries are tensors."""
        return sum(isinstance(value, TensorSpec) for value in self.cargo.items.values())


def select(checkpoint: Checkpoint, choice: Choice, context: Context = SILENT) -> Selection:
    """Work out what a choice comes to.

    Raises:
        CannotExport: there is no model, there are several and none was chosen, or nothing is left.
        NoSuchNode: a pointer leads nowhere.
        Cancelled: by `context`.
    """
    pointers = choice.sources or (_only_model(checkpoint),)
    entries, lost = _without_lost(checkpoint, state_dict_entries(checkpoint[pointers[0]].value, context))
    items, dropped, warnings = _sort_out(entries, context)
    metadata = entries.metadata if isinstance(entries.metadata, Mapping) and is_plain(entries.metadata) else None
    if metadata is None and entries.metadata is not None:
        warnings.append("_metadata (versions of the modules) holds more than plain values and is left out")
    drain(entries.entries, context)
    errors = [note.message for note in checkpoint.contents.notes if note.severity == "error"]
    missing = [f"lost with the broken file and left out: {', '.join(lost)}"] if lost else []
    return Selection(Cargo(items, metadata), (*dropped, *lost), (*missing, *errors[:MOST_ERRORS], *warnings))


def _only_model(checkpoint: Checkpoint) -> str:
    models = checkpoint.models
    if not models:
        raise CannotExport("no model was recognised in this file; choose a state_dict or a module with --from")
    pointers = [checkpoint.node(model.path).pointer for model in models]
    if len(models) > 1:
        names = ", ".join(pointer or "the root" for pointer in pointers)
        raise CannotExport(f"there are {len(models)} models in this file ({names}); choose one with --from")
    return pointers[0]


def _without_lost(checkpoint: Checkpoint, entries: Entries) -> tuple[Entries, list[str]]:
    """Return the entries whose values are there, and the names of the others; there are such in a salvaged file only.

    Raises:
        CannotExport: there is none whose values are there.
    """
    if not checkpoint.contents.salvaged:
        return entries, []
    losses = Losses()
    kept = [entry for entry in entries.entries if not losses.of(entry.tensor)]
    names = {entry.name for entry in kept}
    lost = [entry.name for entry in entries.entries if entry.name not in names]
    if lost and not kept:
        raise CannotExport("no tensor of the model is left in this file; copy or download it again")
    return entries._replace(entries=kept), lost


def _sort_out(entries: Entries, context: Context) -> tuple[dict[str, Value], list[str], list[str]]:
    """Return what is written, in order; the names left out; and warnings."""
    warnings = list(entries.notes)
    retyped: dict[str, int] = {}
    for _, tensor, _ in stepped(entries.entries, context):
        if tensor.type not in PLAIN_TENSORS:
            retyped[tensor.type] = retyped.get(tensor.type, 0) + 1
    if not entries.entries:
        raise CannotExport("there is no tensor in what was chosen; choose a model or a state_dict")
    kept = {name: value for name, value in entries.others.items() if is_plain(value)}
    dropped = [name for name in entries.others if name not in kept]
    warnings += [f"{count} tensors of class {name} become plain tensors" for name, count in retyped.items()]
    if kept:
        warnings.append(f"kept although no tensors: {_names(list(kept))}")
    if dropped:
        warnings.append(f"left out, being neither tensors nor plain values: {_names(dropped)}")
    written: dict[str, Value] = {entry.name: entry.tensor for entry in stepped(entries.entries, context)}
    written.update(kept)
    return {name: written[name] for name in stepped(entries.names, context) if name in written}, dropped, warnings


def _names(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
