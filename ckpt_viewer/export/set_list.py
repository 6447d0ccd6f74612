"""A list of the files of a set, for file systems without hard links: there a file that has got its final name has no
other one that says whose it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ckpt_viewer.export.locks import create_locked

MOST = 1 << 20
"""Bytes of a list that are read: 400 files have 200 kB."""


def write_list(path: Path, files: Mapping[str, Path]) -> tuple[Path, int]:
    """Write down which files there will be, and force that to the disk; return the list's path and locked descriptor.

    Args:
        files: final name -> the file as it is called now; nobody writes to it any more.

    Raises:
        OSError.
    """
    path, fd = create_locked(lambda: path, 0o600)
    text = json.dumps({name: _facts(file.stat()) for name, file in files.items()}).encode("ascii")
    try:
        while text:
            text = text[os.write(fd, text) :]
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return path, fd


def still_there(path: Path) -> Iterator[Path]:
    """Yield the files of a list that have their final names, beside it, and are these very files; none where the list
    was not finished."""
    try:
        listed = json.loads(path.read_bytes()[:MOST])
    except (OSError, ValueError):
        return
    for name, facts in listed.items() if isinstance(listed, dict) else ():
        file = path.parent / name
        try:
            if file.parent == path.parent and _facts(file.lstat()) == facts:
                yield file
        except (OSError, ValueError):  # it has no such name yet
            continue


def _facts(status: os.stat_result) -> list[int]:
    """Return what tells a file from another one that has got its inode since."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]
