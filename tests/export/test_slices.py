"""Slices as CSV and .npy: read back by numpy, whole or not there."""

from __future__ import annotations

import contextlib

import ml_dtypes
import numpy as np
import pytest
from made_tensors import made_from, made_tensor

from ckpt_viewer.core.slicing import first_slicing
from ckpt_viewer.errors import Cancelled, CannotExport
from ckpt_viewer.export import slices
from ckpt_viewer.export.slices import save_csv, save_npy
from ckpt_viewer.sources import FileSource

ARRAYS = [
    np.random.default_rng(0).normal(size=(7, 11)).astype("float32"),
    np.random.default_rng(1).normal(size=(4, 3, 5, 2)),
    np.array([[2**63 - 1, -(2**63)]]),
    np.array([[True, False], [False, True]]),
    np.array([[1 + 2j, complex(np.nan, -np.inf)]], "complex64"),
    np.array([1.5, np.nan, -np.inf, -0.0], "float16"),
    np.array(3.25),
    np.zeros((0, 5), "float32"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
@pytest.mark.parametrize("cells", [3, 1 << 18])
def test_an_npy_is_what_numpy_saves(tmp_path, monkeypatch, array, cells):
    monkeypatch.setattr(slices, "CELLS", cells)
    slicing = first_slicing(array.shape)
    for turned in {slicing, slicing if slicing.columns is None else slicing.with_rows(slicing.columns)}:
        target = tmp_path / f"{turned.rows}.npy"
        save_npy(made_from(array), turned, str(target))
        read = np.load(target, allow_pickle=False)
        chosen = array[tuple(slice(None) if dim in (turned.rows, turned.columns) else 0 for dim in range(array.ndim))]
        chosen = chosen.T if turned.transposed else chosen
        assert read.dtype == array.dtype
        assert read.shape == chosen.shape
        assert read.tobytes() == np.ascontiguousarray(chosen).tobytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_floats_that_numpy_does_not_know_become_float32(tmp_path, dtype):
    array = np.array([[0.1, -2.5, np.nan]], getattr(ml_dtypes, dtype))
    written = save_npy(made_from(array, dtype), first_slicing(array.shape), str(tmp_path / "a.npy"))
    read = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert written == read.dtype == np.float32
    assert read.tobytes() == array.astype("float32").tobytes()


@pytest.mark.parametrize("cells", [3, 1 << 18])
def test_a_csv_has_every_digit(tmp_path, monkeypatch, cells):
    monkeypatch.setattr(slices, "CELLS", cells)
    array = ARRAYS[0]
    assert save_csv(made_from(array), first_slicing(array.shape), str(tmp_path / "a.csv")) == 7
    assert (np.loadtxt(tmp_path / "a.csv", delimiter=",").astype("float32") == array).all()


def test_no_cell_of_a_csv_is_a_formula(tmp_path):
    array = np.array([[-1 - 2j, 1 + 2j]])
    save_csv(made_from(array), first_slicing(array.shape), str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_text() == "'-1.0-2.0j,1.0+2.0j\n"
    save_csv(made_from(np.array([[-1.5, -np.inf, np.nan]])), first_slicing((1, 3)), str(tmp_path / "b.csv"))
    assert (tmp_path / "b.csv").read_text() == "-1.5,-Inf,NaN\n"


class Stop:
    def step(self, done, total):
        if done:
            raise Cancelled


@pytest.mark.parametrize("save", [save_csv, save_npy])
def test_a_cancelled_save_leaves_what_was_there(tmp_path, monkeypatch, save):
    monkeypatch.setattr(slices, "CELLS", 4)
    (tmp_path / "a").write_text("before")
    with pytest.raises(Cancelled):
        save(made_from(ARRAYS[0]), first_slicing((7, 11)), str(tmp_path / "a"), Stop(), force=True)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


@pytest.mark.parametrize("save", [save_csv, save_npy])
def test_a_file_that_is_read_is_never_replaced(tmp_path, save):
    path = tmp_path / "shard.bin"
    path.write_bytes(np.arange(6, dtype="float32").tobytes())
    source = FileSource(path)
    tensor, read = made_tensor(b"", "float32", (2, 3), source=source), (str(tmp_path / "index"), str(path))
    with contextlib.closing(source), pytest.raises(CannotExport, match="one of the files that are read"):
        save(tensor, first_slicing((2, 3)), str(path), source=read, force=True)
    assert path.read_bytes() == np.arange(6, dtype="float32").tobytes()
