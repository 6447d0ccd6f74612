"""The work behind the histogram panel: which numbers are made, in which order. Runs in jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.panels.facts import count_words
from ckpt_viewer.gui.panels.picture import Picture, Wish

if TYPE_CHECKING:
    from ckpt_viewer.gui.scan_work import Below
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.stats.kernels import Kernels
    from ckpt_viewer.stats.profile import Profile

KernelsFor: TypeAlias = "Callable[[TensorSpec], Kernels | None]"
AT_ONCE = 1 << 20
"""Values that are counted without showing a sample first: it takes a few milliseconds."""


class Target(NamedTuple):
    """What is looked at.

    Attributes:
        names: of the tensors, as they are shown. tensors: to be laid over one another.
        container: a Node or ModuleGroup, all of whose tensors are taken together; then `names` is its own.
        selected: how many tensors are selected; more than MOST do not fit.
    """

    names: tuple[str, ...]
    tensors: tuple[TensorSpec, ...]
    container: Any = None
    selected: int = 1

    @property
    def key(self) -> tuple[int | str, ...]:
        """What tells it from another target while the file is open."""
        return tuple(id(tensor) for tensor in self.tensors) or (getattr(self.container, "pointer", ""),)

    @property
    def values(self) -> int:
        """How many values the largest tensor has; the number of bins follows it."""
        return max((tensor.numel for tensor in self.tensors), default=0)

    @property
    def total(self) -> int:
        """How many values there are to be looked at."""
        return sum(tensor.numel for tensor in self.tensors)


class Seen(NamedTuple):
    """What is known of a target.

    Attributes:
        target: of what. profiles: of each of its tensors, of a container one. partial: which are of a sample only.
        picture: None where there is no finite value. unread: tensors of a container that have no numbers.
        below: its tensors that were counted; none of a sample.
    """

    target: Target
    profiles: tuple[Profile, ...]
    partial: tuple[bool, ...]
    picture: Picture | None
    unread: int = 0
    below: tuple[TensorSpec, ...] = ()

    @property
    def sample(self) -> bool:
        """Whether some values were looked at only."""
        return any(self.partial)

    @property
    def numel(self) -> int:
        """How many values were looked at."""
        return sum(profile.numel for profile in self.profiles)

    @property
    def final(self) -> bool:
        """Whether nothing better will come by itself: the tensors of a container are counted by the scan alone."""
        if self.sample:
            return self.target.container is not None
        return self.picture is None or self.picture.exact


def first_look(target: Target, wish: Wish, known: Mapping[int, Profile], context: Context) -> Seen:
    """Return what can be seen for now: exact where that is quick, else of a sample.

    Args:
        known: numbers of whole tensors, by their id.

    Raises:
        CheckpointError: there are no values, or they cannot be read. Cancelled: by `context`.
    """
    import ckpt_viewer.gui.panels.plot  # noqa: F401 - imports pyqtgraph, here on a worker thread
    from ckpt_viewer.stats.sampling import sample_of
    from ckpt_viewer.stats.summary import profile_tensor

    profiles, partial = [], []
    at_once = AT_ONCE // len(target.tensors)
    for tensor in target.tensors:
        context.step(0, 0)
        sampled = False
        profile = known.get(id(tensor))
        if profile is None and tensor.numel > at_once:
            profile, sampled = sample_of(tensor)
        profiles.append(profile_tensor(tensor, context) if profile is None else profile)
        partial.append(sampled)
    seen = draw(target, tuple(profiles), tuple(partial), wish)
    quick = seen.picture is not None and seen.picture.snapped and target.total <= AT_ONCE
    return settled(seen, context) if quick and not seen.sample else seen


def first_look_below(target: Target, index: TreeIndex, wish: Wish, context: Context) -> Seen:
    """Return what all tensors below a container show if they are small, else a sample over them.

    Raises:
        CheckpointError: there are no values. Cancelled: by `context`.
    """
    import ckpt_viewer.gui.panels.plot  # noqa: F401 - see `first_look`
    from ckpt_viewer.gui.scan_work import put_together, tensors_below
    from ckpt_viewer.stats.sampling import sample_of_many
    from ckpt_viewer.stats.scan import Scan

    row = index.find(target.container.pointer)
    tensors = [] if row is None else list(tensors_below(index, row, context))
    if row is not None and sum(tensor.numel for tensor in tensors) <= AT_ONCE:
        scan = Scan(tensors, cached=False)
        scan.run(context)
        return scanned(target, lambda context: put_together(scan, index, row, context), wish, context)
    profile = sample_of_many(tensors, context)
    if profile is None:
        raise CheckpointError("there are no values below this; select a tensor")
    return draw(target, (profile,), (True,), wish)


def scanned(target: Target, below: Callable[[Context], Below], wish: Wish, context: Context) -> Seen:
    """Return what the scan of the file has found below a container; raises Cancelled."""
    import ckpt_viewer.gui.panels.plot  # noqa: F401 - see `first_look`

    found = below(context)
    seen = draw(target, (found.profile,), (False,), wish, found.unread)._replace(below=found.tensors)
    quick = seen.picture is not None and seen.picture.snapped and found.profile.numel <= AT_ONCE
    return settled(seen, context) if quick else seen


def count_all(seen: Seen, wish: Wish, context: Context, kernels_for: KernelsFor = lambda _: None) -> Seen:
    """Return what is seen once every value of the tensors was counted that were sampled; raises as `first_look`.

    Args:
        kernels_for: what counts a tensor on the device that it is mapped to; None for what counts here.
    """
    from ckpt_viewer.stats.preparing import prepare
    from ckpt_viewer.stats.summary import profile_tensor

    missing = [tensor for tensor, partial in zip(seen.target.tensors, seen.partial, strict=True) if partial]
    prepare(sum(tensor.nbytes for tensor in missing))
    total, done = sum(tensor.numel for tensor in missing), 0
    profiles = list(seen.profiles)
    for number, partial in enumerate(seen.partial):
        if partial:
            tensor = seen.target.tensors[number]
            profiles[number] = profile_tensor(tensor, _Part(context, done, total), kernels_for(tensor))
            done += tensor.numel
    return draw(seen.target, tuple(profiles), (False,) * len(profiles), wish)


def draw(target: Target, profiles: tuple[Profile, ...], partial: tuple[bool, ...], wish: Wish, unread: int = 0) -> Seen:
    """Return the picture that can be drawn at once, its edges near those that were asked for."""
    from ckpt_viewer.gui.panels import binning

    if not any(profile.census.finite for profile in profiles):
        return Seen(target, profiles, partial, None, unread)
    axis = binning.axis_of(profiles, wish, target.values or max(profile.numel for profile in profiles))
    edges, counts, snapped = binning.at_once(profiles, binning.edges_of(axis, wish))
    names, sample = target.names, any(partial)
    picture = binning.picture_of(names, profiles, axis, wish, edges, counts, snapped=snapped, sample=sample)
    return Seen(target, profiles, partial, picture, unread)


def redrawn(seen: Seen, wish: Wish) -> Seen:
    """Return the same numbers in another picture, as `draw` does."""
    drawn = draw(seen.target, seen.profiles, seen.partial, wish, seen.unread)
    return drawn._replace(below=seen.below)


def settled(seen: Seen, context: Context) -> Seen:
    """Return the same picture, counted between exactly the edges that were asked for; raises as `first_look`."""
    import numpy as np

    from ckpt_viewer.gui.panels import binning
    from ckpt_viewer.stats.recount import count_between, count_together

    picture, target = seen.picture, seen.target
    assert picture is not None
    edges = binning.edges_of(picture.axis, picture.wish)
    histograms, done = [], 0
    if target.container is not None:
        histograms.append(count_together(seen.below, edges, context))
    else:
        for tensor, profile in zip(target.tensors, seen.profiles, strict=True):
            histograms.append(count_between(tensor, profile, edges, _Part(context, done, target.total)))
            done += tensor.numel
    counts = [np.array(histogram.counts, np.int64) for histogram in histograms]
    exact = binning.picture_of(
        target.names, seen.profiles, picture.axis, picture.wish, edges, counts, snapped=False, sample=False
    )
    return seen._replace(picture=exact)


class _Part:
    """The context of a part of some work."""

    def __init__(self, context: Context, before: int, total: int) -> None:
        self._context, self._before, self._total = context, before, total

    def step(self, done: int, total: int) -> None:
        """Report what is done of the whole."""
        self._context.step(min(self._before + min(done, total), self._total), self._total)


def nothing_to_draw(seen: Seen) -> str:
    """Return in a sentence why there is no histogram; ``""`` if there is one."""
    if seen.picture is not None:
        return ""
    if len(seen.profiles) > 1:
        return "None of these tensors has a finite value; there is nothing to draw."
    census, numel = seen.profiles[0].census, seen.profiles[0].numel
    if numel == 0:
        return "There are no values below this." if seen.target.container else "This tensor is empty: it has no values."
    words = {"NaN": census.nan, "+Inf": census.posinf, "-Inf": census.neginf}
    parts = [f"{grouped(count)} {word}" for word, count in words.items() if count]
    if seen.sample:
        return f"No finite value in the sample: {' and '.join(parts)}."
    one = len(parts) == 1
    head = "The only value is" if numel == 1 else f"All {grouped(numel)} values are"
    tail = next(word for word, count in words.items() if count) if one else "not finite: " + " and ".join(parts)
    return f"{head} {tail}; there is nothing to draw."


def caption(seen: Seen) -> str:
    """Return what was counted, for the line above the picture."""
    unread = f"; {count_words(seen.unread, 'tensor')} left out that cannot be read" if seen.unread else ""
    return _counted(seen) + unread + left_out(seen.target)


def left_out(target: Target) -> str:
    """Return how many of the selected tensors are not shown; ``""`` where all are."""
    shown = len(target.tensors)
    return f"; the first {shown} of {grouped(target.selected)} selected tensors" if 0 < shown < target.selected else ""


def _counted(seen: Seen) -> str:
    picture = seen.picture
    if seen.sample:
        return f"sample of {count_words(seen.numel, 'value')}"
    overs = {profile.over for profile in seen.profiles if profile.over}
    over = f", {overs.pop()} only" if len(overs) == 1 else ""
    if picture is not None and picture.snapped:
        bits = min(profile.cells.bits for profile in seen.profiles)
        return f"exact counts{over}; edges moved by less than " + (f"1/{1 << bits}" if bits else "half of their value")
    return f"exact{over}" if seen.numel else "nothing to count"
