"""From blocks of numbers to coloured pixels: runs in jobs, knows no widget."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.panels.digits import every_digit, six_digits

if TYPE_CHECKING:
    import numpy as np

    from ckpt_viewer.stats.plane import Plane
    from ckpt_viewer.stats.raster import Raster, Window

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

LEVELS = 255
"""Colours of the map: odd, so that zero has the one in the middle."""
ROBUST = 0.99
"""Share of the cells that the robust range holds."""
CELLS = 1 << 20
"""Blocks of a picture at most: as many are coloured in some 20 ms."""
AT_ONCE = 1 << 21
"""Cells that are read without showing a sample first."""
FEW = 300
"""Cells with NaN or Inf that are each marked, however small they are; more of them are hatched as they lie."""
NAN, INF = 1, 2
"""Bits that say what is in a cell besides numbers."""


class Look(NamedTuple):
    """How a picture is coloured: which value stands for a block (of `raster.MODES`), whether by the robust range."""

    mode: str = "|max|"
    robust: bool = False


class Picture(NamedTuple):
    """A raster as pixels.

    Attributes:
        raster: what is shown. pixels: uint32 0xffRRGGBB, one for each block. limit: the value with the last colour.
        marks: uint8 by block, bits NAN and INF; None where every value is finite.
        few: row, column and bits of the marked blocks where they are few, else empty.
    """

    raster: Raster
    pixels: Array
    limit: float
    marks: Array | None
    few: tuple[tuple[int, int, int], ...] = ()


@cache
def colours(name: str) -> Array:
    """Return a colour map as uint32[LEVELS]; imports pyqtgraph, so the first call belongs on a worker thread."""
    import numpy as np
    import pyqtgraph as pg

    table = pg.colormap.get(name).getLookupTable(0.0, 1.0, LEVELS).astype(np.uint32)
    packed: Array = 0xFF000000 | table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2]
    return packed.astype(np.uint32)


def limit_of(raster: Raster, look: Look) -> float:
    """Return the value with the last colour, on both sides of zero; 0 where all is zero or nothing finite."""
    import numpy as np

    sizes = np.abs(raster.shown(look.mode))
    sizes = sizes[np.isfinite(sizes)]
    if not sizes.size:
        return 0.0
    if not look.robust:
        return float(sizes.max())
    rank = min(sizes.size - 1, int(ROBUST * sizes.size))
    robust = float(np.partition(sizes.ravel(), rank)[rank])
    return robust or float(sizes.max())


def paint(raster: Raster, look: Look, limit: float, name: str, background: int) -> Picture:
    """Colour a raster; blocks without a finite value get `background`, to be hatched."""
    import numpy as np

    values = raster.shown(look.mode)
    nothing = np.isnan(values)
    half = LEVELS // 2
    with np.errstate(all="ignore"):
        shares = values / limit if limit > 0 else np.zeros_like(values)
        levels = np.rint(np.clip(np.where(nothing, 0, shares), -1, 1) * half).astype(np.intp) + half
    pixels = colours(name)[levels]
    pixels[nothing] = background
    if raster.nan is None or raster.inf is None:
        return Picture(raster, pixels, limit, None)
    marks = ((raster.nan > 0) * NAN | (raster.inf > 0) * INF).astype(np.uint8)
    rows, columns = np.nonzero(marks)
    few = zip(rows.tolist(), columns.tolist(), marks[rows, columns].tolist(), strict=True) if rows.size <= FEW else ()
    return Picture(raster, pixels, limit, marks, tuple(few))


class Request(NamedTuple):
    """What is to be shown.

    Attributes:
        plane, window: of which cells. most: rows and columns of blocks. look: see Look.
        limit: the value with the last colour, None to take it from what is read.
        theme: name of the colour map, and the colour (0xffRRGGBB) below hatching.
    """

    plane: Plane
    window: Window
    most: tuple[int, int]
    look: Look
    limit: float | None
    theme: tuple[str, int]


def first_look(request: Request, context: Context) -> Picture:
    """Return a picture for now: exact where that is quick, else of a sample.

    Raises:
        CheckpointError: there are no values, or they cannot be read. Cancelled: by `context`.
    """
    from ckpt_viewer.stats.raster import sample_raster

    if request.window.cells <= AT_ONCE or request.plane.down is not None:
        return exact(request, context)
    return _painted(sample_raster(request.plane, request.window), request)


def exact(request: Request, context: Context) -> Picture:
    """Return the picture of every cell. Raises as `first_look`."""
    from ckpt_viewer.stats.raster import read_raster

    return _painted(read_raster(request.plane, request.window, request.most, context), request)


def _painted(raster: Raster, request: Request) -> Picture:
    limit = limit_of(raster, request.look) if request.limit is None else request.limit
    return paint(raster, request.look, limit, *request.theme)


def range_words(raster: Raster, look: Look, limit: float) -> str:
    """Return what the colours reach to, in words."""
    if limit == 0:
        finite = (raster.high == raster.high).any()  # NaN where a block has none
        return "every finite value is 0" if finite else "no finite value"
    text = f"colours to ±{six_digits(limit)}"
    if look.robust:
        text += f" (robust: {ROBUST:.0%} of the {'values' if raster.fine else 'blocks'}; the rest has the last colour)"
    return text


def block_words(raster: Raster, look: Look) -> str:
    """Return what a pixel stands for: ``each pixel: mean of 4 × 2 values``; ``""`` where it is one value."""
    if raster.fine:
        return ""
    if raster.sample:
        return f"sample: one of each {grouped(raster.down)} × {grouped(raster.across)} values"
    return f"each cell: {look.mode} of {grouped(raster.down)} × {grouped(raster.across)} values"


def special_words(raster: Raster) -> str:
    """Return ``3 NaN, 1 Inf``, where there are any."""
    counts = {"NaN": raster.nan, "Inf": raster.inf}
    found = {word: int(part.sum()) for word, part in counts.items() if part is not None}
    return ", ".join(f"{grouped(count)} {word}" for word, count in found.items() if count)


def cell_words(raster: Raster, plane: Plane, row: int, column: int) -> str:
    """Return index and value at a cell of the plane, or what is in its block; ``""`` outside of the raster."""
    window = raster.window
    if not (window.top <= row < window.bottom and window.left <= column < window.right):
        return ""
    place = (row - window.top) // raster.down, (column - window.left) // raster.across
    low, high = raster.low[place], raster.high[place]
    nan, inf = (0 if part is None else int(part[place]) for part in (raster.nan, raster.inf))
    if raster.fine:
        value = "NaN" if nan else "±Inf" if inf else every_digit(low)
        return f"[{', '.join(map(str, plane.place(row, column)))}]  {value}"
    first = window.top + place[0] * raster.down, window.left + place[1] * raster.across
    last = min(first[0] + raster.down, window.bottom) - 1, min(first[1] + raster.across, window.right) - 1
    where = f"[{_span(plane.place(*first), plane.place(*last))}]"
    if raster.sample:
        return f"{where}  sample {six_digits(low)}"
    special = "".join(f", {grouped(count)} {word}" for count, word in ((nan, "NaN"), (inf, "Inf")) if count)
    if low != low:  # nothing finite
        return f"{where}  {special[2:]}"
    numbers = f"min {six_digits(low)}, mean {six_digits(raster.mean[place])}, max {six_digits(high)}"
    return f"{where}  {numbers}{special}"


def _span(first: tuple[int, ...], last: tuple[int, ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low} … {high}" for low, high in zip(first, last, strict=True))
