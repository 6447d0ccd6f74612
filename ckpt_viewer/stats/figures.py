"""The few numbers of a tensor that a table shows, as plain Python numbers: no numpy, cheap to keep by the million."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ckpt_viewer.stats.profile import Profile


class Figures(NamedTuple):
    """What a row of a table says about some values.

    Attributes:
        numel: values that were counted. zeros, nan, inf: how many of them; inf of either sign.
        low, high, mean, std: over the finite ones, None where there is none; low and high of integers are ints.
    """

    numel: int
    zeros: int
    nan: int
    inf: int
    low: float | int | None
    high: float | int | None
    mean: float | None
    std: float | None

    @property
    def greatest(self) -> float | int | None:
        """The greatest magnitude of the finite values."""
        return None if self.low is None or self.high is None else max(abs(self.low), abs(self.high))

    @property
    def zero_share(self) -> float | None:
        """Zeros per value, from 0 to 1; None where there are no values."""
        return self.zeros / self.numel if self.numel else None

    @property
    def is_sound(self) -> bool:
        """Whether every value is finite."""
        return not self.nan and not self.inf


def figures_of(profile: Profile) -> Figures:
    """Return the figures of a profile; its exact sums are divided here, some 10 µs."""
    census = profile.census
    return Figures(
        profile.numel,
        census.zeros,
        census.nan,
        census.posinf + census.neginf,
        census.low,
        census.high,
        profile.mean,
        profile.std,
    )
