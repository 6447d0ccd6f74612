"""Where a checkpoint would load: torch.load's own answer for every device tag, and the line of code to write.

Sources: torch/serialization.py (`_validate_device`, `_deserialize`, `default_restore_location`), FORMATS section 4.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ckpt_viewer.analysis.loaders import failure
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.core.value import Value

NO_DEVICE = {
    "torch-package": "torch.package.PackageImporter",
    "torch-export": "torch.export.load",
    "zip": "zipfile.ZipFile",
}
"""What reads a container that torch.load does not, and takes no map_location; then its parts are loaded."""


class LoadProblem(NamedTuple):
    """A device tag that torch.load cannot restore here.

    Attributes:
        tag: as saved, None where the file states none. target: what map_location makes of it.
        message: what torch.load would raise.
    """

    tag: str | None
    target: str
    message: str


def distinct_storages(checkpoint: Checkpoint, context: Context = SILENT) -> Iterable[StorageSpec]:
    """Yield every storage of a checkpoint once, in order of first appearance in the tree, also those of no tensor."""
    seen: set[int] = set()
    for value in stepped(checkpoint.outline.values, context):
        for storage in _storages_of(value):
            if id(storage) not in seen:
                seen.add(id(storage))
                yield storage


def _storages_of(value: Value) -> Iterator[StorageSpec]:
    if type(value) is StorageSpec:
        yield value
    elif type(value) is TensorSpec:
        parts = value.extra.parts.values() if value.extra else ()
        yield from (each.storage for each in (value, *parts) if each.storage is not None)


def targets(checkpoint: Checkpoint, context: Context = SILENT) -> dict[tuple[str | None, str], int]:
    """Return (tag, target) -> bytes under the checkpoint's map_location, in order of first appearance."""
    result: dict[tuple[str | None, str], int] = {}
    for storage in distinct_storages(checkpoint, context):
        key = (storage.location, checkpoint.locator.storage(storage))
        result[key] = result.get(key, 0) + storage.nbytes
    return result


def load_problems(
    checkpoint: Checkpoint, devices: Sequence[str] | None, context: Context = SILENT
) -> tuple[LoadProblem, ...]:
    """Return what torch.load would refuse under the checkpoint's map_location.

    Args:
        devices: device names of this machine (``"cpu"``, ``"cuda:0"``...); None while they are not known: then only
            tags that no torch can restore are reported.
    """
    problems = []
    for tag, target in targets(checkpoint, context):
        message = failure(checkpoint, tag, target, devices)
        if message:
            problems.append(LoadProblem(tag, target, message))
    return tuple(problems)


FOLDERS = frozenset({"folder", "distributed"})
"""Formats that are folders."""
MOST_NAMED = 4
"""Files of a set that a line of code names one by one."""


def code_that_loads(checkpoint: Checkpoint, problems: Sequence[LoadProblem]) -> str:
    """Return `load_code`, onto the CPU where torch.load would refuse it on this machine under its map_location."""
    return load_code(checkpoint, Locator("cpu") if problems else None)


def load_code(checkpoint: Checkpoint, locator: Locator | None = None) -> str:
    """Return the line that loads this file; ``""`` for a trainer's folder: no one call does.

    Names from outside go in as ASCII literals.

    Args:
        locator: the map_location that it names; None for the checkpoint's own.
    """
    locator = locator or checkpoint.locator
    if checkpoint.format == "sharded":
        return _set_code(checkpoint, locator)
    if checkpoint.format == "folder":
        return ""
    name = os.path.basename(os.path.abspath(checkpoint.path))  # noqa: PTH100, PTH119  pathlib would cost 7 ms
    if checkpoint.format == "distributed":
        return _distributed_code(checkpoint, name, locator)
    if checkpoint.contents.salvaged:  # torch.load refuses it
        return f"ckpt_viewer.open_checkpoint({python_literal(name)}, salvage=True)"
    return _call(checkpoint, python_literal(name), checkpoint.format == "safetensors", locator)


def _call(checkpoint: Checkpoint, name: str, safetensors: bool, locator: Locator) -> str:
    """Return the call that loads one file; `name` is an expression."""
    if safetensors:  # its reader takes one device for everything
        device = locator.storage(StorageSpec("", None, "", 0, None))
        more = f", device={python_literal(device)}" if device != "cpu" else ""
        return f"safetensors.torch.load_file({name}{more})"
    if checkpoint.format in NO_DEVICE:
        return f"{NO_DEVICE[checkpoint.format]}({name})"
    function = "torch.jit.load" if checkpoint.format == "torchscript" else "torch.load"
    more = f", {locator.code}" if locator.code else ""
    return f"{function}({name}{more})"


def _distributed_code(checkpoint: Checkpoint, name: str, locator: Locator) -> str:
    """Return the lines that make one file of a distributed checkpoint, which torch does without its ranks, and load it.

    Where the ranks did not write metadata together, torch has no such function.
    """
    if ".metadata" not in checkpoint.contents.files:
        return f"ckpt_viewer.open_checkpoint({python_literal(name)})"
    whole = python_literal(f"{name}.pth")
    convert = "torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
    return f"{convert}({python_literal(name)}, {whole}); {_call(checkpoint, whole, False, locator)}"


def _set_code(checkpoint: Checkpoint, locator: Locator) -> str:
    """Return an expression that loads all files of a set into one dict."""
    safetensors = checkpoint.contents.protocol < 0
    return set_expression(checkpoint.contents.files, _call(checkpoint, "f", safetensors, locator))


def set_expression(files: Sequence[str], call: str) -> str:
    """Return an expression that puts what `call` loads of each file ``f`` into one dict; of many files by a pattern."""
    if len(files) > MOST_NAMED:
        start = os.path.commonprefix(files)  # noqa: RUF071  these are names, not paths
        end = os.path.commonprefix([name[::-1] for name in files])[::-1]  # noqa: RUF071
        pattern = "*".join(re.sub(r"([*?[])", r"[\1]", each) for each in (start, end))
        names = f"sorted(glob.glob({python_literal(pattern)}))"
    else:
        names = f"[{', '.join(map(python_literal, files))}]"
    return f"{{k: v for f in {names} for k, v in {call}.items()}}"
