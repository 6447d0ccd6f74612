"""Cells: exact counts between their edges, at any width, added in any order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckpt_viewer.stats.cells import EXACT, FINE, NONE, Cells, edge_values, keys_of

RNG = np.random.default_rng(5)
FINITE = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(allow_nan=False, allow_infinity=False))
WIDTHS = st.sampled_from([0, 3, FINE, 20, EXACT])


@settings(max_examples=150, deadline=None)
@given(FINITE, WIDTHS)
def test_keys_ascend_with_the_values_and_bounds_hold_them(values, bits):
    keys = keys_of(np.sort(values), bits)
    assert (keys[1:] >= keys[:-1]).all()  # differences may overflow
    cells = Cells.of(values, bits=bits)
    assert (cells.keys[1:] > cells.keys[:-1]).all()
    assert cells.size == values.size
    for value in values.tolist():
        low, high = cells.bounds(int(keys_of(np.array([value]), bits)[0]))
        assert low <= value <= high
        if abs(value) >= 2.0**-1022 and abs(high) < 1e308 and bits == FINE:
            assert high - low <= abs(value) / 128


@settings(max_examples=150, deadline=None)
@given(FINITE, FINITE, WIDTHS, WIDTHS)
def test_coarser_cells_and_sums_are_what_the_values_give(values, others, bits, other_bits):
    cells = Cells.of(values, bits=bits)
    for fewer in range(0, bits, 7):
        same(cells.coarse(fewer), Cells.of(values, bits=fewer))
    both = Cells.of(np.concatenate((values, others)), bits=min(bits, other_bits))
    same(cells.plus(Cells.of(others, bits=other_bits)), both)
    same(Cells.of(others, bits=other_bits).plus(cells), both)
    same(cells.plus(NONE), cells)


def same(one, other):
    assert one.bits == other.bits
    assert one.keys.tolist() == other.keys.tolist()
    assert one.counts.tolist() == other.counts.tolist()


@settings(max_examples=150, deadline=None)
@given(FINITE, st.sampled_from([3, FINE]), st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=9, unique=True))
def test_counts_between_edges_are_exact(values, bits, wanted):
    cells = Cells.of(values, bits=bits)
    edges, counts = cells.between(np.sort(np.array(wanted)))
    assert (edges[1:] > edges[:-1]).all()
    assert edges[0] <= min(wanted)
    assert edges[-1] >= max(wanted)
    keys = np.sort(keys_of(values, bits))
    expected = np.diff(np.searchsorted(keys, keys_of_edges(edges, bits)))
    assert counts.tolist() == expected.tolist()
    inside = values[(values >= edges[0]) & (values <= edges[-1])]
    on_an_edge = np.isin(inside, edges).sum()
    assert abs(int(counts.sum()) - inside.size) <= on_an_edge


def keys_of_edges(edges, bits):
    """The least key above each edge."""
    keys = keys_of(edges, bits)
    return np.where(edges < 0, keys + 1, keys)


def test_edges_stay_near_to_what_was_asked_for():
    values = RNG.normal(size=100_000)
    cells = Cells.of(values, bits=FINE)
    wanted = np.linspace(-1, 1, 33)
    edges, counts = cells.between(wanted)
    assert edges.size == 33
    assert (np.abs(edges - wanted) <= np.abs(wanted) / 128).all()
    assert counts.tolist() == np.histogram(values, edges)[0].tolist()


def test_limits():
    values = RNG.normal(size=50_000)
    cells = Cells.of(values)
    for entries in (4096, 500, 64):
        few = cells.within(entries)
        assert few.keys.size <= entries
        assert few.size == values.size
    assert cells.within(10**6) is cells
    assert Cells.of(np.array([1e-300, 1.0, 1e300, -5.0])).within(2).bits == 0
    same(Cells.of(np.array([2.0, 2.0])).times(3), Cells.of(np.full(6, 2.0)))
    assert cells.times(1 << 50).size == cells.size


def test_both_zeros_are_one_and_the_greatest_number_has_an_edge():
    assert Cells.of(np.array([0.0, -0.0])).keys.tolist() == [0]
    most = math.nextafter(math.inf, 0)
    for bits in (FINE, EXACT):
        key = keys_of(np.array([most]), bits)
        assert edge_values(key + 1, bits).tolist() == [most]
    assert Cells.of(np.array([-1.5, 0.0, 1.5])).values.tolist() == [-1.5, 0.0, 1.5]


@pytest.mark.parametrize("value", [0.0, 3.0, -2.5, 1e-310])
def test_one_edge_becomes_a_bin(value):
    edges, counts = Cells.of(np.full(9, value), bits=FINE).between(np.array([value, value]))
    assert counts.sum() == 9
    assert edges[0] <= value <= edges[-1]
