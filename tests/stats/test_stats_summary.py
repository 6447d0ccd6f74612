"""Statistics held against exact fractions, numpy in float64 and torch."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_tensors import made_from, made_tensor

import ckpt_viewer
from ckpt_viewer.core.decode import to_numpy
from ckpt_viewer.core.tensor import Quantization, TensorExtra, TensorSpec
from ckpt_viewer.errors import Cancelled, CheckpointError
from ckpt_viewer.stats import reading, sketch
from ckpt_viewer.stats.sampling import sample_of
from ckpt_viewer.stats.summary import profile_tensor, summarize_tensor, summary_json, summary_of
from ckpt_viewer.stats.tally import SHARES

pytestmark = pytest.mark.usefixtures("each_way")
RNG = np.random.default_rng(11)


def exact_mean_std(values):
    """Mean and std of a list of Python numbers, in integers of any size."""
    n, unit = len(values), 1 << 1074
    scaled = [numerator * (unit // denominator) for numerator, denominator in (v.as_integer_ratio() for v in values)]
    total, squares = sum(scaled), sum(v * v for v in scaled)
    spread = math.isqrt((n * squares - total * total) << 200)
    return Fraction(total, n * unit), Fraction(spread, n * unit << 100)


def agree(ours, exact):
    return (
        Fraction(ours) == exact
        or abs(Fraction(ours) - exact) <= Fraction(1, 10**15) * abs(exact)
        or abs(Fraction(ours) - exact) < Fraction(1, 1 << 1074)
    )


def check(summary, values, *, rough=False):
    """Hold a summary against `values`, a numpy array in float64 or an integer type."""
    flat = values.reshape(-1)
    finite = flat[np.isfinite(flat)]
    assert summary.numel == flat.size
    assert summary.finite == finite.size
    assert summary.nan == np.isnan(flat).sum()
    assert summary.posinf == (flat == np.inf).sum()
    assert summary.neginf == (flat == -np.inf).sum()
    assert summary.zeros == (flat == 0).sum()
    if not finite.size:
        assert [summary.min, summary.max, summary.mean, summary.std, summary.quantiles, summary.histogram] == [None] * 6
        return
    assert summary.min == finite.min()
    assert summary.max == finite.max()
    assert type(summary.min) is type(summary.max) is (float if finite.dtype.kind == "f" else int)
    mean, std = exact_mean_std(finite.tolist())
    assert agree(summary.mean, mean)
    assert agree(summary.std, std)
    ordered = np.sort(finite)
    for share in SHARES:
        exact = ordered[math.ceil(Fraction(share) * finite.size) - 1]
        ours = summary.quantiles[share]
        assert ours == exact or (rough and abs(float(ours) - float(exact)) <= abs(float(exact)) / 128)
    check_histogram(summary.histogram, finite)


def check_histogram(histogram, finite):
    edges, counts = np.array(histogram.edges), histogram.counts
    assert sum(counts) == finite.size
    assert (edges[1:] >= edges[:-1]).all()  # a difference of doubles may be too large for one
    low, high = finite.min().item(), finite.max().item()
    if low == high:
        assert (edges[0], edges[-1]) == (float(low) - 0.5, float(low) + 0.5)
    else:
        assert (edges[0], edges[-1]) == (float(low), float(high))
        number = np.searchsorted(edges[1:-1], finite.astype(np.float64), side="right")
        if finite.dtype.kind == "f" or max(abs(low), abs(high)) < 1 << 50:
            assert np.bincount(number, minlength=len(counts)).tolist() == list(counts)


FLOATS = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
DOUBLES = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats())
INTEGERS = st.sampled_from([np.int32, np.int64, np.uint32, np.uint64]).flatmap(
    lambda dtype: hnp.arrays(dtype, st.integers(0, 40))
)


@pytest.fixture(params=[sketch.SMALL, 0], ids=["kept", "cells"])
def small(request, monkeypatch):
    """Run a test with values kept as they are, and again with even the smallest tensor counted in cells."""
    monkeypatch.setattr(sketch, "SMALL", request.param)
    monkeypatch.setattr(reading, "SMALL", request.param)
    return request.param


def summarised(array, small_limit, **options):
    """The summary of an array with a chosen limit (for Hypothesis, which wants no function-scoped fixtures)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketch, "SMALL", small_limit)
        patch.setattr(reading, "SMALL", small_limit)
        return summarize_tensor(made_from(array), **options)


