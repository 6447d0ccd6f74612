"""Small tensors of one dtype, counted together: counted one after another they cost calls, hardly any arithmetic.

Their values lie in one array, segment after segment, and are sorted within each. Everything else is sums over stretches
of that array. The profiles are equal to those of a `Sketch` for each tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.turn import WINDOW_FIRST
from ckpt_viewer.stats.cells import EXACT, FINE, NONE, Cells, keys_of
from ckpt_viewer.stats.census import Census
from ckpt_viewer.stats.moments import LIMB, UNIT, Moments, limb_pairs, moments_of_integer_limbs
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.stores import PatternStore
from ckpt_viewer.stats.tally import SHARES

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.stats.reading import Kind
    from ckpt_viewer.stats.scan_plan import Plan, Use

FEW = 1 << 13
"""Elements up to which tensors are small; with their values, two to a packed element, all sums fit an int64."""
MOST = 1 << 16
"""Elements that are worked on at once: their arrays stay in a core's own cache, and no call takes long."""
NARROW = 24
"""Significant bits of all floats but float64; squares of 2**14 such significands just fit an int64."""
_FRACTION, _HIDDEN, _EXPONENT = np.int64((1 << 52) - 1), np.int64(1 << 52), np.int64(0x7FF)
_PERCENT = np.array(list(SHARES.values()), np.int64)
_LENGTHS = 64
"""More than any length in bits of the difference between two neighbouring cells."""
_NO_OTHERS = (0, 0, 0)
_quiet = np.errstate(all="ignore")
"""Converting and comparing NaN with the signalling bit set would warn."""


class _Segments(NamedTuple):
    """Finite values of several tensors, ascending within each, of which each has at least one.

    Attributes:
        values: of all. starts, sizes: of each tensor's, int64.
    """

    values: Array
    starts: Array
    sizes: Array

    @property
    def reals(self) -> Array:
        """The values as float64."""
        return self.values.astype(np.float64, copy=False)

    def sums(self, column: Array) -> list[int]:
        """Return the sum over each tensor of a column of integers or marks."""
        WINDOW_FIRST.stand_back()
        found: list[int] = np.add.reduceat(column, self.starts, dtype=np.int64).tolist()
        return found

    def firsts(self, column: Array) -> tuple[Array, Array]:
        """Return where stretches of equal entries begin, and which of those begin a tensor's."""
        WINDOW_FIRST.stand_back()
        cut = np.empty(column.size, np.bool_)
        np.not_equal(column[1:], column[:-1], out=cut[1:])
        cut[self.starts] = True
        firsts = np.flatnonzero(cut)
        return firsts, np.searchsorted(firsts, self.starts)


def batches(plan: Plan, uses: Sequence[Use]) -> tuple[list[Use], list[tuple[str, list[Use]]]]:
    """Return which uses of bytes to count one by one, and which of small tensors of one dtype to count together."""
    alone: list[Use] = []
    groups: dict[str, tuple[int, list[Use]]] = {}
    done: list[tuple[str, list[Use]]] = []
    for use in uses:
        dtype, size = plan.items[use.item].tensor.dtype, use.stop - use.start
        if plan.shares[use.item] > 1 or size > FEW * DTYPES[dtype].itemsize:
            alone.append(use)
            continue
        held, group = groups.get(dtype, (0, []))
        if held + size > MOST * DTYPES[dtype].itemsize:
            done.append((dtype, group))
            held, group = 0, []
        group.append(use)
        groups[dtype] = held + size, group
    for dtype, (_, group) in groups.items():
        done.append((dtype, group))
    alone += [group[0] for _, group in done if len(group) == 1]
    return alone, [(dtype, group) for dtype, group in done if len(group) > 1]


