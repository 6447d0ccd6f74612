"""The work behind the panel of the spectrum: computing, what is drawn and said of it. Runs in jobs, knows no widget."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.panels.digits import every_digit, six_digits
from ckpt_viewer.gui.panels.facts_table import Fact

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.curves import Curve
    from ckpt_viewer.stats.spectrum import Spectrum
    from ckpt_viewer.stats.spectrum_plan import SpectrumPlan

VALUES, ENERGY = "singular values", "energy"
VIEWS = (VALUES, ENERGY)
MOST_AT_ONCE = 1 << 16
"""Elements of a matrix whose spectrum is shown without being asked for: it takes some 20 ms."""

ROUNDING = 2.0**-60
"""Share of the largest value below which one is left out of a logarithmic picture: float64 could not hold it."""
MOMENT = 5
"""Seconds from which on it is said how long something takes."""


def compute(tensor: TensorSpec, context: Context) -> Spectrum:
    """Return the spectrum. Raises as `stats.spectrum.singular_values`."""
    import ckpt_viewer.gui.panels.curves  # noqa: F401 - imports pyqtgraph, here on a worker thread
    from ckpt_viewer.stats.spectrum import singular_values

    return singular_values(tensor, context)


def offer(plan: SpectrumPlan) -> str:
    """Return what will be computed, and for how long where that is more than a moment."""
    seconds = plan.seconds(os.cpu_count() or 1)
    return _computable(plan) + (f" That takes about {_about(seconds)}." if seconds > MOMENT else "")


def _about(seconds: float) -> str:
    if seconds < 60:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes > 1 else "a minute"


def _computable(plan: SpectrumPlan) -> str:
    size = f"{grouped(plan.rows)} × {grouped(plan.columns)}"
    shape = f"The tensor as a matrix of {size}, dimension 0 by all others." if plan.reshaped else f"A matrix of {size}."
    if plan.exact:
        return f"{shape} All {grouped(plan.rank)} singular values can be computed."
    return f"{shape} Its {grouped(plan.rank)} largest singular values can be computed by random projection."


def caption(spectrum: Spectrum) -> str:
    """Return what was computed, and how far it is from all there is."""
    plan = spectrum.plan
    shape = f"{grouped(plan.rows)} × {grouped(plan.columns)}"
    text = f"reshaped to {shape} (dimension 0 by all others)" if plan.reshaped else shape
    if plan.exact:
        return f"{text}, all {grouped(plan.rank)} singular values, exact"
    return (
        f"{text}, the {grouped(plan.rank)} largest singular values, randomised: rank {plan.rank} leaves out "
        f"{spectrum.error:.3%} of the matrix' norm"
    )


def draw(spectrum: Spectrum, view: str, logarithmic: bool) -> Curve:
    """Return one of VIEWS."""
    import numpy as np

    from ckpt_viewer.gui.panels.curves import Curve

    heights = spectrum.values if view == VALUES else spectrum.shares
    drawn = heights
    if logarithmic:
        drawn = np.full(heights.shape, np.nan)
        np.log10(heights, out=drawn, where=heights > heights.max(initial=0.0) * ROUNDING)
    up = "singular value" if view == VALUES else "share of the energy"
    across = "number" if view == VALUES else "directions"
    return Curve(heights, drawn, 1, across, up, logarithmic, np.empty(0, np.intp))


def facts(spectrum: Spectrum) -> list[Fact]:
    """Return the rows of the table beside the picture."""
    from ckpt_viewer.stats.spectrum import SHARES

    plan, values = spectrum.plan, spectrum.values
    least = float(values[-1])
    rows = [
        _number("largest", float(values[0])),
        _number("smallest" if plan.exact else f"number {plan.rank}", least),
        _number("Frobenius norm", spectrum.energy**0.5),
        _number("stable rank", spectrum.stable_rank),
        _between("effective rank", spectrum.effective_rank),
    ]
    if plan.exact:
        above = spectrum.rank or 0
        rows.append(Fact("numerical rank", f"{grouped(above)} of {grouped(plan.rank)}", str(above)))
        rows.append(_number("condition", float(values[0]) / least if least else None))
    for share in SHARES:
        count = spectrum.directions(share)
        name = f"{share:.0%} of energy in"
        if count is None:
            rows.append(Fact(name, f"more than {grouped(plan.rank)}" if spectrum.energy else "none"))
        else:
            rows.append(Fact(name, grouped(count), str(count)))
    return rows


def _number(name: str, value: float | None, unknown: str = "none") -> Fact:
    return Fact(name, unknown) if value is None else Fact(name, six_digits(value), every_digit(value))


def _between(name: str, ends: tuple[float, float] | None) -> Fact:
    """Return a row of a number of which perhaps only bounds are known."""
    if ends is None or ends[0] == ends[1]:
        return _number(name, ends[0] if ends else None)
    low, high = (f"{end:.3g}" if end < 1000 else grouped(round(end)) for end in ends)
    return Fact(name, f"about {low} to {high}", " to ".join(map(every_digit, ends)))


def point_text(spectrum: Spectrum, at: int) -> str:
    """Return one singular value and what the first ones up to it hold together."""
    if not 0 <= at < spectrum.values.size:
        return ""
    return f"number {at + 1}:  {six_digits(spectrum.values[at])},  {spectrum.shares[at]:.4%} of the energy up to here"


def table_text(spectrum: Spectrum, separator: str, context: Context) -> str:
    """Return all values as lines, in full precision; raises Cancelled."""
    lines = [separator.join(("number", "singular value", "energy"))]
    for at, pair in enumerate(zip(spectrum.values.tolist(), spectrum.shares.tolist(), strict=True)):
        context.step(at, spectrum.values.size)
        lines.append(separator.join((str(at + 1), *map(every_digit, pair))))
    return "\n".join(lines) + "\n"
