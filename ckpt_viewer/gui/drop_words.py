"""What the two halves say that they will do with the files over them, as far as names tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.gui.labels import plain

SHORT_NAME = 34
"""Characters of a file's name: with the word before it they fit on one line of the narrow half of a small window."""
INDEX = ".index.json"
"""How the file ends that makes others a set."""
SAFETENSORS = (".safetensors", f".safetensors{INDEX}")


def why_not_remapped(paths: Sequence[str]) -> str:
    """Return why dropping on the second half writes nothing, as far as names tell; ``""`` where it may."""
    if any(Path(path).is_dir() for path in paths):
        return "a folder is not remapped as a whole; drop the files in it that you want on the CPU"
    if all(path.lower().endswith(SAFETENSORS) for path in paths):
        return "safetensors files name no devices; they load on the CPU as they are"
    return ""


def remap_sentence(paths: Sequence[str]) -> str:
    """Return what dropping on the second half writes: ``writes model_3.cpu.pth, 134 MB, beside it``."""
    why_not = why_not_remapped(paths)
    if why_not:
        return why_not
    sets = [path.lower().endswith(INDEX) for path in paths]
    size = "" if any(sets) else f", {bytes_text(sum(_size(path) for path in paths))}"  # that of an index says little
    targets = [_target(path) for path in paths]
    first = f"{'the folder ' if sets[0] else ''}{plain(targets[0].name, SHORT_NAME)}"
    asks = "; asks before replacing" if any(map(os.path.lexists, targets)) else ""
    writable = all(os.access(Path(path).absolute().parent, os.W_OK) for path in paths)
    if len(paths) == 1:
        if sets[0] and asks:
            asks = "; asks for another name"  # what is in a folder is never replaced
        where = "beside it" if writable else "and asks where: its folder is read-only"
        return f"writes {first}{size}, {where}{asks}"
    where = "beside them" if writable else "and asks where a folder is read-only"
    return f"writes {len(paths)} copies, {first} first{size and f'{size} in all'}, {where}{asks}"


def _target(path: str) -> Path:
    from ckpt_viewer.export.names import remap_folder, remap_target

    return remap_folder(path) if path.lower().endswith(INDEX) else remap_target(path)


def open_sentence(paths: Sequence[str]) -> str:
    """Return what dropping on the large half does."""
    if len(paths) == 1:
        return f"shows {plain(Path(paths[0]).name, SHORT_NAME)}; nothing in it is executed"
    return f"shows {len(paths)} files, a window each; nothing in them is executed"


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
