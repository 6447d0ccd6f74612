"""What the dialog shows of a choice: the plan, what stands against it, and the room on the disk. No Qt."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.progress import Context, drain, stepped
from ckpt_viewer.core.text import bytes_text, escape_text, grouped, shorten
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.export.plan import plan_selection
from ckpt_viewer.export.selection import Line, Selection, collision_text, select
from ckpt_viewer.export.target import resolved, write_failed
from ckpt_viewer.export.together import check_files
from ckpt_viewer.gui.exporting.window_words import window_words

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.export.choice import Choice
    from ckpt_viewer.export.plan import Plan

TIES_TOLD = frozenset({"pth", "safetensors"})
"""Formats in which tensors that are one and the same stay that, or whose metadata says that they are."""


class Preview(NamedTuple):
    """What a choice would write.

    Attributes:
        choice: what it is of. target: the path as it was typed.
        selection: entry by entry; None where nothing could be chosen. plan: None where it cannot be written.
        problem: why it cannot be, as a sentence; ``""`` if it can.
        free: bytes left on the target's disk; None where that is not known.
        leads_to: where the file would really lie, if its name is a link; ``""`` otherwise.
        files: how many would be written. exists: how many of them are there already, and would be replaced.
        facts: what it comes to, a few words each. collided: entries whose new names are wanted twice.
        tied: new name -> that of the tensor which it is one with and stays so.
        holding: new name of a plain value -> tensors in it, and their bytes, if it has some.
    """

    choice: Choice
    target: str
    selection: Selection | None = None
    plan: Plan | None = None
    problem: str = ""
    free: int | None = None
    leads_to: str = ""
    files: int = 1
    exists: int = 0
    facts: tuple[str, ...] = ()
    collided: tuple[Line, ...] = ()
    tied: Mapping[str, str] = MappingProxyType({})
    holding: Mapping[str, tuple[int, int]] = MappingProxyType({})

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
    path = resolved(Path(target))
    leads_to = str(path) if Path(target).is_symlink() else ""
    shown = Preview(choice, target, free=_free(path.parent), leads_to=leads_to)
    try:
        selection = select(checkpoint, choice, context)
        tied = _tied(selection, context) if choice.format == "pth" else {}
        facts = tuple(_facts(choice, selection, None, 1, context))
        shown = shown._replace(selection=selection, facts=facts, tied=tied, holding=_holding(selection, context))
        if selection.collisions:
            collided = tuple(line for line in stepped(selection.lines, context) if line.new in selection.collisions)
            return shown._replace(problem=f"{collision_text(selection.collisions)}.", collided=collided)
        plan = plan_selection(checkpoint, choice, selection, context)
        files = plan.recipe.files(path)
        facts = tuple(_facts(choice, selection, plan, len(files), context))
        shown = shown._replace(plan=plan, facts=facts, files=len(files))
        check_files(files, force=True, source=plan.source)
        _check_folder(path.parent)
    except CheckpointError as error:
        return shown._replace(problem=_sentence(str(error)))
    return shown._replace(exists=sum(os.path.lexists(each) for each, _ in files))


def _sentence(text: str) -> str:
    text = window_words(text)
    return f"{text[:1].upper()}{text[1:]}."


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except (OSError, ValueError):  # no such folder: the writer says so
        return None


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which nothing can be made, as far as that can be told; raises WriteFailed."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise write_failed(OSError(errno.EROFS if _is_read_only(folder) else errno.EACCES, ""), folder)


def _is_read_only(folder: Path) -> bool:
    if sys.platform == "win32":
        return False
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _facts(choice: Choice, selection: Selection, plan: Plan | None, files: int, context: Context) -> Iterator[str]:
    """Yield what a plan comes to, a few words each: entries, bytes, files, what changes."""
    yield _many(plan.tensors if plan is not None else selection.tensors, "tensor")
    if plan is not None:
        several = f" in {_many(files, 'file')}" if files > 1 else ""
        yield f"{bytes_text(plan.nbytes)}{several}{_casting(selection, plan, context)}"
    said = plan or selection
    if said.renamed:
        prefix = _prefix(said.renamed, context)
        yield f"{grouped(len(said.renamed))} renamed" + (f" (without {shorten(prefix, 60)!r})" if prefix else "")
    for count, word in ((len(said.cast), "cast"), (len(said.dropped), "left out")):
        if count:
            yield f"{grouped(count)} {word}"
    tied = sum(map(len, selection.tied)) if choice.format in TIES_TOLD else 0
    if tied:
        yield f"{grouped(tied)} tied"


def _casting(selection: Selection, plan: Plan, context: Context) -> str:
    """Return what a cast makes of how many bytes; ``""`` without one."""
    if not plan.cast:
        return ""
    before = after = 0
    for line in stepped(selection.lines, context):
        if line.new in plan.cast:
            before, after = before + line.nbytes, after + line.new_nbytes
    return f" (casting {bytes_text(before)} to {bytes_text(after)})"


def _prefix(renamed: Mapping[str, str], context: Context) -> str:
    """Return what all these names begin with and lose, if that is all; ``""`` otherwise."""
    old, new = next(iter(renamed.items()))
    prefix = old[: len(old) - len(new)]
    return prefix if all(one == prefix + other for one, other in stepped(renamed.items(), context)) else ""


def _tied(selection: Selection, context: Context) -> dict[str, str]:
    return {name: group[0] for group in stepped(selection.tied, context) for name in group[1:]}


def _holding(selection: Selection, context: Context) -> dict[str, tuple[int, int]]:
    plain = (line for line in stepped(selection.lines, context) if line.old_dtype is None)
    return {line.new: (line.held, line.nbytes) for line in plain if line.held}


def _many(count: int, word: str) -> str:
    return f"{grouped(count)} {word}{'' if count == 1 else 's'}"


def room_text(preview: Preview) -> str:
    """Return what there is to say about the target: room on its disk, where a link leads, what is there already."""
    parts = []
    if preview.free is not None:
        parts.append(f"{bytes_text(preview.free)} free on that disk")
    if preview.leads_to:
        parts.append(f"that name is a link to {shorten(escape_text(preview.leads_to), 200)}")
    if preview.exists:
        what = "a file of that name is" if preview.files == 1 else f"{preview.exists} of these files are"
        parts.append(f"{what} there and would be replaced")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