@settings(max_examples=150, deadline=None)
@given(FLOATS, st.sampled_from([1, 7, 256]), st.booleans())
def test_any_float32_array(array, bins, cells):
    summary = summarised(array, 0 if cells else 100, bins=bins)
    normal = bool((np.abs(array[np.isfinite(array)]) >= 2.0**-126).all())
    if cells and not normal:  # the width of a cell is promised for normal numbers only
        summary = summarised(array, 100, bins=bins)
    check(summary, array.astype(np.float64), rough=cells)


@settings(max_examples=150, deadline=None)
@given(DOUBLES, st.sampled_from([1, 7, 256]), st.booleans())
def test_any_float64_array(array, bins, cells):
    normal = bool((np.abs(array[np.isfinite(array)]) >= 2.0**-1022).all())
    check(summarised(array, 0 if cells and normal else 100, bins=bins), array, rough=cells)


@settings(max_examples=150, deadline=None)
@given(INTEGERS, st.sampled_from([1, 7, 256]), st.booleans())
def test_any_integer_array(array, bins, cells):
    check(summarised(array, 0 if cells else 100, bins=bins), array, rough=cells)


SPECIAL = [
    [], [0.0], [-0.0, 0.0], [math.nan], [math.inf, -math.inf, math.nan], [3.5] * 9, [1e-45, -1e-45, 0.0],
    [3.4028235e38, -3.4028235e38], [1.0, math.nextafter(1.0, 2.0)], [1e6, 1e6 + 1], [5e-324, -5e-324],
    [1e308, -1.7e308], [0.1, 0.2, 0.3, 0.7, 0.9, 1.0, 0.0],
]  # fmt: skip


@pytest.mark.parametrize("values", SPECIAL, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_special_values(values, dtype, small):
    array = np.array(values, dtype)
    tiny = bool(((np.abs(array) < np.finfo(dtype).tiny) & (array != 0)).any())
    if small or not tiny:
        check(summarize_tensor(made_from(array), 10), array.astype(np.float64), rough=True)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.uint32])
def test_integer_extremes(dtype, small):
    info = np.iinfo(dtype)
    array = np.array([info.min, info.max, info.max - 1, info.min + 1, 0, 7], dtype)
    check(summarize_tensor(made_from(array), 7), array, rough=True)
    near = np.array([info.max - 3, info.max, info.max - 1], dtype)
    summary = summarize_tensor(made_from(near), 3)
    check(summary, near, rough=True)
    assert summary.histogram.counts == (1, 0, 2)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
                                  "float8_e5m2fnuz", "float8_e8m0fnu", "int8", "uint8", "int16", "uint16"])  # fmt: skip
def test_types_of_16_bits_are_exact_in_everything(name, small):
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    array = RNG.integers(0, 256, 5000, np.uint8)[: 5000 // 2 * 2].view(dtype)
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.int64 if dtype.name.endswith(("int8", "int16")) else np.float64)
    check(summarize_tensor(made_from(array, name), 31), wide)


def test_booleans_are_0_and_1(small):
    summary = summarize_tensor(made_tensor(bytes([0, 1, 7, 0, 255]), "bool", (5,)), 4)
    assert (summary.min, summary.max, summary.mean, summary.zeros) == (0, 1, 0.6, 2)
    assert type(summary.max) is int
    assert summary.histogram.counts == (2, 0, 0, 3)


def test_float4_counts_two_values_a_byte():
    summary = summarize_tensor(made_tensor(bytes([0x21, 0xFA]), "float4_e2m1fn_x2", (2,)), 4)
    assert (summary.numel, summary.min, summary.max, summary.mean) == (4, -6.0, 1.0, -1.375)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_by_magnitude(dtype, small):
    array = (RNG.normal(size=300) + 1j * RNG.normal(size=300)).astype(dtype)
    array[:3] = [0, math.nan, complex(math.inf, 1)]
    check(summarize_tensor(made_from(array)), np.abs(array.astype(np.complex128)), rough=True)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_complex32_by_magnitude():
    x = torch.tensor([3 + 4j, 0, -1j], dtype=torch.complex32)
    summary = summarize_tensor(made_tensor(bytes(x.untyped_storage().tolist()), "complex32", (3,)))
    assert (summary.min, summary.max, summary.mean, summary.zeros) == (0.0, 5.0, 2.0, 1)


