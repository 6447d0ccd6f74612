"""Planes of a tensor and their down-sampling, against numpy on the whole array."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tensors import CountingSource, made_from, made_tensor

from ckpt_viewer.core.slicing import first_slicing
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.stats import raster as raster_module
from ckpt_viewer.stats.plane import Plane, grid_of, looks_like_filters
from ckpt_viewer.stats.raster import MODES, Window, block_sizes, fitting, read_raster, sample_raster


def plane_of(array, dtype=None):
    tensor = made_from(array, dtype)
    return Plane(tensor, first_slicing(array.shape))


def whole(plane):
    return Window(0, plane.shape[0], 0, plane.shape[1])


def blocks_of(array, down, across):
    """The blocks of a matrix, by plain slicing."""
    for i in range(0, array.shape[0], down):
        for j in range(0, array.shape[1], across):
            yield (i // down, j // across), array[i : i + down, j : j + across].astype("float64")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    most=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
    special=st.sampled_from([0.0, 0.05, 1.0]),
    turned=st.booleans(),
    elements=st.sampled_from([1, 7, 64, 1 << 20]),
)
def test_blocks_are_what_numpy_finds_in_them(shape, most, seed, special, turned, elements):
    rng = np.random.default_rng(seed)
    array = rng.normal(size=shape).astype("float32")
    array[rng.random(shape) < special / 2] = np.nan
    array[rng.random(shape) < special / 2] = -np.inf
    tensor = made_from(array)
    if turned:
        tensor = tensor.with_(shape=shape[::-1], stride=(1, shape[1]))
        array = array.T
    plane = Plane(tensor, first_slicing(array.shape))
    array = array if plane.slicing.rows == 0 else array.T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster_module, "ELEMENTS", elements)
        raster = read_raster(plane, whole(plane), most)
    down, across = raster.down, raster.across
    assert raster.low.shape[0] <= most[0]
    assert raster.low.shape[1] <= most[1]
    for place, block in blocks_of(array, down, across):
        finite = block[np.isfinite(block)]
        if finite.size:
            assert raster.low[place] == finite.min()
            assert raster.high[place] == finite.max()
            assert raster.mean[place] == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12)
        else:
            assert np.isnan([raster.low[place], raster.high[place], raster.mean[place]]).all()
        assert (0 if raster.nan is None else raster.nan[place]) == np.isnan(block).sum()
        assert (0 if raster.inf is None else raster.inf[place]) == np.isinf(block).sum()


def test_an_outlier_among_millions_stays_visible_and_signed():
    array = np.zeros((2000, 1500), "float32")
    array[1234, 777] = -9.5
    raster = read_raster(plane_of(array), Window(0, 2000, 0, 1500), (100, 100))
    place = 1234 // raster.down, 777 // raster.across
    shown = {mode: raster.shown(mode)[place] for mode in MODES}
    assert shown["min"] == shown["|max|"] == -9.5
    assert shown["max"] == 0
    assert shown["mean"] == pytest.approx(-9.5 / (raster.down * raster.across))
    assert np.count_nonzero(raster.shown("|max|")) == 1


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([[2**63 - 1, -(2**63)], [0, 7]]), "int64"),
        (np.array([[2**64 - 1, 0]], "uint64"), "uint64"),
        (np.array([[True, False]]), "bool"),
        (np.array([[1.5, -2.25]], ml_dtypes.bfloat16), "bfloat16"),
        (np.array([[0.5, -448]], ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
        (np.array([[1e308, -1e308]]), "float64"),
    ],
)
def test_single_cells_keep_their_exact_value(array, dtype):
    raster = read_raster(plane_of(array, dtype), Window(0, array.shape[0], 0, array.shape[1]), (50, 50))
    assert raster.fine
    assert raster.low.tolist() == raster.high.tolist() == [[each.item() for each in row] for row in array]


def test_complex_numbers_are_shown_by_magnitude():
    raster = read_raster(plane_of(np.array([[3 + 4j, -1j]])), Window(0, 1, 0, 2), (9, 9))
    assert raster.high.tolist() == [[5.0, 1.0]]


def test_a_window_reads_little_more_than_itself():
    source = CountingSource(bytes(4 * 1000 * 1000))
    plane = Plane(made_tensor(b"", "float32", (1000, 1000), source=source), first_slicing((1000, 1000)))
    raster = read_raster(plane, Window(10, 20, 500, 600), (400, 400))
    assert raster.fine
    assert raster.low.shape == (10, 100)
    assert source.read < 50_000


def test_memory_is_bounded_whatever_the_matrix():
    source = CountingSource(bytes(4 * 6000 * 4000))
    plane = Plane(made_tensor(b"", "float32", (6000, 4000), source=source), first_slicing((6000, 4000)))
    read_raster(plane, whole(plane), (100, 100))
    assert source.largest <= 4 * raster_module.ELEMENTS
    assert source.read == pytest.approx(4 * 6000 * 4000, abs=100)


def test_a_sample_reads_few_rows_and_says_so():
    source = CountingSource(bytes(4 * 6000 * 4000))
    plane = Plane(made_tensor(b"", "float32", (6000, 4000), source=source), first_slicing((6000, 4000)))
    raster = sample_raster(plane, whole(plane))
    assert raster.sample
    assert source.read < 4 * 6000 * 4000 / 20
    assert raster.low.shape == (250, 250)


def test_reading_can_be_cancelled():
    class Stop:
        def step(self, done, total):
            raise Cancelled

    with pytest.raises(Cancelled):
        read_raster(plane_of(np.zeros((2000, 2000))), Window(0, 2000, 0, 2000), (10, 10), Stop())


@pytest.mark.parametrize("shape", [(8, 3, 5, 4), (12, 1, 3, 3), (7, 5, 3, 3), (6, 4, 3), (2, 3, 2, 4, 3)])
def test_a_grid_shows_every_filter_once(shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    slicing = first_slicing(shape)
    plane = grid_of(made_from(array), slicing)
    rows, columns = plane.shape
    block = plane.read(slice(0, rows), slice(0, columns))
    assert block.shape == (rows, columns)
    seen = [plane.place(row, column) for row in range(rows) for column in range(columns)]
    assert [array[index] for index in seen] == block.ravel().tolist()
    assert len(set(seen)) == rows * columns
    part = plane.read(slice(1, rows - 1), slice(2, columns - 1))
    assert part.tolist() == block[1:-1, 2:-1].tolist()
    raster = read_raster(plane, whole(plane), (1000, 1000))
    assert raster.low.tolist() == block.tolist()


def test_many_small_slices_look_like_filters():
    assert looks_like_filters(first_slicing((64, 3, 7, 7)))
    assert not looks_like_filters(first_slicing((64, 64, 1, 1)))
    assert not looks_like_filters(first_slicing((768, 768)))
    assert not looks_like_filters(first_slicing((12, 512, 512)))


def test_blocks_fit_the_area():
    assert block_sizes(Window(0, 1000, 0, 10), (300, 300)) == (4, 1)
    height, width = fitting((2000, 3000), 1_000_000)
    assert height * width <= 1_000_000
    assert fitting((20, 30), 1_000_000) == (20, 30)
