"""The Python that loads several files: a trainer's folder, or an ordinary zip with checkpoints inside."""

from __future__ import annotations

from collections.abc import Callable

from ckpt_viewer.analysis.code import Access, base_name, is_folder
from ckpt_viewer.analysis.load_lines import WARNING, Lines, Roles, has_objects
from ckpt_viewer.analysis.loading import MOST_NAMED, set_expression
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.analysis.safety import allowance
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.core.value import Mapping

Call = Callable[[Checkpoint, int, Lines], str]
"""Returns the expression that loads the file whose root is at a row; ``""`` where it is none that can be loaded."""


class Parts:
    """Writes the loading of each file that has something which was recognised, and what becomes of that."""

    def __init__(self, checkpoint: Checkpoint, view: Overview, lines: Lines, call: Call) -> None:
        self.checkpoint, self.view, self.lines = checkpoint, view, lines
        self._call = call

    def write(self) -> None:
        """Append what loads each file of the folder or set, then what its parts are for."""
        wanted = [row for row, role in self.view.role_rows.items() if role.name not in ("config", "metrics", "rng")]
        bases: dict[int, str] = {}
        for row in wanted:
            root = self.root_of(row)
            if root in bases:
                continue
            if self._is_dangerous(root):
                continue
            call = self._call(self.checkpoint, root, self.lines)
            if call:
                bases[root] = f"part_{len(bases) + 1}"
                self.lines.add(f"{bases[root]} = {call}")
        roles = Roles(self.checkpoint, self.view, self.lines, "")
        roles.access = Access(self.checkpoint.outline, "", bases)
        roles.write()

    def _is_dangerous(self, root: int) -> bool:
        """Whether a part may hold what would run code: then nothing is written that loads it."""
        return bool(allowance(self.checkpoint).dangerous) and has_objects(self.checkpoint, root)

    def root_of(self, row: int) -> int:
        """Return the row of the file that an entry is in."""
        outline = self.checkpoint.outline
        while row > 0:
            if outline.parents[row] == 0 or is_folder(outline.values[outline.parents[row]]):
                return row
            row = outline.parents[row]
        return row


def _inner_path(checkpoint: Checkpoint, row: int) -> str:
    return "/".join(str(step) for step in checkpoint.outline.path(row))


def file_of_folder(checkpoint: Checkpoint, row: int, lines: Lines) -> str:
    """Return the expression that loads a file of a trainer's folder, or a set of files by its index."""
    name = f"{base_name(checkpoint)}/{_inner_path(checkpoint, row)}"
    shards = _shards_below(checkpoint, row) if name.endswith(".index.json") else []
    if shards:
        lines.need(*(["glob"] if len(shards) > MOST_NAMED else []))
        call = _torch_call(checkpoint, row, "f", shards[0], lines)
        return set_expression([f"{base_name(checkpoint)}/{each}" for each in shards], call)
    if name.endswith(".json"):
        lines.need("json", "pathlib")
        return f"json.loads(pathlib.Path({python_literal(name)}).read_text())"
    return _torch_call(checkpoint, row, python_literal(name), name, lines)


def _shards_below(checkpoint: Checkpoint, row: int) -> list[str]:
    """Return the files of a set, of which only the index is an entry of the folder; none where they are not there."""
    outline, names = checkpoint.outline, dict[str, None]()
    for value in outline.values[row : outline.ends[row]]:
        home = value.storage.home if isinstance(value, TensorSpec) and value.storage is not None else None
        if home is not None:
            names[home.prefix.partition("!")[0].replace("~1", "/").replace("~0", "~")] = None
    return list(names) if set(names) <= set(checkpoint.contents.files) else []


def member_of_zip(checkpoint: Checkpoint, row: int, lines: Lines) -> str:
    """Return the expression that loads a member of an ordinary zip."""
    inner = _inner_path(checkpoint, row)
    archive = f"zipfile.ZipFile({python_literal(base_name(checkpoint))}).read({python_literal(inner)})"
    if not inner.endswith((".pth", ".pt", ".bin", ".ckpt", ".tar")):
        if not isinstance(checkpoint.outline.values[row], Mapping):
            return ""
        lines.need("json", "zipfile")
        return f"json.loads({archive})"
    lines.need("io", "zipfile")
    return _torch_call(checkpoint, row, f"io.BytesIO({archive})", inner, lines)


def _torch_call(checkpoint: Checkpoint, row: int, what: str, name: str, lines: Lines) -> str:
    if name.endswith(".safetensors"):
        lines.need("safetensors.torch")
        return f"safetensors.torch.load_file({what})"
    lines.need("torch")
    more = f", {checkpoint.locator.code}" if checkpoint.locator.code else ""
    safe = not has_objects(checkpoint, row)
    if not safe:
        lines.add(*WARNING)
    return f"torch.load({what}{more}, weights_only={safe})"
