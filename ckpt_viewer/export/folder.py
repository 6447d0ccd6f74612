"""A folder of files that appears as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ckpt_viewer.errors import CannotExport, TargetExists
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.locks import lock_folder
from ckpt_viewer.export.part_names import temporary_name
from ckpt_viewer.export.placing import put_in_place, sync_folder, umask
from ckpt_viewer.export.recipe import FileRecipe
from ckpt_viewer.export.target import check_space, resolved, write_failed
from ckpt_viewer.export.together import MOST_FILES

NEW_FOLDER = 0o777


def check_folder(folder: Path, files: Sequence[tuple[Path, FileRecipe]]) -> None:
    """Refuse a folder that must not be written, and a disk that has no room for it.

    What is in a folder is never replaced, not even with `--force`: it could be anything.

    Raises:
        CannotExport: there are too many files. TargetExists: there is something that is no empty folder. WriteFailed.
    """
    if len(files) > MOST_FILES:
        raise CannotExport(
            f"the set has {len(files)} files, and at most {MOST_FILES} are copied together; remap them one by one"
        )
    try:
        if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
            raise TargetExists(f"{str(folder)!r} exists already; choose the name of a new folder")
    except (OSError, ValueError) as error:
        raise write_failed(error, folder.parent) from error
    check_space(folder.parent, sum(recipe.nbytes for _, recipe in files))


@contextmanager
def written_folder(folder: Path, files: Sequence[tuple[Path, FileRecipe]]) -> Iterator[list[AtomicFile]]:
    """Hand out a file to write for each path in `folder`. On leaving normally the folder appears with all of them.

    Raises:
        CannotExport, TargetExists, WriteFailed: see `check_folder` and `AtomicFile`.
    """
    check_folder(folder, files)
    folder = resolved(folder)
    temporary = temporary_name(folder)
    lock = -1
    try:
        try:
            temporary.mkdir(mode=0o700)
            lock = lock_folder(temporary)
        except OSError as error:
            raise write_failed(error, folder.parent) from error
        with ExitStack() as stack:
            opened = [
                stack.enter_context(AtomicFile(temporary / path.name, nbytes=recipe.nbytes)) for path, recipe in files
            ]
            yield opened
        notes = _place(temporary, folder)
        for file in opened:
            file.notes += notes
    finally:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)


def _place(temporary: Path, folder: Path) -> list[str]:
    try:
        temporary.chmod(NEW_FOLDER & ~umask())
        notes = sync_folder(temporary)
        empty = folder.is_dir() and not folder.is_symlink()
        # an empty folder can be replaced by a rename that fails should it be empty no longer
        return [*notes, *put_in_place(temporary, folder, force=empty), *sync_folder(folder.parent)]
    except FileExistsError as error:
        raise TargetExists(f"{str(folder)!r} is there now and was not replaced; choose another name") from error
    except OSError as error:
        raise write_failed(error, folder.parent) from error
