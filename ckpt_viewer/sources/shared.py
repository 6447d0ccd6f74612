"""Memory that this process and the worker process both see: a file that both map."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from pathlib import Path

from ckpt_viewer.errors import CheckpointError

MEMORY_FOLDER = Path("/dev/shm")
"""Files in it are memory; where there is none, an ordinary temporary file is as good, as long as it is cached."""


class SharedMemory:
    """Some bytes of memory, gone when whoever made them gives them up.

    Attributes:
        path: of the file, for the other process. view: the bytes.

    Raises:
        CheckpointError: there is no room for it, or no such file.
    """

    def __init__(self, nbytes: int, path: str = "") -> None:
        """Make them, or see those that the other process made at `path`."""
        try:
            if path:
                number = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            else:
                folder = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
                number, path = tempfile.mkstemp(prefix="ckpt-viewer-", suffix=".block", dir=folder)
                weakref.finalize(self, _remove, path)
                os.truncate(number, nbytes)
            with os.fdopen(number, "r+b") as file:
                self.view = memoryview(mmap.mmap(file.fileno(), nbytes))
        except OSError as error:
            raise CheckpointError(f"no memory can be shared with the worker process ({error.strerror})") from error
        self.path = path


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)
