"""What an export can be written as: one module for each target, and the tuple that names them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ckpt_viewer.core.progress import Context
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.cargo import Cargo, Options
from ckpt_viewer.export.recipe import Recipe


class Planner(Protocol):
    """Decides how a cargo is written."""

    def __call__(self, cargo: Cargo, options: Options, context: Context) -> Recipe:
        """Return the recipe.

        Raises:
            CannotExport: something cannot be written faithfully; names it.
            Cancelled: by `context`.
        """


class Writer(NamedTuple):
    """One target.

    Attributes:
        name: of ``--format``. suffixes: that its files have, the usual one first. title: what a person calls it.
        plan: decides how a cargo is written.
    """

    name: str
    suffixes: tuple[str, ...]
    title: str
    plan: Planner


def _pth(cargo: Cargo, options: Options, context: Context) -> Recipe:
    from ckpt_viewer.export.writers.pth import plan_state_dict

    return plan_state_dict(cargo, options, context)


def _safetensors(cargo: Cargo, options: Options, context: Context) -> Recipe:
    from ckpt_viewer.export.writers.safetensors import plan_safetensors

    return plan_safetensors(cargo, options, context)


def _npz(cargo: Cargo, options: Options, context: Context) -> Recipe:
    from ckpt_viewer.export.writers.numpy import plan_npz

    return plan_npz(cargo, options, context)


def _npy(cargo: Cargo, options: Options, context: Context) -> Recipe:
    from ckpt_viewer.export.writers.numpy import plan_npy

    return plan_npy(cargo, options, context)


WRITERS = (
    Writer("pth", (".pth", ".pt", ".bin", ".ckpt"), "PyTorch file", _pth),
    Writer("safetensors", (".safetensors",), "safetensors", _safetensors),
    Writer("npz", (".npz",), "NumPy archive", _npz),
    Writer("npy", (".npy",), "NumPy array", _npy),
)
"""Every target; the first is what is written unless somebody says otherwise."""


def writer_named(name: str) -> Writer:
    """Return the writer of a name; raises CannotExport."""
    for writer in WRITERS:
        if writer.name == name:
            return writer
    known = ", ".join(writer.name for writer in WRITERS)
    raise CannotExport(f"there is no writer for {name!r}; choose one of {known}")


def writer_for(file_name: str) -> Writer | None:
    """Return the writer whose files have the suffix that a file name has; None where none has it."""
    return next((writer for writer in WRITERS if file_name.lower().endswith(writer.suffixes)), None)
