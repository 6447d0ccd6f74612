"""The work behind the panel of channels: counting, and what is drawn and said of it. Runs in jobs, knows no widget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.panels.digits import every_digit, six_digits
from ckpt_viewer.gui.panels.facts import count_words

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.curves import Curve
    from ckpt_viewer.stats.channels import Channels

STATISTICS = {"norm": "norm", "mean": "mean", "std": "std", "max": "high", "min": "low", "|max|": "peak"}
"""What can be drawn, by what it is called in `Channels`."""
MOST_MARKED = 300
"""Dead channels that get a cross each; more would be a solid line, and 20,000 took the window 0.2 s."""
MOST_LISTED = 10_000
"""Channels that are listed as noteworthy."""


def count(tensor: TensorSpec, axis: int, context: Context) -> Channels:
    """Return the numbers of every channel. Raises as `stats.channels.count_channels`."""
    import ckpt_viewer.gui.panels.curves  # noqa: F401 - imports pyqtgraph, here on a worker thread
    from ckpt_viewer.stats.channels import count_channels

    return count_channels(tensor, axis, context)


def draw(channels: Channels, statistic: str, logarithmic: bool) -> Curve:
    """Return one of STATISTICS by channel; dead channels are marked."""
    import numpy as np

    from ckpt_viewer.gui.panels.curves import Curve

    heights = getattr(channels, STATISTICS[statistic])
    drawn = heights
    if logarithmic:
        drawn = np.full(heights.shape, np.nan)
        np.log10(np.abs(heights), out=drawn, where=heights != 0)
    dead = np.concatenate([channels.zero, channels.constant])
    marked = dead if dead.size <= MOST_MARKED else dead[:0]
    up = f"|{statistic}|" if logarithmic and statistic in ("mean", "max", "min") else statistic
    return Curve(heights, drawn, 0, f"channel (index of dimension {channels.axis})", up, logarithmic, marked)


def noteworthy(channels: Channels) -> list[tuple[int, str]]:
    """Return dead channels and those with NaN or infinities, each with what it is, at most MOST_LISTED."""
    found = [(int(at), "all zero") for at in channels.zero[:MOST_LISTED]]
    found += [(int(at), f"constant {six_digits(channels.low[at])}") for at in channels.constant[:MOST_LISTED]]
    for at in channels.special[:MOST_LISTED]:
        words = count_words(channels.each - int(channels.finite[at]), "value")
        found.append((int(at), f"{words} NaN or Inf"))
    return sorted(found)[:MOST_LISTED]


def caption(channels: Channels) -> str:
    """Return how many channels there are, and how many of them are dead."""
    parts = [f"{count_words(len(channels.finite), 'channel')} of {count_words(channels.each, 'value')}"]
    for found, words in (
        (channels.zero, "all zero"), (channels.constant, "constant"), (channels.special, "with NaN or Inf")
    ):  # fmt: skip
        if found.size:
            parts.append(f"{grouped(found.size)} {words}")
    if len(parts) == 1:
        parts.append("none is dead")
    return ", ".join(parts)


def channel_text(channels: Channels, at: int) -> str:
    """Return the numbers of one channel."""
    if not 0 <= at < len(channels.finite):
        return ""
    numbers = (f"{name} {six_digits(getattr(channels, field)[at])}" for name, field in STATISTICS.items())
    return f"channel {at}:  {', '.join(numbers)}"


def table_text(channels: Channels, separator: str, context: Context) -> str:
    """Return all numbers of all channels as lines, in full precision; raises Cancelled."""
    columns = [getattr(channels, field).tolist() for field in STATISTICS.values()]
    lines = [separator.join(("channel", *STATISTICS))]
    for at, row in enumerate(zip(*columns, strict=True)):
        context.step(at, len(channels.finite))
        lines.append(separator.join((str(at), *map(every_digit, row))))
    return "\n".join(lines) + "\n"
