"""What a user said that entries of a file are, remembered for that file: small JSON files in the settings' folder.

A file is known by its content (size, first and last bytes: the pickle or header and the directory with its checksums),
so that it may be moved or renamed; failing that by its path, since a training writes a new file of the same layout
there. By the path alone only what has the same type still is taken back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint

FOLDER = "roles"
MOST_FILES, MOST_BYTES = 400, 4_000_000
"""Two for each checkpoint: one found by its content, one by its path. What was used longest ago makes room."""
MOST_ROLES = 200
"""Entries of one checkpoint that are remembered."""
END = 1 << 16
"""Bytes at each end of a file that it is known by."""
LARGEST = 1 << 17
"""Bytes of one remembered file."""


class RoleMemory:
    """Recalls and remembers roles; where its folder cannot be used it remembers nothing.

    Args:
        home: the folder of the user's settings.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    @property
    def folder(self) -> Path:
        """Where it keeps what it remembers."""
        return self._home / FOLDER

    def recall(self, checkpoint: Checkpoint) -> dict[str, str]:
        """Return JSON Pointer -> role, empty where nothing is known of a checkpoint; reads both ends of its file."""
        folder = self.folder
        if not os.path.isdir(folder):  # noqa: PTH112 - nearly always, and then nothing is to be imported for this
            return {}
        for name, exact in ((_content_name(checkpoint), True), (_path_name(checkpoint), False)):
            told = _read(folder / name) if name else None
            if told is not None:
                return {
                    pointer: role
                    for pointer, (role, kind) in told.items()
                    if exact or kind == _type_at(checkpoint, pointer)
                }
        return {}

    def remember(self, checkpoint: Checkpoint, given: Mapping[str, str]) -> bool:
        """Keep roles for a checkpoint, none to forget it; return whether they are kept."""
        import json

        from ckpt_viewer.stats.folder import private_folder, shrink, store

        folder = private_folder(self._home, FOLDER)
        if folder is None:
            return False
        names = [name for name in (_content_name(checkpoint), _path_name(checkpoint)) if name]
        told = {pointer: (role, _type_at(checkpoint, pointer)) for pointer, role in list(given.items())[-MOST_ROLES:]}
        if not told:
            gone = [_forget(folder / name) for name in names]
            return all(gone)
        data = json.dumps({"schema": 1, "roles": told}).encode()
        stored = [store(folder / name, [data]) for name in names] if len(data) <= LARGEST else [False]
        shrink(folder, MOST_BYTES, MOST_FILES)
        return all(stored)


def _forget(path: Path) -> bool:
    """Delete a remembered file; return whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _read(path: Path) -> dict[str, tuple[str, str]] | None:
    """Return what a remembered file says; None where it is missing or damaged."""
    import json

    try:
        if path.stat().st_size > LARGEST:
            return None
        told = json.loads(path.read_bytes())["roles"]
        os.utime(path)  # what is used stays
        return {str(pointer): (str(role), str(kind)) for pointer, (role, kind) in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _type_at(checkpoint: Checkpoint, pointer: str) -> str:
    from ckpt_viewer.errors import NoSuchNode

    try:
        return checkpoint[pointer].type
    except NoSuchNode:
        return ""


def _content_name(checkpoint: Checkpoint) -> str:
    """Return the name of what is remembered by content; ``""`` where it cannot be read."""
    import hashlib

    from ckpt_viewer.errors import CheckpointError

    source, contents = checkpoint.contents.source, checkpoint.contents
    digest = hashlib.sha256(repr((checkpoint.format, checkpoint.size, contents.files)).encode())
    if source is None:  # a folder, which only its path and its files tell
        return ""
    try:
        digest.update(source.read_at(0, min(END, source.size)))
        digest.update(source.read_at(max(0, source.size - END), min(END, source.size)))
    except CheckpointError:
        return ""
    return f"content-{digest.hexdigest()[:40]}.json"


def _path_name(checkpoint: Checkpoint) -> str:
    import hashlib

    path = os.path.abspath(checkpoint.path)  # noqa: PTH100 - a name that is no UTF-8 too
    return f"path-{hashlib.sha256(os.fsencode(path)).hexdigest()[:40]}.json"
