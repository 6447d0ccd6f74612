"""Exact counts between any edges in one further pass, against numpy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tensors import made_from, made_tensor

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.stats.histogram import symlog_edges
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.recount import count_between, is_exact
from ckpt_viewer.stats.sampling import sample_of, sample_of_many
from ckpt_viewer.stats.sketch import SMALL
from ckpt_viewer.stats.summary import profile_tensor

SIZE = 3 * SMALL
RANDOM = np.random.default_rng(7)


def expected(values, edges):
    """Count finite values between edges as `numpy.histogram` defines it, integers without rounding them."""
    finite = values[np.isfinite(values)]
    if finite.dtype.kind in "iu":
        ordered = sorted(finite.tolist())
        places = [bisect_left(ordered, edge) for edge in edges.tolist()]
        places[-1] = bisect_right(ordered, edges[-1])
        return tuple(np.diff(places).tolist())
    ordered = np.sort(finite.astype(np.float64))
    places = np.searchsorted(ordered, edges)
    places[-1] = np.searchsorted(ordered, edges[-1], side="right")
    return tuple(np.diff(places).tolist())


ARRAYS = {
    "normal float32": RANDOM.normal(size=SIZE).astype("float32"),
    "normal float64": RANDOM.normal(size=SIZE),
    "wide float32": (RANDOM.normal(size=SIZE) * 10.0 ** RANDOM.integers(-40, 38, SIZE)).astype("float32"),
    "wide float64": RANDOM.normal(size=SIZE) * 10.0 ** RANDOM.integers(-307, 300, SIZE),
    "subnormal float32": (RANDOM.normal(size=SIZE) * 1e-42).astype("float32"),
    "subnormal float64": RANDOM.normal(size=SIZE) * 1e-310,
    "zeros of both signs": np.where(RANDOM.random(SIZE) < 0.5, -0.0, 0.0).astype("float32"),
    "not finite": np.where(RANDOM.random(SIZE) < 0.3, np.nan, np.where(RANDOM.random(SIZE) < 0.5, np.inf, 1.5)),
    "int64": RANDOM.integers(-(2**63), 2**63 - 1, SIZE),
    "int32": RANDOM.integers(-1000, 1000, SIZE).astype("int32"),
    "float16": RANDOM.normal(size=SIZE).astype("float16"),
    "uint8": RANDOM.integers(0, 255, SIZE).astype("uint8"),
    "bool": RANDOM.random(SIZE) < 0.25,
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("axis", ["linear", "symlog", "inside"])
def test_counts_equal_numpys(name, axis):
    values = ARRAYS[name]
    tensor = made_from(values)
    profile = profile_tensor(tensor)
    low, high = float(profile.census.low), float(profile.census.high)
    if axis == "symlog":
        edges = symlog_edges(low, high, 97, max(abs(low), abs(high), 1e-300) * 1e-6)
    elif axis == "linear":
        edges = np.linspace(low / 2, high / 2, 98) * 2
    else:
        edges = np.linspace(low / 8, high / 7, 98)
    found = count_between(tensor, profile, edges)
    assert found.counts == expected(values, edges)
    assert found.edges == tuple(edges.tolist())


def test_values_on_edges_are_in_the_bin_above_and_the_last_one_in_the_last_bin():
    values = np.tile(np.array([-1, -0.5, -0.0, 0.0, 0.25, 0.5, 1], "float32"), SMALL)
    tensor = made_from(values)
    edges = np.array([-1, -0.5, 0, 0.25, 0.5, 1])
    found = count_between(tensor, profile_tensor(tensor), edges)
    assert found.counts == tuple(SMALL * n for n in (1, 1, 2, 1, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=12, unique=True))
def test_any_edges_will_do(edges):
    values = np.tile(np.array([*edges, 0.0, 1.0], "float32"), SMALL)[: 2 * SMALL]
    tensor = made_from(values)
    at = np.unique(np.array(edges) + 0.0)
    if at.size > 1:
        assert count_between(tensor, profile_tensor(tensor), at).counts == expected(values, at)


def test_expanded_values_count_as_often_as_they_are_there():
    values = RANDOM.normal(size=SIZE).astype("float32")
    tensor = made_tensor(values.tobytes(), "float32", (5, SIZE), (0, 1))
    edges = np.linspace(-1, 1, 11)
    found = count_between(tensor, profile_tensor(tensor), edges)
    assert found.counts == tuple(5 * count for count in expected(values, edges))


def test_what_a_scan_kept_of_a_tensor_is_enough():
    for name in ("normal float32", "wide float64", "int64", "float16"):
        tensor = made_from(ARRAYS[name])
        profile = profile_tensor(tensor)
        kept = Profile(profile.dtype, "", profile.census, profile.moments, None, profile.cells.coarse(0))
        edges = np.linspace(float(profile.census.low) / 3, float(profile.census.high) / 2, 40)
        assert count_between(tensor, kept, edges).counts == expected(ARRAYS[name], edges)


def test_it_is_told_which_pictures_are_exact_at_once():
    assert is_exact(profile_tensor(made_from(ARRAYS["float16"])))
    assert is_exact(profile_tensor(made_from(ARRAYS["normal float32"][:100])))
    assert is_exact(profile_tensor(made_from(np.zeros(0, "float32"))))
    assert not is_exact(profile_tensor(made_from(ARRAYS["normal float32"])))
    assert not is_exact(profile_tensor(made_from(ARRAYS["int64"][:100])))


def test_a_sample_of_many_tensors_takes_from_each_in_proportion_to_its_size():
    large = made_from(np.full(900_000, 1.0, "float32"))
    small = made_from(np.full(100_000, 2.0, "float32"))
    half = made_from(np.full(1_000_000, 3.0, "float16"))
    profile = sample_of_many([large, small, half], SILENT)
    shares = profile.cells.counts / profile.numel
    assert shares.tolist() == pytest.approx([0.45, 0.05, 0.5], abs=0.03)
    assert profile.numel < 100_000
    assert sample_of_many([], SILENT) is None


def test_what_has_no_values_is_left_out_of_a_sample():
    short = made_tensor(bytes(4), "float32", (10,))
    profile = sample_of_many([short, made_from(np.ones(10, "float32"))], SILENT)
    assert (profile.census.low, profile.census.high) == (1, 1)
    assert sample_of_many([short], SILENT) is None


def test_of_a_small_tensor_the_sample_is_everything():
    assert not sample_of(made_from(np.arange(10.0))).partial
    assert sample_of(made_from(np.zeros(1_000_000, "float32"))).partial
