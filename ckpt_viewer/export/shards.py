"""Cutting an export into files of a limited size, with an index beside them, as Hugging Face's libraries do.

Source: huggingface_hub/serialization/_base.py (`split_state_dict_into_shards_factory`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.errors import CannotExport, WriteFailed
from ckpt_viewer.export.blocks import Meter
from ckpt_viewer.export.cargo import Options
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.flat import Flat
from ckpt_viewer.export.sharing import listed

INDEX = ".index.json"


def check_one_file(options: Options, where: str) -> None:
    """Refuse a limit of size for a format that knows no sets of files; raises CannotExport."""
    if options.max_shard_size:
        raise CannotExport(f"{where} is one file, however large; --max-shard-size goes with --format safetensors")


def pack(flats: Sequence[Flat], limit: int, context: Context) -> list[list[Flat]]:
    """Return which tensors go into which file.

    In their order, and the next file begins where one does not fit any more. A tensor larger than a whole file gets
    one of its own, while the file begun goes on.

    Args:
        limit: bytes of tensors in a file; 0 for no limit.
    """
    shards: list[list[Flat]] = []
    current: list[Flat] = []
    size = 0
    for flat in stepped(flats, context):
        if limit and flat.nbytes > limit:
            shards.append([flat])
            continue
        if limit and size + flat.nbytes > limit:
            shards.append(current)
            current, size = [], 0
        current.append(flat)
        size += flat.nbytes
    return [*shards, current] if current or not shards else shards


def shard_names(target: str, count: int) -> tuple[list[str], str]:
    """Return the names of the files and of their index, made of the name that a single file would have had."""
    name = target.removesuffix(INDEX)
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, "safetensors"
    names = [f"{stem}-{number:05d}-of-{count:05d}.{suffix}" for number in range(1, count + 1)]
    return names, f"{stem}.{suffix}{INDEX}"


_SHARD = re.compile(r"(.+)-\d{5,}-of-\d{5,}(\.\w+)", re.DOTALL)


def strangers(paths: Sequence[Path]) -> list[str]:
    """Say which files lie beside those of a set, called like them, and are none of it: a sentence, or none.

    An earlier set of more or fewer files leaves them. They are nobody's any more, but it is not known that nobody wants
    them.
    """
    match = _SHARD.fullmatch(paths[0].name)
    if match is None:
        return []
    ours, found = {path.name for path in paths}, list[str]()
    with suppress(OSError):
        for name in os.listdir(paths[0].parent):  # noqa: PTH208  there may be 100,000
            other = _SHARD.fullmatch(name) if name not in ours else None
            if other is not None and other.groups() == match.groups():
                found.append(name)
    if not found:
        return []
    return [
        f"beside the set lie files of another one of its name, which its index does not know: {listed(sorted(found))}"
    ]


class Index:
    """The index file.

    Attributes:
        data: what it holds.
    """

    copied_bytes = 0

    def __init__(self, names: Mapping[str, Sequence[Flat]]) -> None:
        """Make the index of files that hold these tensors."""
        total = sum(flat.nbytes for flats in names.values() for flat in flats)
        weight_map = {flat.name: name for name, flats in names.items() for flat in flats}
        document = {"metadata": {"total_size": total}, "weight_map": weight_map}
        self.data = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode("ascii")

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def write(self, copier: Copier) -> None:
        """Append all of it; raises WriteFailed, Cancelled."""
        copier.write(self.data)

    def claim(self) -> None:
        """No loader of tensors reads it."""

    def verify(self, path: Path, meter: Meter) -> None:
        """Read it again; raises WriteFailed where it is another."""
        meter(0)
        if path.read_bytes() != self.data:
            raise WriteFailed(
                "the index is not what was written, so the files were removed; check the disk and try again"
            )
