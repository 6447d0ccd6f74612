"""What the dialog shows of a choice: the plan, what stands against it, and the room on the disk. No Qt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.progress import Context, drain, stepped
from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.export.plan import plan_selection
from ckpt_viewer.export.selection import Line, Selection, collision_text, select
from ckpt_viewer.export.together import check_files

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.export.choice import Choice
    from ckpt_viewer.export.plan import Plan


class Preview(NamedTuple):
    """What a choice would write.

    Attributes:
        choice: what it is of. target: the path as it was typed.
        selection: entry by entry; None where nothing could be chosen. plan: None where it cannot be written.
        problem: why it cannot be, as a sentence; ``""`` if it can.
        free: bytes left on the target's disk; None where that is not known.
        exists: whether there is a file of that name, which would be replaced.
        facts: what it comes to, a few words each. collided: entries whose new names are wanted twice.
    """

    choice: Choice
    target: str
    selection: Selection | None = None
    plan: Plan | None = None
    problem: str = ""
    free: int | None = None
    exists: bool = False
    facts: tuple[str, ...] = ()
    collided: tuple[Line, ...] = ()

    def discard(self, context: Context) -> None:
        """Let go of 100,000 entries piece by piece; raises Cancelled."""
        held: list[object] = []
        if self.plan is not None:
            self.plan.recipe.discard(context)
            held += [self.plan.renamed, self.plan.cast]
        if self.selection is not None:
            held += [self.selection.renamed, self.selection.cast, self.selection.collisions, self.selection.lines]
        for each in held:
            if isinstance(each, dict | list):
                drain(each, context)


def make_preview(checkpoint: Checkpoint, choice: Choice, target: str, context: Context) -> Preview:
    """Work out what a choice would write, and where; what is wrong with it is in the preview.

    Raises:
        Cancelled: by `context`.
    """
    free, exists = _room(target)
    shown = Preview(choice, target, free=free, exists=exists)
    try:
        selection = select(checkpoint, choice, context)
        shown = shown._replace(selection=selection, facts=_facts(selection, None, context))
        if selection.collisions:
            collided = tuple(line for line in stepped(selection.lines, context) if line.new in selection.collisions)
            return shown._replace(problem=f"{collision_text(selection.collisions)}.", collided=collided)
        plan = plan_selection(checkpoint, choice, selection, context)
        shown = shown._replace(plan=plan, facts=_facts(selection, plan, context))
        check_files(plan.recipe.files(Path(target)), force=True, source=checkpoint.path)
    except CheckpointError as error:
        return shown._replace(problem=_sentence(str(error)))
    return shown


def _sentence(text: str) -> str:
    text = text.replace("--max-shard-size", "size of a file").replace(" with --from", "")
    return f"{text[:1].upper()}{text[1:]}."


def _room(target: str) -> tuple[int | None, bool]:
    try:
        return shutil.disk_usage(Path(target).parent).free, os.path.lexists(target)
    except (OSError, ValueError):  # no such folder: the writer says so
        return None, False


def _facts(selection: Selection, plan: Plan | None, context: Context) -> tuple[str, ...]:
    """Return what a plan comes to, a few words each: entries, bytes, what changes."""
    found = [_many(plan.tensors if plan is not None else selection.tensors, "tensor")]
    if plan is not None:
        before = after = 0
        for line in stepped(selection.lines if plan.cast else (), context):
            if line.new in plan.cast:
                before, after = before + line.nbytes, after + line.new_nbytes
        casting = f" (casting {bytes_text(before)} to {bytes_text(after)})" if plan.cast else ""
        found.append(bytes_text(plan.nbytes) + casting)
    said = plan or selection
    counts = ((len(said.renamed), "renamed"), (len(said.cast), "cast"), (len(said.dropped), "left out"))
    found += [f"{grouped(count)} {word}" for count, word in counts if count]
    tied = sum(map(len, selection.tied))
    if tied:
        found.append(f"{grouped(tied)} tied")
    return tuple(found)


def _many(count: int, word: str) -> str:
    return f"{grouped(count)} {word}{'' if count == 1 else 's'}"


def room_text(preview: Preview) -> str:
    """Return what there is to say about the target: room on its disk, a file that is there already."""
    parts = []
    if preview.free is not None:
        parts.append(f"{bytes_text(preview.free)} free on that disk")
    if preview.exists:
        parts.append("a file of that name is there and would be replaced")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
