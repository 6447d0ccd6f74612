"""All kinds of kernels add the same numbers, whatever the block; blocks may be counted by either."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.histogram import BinCounter, equal_edges
from ckpt_viewer.stats.moments import BLOCK as MOST_AT_ONCE
from ckpt_viewer.stats.stores import Float32Store, Float64Store, IntegerStore
from ckpt_viewer.stats.table32 import Table32

RNG = np.random.default_rng(8)
HARD = [
    math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38, 1.0,
]  # fmt: skip
HARD_64 = [*HARD, 5e-324, -5e-324, 2.2250738585072009e-308, 1.7976931348623157e308, math.nextafter(2.0, 0.0)]


@pytest.fixture(scope="module", params=["machine code", "torch cpu", "torch cuda:0"])
def fast(request):
    """Kernels to compare with those in numpy."""
    if request.param == "machine code":
        return request.getfixturevalue("native")
    torch = pytest.importorskip("torch")
    device = request.param.partition(" ")[2]
    if device != "cpu" and not torch.cuda.is_available():
        pytest.skip("there is no such device here")
    from ckpt_viewer.torch_bridge.counting import TorchKernels

    return TorchKernels(device)


def both(fast, call):
    """What a call leaves in fresh counters, in numpy and by other kernels."""
    return call(kernels.Plain()), call(fast)


def float32_of(block):
    def call(using):
        counters = np.zeros(kernels.FLOAT32_COUNTERS, np.uint64)
        with np.errstate(all="ignore"):
            census = using.float32(block, counters)
        finite = (np.arange(kernels.FLOAT32_CELLS) & 0x7FFF) < 0x7F80
        return census, counters[: kernels.FLOAT32_CELLS][finite].tobytes(), Table32.of(counters).squares

    return call


def wide_of(block, name):
    def call(using):
        counts = np.zeros(kernels.FLOAT64_CELLS, np.int64)
        with np.errstate(all="ignore"):
            found = getattr(using, name)(block, counts)
        used = np.flatnonzero(counts)
        return found, used.tolist(), counts[used].tolist()

    return call


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(HARD), st.floats(width=32)), max_size=40))
def test_float32(fast, values):
    one, other = both(fast, float32_of(np.array(values, np.float32)))
    assert one == other


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(HARD_64), st.floats()), max_size=40))
def test_float64(fast, values):
    one, other = both(fast, wide_of(np.array(values, np.float64), "float64"))
    assert one == other


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.int32, np.uint32, np.int64, np.uint64]).flatmap(
        lambda dtype: hnp.arrays(
            dtype, st.integers(0, 40), elements=st.one_of(
                st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)),
                st.sampled_from([0, 1, int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)]),
            )
        )
    )
)  # fmt: skip
def test_integers(fast, block):
    one, other = both(fast, wide_of(block, "integers"))
    assert one == other


@pytest.mark.parametrize("size", [kernels.BLOCK, 4099])
def test_float32_at_the_limit(fast, size):
    for value in (np.float32(1.9999999), np.float32(-3.4028235e38)):
        one, other = both(fast, float32_of(np.full(size, value, np.float32)))
        assert one == other
    noise = RNG.integers(0, 1 << 32, size, dtype=np.uint32).view(np.float32)
    one, other = both(fast, float32_of(noise))
    assert one == other


@pytest.mark.parametrize("apart", [0, 25, 26, 27, 50, 51, 52, 100])
@pytest.mark.parametrize("top", [-149, -126, -101, -100, -76, -75, -50, 0, 127])
def test_float32_with_exponents_far_apart(fast, top, apart):
    """Squares are summed up in vectors as long as exponents lie close together, one after the other beyond that."""
    significands = RNG.integers(1 << 23, 1 << 24, 10_000)
    values = np.ldexp(significands.astype(np.float64), top - 23 - RNG.integers(0, apart + 1, 10_000)).astype(np.float32)
    values[1::7] *= -1
    for block in (values, np.append(values, [0, -0.0]).astype(np.float32), np.abs(values), -np.abs(values)):
        one, other = both(fast, float32_of(block))
        assert one == other


@pytest.mark.parametrize("special", [0.0, -0.0, math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sign", [1, -1])
def test_float32_with_one_special_value(fast, special, sign):
    for at in (0, 4095, 4096, 9999):
        block = sign * np.abs(RNG.normal(size=10_000).astype(np.float32))
        block[at] = special
        one, other = both(fast, float32_of(block))
        assert one == other


def test_wide_types_at_the_limit(fast):
    size = MOST_AT_ONCE
    for block, name in (
        (np.full(size, math.nextafter(2.0, 0.0)), "float64"),
        (RNG.integers(0, 1 << 64, size, dtype=np.uint64).view(np.float64), "float64"),
        (np.full(size, (1 << 64) - 1, np.uint64), "integers"),
        (np.full(size, -(1 << 63), np.int64), "integers"),
        (RNG.integers(0, 1 << 64, size, dtype=np.uint64).view(np.int64), "integers"),
    ):
        one, other = both(fast, wide_of(block, name))
        assert one == other


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [0, 1, 5, 10_007])
def test_patterns(fast, dtype, size):
    block = RNG.integers(0, np.iinfo(dtype).max + 1, size, dtype=dtype)
    counts = [np.zeros(np.iinfo(dtype).max + 1, np.int64) for _ in range(2)]
    for using, each in zip((kernels.Plain(), fast), counts, strict=True):
        using.patterns(block, each)
        using.patterns(block[: size // 2], each)
    assert counts[0].tolist() == counts[1].tolist()
    assert counts[0].sum() == size + size // 2


@pytest.mark.parametrize("bins", [1, 2, 7, 256, 4096])
@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=9001).astype(np.float32), RNG.normal(size=9001), np.linspace(0, 1, 1001),
        np.linspace(0, 1, 1001).astype(np.float32), np.array([-1.7e308, 1.7e308, 0.0]),
        np.array([1.0, math.nextafter(1.0, 2)]), RNG.integers(-9, 9, 1000), RNG.integers(0, 1 << 63, 99),
        RNG.integers(0, 1000, 999, dtype=np.uint32),
    ],
    ids=lambda values: f"{values.dtype}-{values[0]:.3g}",
)  # fmt: skip
def test_bins(fast, values, bins):
    low, high = values.min().item(), values.max().item()
    counter = BinCounter(low, high, equal_edges(low, high, bins), values.dtype)
    one, other = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    with np.errstate(all="ignore"):
        kernels.Plain().bins(values, counter._bins, one)
        fast.bins(values, counter._bins, other)
    assert one.tolist() == other.tolist()
    assert one.sum() == values.size


@pytest.mark.parametrize("bins", [1, 255, 256, 257])
@pytest.mark.parametrize("size", [(1 << 14) - 1, 1 << 14, 40_001, kernels.BLOCK])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bins_of_many_values(fast, dtype, size, bins):
    """They are counted two at a time; what has been counted does not count again."""
    values = RNG.normal(size=size).astype(dtype)
    low, high = values.min().item(), values.max().item()
    counter = BinCounter(low, high, equal_edges(low, high, bins), values.dtype)
    one, other = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    for _ in range(2):
        kernels.Plain().bins(values, counter._bins, one)
        fast.bins(values, counter._bins, other)
    assert one.tolist() == other.tolist()
    assert one.sum() == 2 * values.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [10, 1023, 1024, 1025])
def test_bins_of_values_on_edges_and_next_to_them(fast, dtype, bins):
    edges = equal_edges(-0.3, 0.7, bins)
    near = edges.astype(dtype)
    values = np.concatenate(
        [near, np.nextafter(near, dtype(-1)), np.nextafter(near, dtype(1)), RNG.uniform(-0.3, 0.7, 9000)]
    )
    values = values.astype(dtype).clip(near[0], near[-1])
    low, high = values.min().item(), values.max().item()
    counter = BinCounter(low, high, equal_edges(low, high, bins), values.dtype)
    one, other = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    kernels.Plain().bins(values, counter._bins, one)
    fast.bins(values, counter._bins, other)
    places = np.searchsorted(counter._bins.starts, values, side="right")
    assert one.tolist() == other.tolist() == np.bincount(places, minlength=bins).tolist()


@pytest.mark.parametrize(
    ("store", "values"),
    [
        (Float32Store, RNG.normal(size=50_000).astype(np.float32)),
        (Float64Store, RNG.normal(size=50_000)),
        (IntegerStore, RNG.integers(-1000, 1000, 50_000)),
    ],
)
def test_others_may_take_over_in_the_middle(fast, store, values):
    mixed, plain = store(), store()
    plain.add(values, kernels.plain())
    mixed.add(values[:20_000], kernels.plain())
    mixed.add(values[20_000:], fast)
    one, other = mixed.counted(), plain.counted()
    assert (one.census, one.moments) == (other.census, other.moments)
    assert one.ranked.cells.keys.tolist() == other.ranked.cells.keys.tolist()
    assert one.ranked.cells.counts.tolist() == other.ranked.cells.counts.tolist()


def test_plain_kernels_belong_to_a_thread():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(kernels.current).result() is not kernels.current()
    assert kernels.current() is kernels.plain()


def test_kernels_in_use_are_those_of_all_threads(native):
    kernels.use(native)
    try:
        assert kernels.current() is native
    finally:
        kernels.use(None)
    assert kernels.current() is kernels.plain()