def profiles(dtype: str, kind: Kind, blocks: Sequence[Array], entries: int) -> Iterator[Profile]:
    """Yield the profile of each of some small tensors, in at most `entries` cells if the powers of two allow it.

    Args:
        dtype: of the tensors. kind: how it is counted. blocks: their elements as bytes, 1 to `FEW` of each.
    """
    values, sizes = _values(kind, blocks)
    others = [_NO_OTHERS] * sizes.size
    if values.dtype.kind == "f":
        values, sizes, others = _finite(values, sizes)
    has = sizes > 0
    found = iter(_profiles(dtype, _sorted(values, sizes[has]), entries)) if has.any() else iter(())
    for some, other in zip(has.tolist(), others, strict=True):
        if not some:
            yield Profile(dtype, "", Census(0, *other), Moments().lean, None, NONE)
            continue
        profile = next(found)
        if other is not _NO_OTHERS:
            nan, posinf, neginf = other
            census = profile.census._replace(nan=nan, posinf=posinf, neginf=neginf)
            profile = replace(profile, census=census)
        yield profile


@_quiet
def _values(kind: Kind, blocks: Sequence[Array]) -> tuple[Array, Array]:
    """Return the values of all, and how many each has."""
    joined = np.concatenate(blocks).view(kind.dtype)
    sizes = np.array([block.size for block in blocks], np.int64) // kind.dtype.itemsize
    if not isinstance(kind.store, PatternStore):
        return joined, sizes
    meant = kind.store.meant(joined)
    sizes *= meant.size // joined.size
    return (meant.astype(np.float32) if meant.dtype.kind == "f" else meant), sizes  # that is exact, and less to sort


@_quiet
def _finite(values: Array, sizes: Array) -> tuple[Array, Array, list[tuple[int, int, int]]]:
    """Return the finite values, how many each tensor has of them, and its NaN, +Inf and -Inf."""
    good = np.isfinite(values)
    if good.all():
        return values, sizes, [_NO_OTHERS] * sizes.size
    starts = np.cumsum(sizes) - sizes
    marks = np.isnan(values), values == np.inf, values == -np.inf
    nan, posinf, neginf = (np.add.reduceat(mark, starts, dtype=np.int64) for mark in marks)
    others = list(zip(nan.tolist(), posinf.tolist(), neginf.tolist(), strict=True))
    return values[good], sizes - nan - posinf - neginf, others


def _sorted(values: Array, sizes: Array) -> _Segments:
    ends = np.cumsum(sizes)
    starts = ends - sizes
    if (sizes == sizes[0]).all():
        values.reshape(sizes.size, -1).sort(axis=1)
    else:
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            values[start:end].sort()
    return _Segments(values, starts, sizes)


def _profiles(dtype: str, segments: _Segments, entries: int) -> Iterator[Profile]:
    values, starts, sizes = segments
    ranks = starts[:, None] + (_PERCENT * sizes[:, None] + 99) // 100 - 1
    zero = values.dtype.type(0)  # added, so that no zero is negative
    columns = (
        sizes.tolist(),
        segments.sums(values == 0),
        (values[starts] + zero).tolist(),
        (values[starts + sizes - 1] + zero).tolist(),
        (values[ranks] + zero).tolist(),
        _moments(segments),
        _cells(segments, entries),
    )
    for size, zeros, low, high, shares, moments, cells in zip(*columns, strict=True):
        census = Census(size, 0, 0, 0, zeros, low, high)
        yield Profile(dtype, "", census, moments.lean, dict(zip(SHARES, shares, strict=True)), cells)


# --- sums -------------------------------------------------------------------------------------------------------------


def _moments(segments: _Segments) -> Iterator[Moments]:
    return _moments_of_floats(segments) if segments.values.dtype.kind == "f" else _moments_of_integers(segments)


