"""What install wrote, so that uninstall removes exactly that."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any


class Footprint:
    """Files and folders that were made, and facts to remember; kept as JSON beside what it describes.

    Attributes:
        files: written by us, in the order of writing.
        side_files: made beside them by the desktop's own tools.
        folders: that were not there before, outer ones first.
        facts: whatever else uninstall needs to know.
    """

    def __init__(self, path: Path, content: dict[str, Any] | None = None) -> None:
        content = content or {}
        self.path = path
        self.files: list[str] = list(content.get("files", []))
        self.side_files: list[str] = list(content.get("side_files", []))
        self.folders: list[str] = list(content.get("folders", []))
        self.facts: dict[str, Any] = dict(content.get("facts", {}))

    @classmethod
    def load(cls, path: Path) -> Footprint:
        """The footprint kept at `path`; an empty one if there is none or it is damaged."""
        try:
            content = json.loads(path.read_bytes())
            return cls(path, content)
        except (OSError, ValueError, TypeError, AttributeError):
            return cls(path)

    def save(self) -> None:
        """Keep this footprint in its file."""
        self.make_folder(self.path.parent)
        content = {
            "files": self.files,
            "side_files": self.side_files,
            "folders": self.folders,
            "facts": self.facts,
        }
        replace_file(self.path, json.dumps(content, indent=1).encode() + b"\n")

    def write(self, path: Path, data: bytes) -> None:
        """Write a file of ours, with the folders that it needs."""
        self.make_folder(path.parent)
        if str(path) not in self.files:
            self.files.append(str(path))
        replace_file(path, data)

    def make_folder(self, folder: Path) -> None:
        """Make `folder` and those above it, noting which were not there."""
        for one in [*reversed(folder.parents), folder]:
            if not one.is_dir():
                one.mkdir(mode=0o700 if one.name.startswith(".") else 0o755)
                self._note(self.folders, [one])

    def note_made(self, before: set[Path], after: set[Path]) -> None:
        """Note what a tool made between two listings of a folder."""
        made = sorted(after - before)
        self._note(self.folders, [path for path in made if path.is_dir()])
        self._note(self.side_files, [path for path in made if not path.is_dir()])

    def remove_files(self) -> None:
        """Remove the files that we wrote; those that are gone already are no error."""
        for name in self.files:
            Path(name).unlink(missing_ok=True)

    def remove_side_files(self, below: Path) -> None:
        """Remove what tools made below one folder."""
        for name in self.side_files:
            if below in Path(name).parents:
                Path(name).unlink(missing_ok=True)

    def remove_rest(self) -> None:
        """Remove this record, then the folders that we made and that are empty."""
        self.path.unlink(missing_ok=True)
        for name in sorted(self.folders, key=len, reverse=True):
            with suppress(OSError):
                Path(name).rmdir()

    @staticmethod
    def _note(names: list[str], paths: Iterable[Path]) -> None:
        names.extend(str(path) for path in paths if str(path) not in names)


def listing(folder: Path) -> set[Path]:
    """Everything below `folder`."""
    return set(folder.rglob("*"))


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` at once, through a link if it is one, keeping the mode of the file that it replaces."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, mode)  # noqa: PTH101
        os.replace(name, target)  # noqa: PTH105
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
