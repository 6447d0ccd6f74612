"""Several files that appear together or not at all, as far as a file system can: the last one is what counts.

Each is an `AtomicFile`; none gets its name before all have been written and checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.atomic import AtomicFile, check_space, check_target
from ckpt_viewer.export.recipe import FileRecipe

MOST_FILES = 400
"""Files that one export may consist of; all are open at once, and many systems allow a process 1,024."""


def check_files(files: Sequence[tuple[Path, FileRecipe]], *, force: bool, source: str) -> None:
    """Refuse targets that must not be written, and a disk that has no room for all of them.

    Raises:
        CannotExport: there are too many of them, or one is the source. TargetExists, WriteFailed.
    """
    if len(files) > MOST_FILES:
        raise CannotExport(
            f"that makes {len(files)} files; choose a larger --max-shard-size (at most {MOST_FILES} files)"
        )
    for path, _ in files:
        check_target(path, force=force, source=source)
    check_space(files[-1][0].parent, sum(recipe.nbytes for _, recipe in files))


@contextmanager
def written_together(
    files: Sequence[tuple[Path, FileRecipe]], *, force: bool = False, source: str = ""
) -> Iterator[list[AtomicFile]]:
    """Hand out a file to write for each target. On leaving normally they are put in place, in order.

    Should that fail halfway, those that have their names already lose them again, unless they replaced older ones.

    Raises:
        CannotExport, TargetExists, WriteFailed: see `check_files` and `AtomicFile`.
    """
    check_files(files, force=force, source=source)
    fresh = {path for path, _ in files if not path.exists()}
    written: dict[Path, tuple[int, int]] = {}
    try:
        with ExitStack() as stack:
            opened: list[AtomicFile] = []
            for path, recipe in reversed(files):  # what is entered last is left, and put in place, first
                file = AtomicFile(path, force=force, source=source, nbytes=recipe.nbytes)
                opened.insert(0, stack.enter_context(file))
            yield opened
            if len(files) > 1:
                written = {file.target: _identity(file.temporary) for file in opened}
    except BaseException:
        for path in written.keys() & fresh:
            if path.exists() and _identity(path) == written[path]:  # not one that somebody else made meanwhile
                path.unlink()
        raise


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