def test_quantised_values_are_dequantised(small):
    q = RNG.integers(-128, 128, (4, 50)).astype(np.int8)
    one = made_from(q, "qint8", quantization=Quantization("per_tensor_affine", 0.05, 3))
    check(summarize_tensor(one), to_numpy(one).astype(np.float64))
    many = made_from(q, "qint8", quantization=Quantization("per_channel_affine", [0.1, 0.2, 0.3, 0.4], [0, 1, 2, 3], 0))
    check(summarize_tensor(many), to_numpy(many).astype(np.float64), rough=True)


def test_sparse_and_nested_tensors_over_stored_values():
    parts = {"indices": made_from(np.array([[0, 2]])), "values": made_from(np.array([1.5, -2.5]))}
    sparse = TensorSpec(None, "float64", (9,), None, extra=TensorExtra(layout="sparse_coo", parts=parts))
    summary = summarize_tensor(sparse)
    assert (summary.over, summary.numel, summary.mean) == ("stored values", 2, -0.5)
    nested = TensorSpec(None, "float64", None, None, extra=TensorExtra(parts={"buffer": parts["values"]}))
    assert summarize_tensor(nested).max == 1.5


def test_non_contiguous_and_expanded_views(small):
    memory = RNG.normal(size=10_000).astype(np.float32)
    tensor = made_tensor(memory.tobytes(), "float32", (40, 30), (3, 170), 5)
    view = np.lib.stride_tricks.as_strided(memory[5:], (40, 30), (12, 680))
    check(summarize_tensor(tensor), view.astype(np.float64), rough=True)
    expanded = made_tensor(memory.tobytes(), "float32", (3, 100, 2), (0, 1, 0))
    check(summarize_tensor(expanded), np.broadcast_to(memory[:100, None], (3, 100, 2)).astype(np.float64), rough=True)


def test_an_enormous_expanded_tensor_is_counted_at_once():
    summary = summarize_tensor(made_tensor(np.float32([2, 0]).tobytes(), "float32", (1 << 40, 2), (0, 1)))
    assert (summary.numel, summary.zeros, summary.mean, summary.std) == (1 << 41, 1 << 40, 1.0, 1.0)
    assert sum(summary.histogram.counts) == 1 << 41
    assert (summary.quantiles["0.5"], summary.quantiles["0.75"]) == (0.0, 2.0)


