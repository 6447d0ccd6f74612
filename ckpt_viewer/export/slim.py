"""A checkpoint without its optimizer: its entries go from the pickle, opcode by opcode, their storages from the file.

Everything else stays as it was written, so what the copy loads to equals the original but for these entries.
"""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.analysis.roles import find_roles
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.model import is_optimizer_state
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CannotExport

SLIM_FORMATS = frozenset({"torch-zip", "torch-legacy"})


class Slim(NamedTuple):
    """A checkpoint as it would be without some entries.

    Attributes:
        whole: the source. checkpoint: over the same bytes, without them. keys: of the entries that go.
    """

    whole: Checkpoint
    checkpoint: Checkpoint
    keys: tuple[str, ...]


def optimizer_keys(checkpoint: Checkpoint, context: Context = SILENT) -> tuple[str, ...]:
    """Return the keys at the root under which there are optimizers, and nothing else; raises Cancelled by `context`."""
    outline = checkpoint.outline
    roles = find_roles(outline, checkpoint.models, context, checkpoint.given)
    found: list[str] = []
    for row in outline.children(0):
        step, role = outline.steps[row], roles.get(row)
        is_one = role.name == "optimizer" if role is not None else _are_optimizers(outline.values[row])
        if is_one and isinstance(step, str):
            found.append(step)
    return tuple(found)


def _are_optimizers(value: Value) -> bool:
    """Whether a value is an optimizer's state, or a list or a dict of such states (PyTorch Lightning)."""
    members = value.pairs[1::2] if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return is_optimizer_state(value) or (bool(members) and all(map(is_optimizer_state, members)))


def without_optimizer(checkpoint: Checkpoint, context: Context = SILENT) -> Slim:
    """Return the checkpoint as it would be without its optimizers.

    Raises:
        CannotExport: there is none, nothing else, or the format is not taken apart. Cancelled: by `context`.
    """
    checkpoint.load_outline(context)
    root, keys = checkpoint.contents.root, optimizer_keys(checkpoint, context)
    if not isinstance(root, Mapping) or not keys:
        raise CannotExport("no optimizer was recognised at the root of this file, so there is nothing to leave out")
    if checkpoint.format not in SLIM_FORMATS:
        raise CannotExport(
            f"entries are taken out of single files of torch.save only, and this is of format {checkpoint.format}; "
            "export what is wanted of it instead"
        )
    kept = Mapping(root.type, root.arguments)
    kept.state = root.state
    for key, value in zip(root.pairs[::2], root.pairs[1::2], strict=True):
        if not (type(key) is str and key in keys):
            kept.pairs += (key, value)
    if not kept.pairs:
        raise CannotExport("there is nothing but an optimizer in this file, so nothing would be left")
    copy = Checkpoint(checkpoint.path, checkpoint.size, checkpoint.contents._replace(root=kept, notes=()))
    copy.load_outline(context)
    return Slim(checkpoint, copy, keys)
