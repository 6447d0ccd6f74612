"""The program's own folders: private, bounded, without pickles."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

NAME = "ckpt-viewer"


def cache_folder(name: str) -> Path | None:
    """Return the folder `name` in the user's cache, for what can be made again; see `private_folder`."""
    base = _base()
    return None if base is None else private_folder(base, NAME, name)


def private_folder(base: Path, *names: str) -> Path | None:
    """Return the folder that `names` lead to, made if it is missing; None where there is none to be trusted.

    One is trusted if it is a real folder that belongs to this user and nobody else may enter.
    """
    folder = base
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            folder = folder / name
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
            if not _private(folder):
                return None
    except OSError:
        return None
    return folder


def _base() -> Path | None:
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        home = os.path.expanduser("~/Library/Caches")  # noqa: PTH111
    else:
        home = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(home):  # noqa: PTH117 - the XDG specification has relative paths ignored
            home = os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(home) if os.path.isabs(home) else None  # noqa: PTH117


def _private(folder: Path) -> bool:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return False
    if not hasattr(os, "getuid"):  # Windows: the profile is the user's own
        return True
    if status.st_uid != os.getuid():
        return False
    if status.st_mode & 0o077:
        folder.chmod(0o700)
    return True


def store(path: Path, parts: Iterable[bytes | memoryview]) -> bool:
    """Write a file at once or not at all; return whether it is there. Made again when it is lost, so not synced."""
    name = ""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            name = file.name
            for part in parts:
                file.write(part)
        os.replace(name, path)  # noqa: PTH105
    except OSError:
        if name:
            Path(name).unlink(missing_ok=True)
        return False
    return True


def shrink(folder: Path, most_bytes: int, most_files: int) -> None:
    """Remove the files that were used longest ago until the others keep within the limits."""
    found: list[tuple[float, int, str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime, status.st_size, entry.path))
    except OSError:
        return
    total = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True)):
        total += size
        if total > most_bytes or number >= most_files:
            try:
                Path(path).unlink(missing_ok=True)
            except OSError:  # another process may be at it
                continue