@pytest.mark.parametrize(("mean", "std"), [(0, 0.02), (1e6, 1), (-3e-20, 1e-22), (1e30, 1e30)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_tensors_at_any_mean(mean, std, dtype):
    array = RNG.normal(mean, std, 100_000).astype(dtype)
    array[1000:1010] = [math.nan, math.inf, -math.inf, 0, -0.0, math.nan, 1, 2, 3, 4]
    summary = summarize_tensor(made_from(array))
    check(summary, array.astype(np.float64), rough=True)
    finite = array[np.isfinite(array)].astype(np.float64)
    counts, edges = np.histogram(finite, 256)
    assert list(summary.histogram.counts) == counts.tolist()
    assert list(summary.histogram.edges) == edges.tolist()


def test_large_integers():
    array = RNG.integers(-(1 << 62), 1 << 62, 100_000)
    check(summarize_tensor(made_from(array)), array, rough=True)
    check(summarize_tensor(made_from(array.astype(np.int32) % 1000)), array.astype(np.int32) % 1000, rough=True)


def test_values_on_a_lattice_have_exact_quantiles():
    array = (RNG.integers(-127, 128, 100_000) / 8).astype(np.float32)
    summary = summarize_tensor(made_from(array))
    check(summary, array.astype(np.float64))


def test_many_bins_and_one():
    array = RNG.normal(size=100_000).astype(np.float32)
    for bins in (1, 2, 10_000):
        check_histogram(summarize_tensor(made_from(array), bins).histogram, array.astype(np.float64))
    for bins in (0, -1, 10**9):
        with pytest.raises(CheckpointError, match="choose from 1 to"):
            summarize_tensor(made_from(array), bins)


def test_against_torch():
    x = torch.randn(400_000, generator=torch.Generator().manual_seed(2)) * 3 + 0.5
    summary = summarize_tensor(made_from(x.numpy()))
    low, high = x.aminmax()
    variance, mean = torch.var_mean(x.double(), correction=0)
    assert (summary.min, summary.max) == (low.item(), high.item())
    assert summary.mean == pytest.approx(mean.item(), rel=1e-12)
    assert summary.std == pytest.approx(variance.item() ** 0.5, rel=1e-12)
    theirs = torch.histogram(x.double(), torch.tensor(summary.histogram.edges, dtype=torch.float64)).hist
    assert list(summary.histogram.counts) == theirs.tolist()


class Watcher:
    """Counts steps; cancels after some."""

    def __init__(self, patience=10**9):
        self.steps, self.patience = [], patience

    def step(self, done, total):
        self.steps.append((done, total))
        if len(self.steps) >= self.patience:
            raise Cancelled


def test_progress_goes_up_to_the_end_and_cancelling_stops_it():
    tensor = made_from(RNG.normal(size=1_500_000).astype(np.float32))
    watcher = Watcher()
    summarize_tensor(tensor, context=watcher)
    assert watcher.steps == sorted(watcher.steps)
    assert watcher.steps[-1] == (3_000_000, 3_000_000)
    assert len(watcher.steps) > 10
    source = tensor.storage.extent().source
    source.read = 0
    with pytest.raises(Cancelled):
        summarize_tensor(tensor, context=Watcher(2))
    assert source.read <= 2 * 2**20


def test_memory_stays_small():
    import tracemalloc

    tensor = made_from(np.zeros(20_000_000, np.float32))
    tracemalloc.start()
    summarize_tensor(tensor)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


class TestSample:
    """Numbers for now."""

    def test_of_a_small_tensor_it_is_exact(self):
        tensor = made_from(RNG.normal(size=5000).astype(np.float32))
        found = sample_of(tensor)
        assert not found.partial
        assert summary_of(found.profile, found.profile.picture(256)) == summarize_tensor(tensor)

    def test_of_a_large_tensor_it_reads_a_little_everywhere(self):
        tensor = made_from(np.linspace(-1, 1, 20_000_000, dtype=np.float32))
        found = sample_of(tensor)
        assert found.partial
        summary = summary_of(found.profile, found.profile.picture(16), sample=True)
        assert summary.numel < 100_000
        assert tensor.storage.extent().source.read < 500_000
        assert summary.min < -0.9
        assert summary.max > 0.9
        assert min(summary.histogram.counts) > 0
        assert summary_json(summary)["sample"] is True

    def test_of_other_tensors(self):
        assert sample_of(made_tensor(b"", "float32", (0,))).profile.numel == 0
        memory = np.arange(1 << 20, dtype=np.int16)
        assert sample_of(made_tensor(memory.tobytes(), "int16", (512, 256), (2048, 3))).partial
        expanded = sample_of(made_tensor(memory.tobytes(), "int16", (1 << 50, 2), (0, 1)))
        assert (expanded.profile.census.high, expanded.partial) == (1, False)


def test_a_profile_has_the_numbers_of_the_summary():
    tensor = made_from(RNG.normal(size=100_000).astype(np.float32))
    profile, whole = profile_tensor(tensor), summarize_tensor(tensor)
    assert summary_of(profile, whole.histogram) == whole
    assert profile.cells.size == whole.finite


def test_tensors_without_values_say_so():
    with pytest.raises(CheckpointError, match="a meta tensor has no values"):
        summarize_tensor(TensorSpec(None, "float32", (2,), (1,), extra=TensorExtra(device="meta")))


def test_the_json_form():
    entry = summary_json(summarize_tensor(made_from(np.float32([1, 2, math.nan])), 2))
    assert list(entry) == ["dtype", "numel", "finite", "nan", "posinf", "neginf", "zeros", "min", "max", "mean", "std",
                           "quantiles", "histogram"]  # fmt: skip
    assert entry["histogram"] == {"edges": [1.0, 1.5, 2.0], "counts": [1, 1]}
    assert list(entry["quantiles"]) == list(SHARES)
    empty = summary_json(summarize_tensor(made_tensor(b"", "float32", (0,))))
    assert [empty[name] for name in ("min", "max", "mean", "std", "quantiles", "histogram")] == [None] * 6


def test_the_public_function(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"x": torch.arange(10.0)}, path)
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        summary = ckpt_viewer.summarize(checkpoint["/x"], bins=9)
    assert summary.mean == 4.5
    assert summary.histogram.counts == (1,) * 8 + (2,)
