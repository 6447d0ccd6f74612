"""What scans found, kept on disk by the identity of the files: a file that was looked at before is not read again.

A cache file is a line of JSON, lines of JSON with `A_LINE` profiles each, then plain little-endian arrays: keys of
cells of single values (int64), counts, keys of wider cells (int32). Whatever is wrong with one, the scan is done again.
JSON is read and written line by line: a hundred thousand profiles at once would hold the interpreter up for a second.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ckpt_viewer.core.progress import SILENT, stepped
from ckpt_viewer.core.tensor import TensorSpec, bottom
from ckpt_viewer.stats.cells import EXACT, Cells
from ckpt_viewer.stats.census import Census
from ckpt_viewer.stats.folder import cache_folder, shrink, store
from ckpt_viewer.stats.moments import Moments
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.tally import SHARES

if TYPE_CHECKING:
    from pathlib import Path

    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.stats.scan_plan import Item, Plan

VERSION = 3
"""Changes with the numbers or with the form of the file."""
MOST_FILES, MOST_BYTES = 200, 256 << 20
LARGEST = 64 << 20
"""Bytes of one cache file."""
IN_MEMORY = 16 << 20
"""Bytes of tensors that lie in no file, which are known by their content."""
FOLDER = "scans"
A_LINE = 64
"""Profiles in a line of JSON."""


def key_of(plan: Plan, context: Context = SILENT) -> str | None:
    """Return what a plan's results are kept under: a digest of the files' identities and of what is read of them.

    None where a tensor lies in something without an identity.

    Raises:
        SourceChanged, Unreadable: a file is not what it was when it was opened. CheckpointError: a part is missing.
    """
    digest = hashlib.sha256(f"{VERSION} {np.dtype(np.intp).byteorder}".encode())
    numbers: dict[int, int] = {}
    identities: dict[int, object] = {}
    for item in stepped(plan.items, context):
        if id(item.source) not in numbers:
            numbers[id(item.source)] = len(numbers)
            identity = _identity(item.source, identities)
            if identity is None:
                return None
            digest.update(repr(identity).encode())
        place = numbers[id(item.source)], item.start, item.stop, item.tensor.dtype, item.plain
        digest.update(repr(place if item.plain else (*place, _described(item))).encode())
    return digest.hexdigest()


def _identity(source: Any, known: dict[int, object]) -> object:
    """Return what bytes a source gives, None where that cannot be said; `known` has it for files, by their id."""
    if source is None:
        return ()
    if id(source) in known:
        return known[id(source)]
    if hasattr(source, "identity"):
        source.check_unchanged()
        known[id(source)] = source.identity
        return known[id(source)]
    if hasattr(source, "whole"):  # only the beginning of another
        whole = _identity(source.whole, known)
        return None if whole is None else ("cut", source.trusted, whole)
    if hasattr(source, "views"):  # put together from several files
        return _identity_of_parts(source, known)
    data = getattr(source, "data", None)
    if data is not None and len(data) <= IN_MEMORY:
        return hashlib.sha256(data).hexdigest()
    return None


def _identity_of_parts(source: Any, known: dict[int, object]) -> object:
    parts: list[object] = []
    for box, view in source.views():
        file, start = bottom(view.source, view.start)
        identity = _identity(file, known)
        if identity is None:
            return None
        parts.append((box, identity, start, view.shape, view.stride, view.swap))
    return parts


def _described(item: Item) -> object:
    """Return everything that the numbers of a tensor depend on, beside bytes."""

    def described(tensor: TensorSpec) -> object:
        extra = tensor.extra
        if extra is None:
            return tensor.shape, tensor.stride, tensor.offset, tensor.dtype
        q = extra.quantization
        scale = [described(each) if isinstance(each, TensorSpec) else repr(each) for each in q or ()]
        parts = [(name, described(part)) for name, part in extra.parts.items()]
        return tensor.shape, tensor.stride, tensor.offset, tensor.dtype, extra.conj, extra.neg, scale, parts

    return described(item.tensor)


def load(key: str, context: Context = SILENT) -> list[Profile] | None:
    """Return the profiles kept under `key`, in the plan's order; None where there are none. Raises Cancelled."""
    path = _path(key)
    if path is None:
        return None
    try:
        if path.stat().st_size > LARGEST:
            return None
        data = path.read_bytes()
        os.utime(path)  # what is used stays
        end = data.index(b"\n")
        head = json.loads(data[:end])
        if head["key"] != key or hashlib.sha256(memoryview(data)[end + 1 :]).hexdigest() != head["digest"]:
            return None
        return list(stepped(_profiles(data, end, head["lines"], head["exact"], head["wide"]), context))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def save(key: str, profiles: Sequence[Profile], context: Context = SILENT) -> None:
    """Keep profiles under `key`, if they are not too many; what was used longest ago makes room. Raises Cancelled."""
    path = _path(key)
    if path is None:
        return
    parts = list(_lines(profiles, context))
    count, text = len(parts), sum(map(len, parts))
    exact, wide = ([each.cells for each in profiles if (each.cells.bits == EXACT) is kind] for kind in (True, False))
    parts += _joined([cells.keys for cells in exact], "<i8", context)
    parts += _joined([each.cells.counts for each in profiles], "<i8", context)
    parts += _joined([cells.keys for cells in wide], "<i4", context)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
        context.step(0, 0)
    sizes = [sum(cells.keys.size for cells in kind) for kind in (exact, wide)]
    head = json.dumps(
        {"key": key, "digest": digest.hexdigest(), "lines": count, "exact": sizes[0], "wide": sizes[1]}
    ).encode()
    head += b" " * (-(len(head) + 1 + text) % 8)  # so that arrays are aligned
    if len(head) + sum(map(len, parts)) < LARGEST and store(path, [head, b"\n", *parts]):
        shrink(path.parent, MOST_BYTES, MOST_FILES)


