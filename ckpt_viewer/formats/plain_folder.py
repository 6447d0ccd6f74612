"""A trainer's folder (Hugging Face Trainer, accelerate, diffusers, PEFT): one tree with a child for each file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.path import escape_token
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import bytes_text, shorten
from ckpt_viewer.core.value import Literal, Mapping, Value
from ckpt_viewer.errors import CheckpointError, NotACheckpoint, OverBudget
from ckpt_viewer.formats.base import SALVAGED, FileOpener, FolderFormat, Opened, merged
from ckpt_viewer.formats.json_values import JSON_LIMIT, json_value
from ckpt_viewer.formats.shard_names import is_index_name, part_of, part_set
from ckpt_viewer.formats.siblings import missing_ranks, natural
from ckpt_viewer.sources.folder import Folder

DEEPEST = 4
"""Folders inside folders that are looked into."""
MOST_FILES = 20_000
_WEIGHTS = (".safetensors", ".bin")
"""How names end of which even one says for certain that it is a part of a set."""
_CHECKPOINTS = (*_WEIGHTS, ".pt", ".pth", ".ckpt", ".tar", ".pkl")
"""How names of files end that should not be empty."""
Order: TypeAlias = Callable[[str], Any]


class PlainFolder:
    """A folder whose files are checkpoints of their own; the last of the folder formats, since it takes any."""

    name = "folder"

    def __init__(self, others: tuple[FolderFormat, ...] = ()) -> None:
        """`others` are asked first about the folders below."""
        self.others = others

    def matches(self, folder: Folder) -> bool:
        """Whatever there is in it is looked at."""
        return bool(folder.files or folder.folders)

    def open(self, folder: Folder, context: Context, open_file: FileOpener, *, prefix: str = "") -> Opened:
        """Open every file in it; raises NotACheckpoint where none is a checkpoint, OverBudget for too many files."""
        walk = Walk(context, open_file, self.others)
        walk.add_up(folder, 0)
        return walk.opened(walk.folder(folder, prefix, 0), folder)


class Walk:
    """Opens files of a folder and of those below it.

    Attributes:
        parts: the checkpoints that were found. notes: about the other files.
        files: paths of all files, from the folder. size: their bytes together.
        count, total: how many were looked at, and of how many; 0 if that is not known.
    """

    def __init__(self, context: Context, open_file: FileOpener, others: tuple[FolderFormat, ...] = ()) -> None:
        """Prepare to walk; `others` are the formats that are asked about each folder below before it is walked into."""
        self.context, self.open_file, self.others = context, open_file, others
        self.parts: list[Opened] = []
        self.notes: list[Note] = []
        self.files: list[str] = []
        self.size = self.count = self.total = 0
        self._instead = ""

    def add_up(self, folder: Folder, depth: int) -> None:
        """Find out by the names how many files there are, before any is opened; raises OverBudget for too many."""
        self.context.step(0, 0)
        self.total += len(folder.files)
        if self.total > MOST_FILES:
            raise _too_many()
        for name in folder.folders if depth < DEEPEST else ():
            try:
                inner = folder.folder(name)
                is_other = any(each.matches(inner) for each in self.others)
            except CheckpointError:  # said when it is opened
                continue
            if not is_other:
                self.add_up(inner, depth + 1)

    def opened(self, root: Mapping, folder: Folder) -> Opened:
        """Return everything that was found; raises NotACheckpoint where nothing was."""
        if not self.parts:
            raise NotACheckpoint(self._instead or _nothing_in(folder))
        opened = merged(root, self.parts)
        refused = next(filter(None, (part.unpickled.refused or part.refused for part in self.parts)), "")
        unpickled = opened.unpickled._replace(refused=refused)
        return opened._replace(
            unpickled=unpickled, notes=(*opened.notes, *self.notes), size=self.size, files=tuple(self.files)
        )

    def folder(self, folder: Folder, prefix: str, depth: int, order: Order = natural) -> Mapping:
        """Return a mapping of names to what the files and folders hold; `order` is the sort key of the files."""
        result = Mapping("folder")
        sets = self._sets(folder, prefix)
        members = {file: name for name, opened in sets.items() for file in opened.files}
        shown = set(folder.files)
        for name in sorted(folder.files, key=order):
            self.context.step(self.count, self.total)
            if name in members and members[name] not in shown:  # a set without an index stands before its files
                shown.add(members[name])
                result.pairs += (members[name], sets[members[name]].unpickled.value)
            if name in members:
                value: Value = self._member(folder, name, members[name])
            elif name in sets:
                value = sets[name].unpickled.value
            else:
                value = self.file(folder, name, f"{prefix}{escape_token(name)}!")
            result.pairs += (name, value)
            self.files.append(prefix + name)
        missing = missing_ranks(folder.folders)
        if missing:
            self.notes.append(Note("error", "missing-rank", result, missing))
        for name in sorted(folder.folders, key=natural) if depth < DEEPEST else ():
            below = self.below(folder, name, prefix, depth)
            if not isinstance(below, Mapping) or below.pairs:
                result.pairs += (name, below)
        return result

    def below(self, folder: Folder, name: str, prefix: str, depth: int) -> Value:
        """Return what a folder holds: a checkpoint of its own, or more files."""
        prefix = f"{prefix}{escape_token(name)}/"
        try:
            inner = folder.folder(name)
            for each in self.others:
                if each.matches(inner):
                    part = each.open(inner, self.context, self.open_file, prefix=prefix)
                    self.size += part.size or 0
                    self.files += (prefix + file for file in part.files)
                    self.parts.append(part)
                    return part.unpickled.value
        except CheckpointError as error:
            unread = Literal("object", "folder", "cannot be read")
            self.notes.append(Note("error", "unreadable-folder", unread, f"{name!a}: {error}"))
            return unread
        return self.folder(inner, prefix, depth + 1)

    def _sets(self, folder: Folder, prefix: str) -> dict[str, Opened]:
        """Open the sharded sets of a folder by their indexes; one that cannot be opened is shown file by file."""
        sets: dict[str, Opened] = {}
        for name in [name for name in folder.files if is_index_name(name)]:
            from ckpt_viewer.formats.shard_index import read_index
            from ckpt_viewer.formats.shard_set import open_indexed

            try:
                index = read_index(folder.file(name), self.context)
                opened = open_indexed(folder, index, self.context, self.open_file, prefix=prefix)
            except CheckpointError as error:
                self.notes.append(Note("warning", "unreadable-set", None, f"{name!a}: {error}"))
                continue
            self.size += folder.file(name).size
            self.parts.append(opened)
            sets[name] = opened
        return sets | self._numbered_sets(folder, prefix, {file for opened in sets.values() for file in opened.files})

    def _numbered_sets(self, folder: Folder, prefix: str, taken: set[str]) -> dict[str, Opened]:
        """Open the sets that have no index, by the numbers in the names of their files, as entries of their own."""
        sets: dict[str, Opened] = {}
        for name in folder.files:
            part = part_of(name) if name not in taken else None
            members = part_set(part, (each for each in folder.files if each not in taken)) if part is not None else None
            if part is None or members is None or (len(members.files) < 2 and not part.rest.endswith(_WEIGHTS)):
                continue
            from ckpt_viewer.formats.shard_set import open_numbered

            taken.update(members.files)
            try:
                opened = open_numbered(folder, members, self.context, self.open_file, prefix=prefix)
            except CheckpointError:  # no state_dict in several files: each is shown by itself
                continue
            self.parts.append(opened)
            sets[part.title] = opened
        return sets

    def _member(self, folder: Folder, name: str, index: str) -> Value:
        size = folder.file(name).size
        self.size += size
        return Literal("object", "file", f"{bytes_text(size)}, a part of {index!a}")

    def file(self, folder: Folder, name: str, prefix: str) -> Value:
        """Return what a file holds, or what it is instead; raises OverBudget for too many files."""
        self.count += 1
        if self.count > MOST_FILES:
            raise _too_many()
        size = 0
        try:
            source = folder.file(name)
            size = source.size
            self.size += size
            if name.endswith(".json") and size <= JSON_LIMIT:
                return json_value(source.read_at(0, size))
            opened = self.open_file(source, self.context, prefix)
        except NotACheckpoint as error:
            value = Literal("object", "file", f"{bytes_text(size)}, no checkpoint")
            self._tell(name, error)
            if not size and name.endswith(_CHECKPOINTS):
                self.notes.append(Note("error", "unreadable-file", value, f"{name!a}: {error}"))
            return value
        except CheckpointError as error:
            value = Literal("object", "file", f"{bytes_text(size)}, cannot be read")
            self._tell(name, error)
            self.notes.append(Note("error", "unreadable-file", value, f"{name!a}: {error}"))
            return value
        self.parts.append(opened._replace(notes=tuple(_named(note, name) for note in opened.notes)))
        return opened.unpickled.value

    def _tell(self, name: str, error: CheckpointError) -> None:
        """Keep what became of the first file that should be a checkpoint, in case that there is none at all."""
        if name.endswith(_CHECKPOINTS):
            shown = shorten(name, 100)
            self._instead = self._instead or f"there is no checkpoint in this folder, for of {shown!a} is said: {error}"


def _too_many() -> OverBudget:
    return OverBudget(f"there are more than {MOST_FILES} files in the folder; open one of them instead")


def _named(note: Note, name: str) -> Note:
    """Say of which file it is that only a part is left."""
    return note._replace(message=f"{shorten(name, 100)!a}: {note.message}") if note.code == SALVAGED else note


def _nothing_in(folder: Folder) -> str:
    names = [ascii(name[:60]) for name in (*folder.files, *folder.folders)]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"there is no checkpoint in this folder ({shown}); open a folder that a trainer wrote, or a file"
