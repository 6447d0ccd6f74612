"""Singular values against numpy's on the whole matrix."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tensors import CountingSource, made_from, made_tensor

from ckpt_viewer.errors import Cancelled, CheckpointError
from ckpt_viewer.stats import spectrum as spectrum_module
from ckpt_viewer.stats import spectrum_plan
from ckpt_viewer.stats.spectrum import Spectrum, singular_values
from ckpt_viewer.stats.spectrum_plan import SpectrumPlan, plan_spectrum

RNG = np.random.default_rng(0)


def reference(array):
    wide = array.astype("complex128" if array.dtype.kind == "c" else "float64")
    return np.linalg.svd(wide.reshape(array.shape[0], -1), compute_uv=False)


@pytest.mark.parametrize(
    "array",
    [
        RNG.normal(size=(30, 20)).astype("float32"),
        RNG.normal(size=(20, 300)),
        RNG.normal(size=(8, 4, 3, 3)).astype("float32"),
        RNG.normal(size=(50, 2, 3)).astype("float16"),
        RNG.normal(size=(12, 9)).astype(ml_dtypes.bfloat16),
        (RNG.normal(size=(9, 14)) + 1j * RNG.normal(size=(9, 14))).astype("complex64"),
        np.outer(np.arange(1, 9.0), np.arange(1, 6.0)),
        np.zeros((4, 5), "float32"),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
@pytest.mark.parametrize("small", [True, False])
def test_all_values_are_numpys(monkeypatch, array, small):
    if not small:
        monkeypatch.setattr(spectrum_module, "WHOLE", 0)
        monkeypatch.setattr(spectrum_module, "ELEMENTS", 16)
    found = singular_values(made_from(array, array.dtype.name))
    expected = reference(array)
    assert found.plan.exact
    assert found.values == pytest.approx(expected, rel=1e-10, abs=1e-12 * expected[0])
    assert found.energy == pytest.approx(float((expected**2).sum()), rel=1e-12)
    assert found.error == 0


def test_ranks_of_what_one_knows():
    found = singular_values(made_from(np.eye(10, dtype="float32")))
    assert found.stable_rank == pytest.approx(10)
    assert found.effective_rank == pytest.approx((10, 10))
    assert found.rank == 10
    assert [found.directions(share) for share in (0.5, 0.9, 1.0)] == [5, 9, 10]
    one = singular_values(made_from(np.outer(np.arange(1, 9), np.ones(5)).astype("float32")))
    assert (one.rank, one.directions(0.99)) == (1, 1)
    assert one.stable_rank == pytest.approx(1)
    assert one.effective_rank == pytest.approx((1, 1), abs=1e-5)
    zero = singular_values(made_from(np.zeros((3, 3))))
    assert (zero.stable_rank, zero.effective_rank, zero.rank, zero.directions(0.5)) == (None, None, 0, None)


def entropy_rank(values):
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=40), st.data())
def test_the_effective_rank_is_between_its_bounds(values, data):
    true = np.sort(np.array(values))[::-1]
    known = data.draw(st.integers(1, true.size))
    plan = SpectrumPlan(true.size, true.size + 3, known, False, False)
    low, high = Spectrum(plan, true[:known], float((true**2).sum()), 0.0, 1e-16).effective_rank
    assert low * (1 - 1e-6) <= entropy_rank(true) <= high * (1 + 1e-6)
    if known == true.size:
        assert low == pytest.approx(high)


@pytest.mark.parametrize("shape", [(300, 200), (200, 310), (150, 20, 10)])
def test_the_largest_values_of_a_large_matrix_and_their_error(monkeypatch, shape):
    monkeypatch.setattr(spectrum_plan, "EXACT", 100)
    monkeypatch.setattr(spectrum_plan, "RANK", 12)
    monkeypatch.setattr(spectrum_module, "ELEMENTS", 5000)
    rows, columns = shape[0], int(np.prod(shape[1:]))
    left = np.linalg.qr(RNG.normal(size=(rows, 60)))[0]
    right = np.linalg.qr(RNG.normal(size=(columns, 60)))[0]
    true = 10 * 0.8 ** np.arange(60)
    array = ((left * true) @ right.T).reshape(shape).astype("float32")
    found = singular_values(made_from(array))
    assert not found.plan.exact
    assert found.plan.rank == found.values.size == 12
    assert found.values == pytest.approx(true[:12], rel=1e-4)
    assert found.error == pytest.approx(np.sqrt((true[12:] ** 2).sum() / (true**2).sum()), rel=1e-3)
    assert found.rank is None
    low, high = found.effective_rank
    assert low < entropy_rank(true) < high < 40
    assert found.stable_rank == pytest.approx((true**2).sum() / 100, rel=1e-5)


def test_a_large_matrix_of_low_rank_or_of_zeros(monkeypatch):
    monkeypatch.setattr(spectrum_plan, "EXACT", 10)
    monkeypatch.setattr(spectrum_plan, "RANK", 8)
    found = singular_values(made_from(np.outer(np.arange(1, 41.0), np.ones(30))))
    assert found.values[0] == pytest.approx(found.energy**0.5)
    assert found.values[1:] == pytest.approx(np.zeros(7), abs=1e-9 * found.values[0])
    assert found.error < 1e-7
    zero = singular_values(made_from(np.zeros((40, 30))))
    assert zero.values.tolist() == [0.0] * 8
    assert (zero.energy, zero.error, zero.stable_rank) == (0.0, 0.0, None)


def test_memory_is_bounded_by_the_smaller_dimension():
    source = CountingSource(RNG.normal(size=600_000 * 8).astype("float32").tobytes())
    tensor = made_tensor(b"", "float32", (600_000, 8), source=source)
    found = singular_values(tensor)
    assert found.values.size == 8
    assert source.largest <= 4 * spectrum_module.ELEMENTS


def test_what_has_no_spectrum_says_why():
    array = np.ones((4, 4), "float32")
    array[2, 2] = np.nan
    with pytest.raises(CheckpointError, match="NaN or infinities"):
        singular_values(made_from(array))
    with pytest.raises(CheckpointError, match="too large"):
        singular_values(made_from(np.full((3, 3), 1e200)))
    for shape in ((), (5,), (1, 9), (9, 1), (0, 4)):
        assert plan_spectrum(made_from(np.zeros(shape))) is None
        with pytest.raises(CheckpointError, match="only matrices"):
            singular_values(made_from(np.zeros(shape)))


def test_computing_can_be_cancelled():
    class Stop:
        def step(self, done, total):
            raise Cancelled

    with pytest.raises(Cancelled):
        singular_values(made_from(np.eye(5)), Stop())
