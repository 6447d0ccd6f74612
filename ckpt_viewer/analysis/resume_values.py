"""What NaN and infinities in weights and in an optimizer's state mean for a training that is to go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckpt_viewer.analysis.advice import Advice
from ckpt_viewer.analysis.code import access
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Instance

NAMED = 3
"""Tensors that a sentence names."""
_NAME = 60
CLEAN = "{{k: v.nan_to_num() if v.is_floating_point() else v for k, v in {}.items()}}"


def value_advice(
    checkpoint: Checkpoint, view: Overview, nan: Iterable[int], infinite: Iterable[int]
) -> Iterator[Advice]:
    """Yield what to know about values that are no numbers.

    Args:
        nan, infinite: rows of the tensors with a NaN, with an infinity.
    """
    outline, bad, large = checkpoint.outline, sorted(nan), sorted(infinite)
    for top, role in view.role_rows.items():
        if role.name not in ("model", "ema", "optimizer"):
            continue
        below = range(top, outline.ends[top])
        broken, unbounded = _within(bad, below), _within(large, below)
        code = access(outline.path(top)) or "checkpoint"
        if role.name == "optimizer":
            yield from _moments(outline, broken, unbounded, f"optimizer.load_state_dict({code})")
            continue
        code += ".state_dict()" if isinstance(outline.values[top], Instance) else ""
        what = "the averaged weights" if role.name == "ema" else "the weights"
        if broken:
            yield Advice(
                "error" if role.name == "model" else "warning", f"{role.name}-nan", outline.path(broken[0]),
                f"{_some(outline, broken, top, what)} NaN, so every output that they reach is NaN, and "
                "no step brings them back", "go on from an earlier file; to start these values from zero:",
                f"model.load_state_dict({CLEAN.format(code)})",
            )  # fmt: skip
        if unbounded:
            yield Advice(
                "warning", f"{role.name}-infinite", outline.path(unbounded[0]),
                f"{_some(outline, unbounded, top, what)} infinities: a mask does so on purpose, a weight "
                "has overflowed", "look at them with", f"[k for k, v in {code}.items() if v.isinf().any()]",
            )  # fmt: skip


def _moments(outline: Outline, nan: list[int], infinite: list[int], load: str) -> Iterator[Advice]:
    """The next step puts what is in the state into the weights."""
    for rows, word, code in ((nan, "NaN", "optimizer-nan"), (infinite, "infinities", "optimizer-infinite")):
        if rows:
            words = "the optimizer's state"
            after = "makes their weights NaN" if word == "NaN" else "destroys their weights, or never moves them again"
            yield Advice(
                "error", code, outline.path(rows[0]), f"{_some(outline, rows, 0, words)} {word}, so the next step "
                f"{after}", "go on with moments from zero: leave out", load,
            )  # fmt: skip


def _within(rows: list[int], below: range) -> list[int]:
    return [row for row in rows if row in below]


def _some(outline: Outline, rows: list[int], top: int, what: str) -> str:
    """Return ``2 tensors of the weights (conv.weight, fc.bias) hold``."""
    depth = len(outline.path(top))
    names = [shorten("/".join(map(str, outline.path(row)[depth:])) or "the tensor", _NAME) for row in rows[:NAMED]]
    more = ", ..." if len(rows) > NAMED else ""
    count, verb = ("1 tensor", "holds") if len(rows) == 1 else (f"{len(rows)} tensors", "hold")
    return f"{count} of {what} ({', '.join(names)}{more}) {verb}"
