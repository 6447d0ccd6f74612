"""The Python that loads this very file: as a state_dict, to resume, as a whole module, in parts.

Every text from the file goes in as an ASCII literal, and none of it becomes an identifier. Code that would run what a
file says appears only under a warning, and nothing that we do not know to be harmless is ever put on an allow-list.
"""

from __future__ import annotations

import re
from contextlib import suppress

from ckpt_viewer.analysis.code import base_name
from ckpt_viewer.analysis.load_lines import WARNING, Lines, Roles, has_objects
from ckpt_viewer.analysis.load_parts import Parts, file_of_folder, member_of_zip
from ckpt_viewer.analysis.loading import load_code
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.analysis.safety import allowance, verdict
from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.core.value import Instance, Mapping
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.assembled import Assembled

HARMLESS = {
    "argparse.Namespace": "argparse", "collections.defaultdict": "collections", "collections.deque": "collections",
    "pathlib.PosixPath": "pathlib", "pathlib.PurePosixPath": "pathlib", "datetime.datetime": "datetime",
    "datetime.date": "datetime", "datetime.timedelta": "datetime", "builtins.dict": "", "builtins.list": "",
    "builtins.int": "", "builtins.float": "", "builtins.str": "",
}  # fmt: skip
"""Names that may be allowed without a thought -> the module to import: classes that hold values and do nothing."""
OTHERS = {"torchscript": ("torch", "model"), "torch-export": ("torch.export", "program"),
          "torch-package": ("torch.package", "importer")}  # fmt: skip
"""Containers that functions of their own read -> the module of that function, and what its result is called."""
TORCH_FORMATS = frozenset({"torch-zip", "torch-legacy", "torch-tar"})


def snippet(checkpoint: Checkpoint, view: Overview) -> str:
    """Return the lines that load a checkpoint under its map_location.

    They expect ``model`` (``model_1``, ``model_2`` ... where there are several), ``optimizer``, ``scheduler`` and
    ``scaler`` to be built already, as far as the file has states for them.
    """
    lines = Lines()
    if checkpoint.contents.salvaged or not _loads_with_torch(checkpoint):
        _with_viewer(checkpoint, lines)
    elif checkpoint.format == "folder":
        Parts(checkpoint, view, lines, file_of_folder).write()
    elif checkpoint.format == "zip":
        Parts(checkpoint, view, lines, member_of_zip).write()
    else:
        _whole_file(checkpoint, view, lines)
    return lines.text()


def _loads_with_torch(checkpoint: Checkpoint) -> bool:
    """Whether torch, or what torch names for it, takes the file at all."""
    if checkpoint.format in TORCH_FORMATS:
        refused = checkpoint.contents.weights_only
        harmless = not allowance(checkpoint).dangerous
        return not _is_packed(checkpoint) and harmless and (not refused or refused.startswith(BY_CONTENT))
    if checkpoint.format == "distributed":
        return ".metadata" in checkpoint.contents.files and _has_torch_parts(checkpoint)
    return checkpoint.format != "pickle"


def _has_torch_parts(checkpoint: Checkpoint) -> bool:
    """Whether the parts of tensors are files of torch.save; torch writes safetensors too, and does not read them."""
    for _, tensor in checkpoint.outline.tensors():
        if tensor.storage is not None and tensor.storage.home is not None:
            with suppress(CheckpointError):
                source = tensor.storage.extent().source
                if isinstance(source, Assembled):
                    source = next((view.source for _, view in source.views()), source)
                return source.read_at(0, 2) == b"PK"
    return True


BY_CONTENT = (
    "it names ", "pickle opcode ", "it calls ", "it makes ", "it sets ", "it appends ", "it extends ", "it is a tar",
)  # fmt: skip
"""How refusals begin that weights_only=False does not share."""


def _is_packed(checkpoint: Checkpoint) -> bool:
    return any(note.code == "compressed" for note in checkpoint.contents.notes)


