"""DeepSpeed's folders: ``latest`` names a folder of one step, in which every rank has files of its own.

FORMATS section 5.5. The step folder can be opened by itself too.
"""

from __future__ import annotations

import re

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Literal, Mapping, Value
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.base import FileOpener, FolderFormat, Opened
from ckpt_viewer.formats.plain_folder import Walk
from ckpt_viewer.formats.siblings import natural
from ckpt_viewer.sources.folder import Folder, is_plain_name

LATEST = "latest"
TAG_LIMIT = 1024
"""Bytes of the file ``latest``."""
_MODEL = re.compile(r"(?:zero_pp_rank_(?P<data>\d+)_)?mp_rank_(?P<model>\d+)_model_states\.pt")
_OPTIMIZER = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(?P<data>\d+)_mp_rank_(?P<model>\d+)_optim_states\.pt")
_MOST_RANKS = 100_000


class DeepSpeed:
    """A folder that DeepSpeed wrote, or one step of it."""

    name = "folder"

    def __init__(self, others: tuple[FolderFormat, ...] = ()) -> None:
        """`others` are asked first about the folders below."""
        self.others = others

    def matches(self, folder: Folder) -> bool:
        """It has a rank's files, or ``latest`` leads to a folder with such files."""
        return _is_step(folder) or _tag(folder) is not None

    def open(self, folder: Folder, context: Context, open_file: FileOpener, *, prefix: str = "") -> Opened:
        """Open the step that ``latest`` names, or the step itself; raises CheckpointError."""
        walk = Walk(context, open_file, self.others)
        tag = None if _is_step(folder) else _tag(folder)
        if tag is None:
            root = walk.folder(folder, prefix, 0, _order)
            walk.notes += _missing_ranks(root, folder)
        else:
            root = _run(folder, tag, walk, prefix)
        return walk.opened(root, folder)


def _is_step(folder: Folder) -> bool:
    return any(_MODEL.fullmatch(name) or _OPTIMIZER.fullmatch(name) for name in folder.files)


def _tag(folder: Folder) -> str | None:
    """Return the name of the folder that ``latest`` names; None where that is no plain name of a step's folder."""
    if LATEST not in folder.files:
        return None
    try:
        file = folder.file(LATEST)
        text = file.read_at(0, file.size).decode("utf-8", "replace").strip() if file.size <= TAG_LIMIT else ""
        plain = is_plain_name(text) and text in folder.folders
        return text if plain and _is_step(folder.folder(text)) else None
    except CheckpointError:
        return None


def _run(folder: Folder, tag: str, walk: Walk, prefix: str) -> Mapping:
    """Return a run's folder with the step that ``latest`` names; the other steps stay closed."""
    root = Mapping("folder")
    closed: list[str] = []
    for name in sorted(folder.files, key=natural):
        value: Value = tag if name == LATEST else walk.file(folder, name, f"{prefix}{name}!")
        root.pairs += (name, value)
        walk.files.append(prefix + name)
    walk.size += folder.file(LATEST).size
    for name in sorted(folder.folders, key=natural):
        inner = folder.folder(name)
        if name == tag:
            below: Value = walk.folder(inner, f"{prefix}{name}/", 1, _order)
            walk.notes += _missing_ranks(below, inner)
        elif _is_step(inner):
            closed.append(name)
            below = Literal("object", "folder", f"not opened, since latest names {shorten(tag, 60)!a}")
        else:
            below = walk.below(folder, name, prefix, 0)
        if not isinstance(below, Mapping) or below.pairs:
            root.pairs += (name, below)
    if closed:
        shown = ", ".join(ascii(shorten(name, 60)) for name in closed[:3]) + (", ..." if len(closed) > 3 else "")
        message = f"{len(closed)} other steps are not opened ({shown}); open the folder of a step to see it"
        walk.notes.append(Note("info", "other-steps", None, message))
    return root


def _order(name: str) -> tuple[int, object]:
    """Models before optimizers before the rest, each by rank."""
    return 0 if _MODEL.fullmatch(name) else 1 if _OPTIMIZER.fullmatch(name) else 2, natural(name)


def _missing_ranks(step: Value, folder: Folder) -> list[Note]:
    """Compare the files of the ranks with the numbers of ranks that the model's states say."""
    assert isinstance(step, Mapping)
    states = next((value for name, value in step.string_items().items() if _MODEL.fullmatch(name)), None)
    notes = []
    for what, pattern in (("model", _MODEL), ("optimizer", _OPTIMIZER)):
        found = [match for match in map(pattern.fullmatch, folder.files) if match is not None]
        for kind, key in (("data", "dp_world_size"), ("model", "mp_world_size")):
            there = {int(match[kind]) for match in found if match[kind] is not None and len(match[kind]) < 9}
            stated = states.get(key) if isinstance(states, Mapping) else None
            count = stated if type(stated) is int and 0 < stated < _MOST_RANKS else 0
            missing = sorted(set(range(max([count, *(rank + 1 for rank in there)]))) - there) if there else []
            if missing:
                ranks = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
                message = f"the {what} states of {len(missing)} {kind}-parallel ranks are missing: {ranks}"
                notes.append(Note("error", "missing-rank", step, message))
    return notes
