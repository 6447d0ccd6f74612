"""A state_dict in several files (shards), as one tree: opened by its index, or by any of the files. FORMATS 1.10.

Names come from untrusted files (hazard H14): only plain names of regular files beside the index are opened, also
through links, since a snapshot of a Hugging Face cache is a folder of links into ``../../blobs``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import Context, drain, stepped
from ckpt_viewer.core.tensor import Bytes, TensorSpec
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, Unreadable, Unsupported
from ckpt_viewer.formats.base import FileOpener, Head, Inside, Opened, merged
from ckpt_viewer.formats.kinds import is_shard_index
from ckpt_viewer.formats.shard_index import INDEX_LIMIT, ShardIndex, read_index
from ckpt_viewer.formats.shard_lookup import FOUND, as_indexed
from ckpt_viewer.formats.shard_names import Part, PartSet, is_index_name, listed, part_of, part_set
from ckpt_viewer.sources.folder import Folder, is_plain_name

MOST_SHARDS = 20_000
MOST_INDEXES = 16
"""Indexes in one folder that are searched for a shard."""


def open_index(source: Bytes, inside: Inside, open_file: FileOpener) -> Opened:
    """Open the set whose index `source` is, every file that it names as one tree; raises CheckpointError."""
    if not hasattr(source, "identity"):
        raise Unsupported("this is the index of a sharded set, whose files lie beside it; unpack it there first")
    index = read_index(source, inside.context)
    folder = Folder(os.path.dirname(source.name) or ".")  # noqa: PTH120  pathlib would cost every start 7 ms
    try:
        opened = open_indexed(folder, index, inside.context, open_file, prefix=inside.prefix)
        return opened._replace(close=folder.close)
    except BaseException:
        folder.close()
        raise


def open_whole(path: str, context: Context, open_file: FileOpener) -> Opened | None:
    """Open the set that a shard belongs to, where its index or all of its siblings are there; None if they are not.

    Raises:
        CheckpointError: none of its files can be read. Cancelled: by `context`.
    """
    where, name = os.path.split(path)
    part = part_of(name)
    if part is None:
        return None
    folder = Folder(where or ".")
    try:
        index = _index_of(folder, name, context)
        if index is not None:
            return open_indexed(folder, index, context, open_file)._replace(close=folder.close)
        members = part_set(part, folder.files)
        if not members.missing and len(members.files) > 1:
            return open_numbered(folder, members, context, open_file)._replace(close=folder.close)
    except BaseException:
        folder.close()
        raise
    folder.close()
    return None


def _index_of(folder: Folder, name: str, context: Context) -> ShardIndex | None:
    """Return the index in a folder that names the file `name`."""
    for each in [file for file in folder.files if is_index_name(file)][:MOST_INDEXES]:
        try:
            source = folder.file(each)
            index = read_index(source, context) if source.size <= INDEX_LIMIT else None
        except CheckpointError:  # whoever opens that index is told what is wrong with it
            continue
        if index is not None and name in index.files.values():
            return index
    return None


def lone_part_note(path: str) -> Note | None:
    """Say of a file that is opened by itself to which set it belongs, what of it is missing, and how to see all.

    None where its name tells of no set; `siblings` knows more kinds of names.
    """
    where, name = os.path.split(path)
    part = part_of(name)
    if part is None or part.total < 2:
        return None
    try:
        folder = Folder(where or ".")
    except CheckpointError:
        return None
    members = part_set(part, folder.files)
    words = [f"this is file {part.number} of a set of {part.total}"]
    index = next((name for name in folder.files if is_index_name(name) and name.startswith(_base(part))), None)
    if members.missing:
        words.append(f"{listed(members.missing)} {'is' if len(members.missing) == 1 else 'are'} missing beside it")
    if index is not None:
        words.append(f"open {index!a}, or this file with --set, to see all of it")
    elif not members.missing:
        words.append("open it with --set to see all of it")
    else:
        words.append("download them into the same folder to see all of it")
    return Note("warning" if members.missing else "info", "one-of-several", None, "; ".join(words))


def _base(part: Part) -> str:
    return part.stem.rstrip("-_.")


# --- the virtual tree ---------------------------------------------------------------------------------------------


class _Shard(NamedTuple):
    """One file of a set. `root` is its dict; `size` is in bytes."""

    name: str
    opened: Opened
    root: Mapping
    size: int


def open_indexed(
    folder: Folder, index: ShardIndex, context: Context, open_file: FileOpener, *, prefix: str = ""
) -> Opened:
    """Open the files that an index names as one tree; uses the index up. Raises CheckpointError if none can be read."""
    names = sorted(set(stepped(index.files.values(), context)))
    if not names:
        raise NotACheckpoint("this index names no tensors; download it again")
    shards, notes = _open_shards(folder, names, context, open_file, prefix)
    files = index.files  # what is found is marked in it: with half a million names a copy would be felt
    root, unnamed, left_out = as_indexed(((shard.name, shard.root) for shard in shards), files, context)
    there = {shard.name for shard in shards}
    absent = [name for name, file in stepped(files.items(), context) if file in there]
    gone: list[str] = []
    if len(shards) < len(names):
        gone = [name for name, file in stepped(files.items(), context) if file not in there and file != FOUND]
    drain(files, context)
    for severity, code, found, words in (
        ("error", "missing-tensor", absent, "the index names tensors that are not in their file"),
        ("error", "missing-tensor", gone, "the index names tensors whose file is missing or cannot be read"),
        ("warning", "extra-tensor", unnamed, "the files have tensors that the index does not name"),
        ("warning", "repeated-tensor", left_out, "tensors lie in another file than the index says, and are left out"),
    ):
        if found:
            notes.append(Note(severity, code, None, f"{words}: {len(found)}, {listed(found)}"))
    notes += _size_note(index, root)
    return _finish(root, index.metadata, shards, notes)


def open_numbered(
    folder: Folder, members: PartSet, context: Context, open_file: FileOpener, *, prefix: str = ""
) -> Opened:
    """Open the files of a set without an index; raises CheckpointError where none can be read."""
    shards, notes = _open_shards(folder, members.files, context, open_file, prefix)
    if members.missing:
        notes.append(_missing_files(members.missing))
    root = Mapping()
    names: set[str] = set()
    twice: list[str] = []
    for shard in shards:
        keys = [key for key in shard.root.pairs[::2] if type(key) is str]
        twice += names.intersection(keys)
        names.update(keys)
        root.pairs += shard.root.pairs
    if twice:
        message = f"tensors lie in several files of the set and are shown twice: {len(twice)}, {listed(sorted(twice))}"
        notes.append(Note("warning", "repeated-tensor", None, message))
    if members.mixed:
        message = "the names of the files disagree on how many there are"
        notes.append(Note("info", "mixed-numbering", None, message))
    return _finish(root, None, shards, notes)


def _open_shards(
    folder: Folder, names: Iterable[str], context: Context, open_file: FileOpener, prefix: str
) -> tuple[list[_Shard], list[Note]]:
    shards: list[_Shard] = []
    notes: list[Note] = []
    absent: list[str] = []
    problem: CheckpointError | None = None
    there = frozenset(folder.files)
    for count, name in enumerate(names):
        if count == MOST_SHARDS:
            raise Damaged(f"the set has more than {MOST_SHARDS} files; open one of them instead")
        context.step(0, 0)
        if is_plain_name(name) and name not in there:
            absent.append(name)
            continue
        try:
            shards.append(_open_shard(folder, name, context, open_file, prefix))
        except CheckpointError as error:
            problem = error
            code = "unreadable-shard" if is_plain_name(name) else "unsafe-name"
            notes.append(Note("error", code, None, f"{name[:200]!a} is left out: {error}"))
    if absent:
        notes.append(_missing_files(absent))
    if shards:
        return shards, notes
    if problem is not None:
        raise Unreadable(f"no file of this set can be read, the last because {problem}") from problem
    raise Unreadable(f"no file of this set is here ({listed(absent)}); download them into the same folder")


def _missing_files(names: Sequence[str]) -> Note:
    message = f"files of the set are missing, and their tensors with them: {len(names)}, {listed(names)}"
    return Note("error", "missing-shard", None, message)


def _open_shard(folder: Folder, name: str, context: Context, open_file: FileOpener, prefix: str) -> _Shard:
    source = folder.file(name)
    if is_shard_index(Head(source)):
        raise Damaged("it is an index itself")
    opened = open_file(source, context, f"{prefix}{name}!")
    root = opened.unpickled.value
    if not isinstance(root, Mapping):
        raise Damaged("it holds no dict of tensors, as the files of a set do")
    return _Shard(name, opened, root, source.size)


def _size_note(index: ShardIndex, root: Mapping) -> list[Note]:
    stated = index.total_size
    tensors = (value for value in root.pairs[1::2] if type(value) is TensorSpec)
    found = sum(tensor.form.nbytes if tensor.extra is None else tensor.nbytes for tensor in tensors)
    if stated is None or stated == found:
        return []
    message = f"the index states {stated} bytes of tensors and there are {found}; such totals are often wrong"
    return [Note("info", "total-size", None, message)]


def _finish(root: Mapping, about: Mapping | None, shards: list[_Shard], notes: list[Note]) -> Opened:
    """Return the tree with what the index and the files say about themselves as its attributes."""
    state = Mapping()
    if about is not None:
        state.pairs += ("__index__", about)
    for key in ("__metadata__", "_metadata"):
        united = _united(shard.root.state.get(key) for shard in shards if isinstance(shard.root.state, Mapping))
        if united is not None:
            state.pairs += (key, united)
    root.state = state if state.pairs else None
    opened = merged(root, [shard.opened for shard in shards])
    refusals = (shard.opened.unpickled.refused or shard.opened.refused for shard in shards)
    return opened._replace(
        unpickled=opened.unpickled._replace(notes=[]),
        notes=(*_shard_notes(shards), *notes),
        size=sum(shard.size for shard in shards),
        refused=next(filter(None, refusals), ""),
        state_dict=True,
        files=tuple(shard.name for shard in shards),
    )


def _shard_notes(shards: list[_Shard]) -> list[Note]:
    """Return what the readers of the files noticed; what they say of very many files alike is said once."""
    notes: list[Note] = []
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for shard in shards:
        for note in (*shard.opened.unpickled.notes, *shard.opened.notes):
            if note.value is None:
                alike.setdefault((note.severity, note.code), []).append((shard.name, note.message))
            else:
                notes.append(note)
    for (severity, code), found in alike.items():
        name, message = found[0]
        more = f" and {len(found) - 1} more of the set" if len(found) > 1 else ""
        notes.append(Note(severity, code, None, f"{name!a}{more}: {message}"))
    return notes


def _united(found: Iterable[Value]) -> Mapping | None:
    """Return the dicts of all files as one; of a key that comes again the first value."""
    united: dict[str, Value] = {}
    kind = ""
    for each in found:
        if isinstance(each, Mapping):
            kind = kind or each.type
            for key, value in each.string_items().items():
                united.setdefault(key, value)
    if not kind:
        return None
    result = Mapping(kind)
    for pair in united.items():
        result.pairs += pair
    return result
