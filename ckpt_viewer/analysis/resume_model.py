"""What is to know about the models of a checkpoint before they are loaded: prefixes, averaged copies, whole modules."""

from __future__ import annotations

from collections.abc import Iterator

from ckpt_viewer.analysis.advice import Advice
from ckpt_viewer.analysis.code import access
from ckpt_viewer.analysis.optimizer_join import PREFIXES
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.path import Path
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.text import python_literal
from ckpt_viewer.core.value import Instance, Mapping, Value

INSIDE = ("model_ema.", "ema_model.", "ema.")
"""Prefixes of averaged copies that lie in the same state_dict as the model (latent diffusion, ema-pytorch)."""


def model_advice(checkpoint: Checkpoint, view: Overview, context: Context = SILENT) -> Iterator[Advice]:
    """Yield what is to know about each model; raises Cancelled by `context`."""
    outline = checkpoint.outline
    raw = [row for row, role in view.role_rows.items() if role.name == "model"]
    for row in raw:
        yield from _one_model(outline.values[row], outline.path(row), context)
    averaged = view.roles.get("ema", [])
    if averaged and raw:
        code = access(averaged[0]) or "checkpoint"
        yield Advice(
            "info", "ema-beside", averaged[0], "an averaged copy (EMA) is beside the raw weights: resume with the raw "
            "ones", "evaluate with", f"model.load_state_dict({code})",
        )  # fmt: skip


def _one_model(value: Value, path: Path, context: Context) -> Iterator[Advice]:
    code, names = access(path) or "checkpoint", model_names(value)
    prefix, partly = common_prefix(names, context)
    if prefix:
        strip = f"{{k.removeprefix({python_literal(prefix)}): v for k, v in {code}.items()}}"
        yield Advice(
            "info", "prefix", path, f"every name starts with {prefix}, as {_wrapper(prefix)} puts it there",
            "for the bare model write", f"model.load_state_dict({strip})",
        )  # fmt: skip
    elif partly:
        yield Advice(
            "warning", "prefix-mixed", path, f"some names start with {partly} and others do not: parts were wrapped, "
            "or two models were mixed", "see what is missing:", f"print(model.load_state_dict({code}, strict=False))",
        )  # fmt: skip
    inside = _first_of(INSIDE, "", names, context)
    if inside and _first_without(inside, names, context) is not None:
        words = f"an averaged copy lies in it under {inside}, beside the raw weights"
        yield Advice("info", "ema-inside", path, words)
    if isinstance(value, Instance):
        yield Advice(
            "info", "whole-module", path, f"a whole {value.type} was pickled: it loads only where this class can be "
            "imported, with weights_only=False", "export the state_dict to be free of it",
        )  # fmt: skip


def model_names(value: Value) -> list[str]:
    """Return the names in a state_dict; of a module none."""
    return [key for key in value.pairs[::2] if type(key) is str] if isinstance(value, Mapping) else []


def common_prefix(names: list[str], context: Context = SILENT) -> tuple[str, str]:
    """Return the wrappers' prefix that every name has, nested ones together, and one that only some have (or "").

    Raises:
        Cancelled: by `context`.
    """
    prefix = ""
    while found := _first_of(PREFIXES, prefix, names[:1], context):
        if _first_without(prefix + found, names, context) is not None:
            break
        prefix += found
    return prefix, "" if prefix else _first_of(PREFIXES, "", names, context)


def _first_of(prefixes: tuple[str, ...], begin: str, names: list[str], context: Context) -> str:
    """Return the first of some prefixes, behind `begin`, that a name has, or ""."""
    every = tuple(begin + each for each in prefixes)
    have = (name for name in stepped(names, context) if name.startswith(every))
    found = {next(each for each in prefixes if name.startswith(begin + each)) for name in have}
    return min(found, key=prefixes.index, default="")


def _first_without(prefix: str, names: list[str], context: Context) -> str | None:
    return next((name for name in stepped(names, context) if not name.startswith(prefix)), None)


def _wrapper(prefix: str) -> str:
    words = {"module.": "DataParallel or DistributedDataParallel", "_orig_mod.": "torch.compile"}
    return words.get(prefix, "a wrapper, or several in each other,")
