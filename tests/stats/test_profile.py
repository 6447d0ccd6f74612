"""Profiles: pictures at any zoom, sums of several tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_tensors import made_from

from ckpt_viewer.stats.histogram import symlog_edges
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.scan import Scan

RNG = np.random.default_rng(9)


def profile_of(array, **more):
    tensor = made_from(array, **more)
    scan = Scan([tensor], cached=False)
    scan.run()
    found = scan.outcome(tensor)
    assert isinstance(found, Profile)
    return found


ARRAYS = {
    "float32": RNG.normal(size=50_000).astype(np.float32),
    "few": RNG.normal(size=100),
    "wide": RNG.normal(3, 2, 30_000),
    "whole": RNG.integers(-50, 5000, 40_000),
    "half": RNG.normal(size=20_000).astype(np.float16),
    "bad": np.array([math.nan, math.inf, 1.0, -math.inf], np.float32),
    "empty": np.empty(0, np.float32),
}


def test_sums_are_those_of_all_values_in_any_order():
    parts = [profile_of(array) for array in ARRAYS.values()]
    values = np.concatenate([array.astype(np.float64) for array in ARRAYS.values()])
    finite = values[np.isfinite(values)]
    together = [parts[0], parts[-1]]
    for part in parts[1:]:
        together[0] = together[0].plus(part)
    for part in reversed(parts[:-1]):
        together[1] = together[1].plus(part)
    for whole in together:
        assert whole.numel == values.size
        assert (whole.census.low, whole.census.high) == (finite.min(), finite.max())
        assert whole.mean == pytest.approx(math.fsum(finite.tolist()) / finite.size, rel=1e-14)
        assert whole.std == pytest.approx(finite.std(), rel=1e-12)
        assert whole.cells.size == finite.size
        assert (whole.dtype, whole.census.zeros) == ("", np.count_nonzero(finite == 0))
    assert together[0].quantiles == together[1].quantiles
    assert together[0].moments == together[1].moments


@pytest.mark.parametrize("name", ["float32", "wide", "whole", "few", "half"])
@pytest.mark.parametrize("linear", [None, 0.01], ids=["linear", "symlog"])
def test_pictures_count_exactly_between_their_edges(name, linear):
    values = ARRAYS[name].astype(np.float64)
    profile = profile_of(ARRAYS[name])
    assert profile.snapped == (name != "few")
    for low, high in ((None, None), (-0.5, 0.75), (0.1, 0.2)):
        edges, counts = profile.picture(40, low, high, linear)
        assert 1 <= len(counts) <= 41
        assert list(edges) == sorted(set(edges))
        apart = np.setdiff1d(values, edges)  # which side of an edge a value on it is on depends on its sign
        theirs = np.histogram(apart, np.array(edges))[0]
        assert np.abs(theirs - np.array(counts)).sum() <= 2 * (values.size - apart.size)
        if low is None:
            assert sum(counts) == values.size
            assert (edges[0], edges[-1]) == (values.min(), values.max())


def test_pictures_of_little():
    assert profile_of(ARRAYS["empty"]).picture(10) is None
    one = profile_of(np.full(7, 2.5, np.float32)).picture(4)
    assert sum(one.counts) == 7
    same = profile_of(np.full(70_000, 2.5, np.float32)).picture(4)
    assert sum(same.counts) == 70_000


def test_symlog_edges_are_equally_far_apart_on_their_axis():
    edges = symlog_edges(-10.0, 1000.0, 8, 0.1)
    places = np.sign(edges) * np.log1p(np.abs(edges) / 0.1)
    assert np.diff(places) == pytest.approx(np.full(8, (places[-1] - places[0]) / 8))
    assert (edges[0], edges[-1]) == (-10, 1000)
    assert symlog_edges(2.0, 2.0, 3, 0.1)[0] == 1.5
