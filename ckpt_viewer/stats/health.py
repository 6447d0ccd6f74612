"""Which tensors are not sound: NaN, infinities, weights that are all the same value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import Damaged, Truncated
from ckpt_viewer.stats.figures import figures_of
from ckpt_viewer.stats.preparing import prepare
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.scan import Scan
from ckpt_viewer.stats.small import Seen, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.tensor import TensorSpec

NAN, INFINITE, CONSTANT, UNREADABLE = "nan-values", "infinite-values", "constant-weight", "values-unreadable"
WEIGHT = 2
"""Dimensions from which on a tensor of a model is no bias and no scale, which may well be all the same."""


def health(checkpoint: Checkpoint, context: Context = SILENT) -> tuple[Finding, ...]:
    """Return what is wrong with the values of a checkpoint's tensors, each tensor at the first place that it is found.

    NaN is an error, an infinity a warning (masks hold them on purpose), and a weight matrix of one value a note. What a
    salvaged file has lost is known already and left out.

    Args:
        context: is told about bytes.

    Raises:
        SourceChanged, Unreadable: the file cannot be read any more. Cancelled: by `context`.
    """
    outline = checkpoint.load_outline(context)
    first = list(outline.distinct_tensors())
    seen = look((tensor for _, tensor in first), context)
    others = [tensor for _, tensor in first if id(tensor) not in seen]
    scan = Scan(others)
    prepare(sum(tensor.nbytes for tensor in others))
    scan.run(context)
    models = [range(model.row, outline.ends[model.row]) for model in checkpoint.models]
    found: list[Finding] = []
    for row, tensor in first:
        outcome = seen.get(id(tensor)) or scan.outcome(tensor)
        if isinstance(outcome, Profile | Seen):
            in_model = any(row in model for model in models)
            over = f" {outcome.over}" if isinstance(outcome, Profile) and outcome.over else " values"
            what = outcome if isinstance(outcome, Seen) else _seen(outcome)
            found += [Finding(*each[:2], outline.path(row), each[2]) for each in _judge(what, over, tensor, in_model)]
        elif isinstance(outcome, Damaged | Truncated) and not checkpoint.contents.salvaged:
            found.append(Finding("error", UNREADABLE, outline.path(row), f"its values cannot be read: {outcome}"))
    return tuple(found)


def _seen(profile: Profile) -> Seen:
    figures, census = figures_of(profile), profile.census
    return Seen(figures.numel, figures.nan, census.posinf, census.neginf, figures.low, figures.high)


def _judge(seen: Seen, over: str, tensor: TensorSpec, in_model: bool) -> Iterator[tuple[str, str, str]]:
    """Yield severity, code and sentence."""
    inf = seen.posinf + seen.neginf
    if seen.nan:
        yield "error", NAN, f"{_share(seen.nan, seen.numel, over)} NaN"
    if inf:
        signs = ", ".join(f"{count} {sign}" for count, sign in ((seen.posinf, "+Inf"), (seen.neginf, "-Inf")) if count)
        yield "warning", INFINITE, f"{_share(inf, seen.numel, over)} infinite ({signs})"
    is_weight = in_model and tensor.shape is not None and len(tensor.shape) >= WEIGHT and seen.numel > 1
    if is_weight and not seen.nan and not inf and seen.low == seen.high:
        yield "info", CONSTANT, f"all {seen.numel}{over} are {seen.low!r}"


def _share(count: int, numel: int, over: str) -> str:
    if count == numel:
        return f"the only{over.removesuffix('s')} is" if numel == 1 else f"all {numel}{over} are"
    return f"{count} of {numel}{over} {'is' if count == 1 else 'are'}"
