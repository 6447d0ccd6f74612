"""Several files that appear together or not at all, as far as a file system can: the last one is what counts.

Each is an `AtomicFile`; none gets its name before all have been written and checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.part_names import list_name, member_name, new_token, second_name
from ckpt_viewer.export.placing import has_hard_links
from ckpt_viewer.export.recipe import FileRecipe
from ckpt_viewer.export.set_list import write_list
from ckpt_viewer.export.target import Read, check_space, check_target, write_failed

MOST_FILES = 400
"""Files that one export may consist of; all are open at once, and many systems allow a process 1,024."""


def check_files(files: Sequence[tuple[Path, FileRecipe]], *, force: bool, source: Read) -> None:
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
    files: Sequence[tuple[Path, FileRecipe]], *, force: bool = False, source: Read = ""
) -> Iterator[list[AtomicFile]]:
    """Hand out a file to write for each target. On leaving normally they are put in place, in order.

    Should that fail halfway, what has its name already loses it again, and what it replaced comes back. Should the
    process die halfway, there is no last file, so that nobody takes new parts and old ones for a whole. The old ones
    lie beside it under second names then, and new ones that replaced nothing under their temporary names too: that
    is how `leftovers` knows what is to go, and what to come back.

    Raises:
        CannotExport, TargetExists, WriteFailed: see `check_files` and `AtomicFile`.
    """
    check_files(files, force=force, source=source)
    if len(files) == 1:
        path, recipe = files[0]
        with AtomicFile(path, force=force, source=source, nbytes=recipe.nbytes) as file:
            yield [file]
        return
    token = new_token()
    before = _Before([path for path, _ in files], token)
    opened = [
        _Member(path, token, final=path == files[-1][0], force=force, source=source, nbytes=recipe.nbytes)
        for path, recipe in files
    ]
    with ExitStack() as stack:
        for file in opened:  # all stay locked until it is settled which files there are
            stack.callback(file.discard)
        try:
            with ExitStack() as entered:
                for file in reversed(opened):  # what is entered last is left, and put in place, first
                    entered.enter_context(file)
                yield [*opened]
                before.keep(opened)
        except BaseException:
            before.restore()
            raise
        before.forget()


class _Member(AtomicFile):
    """One file of a set; `final` is the last one.

    What comes before it keeps its temporary name until that is in place, or is in a list where there are no hard links.
    """

    def __init__(
        self, target: Path, token: str, *, final: bool, force: bool = False, source: Read = "", nbytes: int = 0
    ) -> None:
        super().__init__(target, force=force, source=source, nbytes=nbytes)
        self._token, self._keep = token, not final

    def _temporary_name(self) -> Path:
        return member_name(self.target, self._token, final=not self._keep)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._commit()


class _Before:
    """What there was under the names of a set, and how it comes back."""

    def __init__(self, paths: Sequence[Path], token: str) -> None:
        self._token = token
        self._fresh = {path for path in paths if not path.exists()}
        self._kept: dict[Path, Path] = {}
        self._new: dict[Path, tuple[int, int]] = {}
        self._list: tuple[Path, int] | None = None

    def keep(self, files: Sequence[AtomicFile]) -> None:
        """Give what is about to be replaced a second name, and take the last file away; raises WriteFailed."""
        self._new = {file.target: _identity(file.temporary) for file in files}
        try:
            for path in [file.target for file in reversed(files) if file.target not in self._fresh]:
                self._kept[path] = second = second_name(path, self._token)
                _second_name(path, second)
            if files[-1].target in self._kept:
                files[-1].target.unlink(missing_ok=True)
            fresh = [file for file in files[:-1] if file.target in self._fresh]
            if fresh and not has_hard_links(fresh[0].temporary):
                names = {file.target.name: file.temporary for file in fresh}
                self._list = write_list(list_name(files[-1].target, self._token), names)
        except OSError as error:
            raise write_failed(error, files[-1].target.parent) from error

    def restore(self) -> None:
        """Put everything back, last what makes the others count: should the process die here, `leftovers` goes on."""
        for path in self._new.keys() & self._fresh:
            if path.exists() and _identity(path) == self._new[path]:  # not one that somebody else made meanwhile
                path.unlink()
        for path, second in reversed(self._kept.items()):
            if second.exists():
                second.replace(path)
            _remove_second(path, second)  # renaming one name of a file to another one of it does nothing
        self._unlist()

    def forget(self) -> None:
        """Remove the second names, and the list."""
        for path, second in self._kept.items():
            _remove_second(path, second)
        self._unlist()

    def _unlist(self) -> None:
        if self._list is not None:
            path, fd = self._list
            os.close(fd)
            path.unlink(missing_ok=True)


def _second_name(path: Path, second: Path) -> None:
    if second.parent != path.parent:
        second.parent.mkdir(mode=0o700)
    try:
        os.link(path, second)
    except (OSError, NotImplementedError, AttributeError):  # a file system without hard links
        path.rename(second)


def _remove_second(path: Path, second: Path) -> None:
    second.unlink(missing_ok=True)
    if second.parent != path.parent and second.parent.is_dir():
        second.parent.rmdir()


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
