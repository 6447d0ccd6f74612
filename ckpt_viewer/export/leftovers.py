"""Temporary files, and what is left of them where a process was killed or the power failed.

A temporary file is locked as long as whoever writes it lives. So one of ours, by owner and by its name, whose lock is
free is a leftover: nobody will ever finish it, and it can be removed. Where there are no such locks (Windows, some
network file systems) nothing is called a leftover.

What a set of files replaces has a second name meanwhile, with the set's token, and a killed process leaves that too.
The last of the old files, which makes the others count, is taken away first: where it is not there, the set was not
finished, and removing leftovers means that all of the old files come back.

New files of a set that replace nothing get their final names beside their temporary ones. A set of which the last file
has but its temporary name was not finished, and removing leftovers takes the final names of the others away as well:
those that are the very file, under the very name that was meant. What somebody renamed or replaced since is his.
Where there are no hard links new files have their final names only, and a list says which files they are.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.export.locks import NOFOLLOW, identity_at, is_at, lock
from ckpt_viewer.export.part_names import listed_by, mark_of, member_of, replaced_of, token_of
from ckpt_viewer.export.set_list import still_there


class Leftover(NamedTuple):
    """An unfinished file, or folder of files, that nobody is working on; or a file that one was to replace.

    Attributes:
        path: where it is. nbytes: its length. identity: (device, inode).
        replaced: what a file was called that was to be replaced; None for an unfinished one.
        named: the final name that a file of an unfinished set has already, and loses; None for another one.
        token: of the set whose list says that it is one of its files; ``""`` where its own name says so.
    """

    path: Path
    nbytes: int
    identity: tuple[int, int]
    replaced: Path | None = None
    named: Path | None = None
    token: str = ""


def find_leftovers(folder: Path) -> list[Leftover]:
    """Return the leftovers in a folder, largest first; none where it cannot be read."""
    names = _names(folder)
    parts, busy = list[Leftover](), set[str]()
    for name in names:
        if token := token_of(name):
            leftover = _look(folder / name, remove=False)
            if leftover is not None:
                parts.append(leftover)
            else:
                busy.add(token)
    parts = [part for part in parts if _token(part) not in busy]
    found = [*_with_names(parts), *_listed(parts, names)]
    for name in names:
        replaced = replaced_of(name)
        if replaced is not None and replaced[1] not in busy:
            old = _look(folder / name, remove=False)
            if old is not None:
                found.append(old._replace(replaced=_replaced(old.path, replaced[0])))
    return sorted(found, key=lambda each: -each.nbytes)


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


def _replaced(second: Path, name: str) -> Path | None:
    """Return the path of the file that has a second name: `name`, or what is in the folder that has it instead.

    None where that is empty: then the file was not there yet, or is back already.
    """
    if not second.is_dir():
        return second.with_name(name)
    return next((second.with_name(inner) for inner in _names(second)), None)


def _listed(parts: list[Leftover], names: list[str]) -> list[Leftover]:
    """Return files under their final names that the lists of unfinished sets name, if they are these very files."""
    unfinished, found = _unfinished(parts, names), list[Leftover]()
    for part in parts:
        token = listed_by(part.path.name)
        for path in still_there(part.path) if token in unfinished else ():
            file = _look(path, remove=False)
            if file is not None:
                found.append(file._replace(named=path, token=token))
    return found


def _unfinished(parts: Iterable[Leftover], names: Iterable[str]) -> dict[str, Leftover]:
    """Return the last file of each set whose final name is not among `names`, by the set's token."""
    last = {member: part for part in parts if (member := member_of(part.path.name)) is not None and member.final}
    marks = {mark_of(name) for name in names} if last else set[str]()
    return {member.token: part for member, part in last.items() if member.mark not in marks}


def _is_final(name: str) -> bool:
    member = member_of(name)
    return member is not None and member.final


def _with_names(parts: list[Leftover]) -> list[Leftover]:
    """Return unfinished files with the final names that those of unfinished sets have already."""
    names = _names(parts[0].path.parent) if parts else []
    unfinished = _unfinished(parts, names)
    by_mark = {mark_of(name): name for name in names} if unfinished else {}
    found = []
    for part in parts:
        member = member_of(part.path.name)
        name = by_mark.get(member.mark) if member is not None and member.token in unfinished else None
        path = part.path.with_name(name) if name is not None else None
        found.append(part._replace(named=path if path is not None and identity_at(path) == part.identity else None))
    return found


