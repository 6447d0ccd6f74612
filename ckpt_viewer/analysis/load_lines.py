"""What code that loads a checkpoint is written with: its lines, and what becomes of each part that was recognised."""

from __future__ import annotations

from collections.abc import Callable

from ckpt_viewer.analysis.code import Access
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.analysis.resume_model import common_prefix, model_names
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.core.value import Global, Instance, Mapping, NdArray

WARNING = (
    "# WARNING: weights_only=False runs whatever the file says; only for a file from somebody you trust.",
    "# What it names has to be importable here.",
)
CPU_STATE = 5056


class Lines:
    """The snippet so far: imports are sorted, what they are needed for follows."""

    def __init__(self) -> None:
        self.imports: dict[str, None] = {}
        self.body: list[str] = []

    def need(self, *modules: str) -> None:
        """Import modules; ``""`` is none."""
        self.imports.update(dict.fromkeys(each for each in modules if each))

    def add(self, *lines: str) -> None:
        """Append lines."""
        self.body += lines

    def text(self) -> str:
        """Return the whole snippet."""
        heads = [f"import {each}" for each in sorted(self.imports)]
        return "\n".join([*heads, *([""] if heads else []), *self.body]) + "\n"


class Roles:
    """Writes what becomes of each part that was recognised."""

    def __init__(self, checkpoint: Checkpoint, view: Overview, lines: Lines, base: str) -> None:
        self.checkpoint, self.view, self.lines = checkpoint, view, lines
        self.access = Access(checkpoint.outline, base)

    def write(self) -> None:
        """Append what becomes of every part."""
        self.states("model", "model", self.model)
        for role, variable in (("optimizer", "optimizer"), ("lr_scheduler", "scheduler"), ("scaler", "scaler")):
            self.states(role, variable, self.state)
        for row in self.rows("ema")[:1]:
            self.lines.add(f"# averaged weights, for evaluation: {self.access.of(row)}")
        for row in self.rows("rng"):
            self.rng(row)
        self.progress()

    def rows(self, role: str) -> list[int]:
        """Return the rows with a role that an expression leads to."""
        return [row for row, each in self.view.role_rows.items() if each.name == role and self.access.of(row)]

    def states(self, role: str, variable: str, write: Callable[[int, str], None]) -> None:
        """Write each part with a role into a variable, numbered where there are several."""
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
        """A state goes into what exists; a pickled object is it."""
        if isinstance(self.checkpoint.outline.values[row], Mapping):
            self.lines.add(f"{variable}.load_state_dict({self.access.of(row)})")
        else:
            self.lines.add(f"{variable} = {self.access.of(row)}")

    def rng(self, row: int) -> None:
        """The state of torch's generator on the CPU is put back."""
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


def has_objects(checkpoint: Checkpoint, row: int) -> bool:
    """Whether an object of some class, or an array of numpy, is below a row, which safe mode refuses to make."""
    outline = checkpoint.outline
    return any(isinstance(value, Instance | Global | NdArray) for value in outline.values[row : outline.ends[row]])
