"""Small tensors counted together have the numbers, and the cells, that each has alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.stats import batch
from ckpt_viewer.stats.cells import EXACT
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.reading import plain_kind
from ckpt_viewer.stats.scan_plan import Use
from ckpt_viewer.stats.sketch import Sketch

pytestmark = pytest.mark.usefixtures("each_way")
RNG = np.random.default_rng(11)
PLAIN = [name for name in DTYPES if plain_kind(name) is not None]
HARD = [
    float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, -1e-45, 5e-324, 1e300, -1e300, 1.7976931348623157e308,
    1.0, -1.0, 3.4028235e38, 1.1754942e-38,
]  # fmt: skip
HARD_32 = [value for value in HARD if not 3.5e38 < abs(value) < float("inf") and abs(value) != 5e-324]


def alone(dtype, kind, block, entries):
    """The profile of one tensor's bytes, in the long way."""
    sketch = Sketch(kind.store.fresh())
    sketch.add(block.view(kind.dtype))
    return Profile.of(dtype, "", sketch.counted(), 1, entries)


def told(profile):
    """All that a profile says, with the types of numbers and the signs of zeros."""
    cells = profile.cells
    numbers = repr((profile.dtype, profile.over, profile.census, profile.moments, profile.quantiles, cells.bits))
    return numbers, cells.keys.tolist(), cells.counts.tolist(), cells.keys.dtype, cells.counts.dtype


def agree(dtype, blocks, entries):
    kind = plain_kind(dtype)
    blocks = [np.ascontiguousarray(block).view(np.uint8) for block in blocks]
    found = list(batch.profiles(dtype, kind, blocks, entries))
    assert [told(each) for each in found] == [told(alone(dtype, kind, block, entries)) for block in blocks]
    return found


def bytes_of(dtype, count):
    """Random patterns: for floats NaN, infinities and subnormal numbers among them."""
    return RNG.integers(0, 256, count * DTYPES[dtype].itemsize).astype(np.uint8)


@pytest.mark.parametrize("entries", [1, 2, 32, 4096])
@pytest.mark.parametrize("dtype", PLAIN)
def test_any_patterns_of_every_dtype(dtype, entries):
    sizes = [1, 1, 2, 3, 31, 32, 33, 34, 500, batch.FEW]
    agree(dtype, [bytes_of(dtype, size) for size in sizes], entries)


@pytest.mark.parametrize("dtype", PLAIN)
def test_equal_sizes_and_equal_values(dtype):
    width = DTYPES[dtype].itemsize
    agree(dtype, [bytes_of(dtype, 64) for _ in range(50)], 32)
    agree(dtype, [np.zeros(64 * width, np.uint8) for _ in range(3)], 32)
    agree(dtype, [np.tile(bytes_of(dtype, 1), 64) for _ in range(9)], 32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_layers_lose_bits_where_they_are_many(dtype):
    blocks = [(RNG.standard_normal(256) * 10.0 ** RNG.integers(-30, 30)).astype(dtype) for _ in range(200)]
    found = agree(dtype, blocks, 32)
    assert {each.cells.bits for each in found} <= set(range(7))
    assert all(each.cells.bits == EXACT for each in agree(dtype, blocks, 256))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tensor_of_nothing_finite_among_others(dtype):
    with np.errstate(over="ignore"):
        hard = np.array(HARD, "f8").astype(dtype)
    found = agree(dtype, [np.full(3, np.nan, dtype), hard, np.full(2, -np.inf, dtype), np.ones(1, dtype)], 32)
    assert [each.census.finite for each in found[::2]] == [0, 0]


@given(data=st.data(), dtype=st.sampled_from(["float32", "float64", "int32", "int64", "uint64"]))
@settings(deadline=None)
def test_arrays_that_hypothesis_makes(data, dtype):
    shapes = hnp.array_shapes(max_dims=1, max_side=40)
    elements = hnp.from_dtype(np.dtype(dtype))
    if dtype.startswith("float"):
        elements |= st.sampled_from(HARD if dtype == "float64" else HARD_32)
    blocks = data.draw(st.lists(hnp.arrays(dtype, shapes, elements=elements), min_size=1, max_size=6))
    agree(dtype, blocks, data.draw(st.integers(1, 40)))


def test_the_most_that_sums_have_to_hold():
    for dtype, value in [("float32", 3.4028235e38), ("float64", 1.7976931348623157e308), ("uint64", 2**64 - 1)]:
        agree(dtype, [np.full(batch.FEW, value, dtype)] * 2, 32)
    agree("int64", [np.full(batch.FEW, -(2**63), np.int64), np.full(batch.FEW, 2**63 - 1, np.int64)], 32)


def test_what_is_counted_together():
    def use(item, dtype, elements, shares=1):
        items[item] = SimpleNamespace(tensor=SimpleNamespace(dtype=dtype))
        plan.shares[item] = shares
        return Use(item, 0, elements * DTYPES[dtype].itemsize)

    items: dict[int, SimpleNamespace] = {}
    plan = SimpleNamespace(items=items, shares={})
    small = [use(number, "float32", batch.FEW) for number in range(11)]
    large, shared = use(11, "float32", batch.FEW + 1), use(12, "float32", 5, shares=2)
    single, others = use(13, "int64", 1), [use(number, "bfloat16", 1) for number in (14, 15)]
    one_by_one, together = batch.batches(plan, [large, *small, shared, single, *others])
    assert one_by_one == [large, shared, single]
    assert together == [("float32", small[:8]), ("float32", small[8:]), ("bfloat16", others)]
