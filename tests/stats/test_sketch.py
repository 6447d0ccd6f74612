"""Sketches: exact sums, merging in any order, bins counted exactly."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckpt_viewer.stats import kernels, sketch
from ckpt_viewer.stats.histogram import BinCounter, equal_edges
from ckpt_viewer.stats.moments import UNIT, Moments, moments_of_floats, moments_of_integers, moments_of_table
from ckpt_viewer.stats.sketch import Sketch
from ckpt_viewer.stats.stores import Float32Store, Float64Store, IntegerStore, PatternStore
from ckpt_viewer.stats.table32 import Table32
from ckpt_viewer.stats.tally import quantiles

pytestmark = pytest.mark.usefixtures("each_way")
RNG = np.random.default_rng(21)


def exact(values, bits):
    """Count, sum and sum of squares in units of 2**-bits, by fractions."""
    numbers = [Fraction(value) * (1 << bits) for value in values]
    return Moments(len(numbers), int(sum(numbers)), int(sum(number * number for number in numbers)), bits)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_sums_of_floats_are_exact(values):
    assert moments_of_floats(values) == exact(values.tolist(), UNIT)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]).flatmap(
        lambda dtype: hnp.arrays(dtype, st.integers(0, 30))
    )
)
def test_sums_of_integers_are_exact(values):
    assert moments_of_integers(values) == exact(values.tolist(), 0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 1 << 30)), max_size=9)
)
def test_sums_of_a_table_are_exact(rows):
    values, counts = np.array([v for v, _ in rows]), np.array([n for _, n in rows], np.int64)
    total = sum(Fraction(v) * n for v, n in rows) * (1 << UNIT)
    squares = sum(Fraction(v) ** 2 * n for v, n in rows) * (1 << 2 * UNIT)
    assert moments_of_table(values, counts) == Moments(sum(n for _, n in rows), int(total), int(squares))


def test_blocks_at_the_limit_of_exactness():
    """The largest significands, in the largest blocks that are summed at once."""
    most = np.full(3 * (1 << 17) + 5, math.nextafter(2.0, 0.0))
    got = moments_of_floats(most)
    one = int(Fraction(math.nextafter(2.0, 0.0)) * (1 << UNIT))
    assert got == Moments(most.size, one * most.size, one * one * most.size)
    big = np.full(2 * (1 << 17) + 1, np.iinfo(np.int64).min)
    assert moments_of_integers(big) == Moments(big.size, -(1 << 63) * big.size, (1 << 126) * big.size, 0)
    counters, block = np.zeros(kernels.FLOAT32_COUNTERS, np.uint64), np.full(kernels.BLOCK, np.float32(1.9999999))
    kernels.current().float32(block, counters)
    number = int(block.view(np.uint32)[0])
    table = Table32.of(counters)
    assert [column.tolist() for column in table[:3]] == [[number >> 16], [block.size], [0xFFFF * block.size]]
    one = int(Fraction(float(block[0])) * (1 << UNIT))
    assert table.moments == Moments(block.size, one * block.size, one * one * block.size)


def test_as_many_values_as_counters_take():
    """All of the largest bits; in the last cell, where they need most room, those of NaN are left out."""
    counters = np.zeros(kernels.FLOAT32_COUNTERS, np.uint64)
    block = np.full(kernels.BLOCK, np.float32(-3.4028235e38))
    size = 0
    while size < kernels.FLOAT32_LIMIT:
        part = block[: kernels.FLOAT32_LIMIT - size]
        kernels.current().float32(part, counters)
        size += part.size
    table = Table32.of(counters)
    assert [column.tolist() for column in table[:3]] == [[0xFF7F], [size], [0xFFFF * size]]
    one = int(Fraction(float(block[0])) * (1 << UNIT))
    assert table.moments == Moments(size, one * size, one * one * size)


def test_counters_are_emptied_before_they_overflow(monkeypatch):
    monkeypatch.setattr(kernels, "FLOAT32_LIMIT", 1000)
    values = mixed_float32(5000)
    often = Sketch(Float32Store())
    for start in range(0, 5000, 700):
        often.add(values[start : start + 700])
    monkeypatch.undo()
    once = Sketch(Float32Store())
    once.add(values)
    assert answer(often) == answer(once)


def patterns():
    return PatternStore(np.arange(65536).astype(np.uint16).view(np.float16).astype(np.float64), 65536)


def mixed_float32(size):
    values = RNG.normal(1e6, 1, size).astype(np.float32)
    values[:: size // 9 + 1] = [math.nan, math.inf, -math.inf, 0, -0.0, 1e-40, -3e38, 5, -7e-8][
        : len(values[:: size // 9 + 1])
    ]
    return values


KINDS = {
    "float32": (Float32Store, mixed_float32),
    "float64": (Float64Store, lambda size: mixed_float32(size).astype(np.float64) * 1.1),
    "integers": (IntegerStore, lambda size: RNG.integers(-(1 << 62), 1 << 62, size)),
    "float16": (patterns, lambda size: RNG.integers(0, 65536, size).astype(np.uint16)),
}


def answer(of):
    """Everything that a sketch says."""
    counted = of.counted()
    census, moments = counted.census, counted.moments
    shares = quantiles(counted.ranked, census.finite, 1, census.low, census.high)
    return census, moments, shares, moments.mean, moments.std


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1000, 100_000])
def test_cutting_and_merging_in_any_order_changes_nothing(kind, size):
    store, make = KINDS[kind]
    values = make(size)
    whole = Sketch(store())
    whole.add(values)
    expected = answer(whole)
    for attempt in range(4):
        cuts = np.sort(RNG.integers(0, size, 5))
        parts = []
        for piece in np.split(RNG.permutation(values), cuts):
            parts.append(Sketch(store()))
            for start in range(0, piece.size, 7001 + attempt):
                parts[-1].add(piece[start : start + 7001 + attempt])
        while len(parts) > 1:
            first, second = parts.pop(RNG.integers(len(parts))), parts.pop(RNG.integers(len(parts)))
            second.merge(first)
            parts.append(second)
        assert answer(parts[0]) == expected


def test_a_merged_sketch_is_left_as_it_was():
    one, other = Sketch(Float32Store()), Sketch(Float32Store())
    one.add(np.ones(70_000, np.float32))
    other.add(np.full(80_000, 2, np.float32))
    before = answer(other)
    one.merge(other)
    assert answer(other) == before
    assert one.counted().census.finite == 150_000


def test_a_block_may_be_reused():
    block, of = np.ones(10, np.float32), Sketch(Float32Store())
    of.add(block)
    block[:] = 7
    of.add(block)
    assert of.counted().moments.mean == 4.0


def test_small_and_large_sketches_agree(monkeypatch):
    values = mixed_float32(5000)
    kept = Sketch(Float32Store())
    kept.add(values)
    monkeypatch.setattr(sketch, "SMALL", 10)
    cells = Sketch(Float32Store())
    cells.add(values)
    assert answer(kept)[:2] == answer(cells)[:2]
    for share, value in answer(kept)[2].items():
        assert answer(cells)[2][share] == pytest.approx(value, rel=1 / 128)


def counted_in_bins(values, bins):
    low, high = values.min().item(), values.max().item()
    edges = equal_edges(low, high, bins)
    counter = BinCounter(low, high, edges, values.dtype)
    counter.add(values)
    return counter, edges


@pytest.mark.parametrize("bins", [1, 2, 10, 256, 4096])
@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=20_000).astype(np.float32),
        RNG.normal(size=20_000),
        np.linspace(0, 1, 1001),
        np.linspace(0, 1, 1001).astype(np.float32),
        (RNG.integers(0, 11, 5000) / 10).astype(np.float64),
        RNG.integers(0, 257, 5000).astype(np.float32),
        np.array([1.0, math.nextafter(1.0, 2), 1 + 2**-50]),
        np.array([0.0, 5e-324, 1e-320]),
        np.array([-1.7e308, 1.7e308, 0.0, 1.0]),
        np.array([1e6, 1e6 + 0.0625, 1e6 + 0.125], np.float32),
    ],
    ids=lambda values: f"{values.dtype}-{values[0]:.3g}-{values[-1]:.3g}",
)
def test_every_value_is_in_the_bin_whose_edges_hold_it(values, bins):
    counter, edges = counted_in_bins(values, bins)
    expected = np.bincount(np.searchsorted(edges[1:-1], values.astype(np.float64), side="right"), minlength=bins)
    assert counter.counts.tolist() == expected.tolist()


def test_integers_lie_between_exact_fractions():
    values = np.array([(1 << 63) - 1, (1 << 63) - 2, (1 << 63) - 9, (1 << 63) - 10], np.int64)
    counter, edges = counted_in_bins(values, 3)
    assert counter.counts.tolist() == [2, 0, 2]
    assert len(set(edges.tolist())) == 1  # a float64 cannot tell them apart
    many = RNG.integers(-1000, 1000, 10_000).astype(np.int32)
    counter, edges = counted_in_bins(many, 77)
    low, high = int(many.min()), int(many.max())
    expected = np.zeros(77, int)
    for value in many.tolist():
        expected[min(76, (value - low) * 77 // (high - low))] += 1
    assert counter.counts.tolist() == expected.tolist()


def test_each_way_of_counting_is_used():
    trust = [
        counted_in_bins(values, 10)[0]._bins.trust
        for values in (np.arange(81, dtype=np.float32), np.linspace(0, 1, 11), np.array([-1.7e308, 1.7e308]))
    ]
    assert trust == [2, 1, 0]
