"""A trainer's folder (Hugging Face Trainer, accelerate, diffusers, PEFT): one tree with a child for each file."""

from __future__ import annotations

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.path import escape_token
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.core.value import Literal, Mapping, Value
from ckpt_viewer.errors import CheckpointError, NotACheckpoint, OverBudget
from ckpt_viewer.formats.base import FileOpener, Opened, merged
from ckpt_viewer.formats.json_values import JSON_LIMIT, json_value
from ckpt_viewer.sources.folder import Folder

DEEPEST = 4
"""Folders inside folders that are looked into."""
MOST_FILES = 20_000


class PlainFolder:
    """A folder whose files are checkpoints of their own; the last of the folder formats, since it takes any."""

    name = "folder"

    def matches(self, folder: Folder) -> bool:
        """Whatever there is in it is looked at."""
        return bool(folder.files or folder.folders)

    def open(self, folder: Folder, context: Context, open_file: FileOpener, *, prefix: str = "") -> Opened:
        """Open every file in it; raises NotACheckpoint where none is a checkpoint, OverBudget for too many files."""
        walk = _Walk(context, open_file)
        root = walk.folder(folder, prefix, 0)
        if not walk.parts:
            raise NotACheckpoint(_nothing_in(folder))
        opened = merged(root, walk.parts)
        return opened._replace(notes=(*opened.notes, *walk.notes), size=walk.size)


class _Walk:
    """Opens files of a folder and of those below it.

    Attributes:
        parts: the checkpoints that were found. notes: about the other files. size: bytes of all files.
    """

    def __init__(self, context: Context, open_file: FileOpener) -> None:
        self.context, self.open_file = context, open_file
        self.parts: list[Opened] = []
        self.notes: list[Note] = []
        self.size = self.count = 0

    def folder(self, folder: Folder, prefix: str, depth: int) -> Mapping:
        """Return a mapping of names to what the files and folders hold."""
        result = Mapping("folder")
        for name in folder.files:
            self.context.step(self.count, 0)
            result.pairs += (name, self._file(folder, name, f"{prefix}{escape_token(name)}!"))
        for name in folder.folders if depth < DEEPEST else ():
            below = self._below(folder, name, prefix, depth)
            if below.pairs:
                result.pairs += (name, below)
        return result

    def _below(self, folder: Folder, name: str, prefix: str, depth: int) -> Mapping:
        try:
            inner = folder.folder(name)
        except CheckpointError as error:
            unread = Mapping("folder")
            self.notes.append(Note("warning", "unreadable-folder", unread, f"{name!a}: {error}"))
            return unread
        return self.folder(inner, f"{prefix}{escape_token(name)}/", depth + 1)

    def _file(self, folder: Folder, name: str, prefix: str) -> Value:
        self.count += 1
        if self.count > MOST_FILES:
            raise OverBudget(f"there are more than {MOST_FILES} files in the folder; open one of them instead")
        size = 0
        try:
            source = folder.file(name)
            size = source.size
            self.size += size
            if name.endswith(".json") and size <= JSON_LIMIT:
                return json_value(source.read_at(0, size))
            opened = self.open_file(source, self.context, prefix)
        except NotACheckpoint as error:
            return Literal("object", "file", f"{bytes_text(size)}, no checkpoint: {error}")
        except CheckpointError as error:
            value = Literal("object", "file", f"{bytes_text(size)}, cannot be read")
            self.notes.append(Note("error", "unreadable-file", value, f"{name!a}: {error}"))
            return value
        self.parts.append(opened)
        return opened.unpickled.value


def _nothing_in(folder: Folder) -> str:
    names = [ascii(name[:60]) for name in (*folder.files, *folder.folders)]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"there is no checkpoint in this folder ({shown}); open a folder that a trainer wrote, or a file"
