"""The Python that loads this very file: as a state_dict, to resume, as a whole module, in parts.

Every text from the file goes in as an ASCII literal, and none of it becomes an identifier. Code that would run what a
file says appears only under a warning, and nothing that we do not know to be harmless is ever put on an allow-list.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ckpt_viewer.analysis.code import Access, base_name, is_folder
from ckpt_viewer.analysis.loading import MOST_NAMED, load_code, set_expression
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.analysis.resume_model import common_prefix, model_names
from ckpt_viewer.analysis.safety import allowance, verdict
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.core.value import Global, Instance, Mapping, NdArray

HARMLESS = {
    "argparse.Namespace": "argparse", "collections.defaultdict": "collections", "collections.deque": "collections",
    "pathlib.PosixPath": "pathlib", "pathlib.PurePosixPath": "pathlib", "datetime.datetime": "datetime",
    "datetime.date": "datetime", "datetime.timedelta": "datetime", "builtins.dict": "", "builtins.list": "",
    "builtins.int": "", "builtins.float": "", "builtins.str": "",
}  # fmt: skip
"""Names that may be allowed without a thought -> the module to import: classes that hold values and do nothing."""
WARNING = (
    "# WARNING: weights_only=False runs whatever the file says; only for a file from somebody you trust.",
    "# What it names has to be importable here.",
)
CPU_STATE = 5056
OTHERS = {"torchscript": ("torch", "model"), "torch-export": ("torch.export", "program"),
          "torch-package": ("torch.package", "importer")}  # fmt: skip
"""Containers that functions of their own read -> the module of that function, and what its result is called."""
TORCH_FORMATS = frozenset({"torch-zip", "torch-legacy", "torch-tar"})


class _Lines:
    """The snippet so far: imports are sorted, what they are needed for follows."""

    def __init__(self) -> None:
        self.imports: dict[str, None] = {}
        self.body: list[str] = []

    def need(self, *modules: str) -> None:
        self.imports.update(dict.fromkeys(each for each in modules if each))

    def add(self, *lines: str) -> None:
        self.body += lines

    def text(self) -> str:
        heads = [f"import {each}" for each in sorted(self.imports)]
        return "\n".join([*heads, *([""] if heads else []), *self.body]) + "\n"


def snippet(checkpoint: Checkpoint, view: Overview) -> str:
    """Return the lines that load a checkpoint under its map_location.

    They expect ``model`` (``model_1``, ``model_2`` ... where there are several), ``optimizer``, ``scheduler`` and
    ``scaler`` to be built already, as far as the file has states for them.
    """
    lines = _Lines()
    if checkpoint.contents.salvaged or not _loads_with_torch(checkpoint):
        _with_viewer(checkpoint, lines)
    elif checkpoint.format == "folder":
        _Parts(checkpoint, view, lines, _file_of_folder).write()
    elif checkpoint.format == "zip":
        _Parts(checkpoint, view, lines, _member_of_zip).write()
    else:
        _whole_file(checkpoint, view, lines)
    return lines.text()


def _loads_with_torch(checkpoint: Checkpoint) -> bool:
    """Whether torch, or what torch names for it, takes the file at all."""
    if checkpoint.format in TORCH_FORMATS:
        refused = checkpoint.contents.weights_only
        harmless = not allowance(checkpoint).dangerous
        return not _is_packed(checkpoint) and harmless and (not refused or refused.startswith(BY_CONTENT))
    return checkpoint.format != "pickle" and not (
        checkpoint.format == "distributed" and ".metadata" not in checkpoint.contents.files
    )


BY_CONTENT = (
    "it names ", "pickle opcode ", "it calls ", "it makes ", "it sets ", "it appends ", "it extends ", "it is a tar",
)  # fmt: skip
"""How refusals begin that weights_only=False does not share."""


def _is_packed(checkpoint: Checkpoint) -> bool:
    return any(note.code == "compressed" for note in checkpoint.contents.notes)


def _with_viewer(checkpoint: Checkpoint, lines: _Lines) -> None:
    """Load what torch.load does not take, or what nobody should let it take: with this program, which runs nothing."""
    lines.need("ckpt_viewer")
    name = python_literal(base_name(checkpoint))
    salvage = ", salvage=True" if checkpoint.contents.salvaged else ""
    dangerous = allowance(checkpoint).dangerous
    why = "torch.load would run code from this file" if dangerous else "torch.load does not read this file"
    lines.add(f"# {why}; this reads its tensors and runs nothing")
    lines.add(f"with ckpt_viewer.open_checkpoint({name}{salvage}) as checkpoint:")
    if checkpoint.models:
        lines.add("    state_dict = {name: node.torch() for name, node in checkpoint.state_dict().items()}")
        lines.add("model.load_state_dict(state_dict)")
    else:
        tensor = next((row for row, _ in checkpoint.outline.tensors()), None)
        pointer = checkpoint.node(checkpoint.outline.path(tensor)).pointer if tensor is not None else ""
        call = ".torch()" if tensor is not None else ".value"
        lines.add(f"    value = checkpoint[{python_literal(pointer)}]{call}")


# --- one file -----------------------------------------------------------------------------------------------------


def _whole_file(checkpoint: Checkpoint, view: Overview, lines: _Lines) -> None:
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
        _Roles(checkpoint, view, lines, "state_dict").model(0, "model")
    elif role is not None and role.name in ("model", "ema") and isinstance(root, Instance):
        _load(checkpoint, call, "model", lines)
        lines.add("model.eval()")
    elif isinstance(root, TensorSpec):
        _load(checkpoint, call, "tensor", lines)
    else:
        _load(checkpoint, call, "checkpoint", lines)
        _Roles(checkpoint, view, lines, "checkpoint").write()


def _load(checkpoint: Checkpoint, call: str, name: str, lines: _Lines) -> None:
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


class _Roles:
    """Writes what becomes of each part that was recognised."""

    def __init__(self, checkpoint: Checkpoint, view: Overview, lines: _Lines, base: str) -> None:
        self.checkpoint, self.view, self.lines = checkpoint, view, lines
        self.access = Access(checkpoint.outline, base)

    def write(self) -> None:
        self.states("model", "model", self.model)
        for role, variable in (("optimizer", "optimizer"), ("lr_scheduler", "scheduler"), ("scaler", "scaler")):
            self.states(role, variable, self.state)
        for row in self.rows("ema")[:1]:
            self.lines.add(f"# averaged weights, for evaluation: {self.access.of(row)}")
        for row in self.rows("rng"):
            self.rng(row)
        self.progress()

    def rows(self, role: str) -> list[int]:
        return [row for row, each in self.view.role_rows.items() if each.name == role and self.access.of(row)]

    def states(self, role: str, variable: str, write: Callable[[int, str], None]) -> None:
        rows = self.rows(role)
        for number, row in enumerate(rows, 1):
            write(row, variable if len(rows) == 1 else f"{variable}_{number}")

    def model(self, row: int, variable: str) -> None:
        """A state_dict goes into a model that exists; a whole module is one."""
        value, expression = self.checkpoint.outline.values[row], self.access.of(row)
        if not isinstance(value, Mapping):
            self.lines.add(f"{variable} = {expression}")
            return
        prefix, _ = common_prefix(model_names(value))
        if prefix:
            cut = python_literal(prefix)
            expression = f"{{name.removeprefix({cut}): value for name, value in {expression}.items()}}"
        self.lines.add(f"{variable}.load_state_dict({expression})")

    def state(self, row: int, variable: str) -> None:
        if isinstance(self.checkpoint.outline.values[row], Mapping):
            self.lines.add(f"{variable}.load_state_dict({self.access.of(row)})")
        else:
            self.lines.add(f"{variable} = {self.access.of(row)}")

    def rng(self, row: int) -> None:
        value = self.checkpoint.outline.values[row]
        if isinstance(value, TensorSpec) and value.shape == (CPU_STATE,):
            self.lines.need("torch")
            self.lines.add(f"torch.set_rng_state({self.access.of(row)}.cpu())")

    def progress(self) -> None:
        """Go on behind the last epoch, and at the saved step."""
        epoch = step = None
        for row in self.rows("progress"):
            name = str(self.checkpoint.outline.steps[row])
            if "epoch" in name:
                epoch = row if epoch is None else epoch
            else:
                step = row if step is None else step
        if epoch is not None:
            whole = type(self.checkpoint.outline.values[epoch]) is int
            expression = self.access.of(epoch)
            self.lines.add(f"start_epoch = {expression if whole else f'int({expression})'} + 1")
        if step is not None:
            self.lines.add(f"step = {self.access.of(step)}")


# --- several files ------------------------------------------------------------------------------------------------


Call = Callable[[Checkpoint, int, _Lines], str]
"""Returns the expression that loads the file whose root is at a row; ``""`` where it is none that can be loaded."""


class _Parts:
    """Writes the loading of each file that has something which was recognised, and what becomes of that."""

    def __init__(self, checkpoint: Checkpoint, view: Overview, lines: _Lines, call: Call) -> None:
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
        roles = _Roles(self.checkpoint, self.view, self.lines, "")
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


def _file_of_folder(checkpoint: Checkpoint, row: int, lines: _Lines) -> str:
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


def _member_of_zip(checkpoint: Checkpoint, row: int, lines: _Lines) -> str:
    inner = _inner_path(checkpoint, row)
    archive = f"zipfile.ZipFile({python_literal(base_name(checkpoint))}).read({python_literal(inner)})"
    if not inner.endswith((".pth", ".pt", ".bin", ".ckpt", ".tar")):
        if not isinstance(checkpoint.outline.values[row], Mapping):
            return ""
        lines.need("json", "zipfile")
        return f"json.loads({archive})"
    lines.need("io", "zipfile")
    return _torch_call(checkpoint, row, f"io.BytesIO({archive})", inner, lines)


def _torch_call(checkpoint: Checkpoint, row: int, what: str, name: str, lines: _Lines) -> str:
    if name.endswith(".safetensors"):
        lines.need("safetensors.torch")
        return f"safetensors.torch.load_file({what})"
    lines.need("torch")
    more = f", {checkpoint.locator.code}" if checkpoint.locator.code else ""
    safe = not has_objects(checkpoint, row)
    if not safe:
        lines.add(*WARNING)
    return f"torch.load({what}{more}, weights_only={safe})"


def has_objects(checkpoint: Checkpoint, row: int) -> bool:
    """Whether an object of some class, or an array of numpy, is below a row, which safe mode refuses to make."""
    outline = checkpoint.outline
    return any(isinstance(value, Instance | Global | NdArray) for value in outline.values[row : outline.ends[row]])
