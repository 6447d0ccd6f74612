"""What the files of a sharded set have, held against what its index says that they have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.value import Mapping, Value

AT_ONCE = 512
"""Keys and values of a shard that are looked up at once; some 0.1 ms."""
FOUND = ""
"""In an index, instead of the name of a tensor's file: the tensor was there."""


def as_indexed(
    shards: Iterable[tuple[str, Mapping]], files: dict[str, str], context: Context
) -> tuple[Mapping, list[str], list[str]]:
    """Return all that shards have and the index does not place elsewhere.

    Args:
        shards: names of files, and what is in each.
        files: key -> name of its file, as the index has it; `FOUND` in its place where the shard has it.

    Returns:
        That as one dict; the keys that the index does not name, and those that it has in another file.

    Raises:
        Cancelled: by `context`.
    """
    root, unnamed, left_out = Mapping(), list[str](), list[str]()
    for name, inside in shards:
        pairs = inside.pairs
        for start in range(0, len(pairs), AT_ONCE):
            context.step(start, len(pairs))
            some = pairs[start : start + AT_ONCE]
            if _found_all(some[::2], name, files):
                root.pairs += some
                continue
            for key, value in zip(some[::2], some[1::2], strict=True):
                file = files.get(key) if type(key) is str else None
                if file == name:
                    files[key] = FOUND  # type: ignore[index]
                elif file is not None:
                    left_out.append(str(key))
                    continue
                else:
                    unnamed.append(str(key))
                root.pairs += (key, value)
    return root, unnamed, left_out


def _found_all(keys: Sequence[Value], file: str, files: dict[str, str]) -> bool:
    """Mark names as found if an index has all of them in one file, and each is there once; whether it is so."""
    if {*map(type, keys)} != {str} or {*map(files.get, keys)} != {file}:  # type: ignore[arg-type]
        return False
    found = dict.fromkeys(keys, FOUND)
    if len(found) < len(keys):
        return False
    files.update(found)  # type: ignore[arg-type]
    return True