def _path(key: str) -> Path | None:
    folder = cache_folder(FOLDER)
    return None if folder is None else folder / f"{key[:40]}.scan"


def _lines(profiles: Sequence[Profile], context: Context) -> Iterator[bytes]:
    for start in range(0, len(profiles), A_LINE):
        context.step(0, 0)
        entries = [_entry(each) for each in profiles[start : start + A_LINE]]
        yield json.dumps(entries, allow_nan=False).encode() + b"\n"


def _joined(arrays: list[Array], dtype: str, context: Context) -> Iterator[bytes]:
    """Yield the bytes of arrays, some together: all at once would hold the interpreter for as long as it takes."""
    for start in range(0, len(arrays), A_LINE):
        context.step(0, 0)
        yield np.concatenate(arrays[start : start + A_LINE]).astype(dtype).tobytes()


def _entry(profile: Profile) -> list[Any]:
    moments, shares = profile.moments, profile.quantiles
    sums = [moments.size, *_short(moments.total), *_short(moments.squares), moments.bits]
    values = list(shares.values()) if shares is not None else None
    return [profile.dtype, profile.over, profile.census, sums, values, profile.cells.bits, profile.cells.keys.size]


def _short(number: int) -> tuple[str, int]:
    """Return a large integer as hexadecimal digits and how many zero bits follow."""
    zeros = (number & -number).bit_length() - 1 if number else 0
    return f"{number >> zeros:x}", zeros


def _entries(data: bytes, end: int, lines: int) -> Iterator[list[Any]]:
    """Yield what `_entry` made of each profile, from the lines behind the one that ends at `end`."""
    for _ in range(lines):
        start, end = end + 1, data.index(b"\n", end + 1)
        yield from json.loads(data[start:end])


def _profiles(data: bytes, end: int, lines: int, exact: int, wide: int) -> Iterator[Profile]:
    """Yield the profiles of a cache file whose head ends at `end`; raises ValueError where it is damaged.

    Args:
        lines: of entries. exact, wide: cells of single values, and wider ones.
    """
    place = len(data) - 16 * exact - 12 * wide
    keys_exact = np.frombuffer(data, "<i8", exact, place)
    counts = np.frombuffer(data, "<i8", exact + wide, place + 8 * exact)
    keys_wide = np.frombuffer(data, "<i4", wide, len(data) - 4 * wide).astype(np.int64)
    at, at_exact, at_wide = 0, 0, 0
    for dtype, over, census, sums, values, bits, size in _entries(data, end, lines):
        if bits == EXACT:
            keys, at_exact = keys_exact[at_exact : at_exact + size], at_exact + size
        else:
            keys, at_wide = keys_wide[at_wide : at_wide + size], at_wide + size
        cells, at = Cells(bits, keys, counts[at : at + size]), at + size
        n, first, shift, second, shift2, unit = sums
        moments = Moments(n, int(first, 16) << shift, int(second, 16) << shift2, unit)
        shares = dict(zip(SHARES, values, strict=True)) if values is not None else None
        yield Profile(dtype, over, Census(*census), moments, shares, cells)