def _with_viewer(checkpoint: Checkpoint, lines: Lines) -> None:
    """Load what torch.load does not take, or what nobody should let it take: with this program, which runs nothing."""
    lines.need("ckpt_viewer")
    name = python_literal(base_name(checkpoint))
    salvage = ", salvage=True" if checkpoint.contents.salvaged else ""
    dangerous = allowance(checkpoint).dangerous
    why = "torch.load would run code from this file" if dangerous else "torch.load does not read this file"
    lines.add(f"# {why}; this reads its tensors and runs nothing")
    lines.add(f"with ckpt_viewer.open_checkpoint({name}{salvage}) as checkpoint:")
    nodes = checkpoint.state_dict() if checkpoint.models else {}
    absent = sum(isinstance(node.value, TensorSpec) and bool(missing_values(node.value)) for node in nodes.values())
    if absent:  # one rank's part of what several ranks hold, or tensors of the meta device
        lines.add(f"    # {absent} of its {len(nodes)} tensors have no values in this file")
        lines.add("    nodes = checkpoint.state_dict().items()")
        lines.add("    nodes = [each for each in nodes if each[1].storage and each[1].storage.home]")
        lines.add("    state_dict = {name: node.torch() for name, node in nodes}")
        lines.add("model.load_state_dict(state_dict, strict=False)")
    elif nodes:
        lines.add("    state_dict = {name: node.torch() for name, node in checkpoint.state_dict().items()}")
        lines.add("model.load_state_dict(state_dict)")
    else:
        tensor = next((row for row, _ in checkpoint.outline.tensors()), None)
        pointer = checkpoint.node(checkpoint.outline.path(tensor)).pointer if tensor is not None else ""
        call = ".torch()" if tensor is not None else ".value"
        lines.add(f"    value = checkpoint[{python_literal(pointer)}]{call}")


# --- one file -----------------------------------------------------------------------------------------------------


def _whole_file(checkpoint: Checkpoint, view: Overview, lines: Lines) -> None:
    call = load_code(checkpoint)
    root = checkpoint.outline.values[0]
    role = view.role_rows.get(0)
    if checkpoint.format in OTHERS:
        module, name = OTHERS[checkpoint.format]
        lines.need(module)
        lines.add(f"{name} = {call}")
        return
    if role is not None and role.name in ("model", "ema") and isinstance(root, Mapping):
        _load(checkpoint, call, "state_dict", lines)
        Roles(checkpoint, view, lines, "state_dict").model(0, "model")
    elif role is not None and role.name in ("model", "ema") and isinstance(root, Instance):
        _load(checkpoint, call, "model", lines)
        lines.add("model.eval()")
    elif isinstance(root, TensorSpec):
        _load(checkpoint, call, "tensor", lines)
    else:
        _load(checkpoint, call, "checkpoint", lines)
        Roles(checkpoint, view, lines, "checkpoint").write()


def _load(checkpoint: Checkpoint, call: str, name: str, lines: Lines) -> None:
    """Write the call itself, with what torch's safe mode needs."""
    if checkpoint.format in ("safetensors", "sharded"):
        lines.need(
            *(each for each in ("glob", "safetensors.torch", "torch") if re.search(rf"(?<![\w.]){each}\.", call))
        )
        lines.add(f"{name} = {call}")
        return
    lines.need("torch")
    if checkpoint.format == "distributed":
        convert, _, load = call.partition("; ")
        lines.need("torch.distributed.checkpoint.format_utils")
        lines.add(convert)
        call = load
    needed = allowance(checkpoint)
    plain = checkpoint.format == "distributed" and not has_objects(checkpoint, 0)  # the metadata is not loaded
    if plain or verdict(checkpoint).loads:
        lines.add(f"{name} = {call[:-1]}, weights_only=True)")
    elif needed.helps and all(each in HARMLESS for each in needed.names):
        lines.need(*(HARMLESS[each] for each in needed.names))
        allowed = ", ".join(each.removeprefix("builtins.") for each in needed.names)
        lines.add(f"with torch.serialization.safe_globals([{allowed}]):  # classes that only hold values")
        lines.add(f"    {name} = {call[:-1]}, weights_only=True)")
    else:
        lines.add(*WARNING)
        lines.add(f"{name} = {call[:-1]}, weights_only=False)")