def _moments_of_integers(segments: _Segments) -> Iterator[Moments]:
    rest, limbs = segments.values, []
    for _ in range(rest.itemsize // 2 - 1):
        limbs.append((rest & rest.dtype.type(0xFFFF)).astype(np.int64))
        rest = rest >> rest.dtype.type(16)
    limbs.append(rest.astype(np.int64))  # the top limb carries the sign
    sums = [segments.sums(limb) for limb in limbs]
    products = [segments.sums(limbs[i] * limbs[j]) for i, j in limb_pairs(len(limbs))]
    rows = zip(segments.sizes.tolist(), zip(*sums, strict=True), zip(*products, strict=True), strict=True)
    return (moments_of_integer_limbs(size, list(sum_), list(product)) for size, sum_, product in rows)


def _moments_of_floats(segments: _Segments) -> Iterator[Moments]:
    """Return the moments: values of one sign and exponent follow on one another, their significands are integers."""
    bits = segments.reals.view(np.int64)
    rows = bits >> np.int64(52)
    firsts, begins = segments.firsts(rows)
    rows_there = rows[firsts]
    exponents = np.maximum(rows_there & _EXPONENT, 1) - 1
    significands = bits & _FRACTION
    significands[(rows & _EXPONENT) != 0] |= _HIDDEN
    total, squares = _sums(significands, firsts, narrow=segments.values.dtype != np.float64)
    WINDOW_FIRST.stand_back()
    nothing = (total == 0).astype(np.bool_)
    least = np.minimum.reduceat(np.where(nothing, _EXPONENT, exponents), begins)  # zeros would make shifts long
    stretches = np.diff(np.append(begins, firsts.size))
    shifts = np.maximum(exponents - np.repeat(least, stretches), 0).astype(object)
    signs = np.where(rows_there < 0, -1, 1).astype(object)
    totals = np.add.reduceat(signs * total << shifts, begins).tolist()
    both = np.add.reduceat(squares << 2 * shifts, begins).tolist()
    rows_of = zip(segments.sizes.tolist(), totals, both, least.tolist(), strict=True)
    return (Moments(size, first << low, second << 2 * low, UNIT) for size, first, second, low in rows_of)


def _sums(significands: Array, firsts: Array, *, narrow: bool) -> tuple[Array, Array]:
    """Return the sums of significands and of their squares from each of `firsts` to the next, as Python integers."""
    below = 53 - NARROW if narrow else 0
    mask = np.int64((1 << LIMB) - 1)
    limbs = [significands >> below] if narrow else [(significands >> (LIMB * k)) & mask for k in range(3)]
    total: Any = 0
    for k, limb in enumerate(limbs):
        WINDOW_FIRST.stand_back()
        total = total + (np.add.reduceat(limb, firsts).astype(object) << LIMB * k)
    squares: Any = 0
    for i, j in limb_pairs(len(limbs)):
        WINDOW_FIRST.stand_back()
        product = np.add.reduceat(limbs[i] * limbs[j], firsts).astype(object)
        squares = squares + (product << LIMB * (i + j) + (i != j))  # a product of two different limbs counts twice
    return total << below, squares << 2 * below


# --- pictures ---------------------------------------------------------------------------------------------------------


def _cells(segments: _Segments, entries: int) -> Iterator[Cells]:
    """Return what `Cells.within` makes of each tensor's values."""
    keys = keys_of(segments.reals, EXACT)
    firsts, begins = segments.firsts(keys)
    many = np.diff(np.append(begins, firsts.size)) > entries
    bits = np.full(segments.sizes.size, EXACT, np.int64)
    if many.any():
        bits[many] = np.maximum(0, FINE - _dropped(keys, segments, entries)[many])
        keys >>= np.repeat(EXACT - bits, segments.sizes)
        firsts, begins = segments.firsts(keys)
    counts, keys = np.diff(np.append(firsts, keys.size)), keys[firsts]
    ends = [*begins[1:].tolist(), firsts.size]
    for narrow, start, end in zip(bits.tolist(), begins.tolist(), ends, strict=True):
        yield Cells(narrow, keys[start:end], counts[start:end])


def _dropped(keys: Array, segments: _Segments, entries: int) -> Array:
    """Return how many bits less than `FINE` leave at most `entries` cells of each tensor that has more values."""
    fine = keys >> np.int64(EXACT - FINE)
    apart = np.zeros_like(fine)
    np.bitwise_xor(fine[1:], fine[:-1], out=apart[1:])
    apart[segments.starts] = 0
    lengths = np.maximum((apart.astype(np.float64).view(np.int64) >> np.int64(52)) - 1022, 0)
    lengths[apart < 0] = EXACT  # below and above zero: always apart
    lengths += np.repeat(np.arange(segments.sizes.size) * _LENGTHS, segments.sizes)
    found = np.bincount(lengths, minlength=segments.sizes.size * _LENGTHS).reshape(-1, _LENGTHS)
    at_least = found[:, ::-1].cumsum(1)[:, ::-1]
    dropped: Array = (at_least >= entries).sum(1) - 1
    return dropped
