"""Where the first NaN, the first infinity and the extremes are, against numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tensors import CountingSource, made_from, made_tensor

from ckpt_viewer.core.tensor import Quantization
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.stats import seek as seek_module
from ckpt_viewer.stats.seek import GOALS, seek


def expected(array, goal):
    array = np.asarray(array)
    if goal in ("NaN", "Inf"):
        mask = np.isnan(array) if goal == "NaN" else np.isinf(array)
        return tuple(np.argwhere(mask)[0].tolist()) if mask.any() else None
    finite = np.isfinite(array)
    if not finite.any():
        return None
    best = array[finite].max() if goal == "max" else array[finite].min()
    return tuple(np.argwhere((array == best) & finite)[0].tolist())


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=0, max_size=5).map(tuple),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 2**32 - 1),
    special=st.sampled_from([0.0, 0.1, 1.0]),
    block=st.sampled_from([4, 32, 1 << 22]),
)
def test_the_first_in_row_major_order_is_found_in_any_layout(shape, order, seed, special, block):
    rng = np.random.default_rng(seed)
    array = rng.integers(-3, 3, size=shape).astype("float32")
    array = np.where(rng.random(shape) < special / 2, np.float32("nan"), array)
    array = np.where(rng.random(shape) < special / 2, np.float32("-inf"), array).astype("float32")
    dims = list(range(len(shape)))
    order.shuffle(dims)
    turned = array.transpose(dims)
    tensor = made_from(array).with_(shape=turned.shape, stride=tuple(made_from(array).stride[dim] for dim in dims))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seek_module, "BLOCK_BYTES", block)
        for goal in GOALS:
            assert seek(tensor, goal) == expected(turned, goal)


@pytest.mark.parametrize(
    ("array", "dtype", "goal", "place"),
    [
        (np.array([2**62, -(2**63), 2**63 - 1]), "int64", "max", (2,)),
        (np.array([2**62, -(2**63), 2**63 - 1]), "int64", "min", (1,)),
        (np.array([0, 2**64 - 1], "uint64"), "uint64", "max", (1,)),
        (np.array([False, True, True]), "bool", "max", (1,)),
        (np.array([1j, -3, 2]), "complex128", "max", (1,)),
        (np.array([1, complex(0, np.nan)]), "complex128", "NaN", (1,)),
        (np.array([1, -2, np.nan], ml_dtypes.bfloat16), "bfloat16", "NaN", (2,)),
        (np.array([1, -2, np.nan], ml_dtypes.float8_e5m2), "float8_e5m2", "min", (1,)),
        (np.array([np.nan, np.inf]), "float64", "max", None),
        (np.array([1, 2]), "int64", "NaN", None),
    ],
)
def test_every_kind_of_number(array, dtype, goal, place):
    assert seek(made_from(array, dtype), goal) == place


def test_quantised_packed_and_expanded_ones():
    tensor = made_tensor(b"\x00\x09\x05", "quint8", (3,), quantization=Quantization("per_tensor_affine", -0.5, 3))
    assert seek(tensor, "max") == (0,)
    packed = made_tensor(b"\x21\x4f", "quint4x2", (1, 4), quantization=Quantization("per_tensor_affine", 1.0, 0))
    assert seek(packed, "max") == (0, 2)
    expanded = made_from(np.array([1.0, 7.0], "float32")).with_(shape=(1000, 2), stride=(0, 1))
    assert seek(expanded, "max") == (0, 1)
    assert seek(made_from(np.zeros((0, 3))), "max") is None


def test_nothing_is_read_behind_the_first_hit():
    data = np.zeros(64 << 20, "uint8").tobytes()
    source = CountingSource(b"\x00\x00\xc0\x7f" + data[4:])
    tensor = made_tensor(b"", "float32", (16 << 20,), source=source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seek_module, "BLOCK_BYTES", 1 << 16)
        assert seek(tensor, "NaN") == (0,)
    assert source.read <= 65 << 16


def test_looking_can_be_cancelled():
    class Stop:
        def step(self, done, total):
            raise Cancelled

    with pytest.raises(Cancelled):
        seek(made_from(np.zeros(1000)), "max", Stop())
