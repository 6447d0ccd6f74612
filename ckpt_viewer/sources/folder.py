"""A folder whose files belong together. Names, also those that untrusted files give, never lead out of it."""

from __future__ import annotations

import os
import stat

from ckpt_viewer.errors import Damaged, Unreadable
from ckpt_viewer.sources.pool import FilePool, PooledFile

MOST_NAMES = 200_000
"""Entries of one folder that are looked at."""


class Folder:
    """What lies in a folder, and its files opened by plain names.

    Files are reached by the folder's path as given and links are followed to regular files, since a snapshot of a
    Hugging Face cache is a folder of links into ``../../blobs``. Links to folders are not followed.

    Attributes:
        path: as given. files: names of regular files, sorted. folders: names of folders in it, sorted.
        pool: holds the files that were opened; shared with the folders below.
    """

    def __init__(self, path: str | os.PathLike[str], pool: FilePool | None = None) -> None:
        """Read the names.

        Raises:
            Unreadable: no such folder, no permission, or more than `MOST_NAMES` names in it.
        """
        self.path = os.fspath(path)
        self.pool = pool if pool is not None else FilePool()
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(self.path) as entries:
                for count, entry in enumerate(entries):
                    if count >= MOST_NAMES:
                        raise Unreadable(f"the folder has more than {MOST_NAMES} entries; open one file of it instead")
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif _is_regular(entry):
                        files.append(entry.name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unreadable(f"the folder cannot be read ({reason}); check its path and permissions") from error
        self.files, self.folders = tuple(sorted(files)), tuple(sorted(folders))
        self._names = frozenset(files).union(folders)

    def file(self, name: str) -> PooledFile:
        """Open a file of this folder.

        Raises:
            Damaged: `name` is neither an entry of the folder nor a plain name.
            Unreadable: there is no such regular file, or no permission.
        """
        return self.pool.open(self._join(name))

    def folder(self, name: str) -> Folder:
        """Return a folder in this one; raises as `file`."""
        path = self._join(name)
        if os.path.islink(path):  # noqa: PTH114  pathlib would cost every start 7 ms
            raise Unreadable(f"{name!a} is a link to another folder, which is not followed; open that folder itself")
        return Folder(path, self.pool)

    def _join(self, name: str) -> str:
        if name not in self._names and not is_plain_name(name):
            raise Damaged(f"{name[:200]!a} is no plain name of a file beside it, so it is not opened")
        return os.path.join(self.path, name)  # noqa: PTH118

    def close(self) -> None:
        """Give every file back."""
        self.pool.close()


def is_plain_name(name: str) -> bool:
    """Whether a name from a file can only mean an entry of the folder itself, on every system."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\:\0")


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError as error:  # a link that leads nowhere is no file
        if isinstance(error, PermissionError) and not entry.is_symlink():  # the names may be read, and no file
            raise
        return False
