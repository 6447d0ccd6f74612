"""Numbers of each channel, against numpy in float64 and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tensors import made_from, made_tensor

from ckpt_viewer.core.tensor import Quantization
from ckpt_viewer.errors import Cancelled, CheckpointError
from ckpt_viewer.stats import channels as channels_module
from ckpt_viewer.stats.channels import count_channels


def check(found, array, axis):
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype("float64")
    assert found.each == rows.shape[1]
    for at, row in enumerate(rows):
        finite = row[np.isfinite(row)]
        assert found.finite[at] == finite.size
        if not finite.size:
            assert np.isnan([found.mean[at], found.std[at], found.low[at], found.high[at]]).all()
            continue
        assert (found.low[at], found.high[at]) == (finite.min(), finite.max())
        assert found.peak[at] == np.abs(finite).max()
        assert found.mean[at] == pytest.approx(finite.mean(), rel=1e-11, abs=1e-12)
        assert found.std[at] == pytest.approx(finite.std(), rel=1e-9, abs=1e-9)
        assert found.norm[at] == pytest.approx(np.linalg.norm(finite), rel=1e-11)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 2**32 - 1),
    special=st.sampled_from([0.0, 0.2, 1.0]),
    block=st.sampled_from([4, 40, 1 << 20]),
)
def test_every_dimension_of_every_layout(shape, order, seed, special, block):
    rng = np.random.default_rng(seed)
    array = (rng.normal(size=shape) + 3).astype("float32")
    array = np.where(rng.random(shape) < special / 2, np.float32("nan"), array)
    array = np.where(rng.random(shape) < special / 2, np.float32("inf"), array).astype("float32")
    dims = list(range(len(shape)))
    order.shuffle(dims)
    tensor, turned = made_from(array), array.transpose(dims)
    tensor = tensor.with_(shape=turned.shape, stride=tuple(tensor.stride[dim] for dim in dims))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channels_module, "BLOCK_BYTES", block)
        for axis in range(len(shape)):
            check(count_channels(tensor, axis), turned, axis)


def test_a_small_spread_around_a_large_mean_is_right():
    array = np.random.default_rng(0).normal(1e6, 1, size=(3, 5000)).astype("float32")
    found = count_channels(made_from(array), 0)
    for at, row in enumerate(array.tolist()):
        values = [Fraction(value) for value in row]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert found.mean[at] == pytest.approx(float(mean), rel=1e-14)
        assert found.std[at] ** 2 == pytest.approx(float(variance), rel=1e-11)


def test_dead_channels_are_told_apart():
    array = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    array[1], array[3], array[4, 2] = 0, 0.1, np.nan
    found = count_channels(made_from(array), 0)
    assert found.zero.tolist() == [1]
    assert found.constant.tolist() == [3]
    assert found.special.tolist() == [4]
    assert found.std[3] == 0
    single = count_channels(made_from(np.array([0.0, 1.0])), 0)
    assert (single.zero.tolist(), single.constant.tolist()) == ([0], [])


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([[1, 2], [3, 5]]), "int64"),
        (np.array([[True, False], [True, True]]), "bool"),
        (np.array([[1.5, 2], [3, 5]], ml_dtypes.bfloat16), "bfloat16"),
        (np.array([[1.5, 2], [3, 5]], ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_kinds_of_numbers(array, dtype, axis):
    check(count_channels(made_from(array, dtype), axis), array.astype("float64"), axis)


def test_complex_quantised_packed_and_expanded_ones():
    array = np.array([[3 + 4j, 1j], [0, 0]])
    check(count_channels(made_from(array), 0), np.abs(array), 0)
    quantisation = Quantization("per_tensor_affine", 0.5, 3)
    tensor = made_tensor(b"\x00\x05\x03\x03", "quint8", (2, 2), quantization=quantisation)
    assert count_channels(tensor, 0).zero.tolist() == [1]
    packed = made_tensor(b"\x21\x4f", "quint4x2", (2, 2), quantization=Quantization("per_tensor_affine", 1.0, 0))
    for axis in (0, 1):
        check(count_channels(packed, axis), np.array([[1.0, 2], [15, 4]]), axis)
    expanded = made_from(np.array([1.0, 7.0])).with_(shape=(3, 2), stride=(0, 1))
    check(count_channels(expanded, 0), np.array([[1.0, 7.0]] * 3), 0)


def test_an_empty_tensor_has_empty_channels():
    found = count_channels(made_from(np.zeros((2, 0), "float32")), 0)
    assert found.finite.tolist() == [0, 0]
    assert np.isnan(found.mean).all()
    assert found.zero.tolist() == []


def test_too_many_channels_are_refused_and_work_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(channels_module, "MOST_CHANNELS", 3)
    with pytest.raises(CheckpointError, match="has 4 channels, too many"):
        count_channels(made_from(np.zeros((4, 2))), 0)

    class Stop:
        def step(self, done, total):
            raise Cancelled

    with pytest.raises(Cancelled):
        count_channels(made_from(np.zeros((4, 2))), 1, Stop())
