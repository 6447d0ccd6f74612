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
    first: dict[int, tuple[int, TensorSpec]] = {}
    for row, tensor in outline.tensors():
        first.setdefault(id(tensor), (row, tensor))
    scan = Scan([tensor for _, tensor in first.values()])
    prepare(sum(tensor.nbytes for _, tensor in first.values()))
    scan.run(context)
    models = [range(model.row, outline.ends[model.row]) for model in checkpoint.models]
    found: list[Finding] = []
    for row, tensor in first.values():
        outcome = scan.outcome(tensor)
        if isinstance(outcome, Profile):
            in_model = any(row in model for model in models)
            found += [Finding(*each[:2], outline.path(row), each[2]) for each in _judge(outcome, tensor, in_model)]
        elif isinstance(outcome, Damaged | Truncated) and not checkpoint.contents.salvaged:
            found.append(Finding("error", UNREADABLE, outline.path(row), f"its values cannot be read: {outcome}"))
    return tuple(found)


def _judge(profile: Profile, tensor: TensorSpec, in_model: bool) -> Iterator[tuple[str, str, str]]:
    """Yield severity, code and sentence."""
    figures, over = figures_of(profile), f" {profile.over}" if profile.over else " values"
    if figures.nan:
        yield "error", NAN, f"{_share(figures.nan, figures.numel, over)} NaN"
    if figures.inf:
        census = profile.census
        signs = ", ".join(
            f"{count} {sign}" for count, sign in ((census.posinf, "+Inf"), (census.neginf, "-Inf")) if count
        )
        yield "warning", INFINITE, f"{_share(figures.inf, figures.numel, over)} infinite ({signs})"
    is_weight = in_model and tensor.shape is not None and len(tensor.shape) >= WEIGHT and figures.numel > 1
    if is_weight and figures.is_sound and figures.low == figures.high:
        yield "info", CONSTANT, f"all {figures.numel}{over} are {figures.low!r}"


def _share(count: int, numel: int, over: str) -> str:
    if count == numel:
        return f"the only{over.removesuffix('s')} is" if numel == 1 else f"all {numel}{over} are"
    return f"{count} of {numel}{over} {'is' if count == 1 else 'are'}"