def remove_leftovers(leftovers: list[Leftover]) -> list[Leftover]:
    """Remove leftovers of one folder that still are some, and put back what unfinished sets were to replace.

    In an order that can be broken off anywhere and taken up again: old files come back whose names new ones have, new
    ones that replaced nothing lose their names, old ones come back whose names are free, which make the others count,
    and what says that a set was not finished goes last.

    Returns:
        Those that are under their names no more, in their order.
    """
    parts = [each for each in leftovers if each.replaced is None and not each.token]
    olds = [each for each in leftovers if each.replaced is not None]
    names = _names(leftovers[0].path.parent) if leftovers else []
    free = {each.path for each in olds if each.replaced and each.replaced.name not in names}
    unfinished = _unfinished(parts, names)
    tokens = {_token(each) for each in olds if each.path in free} | unfinished.keys()
    # of several sets that were broken off one after the other, the newest is undone first
    back = sorted((each for each in olds if _token(each) in tokens), key=lambda each: -_written(each, unfinished))
    stuck = set[str]()
    done = _put_all_back([each for each in back if each.path not in free], stuck)
    for part in _with_names(parts):
        if part.named is not None and _look(part.named, remove=True, identity=part.identity) is None:
            stuck.add(_token(part))
    listed = {each.path for each in _listed(parts, names)}
    for each in leftovers:
        if each.token and each.path in listed:
            if _look(each.path, remove=True, identity=each.identity) is not None:
                done.append(each)
            else:
                stuck.add(each.token)
    done += _put_all_back([each for each in back if each.path in free], stuck)
    parts.sort(key=lambda each: _is_final(each.path.name))
    for each in (*(old for old in olds if old not in back), *parts):
        if _token(each) not in stuck and _look(each.path, remove=True, identity=each.identity) is not None:
            done.append(each)
    gone = {each.path for each in done}
    return [each for each in leftovers if each.path in gone]


def _put_all_back(olds: list[Leftover], stuck: set[str]) -> list[Leftover]:
    """Put old files back, and return which; the tokens of sets where that fails are `stuck`, and left as they are."""
    done = []
    for each in olds:
        if _token(each) not in stuck and _put_back(each):
            done.append(each)
        else:
            stuck.add(_token(each))
    return done


def _written(old: Leftover, unfinished: Mapping[str, Leftover]) -> int:
    """Return when the set was written that was to replace a file; 0 if nobody can tell."""
    last = unfinished.get(_token(old))
    try:
        return last.path.stat().st_mtime_ns if last is not None else 0
    except OSError:
        return 0


def leftovers_text(leftovers: list[Leftover]) -> str:
    """Return what there is, as in ``2 unfinished files (5 GB), 1 file that a set was to replace``.

    How many unfinished files have their final names already is said beside their size.
    """
    files = [each for each in leftovers if each.replaced is None]
    olds = len(leftovers) - len(files)
    texts = []
    if files or not olds:
        named = sum(each.named is not None for each in files)
        under = f", {named} of them under {'its' if named == 1 else 'their'} final name{'' if named == 1 else 's'}"
        nbytes = bytes_text(sum(each.nbytes for each in files))
        texts.append(f"{_files(len(files), 'unfinished ')} ({nbytes}{under if named else ''})")
    if olds:
        texts.append(f"{_files(olds)} that a set was to replace")
    return ", ".join(texts)


def _files(count: int, kind: str = "") -> str:
    return f"{count} {kind}file{'' if count == 1 else 's'}"


def _token(leftover: Leftover) -> str:
    replaced = replaced_of(leftover.path.name)
    if leftover.token:
        return leftover.token
    return replaced[1] if replaced is not None else token_of(leftover.path.name)


def _put_back(old: Leftover) -> bool:
    """Give a file its name again; return whether it has it."""
    assert old.replaced is not None
    if _look(old.path, remove=False, identity=old.identity) is None:
        return False
    in_folder = old.path.is_dir()
    second = old.path / old.replaced.name if in_folder else old.path
    try:
        second.replace(old.replaced)
        second.unlink(missing_ok=True)  # renaming one name of a file to another one of it does nothing
        if in_folder:
            old.path.rmdir()
    except OSError:
        return False
    return True


def _look(path: Path, *, remove: bool, identity: tuple[int, int] | None = None) -> Leftover | None:
    """Return what is at a path if it is a leftover, and `identity` if one is given; remove it if asked to."""
    fd = _open(path)
    if sys.platform == "win32" or fd is None:
        return None
    try:
        status = os.fstat(fd)
        here = status.st_dev, status.st_ino
        kind = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if not kind or status.st_uid != os.geteuid() or (identity or here) != here or not lock(fd):
            return None
        if remove and not _remove(path, status):
            return None
        return Leftover(path, _nbytes(path, status), here)
    finally:
        os.close(fd)


def _open(path: Path) -> int | None:
    """Open a file or folder, no link; None where that cannot be."""
    for flags in (os.O_RDWR, os.O_RDONLY):  # network file systems lock only what may be written; folders never may
        try:
            return os.open(path, flags | NOFOLLOW)
        except (IsADirectoryError, PermissionError):  # what replaces a file that is read-only is so too
            continue
        except OSError:  # gone, a link, not ours
            return None
    return None


def _remove(path: Path, status: os.stat_result) -> bool:
    """Remove what was opened and locked, unless another thing has its name by now."""
    try:
        if not is_at(path, status):
            return False
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def _nbytes(path: Path, status: os.stat_result) -> int:
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    try:
        return sum(each.lstat().st_size for each in path.iterdir())
    except OSError:
        return 0
